// SPDX-License-Identifier: MIT
// A task that runs on an executor for a coroutine of another one: its scope, and its place in the executor's list.
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/intrusive.hpp>

namespace gyre::detail {

/// The executor's thread only. See on.hpp.
class guest : public ring_links {
 public:
  /// Arrives in `around`, the executor's root scope; leaves in its destructor.
  guest(intrusive_ring<guest>& list, cancel_scope& around) noexcept : scope{around, cancel_scope::kind::plain} {
    list.push_back(*this);
  }
  ~guest() { unlink(); }
  guest(const guest&) = delete;
  guest& operator=(const guest&) = delete;

  cancel_scope scope;
};

}  // namespace gyre::detail
