// SPDX-License-Identifier: MIT
// The options that datagrams have beside those of socket_options.hpp: ip(7), ipv6(7), udp(7).
//
//   socket.set(net::datagram_details{.destination = true});
//   socket.set(net::hop_limit{.hops = 1});
//
// A socket of both families (an IPv6 one that takes IPv4 as well) has each of them twice: set() sets both, get() tells
// the IPv6 one.
#pragma once

#include <gyre/runtime/fd_ref.hpp>

#include <cstdint>

namespace gyre::net {

/// What the kernel tells with each datagram: datagram_facts. Each that is on costs some 50 ns a datagram.
struct datagram_details {
  bool destination = false;  ///< Where it was sent to, and by which interface it came: IP_PKTINFO, IPV6_RECVPKTINFO.
  bool type_of_service = false;  ///< DSCP and ECN: IP_RECVTOS, IPV6_RECVTCLASS.
  bool hop_limit = false;        ///< How far it could still have come: IP_RECVTTL, IPV6_RECVHOPLIMIT.
  bool timestamp = false;        ///< When it came: SO_TIMESTAMPNS.
  bool dropped_count = false;    ///< How many were lost before it: SO_RXQ_OVFL.
  static void apply(fd_ref socket, const datagram_details& option);
  [[nodiscard]] static datagram_details ask(fd_ref socket);

  [[nodiscard]] friend bool operator==(const datagram_details&, const datagram_details&) noexcept = default;
};

/// Datagrams of one sender that come at the same time, all of one size, are received as one: UDP_GRO. Then facts()
/// tells their size, and segments() is each of them. Buffers should have room for 64 KiB: what does not fit is lost.
/// Linux 5.0.
struct receive_offload {
  bool on = true;
  static void apply(fd_ref socket, receive_offload option);
  [[nodiscard]] static receive_offload ask(fd_ref socket);
};

/// Errors that the network reports of what was sent are kept with their details, for udp_socket::receive_error(), and
/// told to a socket that is not connected, too: IP_RECVERR, IPV6_RECVERR.
struct report_errors {
  bool on = true;
  static void apply(fd_ref socket, report_errors option);
  [[nodiscard]] static report_errors ask(fd_ref socket);
};

/// Datagrams may be sent to broadcast addresses: SO_BROADCAST. Without it that is permission_denied.
struct broadcast {
  bool on = true;
  static void apply(fd_ref socket, broadcast option);
  [[nodiscard]] static broadcast ask(fd_ref socket);
};

/// How many routers a datagram may pass, 1 to 255: IP_TTL, IPV6_UNICAST_HOPS. To groups: multicast_hop_limit.
struct hop_limit {
  int hops = 64;
  static void apply(fd_ref socket, hop_limit option);
  [[nodiscard]] static hop_limit ask(fd_ref socket);
};

/// The same to multicast groups, 0 to 255; 1 unless it is set, so that they stay on the link: IP_MULTICAST_TTL,
/// IPV6_MULTICAST_HOPS.
struct multicast_hop_limit {
  int hops = 1;
  static void apply(fd_ref socket, multicast_hop_limit option);
  [[nodiscard]] static multicast_hop_limit ask(fd_ref socket);
};

/// What is sent to a group comes to its members on this machine as well: IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP. On
/// unless it is set.
struct multicast_loop {
  bool on = true;
  static void apply(fd_ref socket, multicast_loop option);
  [[nodiscard]] static multicast_loop ask(fd_ref socket);
};

/// A socket that is bound to all addresses takes what comes to any group that somebody on this machine has joined:
/// IP_MULTICAST_ALL, IPV6_MULTICAST_ALL. On unless it is set; off: only what comes to its own groups.
struct multicast_all {
  bool on = true;
  static void apply(fd_ref socket, multicast_all option);
  [[nodiscard]] static multicast_all ask(fd_ref socket);
};

/// What becomes of a datagram that is longer than the path takes: IP_MTU_DISCOVER, IPV6_MTU_DISCOVER.
struct mtu_discovery {
  enum class mode : std::uint8_t {
    fragment,        ///< It goes in pieces, and routers may cut it further.
    learn,           ///< It goes in pieces that fit the path, as far as that is known. The usual one.
    never_fragment,  ///< It is refused with message_size where it is longer than what is known of the path.
    probe,           ///< It goes whole, whatever is known of the path: for who finds out by themselves (RFC 4821).
    interface,  ///< As fragment, and what routers say of the path is not believed: it is cut by the interface only.
    omit        ///< As interface, and a longer one is cut in pieces also where the socket's own mark says not to.
  };
  mode how = mode::learn;
  static void apply(fd_ref socket, mtu_discovery option);
  [[nodiscard]] static mtu_discovery ask(fd_ref socket);
};

}  // namespace gyre::net
