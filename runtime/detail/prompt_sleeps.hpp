// SPDX-License-Identifier: MIT
// Has the kernel end the sleeps of a thread at their time.
//
// Linux lets each sleep of a thread end late by its timer slack, 50 us unless somebody has set it, so that wakes can be
// shared. An executor knows its timers, and shares wakes by itself, where there is another timer to share one with
// (parker::sleep_max()). What the kernel added to that would help nobody, and make a lone timer late.
#pragma once

namespace gyre::detail {

/// While there are any on a thread, its timer slack is as small as can be; then it is what it was.
///
/// @threads    Destroyed on the thread that made it.
/// @limits     Also other sleeps of that thread end at their time. Threads that it starts meanwhile begin with its
///             slack. Where the call is forbidden nothing happens, and sleeps end as late as before.
/// @source     prctl(2), PR_SET_TIMERSLACK.
class prompt_sleeps {
 public:
  prompt_sleeps() noexcept;
  prompt_sleeps(const prompt_sleeps&) = delete;
  prompt_sleeps& operator=(const prompt_sleeps&) = delete;
  ~prompt_sleeps();
};

}  // namespace gyre::detail
