// SPDX-License-Identifier: MIT
// What is read of a datagram in the buffer in which it lies.
#include <gyre/net/datagram.hpp>
#include <gyre/net/detail/datagram_control.hpp>

#include <cstring>

namespace gyre::net {

address datagram::source() const noexcept { return detail::address_in(message_.source()).value_or(address{}); }

// The kernel says it in the head of the buffer, struct io_uring_recvmsg_out: its third number. The source follows that.
std::size_t datagram::datagram_bytes() const noexcept {
  std::uint32_t told = 0;
  std::memcpy(&told, message_.source().data() - 2 * sizeof told, sizeof told);
  return std::max<std::size_t>(told, payload().size());
}

datagram_facts datagram::facts() const noexcept { return detail::facts_in(message_.control()); }

}  // namespace gyre::net
