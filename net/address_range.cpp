// SPDX-License-Identifier: MIT
// Ranges of addresses to text and back.
#include <gyre/net/address_range.hpp>
#include <gyre/runtime/error.hpp>

namespace gyre::net {

result<address_range> address_range::parse(std::string_view text) noexcept {
  const auto found = read(text);
  if (!found) return make_error_code(errc::invalid_address);
  return *found;
}

std::string address_range::to_string() const { return first_.host() + '/' + std::to_string(prefix_length_); }

}  // namespace gyre::net
