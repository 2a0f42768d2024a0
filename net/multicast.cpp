// SPDX-License-Identifier: MIT
// Interfaces by name and by number.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/multicast.hpp>

#include <net/if.h>

#include <array>
#include <system_error>

namespace gyre::net {

namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw std::system_error{std::make_error_code(std::errc::invalid_argument), "a network interface's name " + why};
}

}  // namespace

// What the C library is given ends at a NUL: so it would look for another one, which there may be.
network_interface network_interface::named(std::string_view name) {
  const std::string text{name};
  if (name.find('\0') != std::string_view::npos) refuse("has no zero in it: " + text.substr(0, name.find('\0')) + "…");
  if (name.size() >= IF_NAMESIZE) refuse("has at most 15 characters: " + text);
  const unsigned index = ::if_nametoindex(text.c_str());
  if (index == 0) detail::throw_socket_error(("if_nametoindex " + text).c_str());
  return {.index = index};
}

std::string network_interface::name() const {
  std::array<char, IF_NAMESIZE> text{};
  if (::if_indextoname(index, text.data()) == nullptr) detail::throw_socket_error("if_indextoname");
  return text.data();
}

}  // namespace gyre::net
