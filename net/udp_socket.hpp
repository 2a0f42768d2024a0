// SPDX-License-Identifier: MIT
// A socket for UDP: datagrams out and in, each whole or not at all, in any order, to and from anybody.
//
// A socket may be connected to one peer: then it sends to that one and hears that one alone, and is told when nobody
// listens there. Any number of sends and receives may be in flight at once. docs/datagrams.md
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/datagram.hpp>
#include <gyre/net/datagram_options.hpp>
#include <gyre/net/datagram_transfer.hpp>
#include <gyre/net/incoming_datagrams.hpp>
#include <gyre/net/multicast.hpp>
#include <gyre/net/socket_options.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/open_streams.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

namespace gyre::net {

/// Where a socket receives.
struct udp_options {
  /// The address to bind; its port is replaced by `port` when that is not 0. Default: all IPv4 addresses of this
  /// machine. address::any_v6(0): IPv6 as well, see dual_stack.
  address at = address::any(0);

  /// 0: the kernel chooses; see udp_socket::local_address().
  std::uint16_t port = 0;

  /// Whether a socket that is bound to an IPv6 address sends to and receives from IPv4 addresses as well, as one that
  /// is bound to all addresses can (IPV6_V6ONLY).
  bool dual_stack = true;

  /// Whether others who say the same may be bound to the same address: what comes to a group then comes to each of
  /// them, what comes to one address to the latest (SO_REUSEADDR).
  bool reuse_address = false;

  /// Whether several sockets of one user may be bound to the same address, and the kernel deals out what comes, by a
  /// hash of both addresses: one an executor (SO_REUSEPORT).
  bool reuse_port = false;

  /// What is to be told with each datagram.
  datagram_details details{};
};

/// Who found that something that was sent did not come to its end.
enum class error_origin : std::uint8_t {
  unknown,  ///< The kernel has kept no details: report_errors was off.
  local,    ///< This machine: message_size, before anything was sent.
  icmp,     ///< A router, or the other end, by ICMP.
  icmp6,    ///< The same by ICMPv6.
  other     ///< A report that is none of an error: SO_EE_ORIGIN_* in linux/errqueue.h.
};

/// What the network told of something that was sent.
struct datagram_error {
  std::error_code code;  ///< connection_refused, host_unreachable, message_size, …
  error_origin origin = error_origin::unknown;
  std::optional<address> destination{};  ///< Where it was sent to.
  std::optional<address> reporter{};     ///< Who said so; its port is 0.
  unsigned icmp_type = 0;                ///< As in the report, where it came by ICMP.
  unsigned icmp_code = 0;
  std::size_t mtu = 0;    ///< Of message_size: what the path takes, IP's header and UDP's (28 or 48 bytes) included.
  std::size_t bytes = 0;  ///< How much of the datagram lies in the buffer that was given for it.
};

class udp_socket {
 public:
  /// Binds, at once: it does not block.
  ///
  /// @errors  std::system_error: address_in_use, permission_denied (a port below 1024), address_not_available, …
  [[nodiscard]] static udp_socket bind(const udp_options& options = {});

  /// A socket that is connected to that peer, from an address of the kernel's choice. Nothing is sent, nobody need be
  /// there.
  ///
  /// @errors  std::system_error: network_unreachable, permission_denied (a broadcast address), …: connect(2)
  [[nodiscard]] static udp_socket connect(const address& peer);

  /// Takes over a socket.
  explicit udp_socket(unique_fd socket) noexcept;

  /// Connects the socket, or connects it to another peer. What has come before from others is still received.
  ///
  /// @errors  std::system_error: as connect(peer); address_family_not_supported.
  void set_peer(const address& peer);

  /// Ends that: it is connected to nobody. It may be bound to another port after it, where the kernel chose that.
  void clear_peer();

  // --------------------------------------------------------------------------------------------------------- sending

  /// Sends a datagram to the peer that the socket is connected to.
  ///
  /// @param bytes   All of it; empty is a datagram, too.
  /// @return        How many bytes: all.
  /// @errors        destination_address_required   the socket is not connected
  ///                connection_refused   something that was sent before has found nobody; this one was not sent
  ///                message_size         longer than a datagram can be, 65,507 bytes over IPv4; or than the path takes:
  ///                                     mtu_discovery
  ///                network_unreachable, permission_denied (a firewall), …: sendmsg(2)
  /// @cancellation  Safe: the datagram is sent, or not. It waits where the socket's buffer is full (send_buffer).
  /// @source        io_uring_prep_sendmsg(3); udp(7). Linux 5.3.
  [[nodiscard]] detail::sending send(std::span<const std::byte> bytes) noexcept { return send(bytes, send_options{}); }
  [[nodiscard]] detail::sending send(std::span<const std::byte> bytes, const send_options& how) noexcept {
    return {way(), bytes, std::nullopt, how};
  }

