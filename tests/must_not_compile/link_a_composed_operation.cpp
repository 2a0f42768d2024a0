// SPDX-License-Identifier: MIT
// An operation of several requests cannot be a member of a chain.
// must say: a chain is made of operations that are one request each
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include <cstddef>
#include <span>

auto linked(std::span<const std::byte> bytes) {
  return gyre::ops::link(gyre::ops::send_all(0, bytes), gyre::ops::nop());
}
