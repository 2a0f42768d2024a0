// SPDX-License-Identifier: MIT
// Which numbers an option has, and what its value is to the kernel.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/socket_options.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <limits>
#include <type_traits>

namespace gyre::net {
namespace {

// What does not fit the kernel's int is as much as fits.
template <class Duration>
int count_of(Duration duration) noexcept {
  constexpr auto most = std::numeric_limits<int>::max();
  return duration.count() < most ? static_cast<int>(duration.count()) : most;
}

// By which protocol the socket goes: AF_INET, AF_INET6, …
int family_of(fd_ref socket, const char* name) { return get_option(socket, SOL_SOCKET, SO_DOMAIN, name); }

std::span<const std::byte> bytes_of(const auto& value) noexcept { return std::as_bytes(std::span{&value, 1}); }

}  // namespace

void set_option(fd_ref socket, int level, int option, std::span<const std::byte> value, const char* name) {
  const auto size = static_cast<::socklen_t>(value.size());
  if (::setsockopt(socket.get(), level, option, value.data(), size) != 0) detail::throw_socket_error(name);
}

void set_option(fd_ref socket, int level, int option, int value, const char* name) {
  set_option(socket, level, option, bytes_of(value), name);
}

std::size_t get_option(fd_ref socket, int level, int option, std::span<std::byte> value, const char* name) {
  auto size = static_cast<::socklen_t>(value.size());
  if (::getsockopt(socket.get(), level, option, value.data(), &size) != 0) detail::throw_socket_error(name);
  return size;
}

int get_option(fd_ref socket, int level, int option, const char* name) {
  int value = 0;
  static_cast<void>(get_option(socket, level, option, std::as_writable_bytes(std::span{&value, 1}), name));
  return value;
}

// Those that are one int.
#define GYRE_NET_OPTION(type, member, level, option, to_kernel, from_kernel)                                           \
  void type::apply(fd_ref socket, type value) { set_option(socket, level, option, to_kernel(value.member), #option); } \
  type type::ask(fd_ref socket) { return {.member = from_kernel(get_option(socket, level, option, #option))}; }

GYRE_NET_OPTION(no_delay, on, IPPROTO_TCP, TCP_NODELAY, int, bool)
GYRE_NET_OPTION(cork, on, IPPROTO_TCP, TCP_CORK, int, bool)
GYRE_NET_OPTION(quick_ack, on, IPPROTO_TCP, TCP_QUICKACK, int, bool)
GYRE_NET_OPTION(user_timeout, limit, IPPROTO_TCP, TCP_USER_TIMEOUT, count_of, std::chrono::milliseconds)
GYRE_NET_OPTION(receive_buffer, bytes, SOL_SOCKET, SO_RCVBUF, int, int)
GYRE_NET_OPTION(send_buffer, bytes, SOL_SOCKET, SO_SNDBUF, int, int)
GYRE_NET_OPTION(reuse_address, on, SOL_SOCKET, SO_REUSEADDR, int, bool)
GYRE_NET_OPTION(reuse_port, on, SOL_SOCKET, SO_REUSEPORT, int, bool)
GYRE_NET_OPTION(v6_only, on, IPPROTO_IPV6, IPV6_V6ONLY, int, bool)
GYRE_NET_OPTION(defer_accept, limit, IPPROTO_TCP, TCP_DEFER_ACCEPT, count_of, std::chrono::seconds)
GYRE_NET_OPTION(fast_open, connections_max, IPPROTO_TCP, TCP_FASTOPEN, int, int)
GYRE_NET_OPTION(fast_open_connect, on, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, int, bool)
GYRE_NET_OPTION(packet_mark, value, SOL_SOCKET, SO_MARK, static_cast<int>, static_cast<std::uint32_t>)
GYRE_NET_OPTION(busy_poll, duration, SOL_SOCKET, SO_BUSY_POLL, count_of, std::chrono::microseconds)

#undef GYRE_NET_OPTION

// The times first: with the switch on and a time that is refused, it would ask by times that nobody chose.
void keep_alive::apply(fd_ref socket, const keep_alive& option) {
  if (option.on) {
    set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, count_of(option.idle), "TCP_KEEPIDLE");
    set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, count_of(option.interval), "TCP_KEEPINTVL");
    set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, option.probes, "TCP_KEEPCNT");
  }
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, int{option.on}, "SO_KEEPALIVE");
}

keep_alive keep_alive::ask(fd_ref socket) {
  return {.on = get_option(socket, SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE") != 0,
          .idle = std::chrono::seconds{get_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE")},
          .interval = std::chrono::seconds{get_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL")},
          .probes = get_option(socket, IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT")};
}

void linger_on_close::apply(fd_ref socket, const linger_on_close& option) {
  const ::linger value{.l_onoff = option.limit.has_value(), .l_linger = option.limit ? count_of(*option.limit) : 0};
  set_option(socket, SOL_SOCKET, SO_LINGER, bytes_of(value), "SO_LINGER");
}

linger_on_close linger_on_close::ask(fd_ref socket) {
  ::linger value{};
  static_cast<void>(
      get_option(socket, SOL_SOCKET, SO_LINGER, std::as_writable_bytes(std::span{&value, 1}), "SO_LINGER"));
  if (value.l_onoff == 0) return {};
  return {.limit = std::chrono::seconds{value.l_linger}};
}

void congestion_control::apply(fd_ref socket, const congestion_control& option) {
  set_option(socket, IPPROTO_TCP, TCP_CONGESTION, std::as_bytes(std::span{option.name}), "TCP_CONGESTION");
}

congestion_control congestion_control::ask(fd_ref socket) {
  std::array<char, 16> name{};  // linux/tcp.h, TCP_CA_NAME_MAX, its zero included
  static_cast<void>(
      get_option(socket, IPPROTO_TCP, TCP_CONGESTION, std::as_writable_bytes(std::span{name}), "TCP_CONGESTION"));
  return {.name = std::string{name.data(), ::strnlen(name.data(), name.size())}};
}

void type_of_service::apply(fd_ref socket, type_of_service option) {
  if (family_of(socket, "SO_DOMAIN") == AF_INET6)
    return set_option(socket, IPPROTO_IPV6, IPV6_TCLASS, option.value, "IPV6_TCLASS");
  set_option(socket, IPPROTO_IP, IP_TOS, option.value, "IP_TOS");
}

type_of_service type_of_service::ask(fd_ref socket) {
  const int value = family_of(socket, "SO_DOMAIN") == AF_INET6
                        ? get_option(socket, IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS")
                        : get_option(socket, IPPROTO_IP, IP_TOS, "IP_TOS");
  return {.value = static_cast<std::uint8_t>(value)};
}

}  // namespace gyre::net