  /// The same of bytes in several places, one after another; at most IOV_MAX, which is 1024.
  [[nodiscard]] detail::sending send(std::span<const ::iovec> parts) noexcept { return send(parts, send_options{}); }
  [[nodiscard]] detail::sending send(std::span<const ::iovec> parts, const send_options& how) noexcept {
    return {way(), parts, std::nullopt, how};
  }

  /// Sends a datagram to an address; of a connected socket also to others.
  ///
  /// @param to      IPv4 also on a socket of both families; there and on one of IPv4 alone, ::ffff:a.b.c.d is a.b.c.d.
  /// @param how     What is to be otherwise than the socket has it.
  /// @errors        address_family_not_supported   the socket does not reach such an address, or how.from is of the
  ///                                               other family than `to`
  ///                invalid_argument     how.from is no address of this machine
  ///                permission_denied    a broadcast address, and `broadcast` is off
  ///                and as send()
  /// @cancellation  As send().
  [[nodiscard]] detail::sending send_to(std::span<const std::byte> bytes, const address& to) noexcept {
    return send_to(bytes, to, send_options{});
  }
  [[nodiscard]] detail::sending send_to(std::span<const std::byte> bytes, const address& to,
                                        const send_options& how) noexcept {
    return {way(), bytes, to, how};
  }
  [[nodiscard]] detail::sending send_to(std::span<const ::iovec> parts, const address& to) noexcept {
    return send_to(parts, to, send_options{});
  }
  [[nodiscard]] detail::sending send_to(std::span<const ::iovec> parts, const address& to,
                                        const send_options& how) noexcept {
    return {way(), parts, to, how};
  }

  /// Sends an answer to a datagram: to its source, and from the address that it was sent to, if that was asked for
  /// (datagram_details::destination). On a machine with several addresses a client may hear nobody else.
  [[nodiscard]] detail::sending answer(const datagram& question, std::span<const std::byte> bytes) noexcept {
    return send_to(bytes, question.source(), send_options{.from = question.facts().local});
  }
  [[nodiscard]] detail::sending answer(const received_datagram& question, std::span<const std::byte> bytes) noexcept {
    return send_to(bytes, question.source, send_options{.from = question.facts.local});
  }

  /// Sends many datagrams by one request (UDP_SEGMENT): the bytes are cut into pieces of one size, the last of which
  /// may be shorter. One pass through the network stack for all of them.
  ///
  /// @param bytes          At most segmented_bytes_max(segment_bytes): 64 segments, and 65,507 bytes.
  /// @param segment_bytes  Of each; it has to fit the path. 0, or no fewer than there are bytes: one datagram.
  /// @return        How many bytes: all.
  /// @errors        operation_not_supported   the network device of the route does not compute checksums
  ///                invalid_argument          too many segments for this kernel, or segments that do not fit the path
  ///                message_size              too many bytes
  ///                and as send_to()
  /// @cancellation  Safe: all of them are sent, or none.
  /// @source        udp(7), UDP_SEGMENT. Linux 4.18; 128 segments instead of 64 since Linux 6.9.
  [[nodiscard]] detail::sending send_segmented(std::span<const std::byte> bytes, std::uint16_t segment_bytes,
                                               const address& to) noexcept {
    return send_to(bytes, to, send_options{.segment_bytes = segment_bytes});
  }
  [[nodiscard]] detail::sending send_segmented(std::span<const std::byte> bytes, std::uint16_t segment_bytes) noexcept {
    return send(bytes, send_options{.segment_bytes = segment_bytes});
  }

  // ------------------------------------------------------------------------------------------------------- receiving

  /// Waits for a datagram, and tells nothing but its bytes: for a socket that is connected.
  ///
  /// @param buffer  What does not fit is lost; the result tells.
  /// @return        How much lies in the buffer, and how long the datagram was. 0 is a datagram without bytes.
  /// @errors        connection_refused, …   what the network told of something that was sent before: go on
  ///                operation_canceled      the socket was closed
  /// @cancellation  Safe: a datagram is delivered, or stays in the socket.
  /// @source        io_uring_prep_recv(3), MSG_TRUNC; udp(7). Linux 5.6.
  [[nodiscard]] detail::receiving_bytes receive(std::span<std::byte> buffer) noexcept { return {fd_, buffer, 0}; }

  /// Waits for a datagram, and tells whom it is from, and what else was asked for (datagram_details).
  ///
  /// @errors, @cancellation  As receive().
  /// @source        io_uring_prep_recvmsg(3). Linux 5.3.
  [[nodiscard]] detail::receiving receive_from(std::span<std::byte> buffer) noexcept { return {fd_, buffer, 0}; }

