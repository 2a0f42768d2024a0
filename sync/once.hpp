// SPDX-License-Identifier: MIT
// Something that is done once, by whichever coroutine comes first: std::call_once for what has to co_await.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/detail/short_lock.hpp>

#include <concepts>
#include <coroutine>
#include <functional>
#include <utility>

namespace gyre::sync {

/// Does something once, and has everybody wait until it is done.
///
///   sync::once connected;
///   …   co_await connected.call([&]() -> task<> { link = co_await connect(address); });   // wherever it is needed
///
/// For what needs no co_await a static local variable or std::call_once will do; for what is done at a known time, an
/// event that says that it is done.
///
/// Whoever comes first does it; the others wait. When it fails, by an exception or a stop, it was not done: the first
/// of those who wait does it then, with the function that it came with. Those who wait are queued on their own
/// executors in the order in which they came, and resumed there in this turn or the next.
///
/// A call() of the same `once` from inside the function waits for itself, for ever.
///
/// @threads  Coroutines on any executors call; any thread may look. No signal handlers.
/// @limits   Nobody calls it when it is destroyed.
class once {
 public:
  once() noexcept = default;
  once(const once&) = delete;
  once& operator=(const once&) = delete;
  ~once();

  /// Whether it is done. Then call() does not wait.
  [[nodiscard]] bool done() const noexcept { return stage_in(lock_.look()) == stage::done; }

  /// Does it, or waits until somebody else has.
  ///
  /// @param make_task  Called without arguments if it is this one's turn; gives the task<> that does it. Kept until the
  ///                   call ends.
  /// @errors           What make_task() or its task throws, for who ran it and nobody else.
  /// @cancellation     Who waits leaves at once. Who does it is stopped where it waits, and the next one begins anew.
  ///                   What is done lets pass, also in a scope that is cancelled.
  template <std::invocable Fn>
  task<> call(Fn make_task) {
    if (done()) co_return;
    attempt mine = co_await attempt_operation{*this};
    if (!mine) co_return;
    co_await std::invoke(make_task);
    mine.succeeded();
  }

 private:
  class attempt_operation;

  //   idle -> running      who came first
  //   running -> running   it has failed, and somebody waits, who is next
  //   running -> idle      it has failed
  //   running -> done
  enum class stage : detail::short_lock::word { idle, running, done };

  static stage stage_in(detail::short_lock::word seen) noexcept {
    return static_cast<stage>(detail::short_lock::number_in(seen));
  }
  static detail::short_lock::word word_of(stage said) noexcept {
    return static_cast<detail::short_lock::word>(said) * detail::short_lock::one;
  }

  /// The right to do it; empty where it is done. A failure, unless succeeded() was called.
  class attempt {
   public:
    explicit attempt(once* of) noexcept : of_{of} {}
    attempt(attempt&& other) noexcept : of_{std::exchange(other.of_, nullptr)} {}
    attempt& operator=(attempt&&) = delete;
    ~attempt() {
      if (of_ != nullptr) of_->failed();
    }
    explicit operator bool() const noexcept { return of_ != nullptr; }
    void succeeded() noexcept { std::exchange(of_, nullptr)->succeeded(); }

   private:
    once* of_;
  };

  class attempt_operation final : public suspension {
   public:
    explicit attempt_operation(once& of) noexcept : suspension{kind}, of_{of} {}

    [[nodiscard]] bool await_ready() noexcept { return of_.try_begin(is_its_turn_); }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      if (!begin(awaiter) || of_.enter(*this)) return true;
      end_at_once();
      return false;
    }
    attempt await_resume() {
      resumed();
      return attempt{is_its_turn_ ? &of_ : nullptr};
    }

   private:
    friend once;
    static bool withdraw(suspension& self) noexcept;
    static const suspension_kind kind;
    once& of_;
    bool is_its_turn_ = false;  // written by a granter before it resumes this
  };

  [[nodiscard]] bool try_begin(bool& is_its_turn) noexcept;
  [[nodiscard]] bool enter(attempt_operation& entering) noexcept;
  [[nodiscard]] bool leave(attempt_operation& leaving) noexcept;
  void succeeded() noexcept;
  void failed() noexcept;

  detail::short_lock lock_{0};  // its number: the stage
  suspension_list waiting_;     // under the lock
};

}  // namespace gyre::sync
