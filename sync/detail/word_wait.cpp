// SPDX-License-Identifier: MIT
// How a queue waits for a word: see word_wait.hpp for the two ways.
#include <gyre/sync/detail/word_queues.hpp>
#include <gyre/sync/detail/word_wait.hpp>

#include <cerrno>

namespace gyre::sync::detail {

void word_wait::wait_begins() noexcept {
  if (home_.kernel_waits_on_words) home_.loop.submit(*this);
  else pause();
}

void word_wait::pause() noexcept {
  const auto due = gyre::detail::later(home_.loop.now(), pause_duration);
  home_.loop.arm_on({gyre::detail::clock_id::steady, due}, pause_timer_);
}

void word_wait::wait_is_over() noexcept {
  if (!pause_timer_.armed()) return home_.loop.submit_cancel(*this);
  home_.loop.disarm_on(gyre::detail::clock_id::steady, pause_timer_);
  complete(*this, -ECANCELED, 0);
}

constinit const gyre::detail::timer_kind word_wait::pause_timer::kind_of_pause{&pause_timer::expired};

void word_wait::pause_timer::expired(timer& self) noexcept {
  word_wait& wait = static_cast<pause_timer&>(self).wait;
  wait.complete(wait, -ETIME, 0);
}

bool word_wait::was_woken(std::int32_t res) noexcept {
  if (res == -EINVAL || res == -EOPNOTSUPP) home_.kernel_waits_on_words = false;
  return res == 0;
}

}  // namespace gyre::sync::detail