  /// The same into several places, filled one after another; at most IOV_MAX, which is 1024.
  [[nodiscard]] detail::receiving receive_from(std::span<const ::iovec> parts) noexcept { return {fd_, parts, 0}; }

  /// The datagrams as they come, by one request that stays in the kernel, each in a buffer of the pool: cheaper than
  /// receive_from() for a server.
  ///
  /// @param pool      Of buffer_bytes_for() bytes at least, as large as what is expected; not an incremental one.
  /// @param pause_at  So many in store, for a reader that is slow to take them, and the kernel is asked for no more.
  /// @errors          std::system_error: message_size   the pool's buffers have no room for any datagram
  ///                                     invalid_argument   the pool is incremental
  [[nodiscard]] incoming_datagrams datagrams(const buffer_pool& pool, std::size_t pause_at = 16);

  /// How large a pool's buffers have to be for datagrams of so many bytes, with what the socket is now asked to tell.
  [[nodiscard]] std::size_t buffer_bytes_for(std::size_t datagram_bytes) const;

  // ----------------------------------------------------------------------------------------------------------- errors

  /// Waits for what the network tells of something that was sent, with the details that are kept where report_errors
  /// is on. One that is told here may be the error of a send or a receive as well, and the other way round.
  ///
  /// @param datagram  Gets the first bytes of the datagram in question, where the report has them; may be empty.
  /// @errors          broken_pipe          the socket was shut down
  ///                  operation_canceled   it was closed
  /// @cancellation    Safe: what is not delivered stays in the socket.
  /// @limits          The kernel keeps as many as fit into receive_buffer.
  /// @source          ip(7), IP_RECVERR; io_uring_prep_poll_add(3).
  [[nodiscard]] task<datagram_error> receive_error(std::span<std::byte> datagram = {});

  /// The same without a wait: nothing, when nothing is there. Never blocks.
  [[nodiscard]] std::optional<datagram_error> try_receive_error(std::span<std::byte> datagram = {});

  // ----------------------------------------------------------------------------------------------------------- groups

  /// Receives what is sent to a group, from now on; as many groups as net.ipv4.igmp_max_memberships says, 20.
  ///
  /// @errors  std::system_error: invalid_argument (no group's address), no_such_device, address_in_use (is a member
  ///          already), no_buffer_space (too many groups)
  /// @source  ip(7), ipv6(7): MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP.
  void join(const multicast_group& group);

  /// Leaves a group that was joined in the same words.
  ///
  /// @errors  std::system_error: address_not_available (is no member)
  void leave(const multicast_group& group);

  /// What is sent to groups goes out by this interface: IP_MULTICAST_IF, IPV6_MULTICAST_IF. One of index 0: as the
  /// routing table says.
  ///
  /// @errors  std::system_error: no_such_device, address_not_available
  void set_multicast_interface(network_interface interface);

  // --------------------------------------------------------------------------------------------------------- the rest

  /// What it is bound to; tells the port that the kernel chose.
  [[nodiscard]] address local_address() const;

  /// What it is connected to.
  ///
  /// @errors  std::system_error: not_connected
  [[nodiscard]] address peer_address() const;

  /// How long a packet to its peer may be, as far as is known: IP_MTU, IPV6_MTU. IP's header and UDP's are part of it,
  /// 28 bytes over IPv4 and 48 over IPv6.
  ///
  /// @errors  std::system_error: not_connected
  [[nodiscard]] std::size_t path_mtu() const;

  /// Ends whatever is in flight on the socket, then closes it. What is ended throws operation_canceled, and
  /// incoming_datagrams end. The socket is empty from then on: what is asked of it is bad_file_descriptor.
  ///
  /// A socket that is destroyed closes by itself; nothing may be in flight on it then.
  ///
  /// @cancellation  None: once begun it closes, which takes no longer than a turn or two.
  [[nodiscard]] task<> close();

  /// Sets an option of datagram_options.hpp or socket_options.hpp: `socket.set(net::broadcast{})`. Never blocks.
  ///
  /// @errors  std::system_error that names the option: invalid_argument, permission_denied, …: setsockopt(2)
  template <socket_option Option>
  void set(const Option& option) {
    Option::apply(fd_, option);
  }

  /// What an option is: `socket.get<net::hop_limit>().hops`.
  template <socket_option Option>
  [[nodiscard]] Option get() const {
    return Option::ask(fd_);
  }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the socket away.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 private:
  [[nodiscard]] detail::way_out way() const noexcept {
    return {.socket = fd_, .reach = reach_, .peer_is_v6 = peer_is_v6_};
  }
  void note_peer() noexcept;
  void change_membership(const multicast_group& group, bool joins);

  unique_fd fd_;
  detail::reach reach_;
  bool peer_is_v6_ = false;
  ops::open_streams streams_;  // those of datagrams()
};

}  // namespace gyre::net
