// SPDX-License-Identifier: MIT
// Descriptors whose close waits in the kernel, closed where that holds up nobody.
//
// inotify(7) is one: its last close waits until every processor has passed a point where nobody looks at its watches
// any more, 8 to 20 ms. The ring is no way around it: IORING_OP_CLOSE runs in the thread that submits it.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

namespace gyre::fs::detail {

/// Closes a descriptor on a thread of its own, which ends with that; here, where no thread is to be had. For
/// destructors, which cannot await offload().
void close_elsewhere(unique_fd slow) noexcept;

}  // namespace gyre::fs::detail
