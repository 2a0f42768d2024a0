// SPDX-License-Identifier: MIT
// The options of sockets by name and type: socket(7), tcp(7), ip(7), ipv6(7).
//
//   peer.set(net::no_delay{true});
//   peer.set(net::keep_alive{.idle = 60s, .interval = 10s, .probes = 5});
//   const auto bytes = peer.get<net::receive_buffer>().bytes;
//
// Setting and asking never block, so they are calls and no operations. What the kernel refuses is a std::system_error
// that names the option. An option that is not here: set_option() and get_option() with numbers.
#pragma once

#include <gyre/runtime/fd_ref.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace gyre::net {

/// Sets an option by its numbers.
///
/// @param name    For the text of an error; a literal.
/// @errors        std::system_error: no_protocol_option, permission_denied, invalid_argument, …: setsockopt(2)
void set_option(fd_ref socket, int level, int option, std::span<const std::byte> value, const char* name);
void set_option(fd_ref socket, int level, int option, int value, const char* name);

/// Asks for one. Returns how many bytes of `value` it fills.
std::size_t get_option(fd_ref socket, int level, int option, std::span<std::byte> value, const char* name);
[[nodiscard]] int get_option(fd_ref socket, int level, int option, const char* name);

/// One of the types below, or one of a program's own that says the same.
template <class T>
concept socket_option = requires(fd_ref socket, const T& option) {
  T::apply(socket, option);
  { T::ask(socket) } -> std::same_as<T>;
};

// Each has apply() and ask(), which set() and get() of the sockets call, and which take any descriptor of a socket.

/// Small writes go out at once instead of being gathered: TCP_NODELAY.
struct no_delay {
  bool on = true;
  static void apply(fd_ref socket, no_delay option);
  [[nodiscard]] static no_delay ask(fd_ref socket);
};

/// Writes are gathered until a segment is full, for 200 ms at most: TCP_CORK.
struct cork {
  bool on = true;
  static void apply(fd_ref socket, cork option);
  [[nodiscard]] static cork ask(fd_ref socket);
};

/// What came is acknowledged at once. Not for good: the kernel goes its own way again later: TCP_QUICKACK.
struct quick_ack {
  bool on = true;
  static void apply(fd_ref socket, quick_ack option);
  [[nodiscard]] static quick_ack ask(fd_ref socket);
};

/// A peer that is silent is asked whether it is still there: SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT.
/// After idle + interval * probes a dead one is found: reads fail with timed_out.
struct keep_alive {
  bool on = true;
  std::chrono::seconds idle = std::chrono::seconds{7200};    ///< Silence before it is asked. 1 s to 32,767 s.
  std::chrono::seconds interval = std::chrono::seconds{75};  ///< Between two questions. 1 s to 32,767 s.
  int probes = 9;                                            ///< Questions without an answer. 1 to 127.
  static void apply(fd_ref socket, const keep_alive& option);
  [[nodiscard]] static keep_alive ask(fd_ref socket);
};

/// How long written bytes may stay without an acknowledgement before the connection fails with timed_out; zero: as
/// net.ipv4.tcp_retries2 says, a quarter of an hour or so. TCP_USER_TIMEOUT.
struct user_timeout {
  std::chrono::milliseconds limit{};
  static void apply(fd_ref socket, user_timeout option);
  [[nodiscard]] static user_timeout ask(fd_ref socket);
};

/// The kernel's buffer for what came: SO_RCVBUF. It takes twice what is asked for, for its own use, and says that; no
/// more than twice net.core.rmem_max. To be set before a listener listens, and before a stream connects.
struct receive_buffer {
  int bytes = 0;
  static void apply(fd_ref socket, receive_buffer option);
  [[nodiscard]] static receive_buffer ask(fd_ref socket);
};

/// The kernel's buffer for what is written: SO_SNDBUF. As receive_buffer, with net.core.wmem_max.
struct send_buffer {
  int bytes = 0;
  static void apply(fd_ref socket, send_buffer option);
  [[nodiscard]] static send_buffer ask(fd_ref socket);
};

/// What close(2) does with what was written and not sent yet: SO_LINGER. Empty: goes on in the background. Zero: drops
/// it and resets the connection. More: the close blocks for so long, in a worker thread of the kernel for ops::close.
struct linger_on_close {
  std::optional<std::chrono::seconds> limit{};
  static void apply(fd_ref socket, const linger_on_close& option);
  [[nodiscard]] static linger_on_close ask(fd_ref socket);
};

/// An address that old connections linger at can be bound again: SO_REUSEADDR.
struct reuse_address {
  bool on = true;
  static void apply(fd_ref socket, reuse_address option);
  [[nodiscard]] static reuse_address ask(fd_ref socket);
};

/// Several sockets of one user may be bound to the same address, and the kernel deals out: SO_REUSEPORT.
struct reuse_port {
  bool on = true;
  static void apply(fd_ref socket, reuse_port option);
  [[nodiscard]] static reuse_port ask(fd_ref socket);
};

/// An IPv6 socket takes no IPv4 connections: IPV6_V6ONLY. Before it is bound.
struct v6_only {
  bool on = true;
  static void apply(fd_ref socket, v6_only option);
  [[nodiscard]] static v6_only ask(fd_ref socket);
};

/// A listener gives a connection when its first bytes have come, or after about so long: TCP_DEFER_ACCEPT. Zero: at
/// once. The kernel rounds it to its retransmissions.
struct defer_accept {
  std::chrono::seconds limit{};
  static void apply(fd_ref socket, defer_accept option);
  [[nodiscard]] static defer_accept ask(fd_ref socket);
};

/// A listener takes data with the first segment, of so many connections at a time: TCP_FASTOPEN. net.ipv4.tcp_fastopen
/// says whether it is in force.
struct fast_open {
  int connections_max = 0;
  static void apply(fd_ref socket, fast_open option);
  [[nodiscard]] static fast_open ask(fd_ref socket);
};

/// A stream sends its first write with the first segment, where the server is known to take that:
/// TCP_FASTOPEN_CONNECT. Before it connects.
struct fast_open_connect {
  bool on = true;
  static void apply(fd_ref socket, fast_open_connect option);
  [[nodiscard]] static fast_open_connect ask(fd_ref socket);
};

/// How the connection finds its speed: "cubic", "reno", "bbr", as net.ipv4.tcp_available_congestion_control says:
/// TCP_CONGESTION.
struct congestion_control {
  std::string name{};
  static void apply(fd_ref socket, const congestion_control& option);
  [[nodiscard]] static congestion_control ask(fd_ref socket);
};

/// The byte in the header that routers go by, DSCP and ECN: IP_TOS, and IPV6_TCLASS for an IPv6 socket. The two bits of
/// ECN are TCP's own.
struct type_of_service {
  std::uint8_t value = 0;
  static void apply(fd_ref socket, type_of_service option);
  [[nodiscard]] static type_of_service ask(fd_ref socket);
};

/// The mark that routing and filters go by: SO_MARK. Needs CAP_NET_ADMIN, or CAP_NET_RAW.
struct packet_mark {
  std::uint32_t value = 0;
  static void apply(fd_ref socket, packet_mark option);
  [[nodiscard]] static packet_mark ask(fd_ref socket);
};

/// How long a read that would wait polls the network device first: SO_BUSY_POLL. More than net.core.busy_read needs
/// CAP_NET_ADMIN. For rings there is executor_options::napi.
struct busy_poll {
  std::chrono::microseconds duration{};
  static void apply(fd_ref socket, busy_poll option);
  [[nodiscard]] static busy_poll ask(fd_ref socket);
};

}  // namespace gyre::net
