// SPDX-License-Identifier: MIT
// Addresses to text and back.
#include <gyre/net/address.hpp>
#include <gyre/runtime/error.hpp>

#include <arpa/inet.h>
#include <net/if.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>

namespace gyre::net {
namespace {

struct host_and_port {
  std::string host;
  std::uint16_t port;
};

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// "[v6]:port", "[v6]", "v4:port", or an address alone; an IPv6 address alone has more than one colon.
std::optional<host_and_port> split(std::string_view text, std::uint16_t default_port) {
  std::string_view host = text;
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    if (host.find(':') == std::string_view::npos || (!rest.empty() && rest.front() != ':')) return std::nullopt;
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
    host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (host.find('\0') != std::string_view::npos) return std::nullopt;
  if (rest.empty()) return host_and_port{std::string{host}, default_port};
  const auto port = parse_port(rest.substr(1));
  if (!port) return std::nullopt;
  return host_and_port{std::string{host}, *port};
}

// RFC 5952. inet_ntop(3) follows it, but for the addresses below ::/96: it takes them for IPv4 addresses in IPv6, which
// nobody has used for twenty years (RFC 4291, 2.5.5.1), and prints "::1:50" as "::0.1.0.80".
void print_v6(const ::in6_addr& host, std::array<char, INET6_ADDRSTRLEN>& text) noexcept {
  ::inet_ntop(AF_INET6, &host, text.data(), INET6_ADDRSTRLEN);
  if (!IN6_IS_ADDR_V4COMPAT(&host) || std::strchr(text.data(), '.') == nullptr) return;
  const auto last_two = ntohl(host.s6_addr32[3]);
  std::snprintf(text.data(), text.size(), "::%x:%x", last_two >> 16, last_two & 0xffff);
}

// The scope of a link-local address: an interface's number or its name.
std::optional<std::uint32_t> parse_scope(const std::string& text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size()) return number;
  number = ::if_nametoindex(text.c_str());
  if (number == 0) return std::nullopt;
  return number;
}

}  // namespace

address::address() noexcept : storage_{} { storage_.v4.sin_family = AF_INET; }

address address::any(std::uint16_t port) noexcept { return address{}.with_port(port); }

address address::loopback(std::uint16_t port) noexcept {
  address made = any(port);
  made.storage_.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return made;
}

address address::any_v6(std::uint16_t port) noexcept {
  address made;
  made.storage_.v6 = {};
  made.storage_.v6.sin6_family = AF_INET6;
  return made.with_port(port);
}

result<address> address::parse(std::string_view text, std::uint16_t default_port) {
  const auto parts = split(text, default_port);
  if (!parts) return make_error_code(errc::invalid_address);

  address v4 = any(parts->port);
  if (::inet_pton(AF_INET, parts->host.c_str(), &v4.storage_.v4.sin_addr) == 1) return v4;

  address v6 = any_v6(parts->port);
  const auto percent = parts->host.find('%');
  if (::inet_pton(AF_INET6, parts->host.substr(0, percent).c_str(), &v6.storage_.v6.sin6_addr) != 1)
    return make_error_code(errc::invalid_address);
  if (percent != std::string::npos) {
    const auto scope = parse_scope(parts->host.substr(percent + 1));
    if (!scope) return make_error_code(errc::invalid_address);
    v6.storage_.v6.sin6_scope_id = *scope;
  }
  return v6;
}

result<address> address::from_kernel(const ::sockaddr_storage& storage) noexcept {
  address made;
  if (storage.ss_family == AF_INET) std::memcpy(&made.storage_.v4, &storage, sizeof made.storage_.v4);
  else if (storage.ss_family == AF_INET6) std::memcpy(&made.storage_.v6, &storage, sizeof made.storage_.v6);
  else return make_error_code(errc::invalid_address);
  return made;
}

std::uint16_t address::port() const noexcept { return ntohs(is_v4() ? storage_.v4.sin_port : storage_.v6.sin6_port); }

address address::with_port(std::uint16_t port) const noexcept {
  address changed = *this;
  (is_v4() ? changed.storage_.v4.sin_port : changed.storage_.v6.sin6_port) = htons(port);
  return changed;
}

std::string address::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_v4()) {
    ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text.data(), text.size());
    return std::string{text.data()} + ':' + std::to_string(port());
  }
  print_v6(storage_.v6.sin6_addr, text);
  std::string host = text.data();
  if (storage_.v6.sin6_scope_id != 0) host += '%' + std::to_string(storage_.v6.sin6_scope_id);
  return '[' + host + "]:" + std::to_string(port());
}

bool operator==(const address& left, const address& right) noexcept {
  return left.size() == right.size() && std::memcmp(&left.storage_, &right.storage_, left.size()) == 0;
}

}  // namespace gyre::net
