// SPDX-License-Identifier: MIT
// How an executor lets go of a descriptor.
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/send_to.hpp>

#include <utility>

namespace gyre::detail {

// A transfer that has crossed its cancel with a part goes on with the rest, which the next round finds. When nothing
// more is found, all that was found before has been reaped.
task<> end_all_on(fd_ref descriptor) {
  while (co_await ops::cancel_fd{descriptor} > 0) {
  }
}

// The slot here is free before anybody over there can send the descriptor home: one slot is enough for it.
task<direct_fd> change_tables(executor& there, direct_fd sent) {
  if (&there == &executor::current()) co_return sent;
  direct_fd arrived = co_await ops::msg_ring_fd{there, sent};
  co_await ops::close_direct{std::move(sent)};
  co_return arrived;
}

}  // namespace gyre::detail
