// SPDX-License-Identifier: MIT
// The end of a child, as kernels tell it that have no waitid operation.
#pragma once

#include <gyre/runtime/task.hpp>

namespace gyre::fs::detail {

/// Waits until a child has ended, and leaves it to be reaped.
///
/// @param handle  Its pidfd, which stays open.
/// @errors        std::system_error: no_child_process
/// @source        pidfd_open(2), poll. Linux 5.3.
[[nodiscard]] task<> until_ended_by_poll(int handle);

}  // namespace gyre::fs::detail
