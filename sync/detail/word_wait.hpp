// SPDX-License-Identifier: MIT
// A queue's wait for a word: in the kernel, or for a moment by the executor's timers where the kernel has no such wait.
//
//   wait_begins()   FUTEX_WAIT is submitted. Once the kernel has refused one, as it does before Linux 6.7 and in a ring
//                   that polls devices (executor_options::iopoll): as a pause
//   pause()         nothing is submitted: it ends by itself after pause_duration
//   wait_is_over()  asks it to end. A wait in the kernel ends by its completion, a pause inside the call
//
// Either ends by `ended` with what came of it, and only then can the next begin:
//
//   0                     it was woken
//   -EINVAL, -EOPNOTSUPP  the kernel has no such wait. The next one is a pause
//   anything else         the word had changed, the wait was asked to end, the pause is over
#pragma once

#include <gyre/runtime/kernel_request.hpp>
#include <gyre/runtime/suspension.hpp>

#include <chrono>
#include <cstdint>

namespace gyre::sync::detail {

class word_queues;

class word_wait : public kernel_request {
 public:
  word_wait(const word_wait&) = delete;
  word_wait& operator=(const word_wait&) = delete;

 protected:
  static constexpr std::chrono::nanoseconds pause_duration = std::chrono::milliseconds{1};

  /// @param describe  Describes the FUTEX_WAIT.
  word_wait(word_queues& home, complete_fn ended, prepare_fn describe) noexcept
      : kernel_request{ended, describe}, home_{home} {}
  ~word_wait() = default;

  void wait_begins() noexcept;
  void pause() noexcept;
  void wait_is_over() noexcept;

  /// What came of it, said to `ended`: whether it took a wake.
  [[nodiscard]] bool was_woken(std::int32_t res) noexcept;

  word_queues& home_;

 private:
  struct pause_timer final : gyre::detail::timer {
    explicit pause_timer(word_wait& its_wait) noexcept : timer{kind_of_pause}, wait{its_wait} {}
    static void expired(timer& self) noexcept;
    static const gyre::detail::timer_kind kind_of_pause;
    word_wait& wait;
  };

  pause_timer pause_timer_{*this};
};

}  // namespace gyre::sync::detail
