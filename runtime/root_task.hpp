// SPDX-License-Identifier: MIT
// The task that stands above all others: what run() and executor::start() run, and who drives the executor owns.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <coroutine>
#include <string_view>
#include <utility>

namespace gyre {

namespace detail {

/// What root tasks of all types have in common.
class root_base : protected runnable {
 public:
  /// Whether it has ended.
  [[nodiscard]] bool done() const noexcept { return done_; }

  /// Whether it ended by a cancel of its scope: there is no value then.
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

  [[nodiscard]] cancel_scope& scope() noexcept { return scope_; }
  void cancel(std::string_view reason = {}) noexcept { scope_.cancel(reason); }

 protected:
  /// Queues it: its kind starts the task in a turn of the executor, this one or the next.
  root_base(executor& loop, const runnable_kind& its_kind) noexcept;
  ~root_base() {
    GYRE_ASSERT(done_, "a root task was destroyed before it ended: cancel it, and turn its executor until it is done");
  }

  /// The task has ended: whoever drives the executor gets it back without a sleep.
  next_step end(ending how) noexcept;

 private:
  friend class gyre::executor;

  cancel_scope scope_;
  bool done_ = false;
  bool stopped_ = false;
};

}  // namespace detail

/// A task that the program itself drives: started by executor::start(), run by executor::turn().
///
/// It must have ended before it is destroyed: cancel() it, and turn until done().
template <class T>
class root_task : detail::bounded_task<T>, public detail::root_base {
 public:
  root_task(gyre::executor& loop, task<T> root)
      : detail::bounded_task<T>{std::move(root), &root_ended}, root_base{loop, kind_of_root} {}

  using root_base::scope;  // and not the member of the boundary

  /// Its value, or its exception; system_error(operation_canceled) when it was stopped. Once, when done.
  T get() {
    GYRE_ASSERT(done(), "a task has a result when it has ended");
    if (stopped()) detail::throw_errno(ECANCELED, "the root task was cancelled");
    return this->take_result();
  }

 private:
  static void start(runnable& self) noexcept {
    auto& root = static_cast<root_task&>(self);
    root.begin(root.scope()).resume();
  }

  static detail::next_step root_ended(detail::boundary& self, detail::ending how) noexcept {
    auto& root = static_cast<root_task&>(self);
    root.leave_scope();
    return root.end(how);
  }

  static constexpr detail::runnable_kind kind_of_root{&root_task::start};
};

}  // namespace gyre
