// SPDX-License-Identifier: MIT
// A coroutine that waits for a condition, and then for the mutex that it had: see condition_variable.hpp.
//
//   sleeps_      in the condition's queue. Left by a notify, or by a cancel (`is_stopped_`)
//   afterwards   in the mutex's, which nothing but the mutex ends
//   granted      goes on; where it was stopped it is unwound from there, with the mutex held
#pragma once

#include <gyre/sync/detail/condition_queue.hpp>
#include <gyre/sync/detail/lock_wait.hpp>

#include <coroutine>
#include <cstdint>

namespace gyre::sync::detail {

class condition_wait_base : public lock_wait {
 public:
  [[nodiscard]] bool await_ready() {
    prepare();
    return false;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) sleep();
    else sleep_no_more();
  }

 protected:
  condition_wait_base(condition_words& words, mutex_word& lock) noexcept
      : lock_wait{kind_of_condition, lock}, words_{&words} {}
  condition_wait_base(condition_wait_base&&) noexcept = default;

 private:
  friend class condition_queue;
  static const suspension_kind kind_of_condition;

  void prepare();
  void sleep() noexcept;
  void sleep_no_more() noexcept;
  void notified() noexcept;
  static bool withdraw(suspension& self) noexcept;
  static bool arrived(suspension& self) noexcept;

  condition_words* words_;
  condition_queue* condition_ = nullptr;
  std::uint64_t since_ = 0;  // what the condition's word said when it began to sleep
  bool sleeps_ = false;
  bool is_stopped_ = false;
};

}  // namespace gyre::sync::detail
