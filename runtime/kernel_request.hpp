// SPDX-License-Identifier: MIT
// A request to the kernel that no coroutine awaits: for an object that waits in the kernel on behalf of many.
//
// Who writes such an object derives it from kernel_request, gives the two functions, and keeps it alive until the last
// completion; executor::local() is a place for that. sync/detail/word_queues.hpp is an example.
//
//   kernel_request(complete, prepare)
//   executor::submit(request)          describes it by `prepare`, at once or when there is a place
//   complete(request, res, flags)      its completion: res as the kernel gives it, negative is -errno. The last one
//                                      has no IORING_CQE_F_MORE; from then on it can be submitted again
//   executor::submit_cancel(request)   the kernel is asked to end it. It ends by its own completion, as ever:
//                                      -ECANCELED, or what it had come to before. One that waits for a place ends
//                                      inside the call
//
// All on the executor's thread. `complete` runs between coroutines and never inside one: it may submit, cancel, and
// make coroutines ready.
#pragma once

#include <gyre/runtime/detail/completion_handler.hpp>

namespace gyre {

using kernel_request = detail::completion_handler;

}  // namespace gyre
