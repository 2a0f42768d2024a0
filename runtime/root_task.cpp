// SPDX-License-Identifier: MIT
// The beginning and the end of a root task, on its executor.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/root_task.hpp>

namespace gyre::detail {

root_base::root_base(executor& loop, const runnable_kind& its_kind) noexcept
    : runnable{its_kind}, scope_{loop.root_scope(), cancel_scope::kind::plain} {
  loop.now();  // who drives the executor may have been elsewhere for long: deadlines do not count from before that
  loop.make_ready(*this);
}

next_step root_base::end(ending how) noexcept {
  done_ = true;
  stopped_ = how == ending::stopped;
  scope_.executor().return_soon();
  return {std::noop_coroutine()};
}

}  // namespace gyre::detail
