// SPDX-License-Identifier: MIT
// Children that nobody waits for any more: waited for all the same, so that no zombie stays.
//
// A thread does that, for all of them, and ends with the last. It belongs to no executor: who owned the child may have
// gone because its executor does. At the program's end the thread is not waited for; what is left then is init's.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

namespace gyre::fs::detail {

/// Takes over a child by its pidfd, and reaps it when it has ended.
///
/// @return   0; or the errno of making the thread: then `child` is still the caller's.
/// @threads  Any.
[[nodiscard]] int reap_elsewhere(unique_fd& child) noexcept;

}  // namespace gyre::fs::detail
