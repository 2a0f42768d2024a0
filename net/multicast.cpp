// SPDX-License-Identifier: MIT
// Interfaces by name and by number.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/multicast.hpp>

#include <net/if.h>

#include <array>

namespace gyre::net {

network_interface network_interface::named(std::string_view name) {
  const std::string text{name};
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
