// SPDX-License-Identifier: MIT
// The first on a thread sets its slack, the last one sets it back.
#include <gyre/runtime/detail/prompt_sleeps.hpp>

#include <sys/prctl.h>

namespace gyre::detail {
namespace {

thread_local int count_on_thread = 0;
thread_local int slack_before_ns = -1;  // less than zero: not known

}  // namespace

prompt_sleeps::prompt_sleeps() noexcept {
  constexpr unsigned long smallest_ns = 1;  // zero means: what the thread began with
  if (++count_on_thread > 1) return;
  slack_before_ns = ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  if (slack_before_ns > 0) ::prctl(PR_SET_TIMERSLACK, smallest_ns, 0, 0, 0);
}

prompt_sleeps::~prompt_sleeps() {
  if (--count_on_thread > 0 || slack_before_ns <= 0) return;
  ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(slack_before_ns), 0, 0, 0);
}

}  // namespace gyre::detail
