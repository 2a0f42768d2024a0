// SPDX-License-Identifier: MIT
// The wait at the meeting point of merged streams.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/stream_ops.hpp>

#include <cerrno>

namespace gyre::detail {

constinit const waiter_kind meeting_wait::kind_of_meeting{
    {&meeting_wait::run_slowly}, &meeting_wait::cancel_waiting, "merged streams"};

void meeting_wait::cancel_waiting(waiter& self) noexcept {
  auto& waiting = static_cast<meeting_wait&>(self);
  waiting.unlink();
  waiting.settle(/*as_stopped=*/true);
}

bool meeting_wait::has_heard_of_stop() noexcept {
  end_wait();
  return was_stopped();
}

void meeting_wait::end_meeting() {
  if (has_heard_of_stop()) [[unlikely]]
    throw_errno(ECANCELED, "merged streams");
}

}  // namespace gyre::detail
