// SPDX-License-Identifier: MIT
// Tasks that run side by side, and the one place that waits for all of them.
//
// A group is a boundary and a scope. Its first child is the body, the function that starts the others. It ends when the
// last child has ended, in one of three ways:
//
//   an exception   the first that left a child, unless the policy is to log it; the others' are logged
//   stopped        the scope around the group was cancelled, and no child failed
//   normally       otherwise, also when the group itself was cancelled
//
//   child: queued -> running -> ended      queued: in the executor's ready queue, not begun
//
// A child that is still queued when the group is cancelled is not begun: its arguments are destroyed.
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

namespace gyre {

/// What a task group does when an exception leaves one of its children.
enum class error_policy : std::uint8_t {
  cancel_siblings,  ///< Cancel all the others; with_task_group() rethrows it when they have ended.
  log_and_continue  ///< Log it; the others go on. The body's own exception still cancels the group.
};
inline constexpr error_policy cancel_siblings = error_policy::cancel_siblings;
inline constexpr error_policy log_and_continue = error_policy::log_and_continue;

struct task_group_options {
  error_policy on_error = cancel_siblings;
};

namespace detail {
template <class Fn>
class task_group_region;
}

/// The open group that with_task_group() gives its body.
class task_group {
 public:
  task_group(const task_group&) = delete;
  task_group& operator=(const task_group&) = delete;

  /// Starts a task: it begins in the executor's next turn, and the group waits for it.
  ///
  /// @param child   Owned by the group from here on; its frame is destroyed when it ends.
  /// @errors        std::bad_alloc: then the child is destroyed without having begun.
  /// @cancellation  In a group that is cancelled the child does not begin.
  /// @threads       The executor's thread, while the group is open.
  void start(task<> child);

  /// Calls `fn(args…)` and starts the task that it returns. Owns the callable and the arguments until the task has
  /// ended, so that a lambda's captures live as long as its coroutine.
  template <class Fn, class... Args>
    requires std::invocable<Fn&, Args&...> && std::same_as<std::invoke_result_t<Fn&, Args&...>, task<>>
  void start(Fn fn, Args... args) {
    start(call(std::move(fn), std::move(args)...));
  }

  /// Asks everything in the group to stop, the body too. with_task_group() then returns normally.
  ///
  /// @param reason  As for cancel_scope::cancel().
  void cancel(std::string_view reason = {}) noexcept { scope_->cancel(reason); }

  /// The group's scope.
  [[nodiscard]] cancel_scope& scope() noexcept { return *scope_; }

  /// Children that have been started and have not ended. The body is not counted.
  [[nodiscard]] std::size_t size() const noexcept { return children_count_; }

 private:
  template <class Fn>
  friend class detail::task_group_region;
  class child;

  explicit task_group(task_group_options options) noexcept : options_{options} {}
  ~task_group() { GYRE_ASSERT(children_count_ == 0, "a task group was destroyed while children are running"); }

  template <class Fn, class... Args>
  static task<> call(Fn fn, Args... args) {
    co_await fn(args...);
  }

  void failed(std::exception_ptr error, error_policy policy) noexcept;

  // When the body and all children have ended, closes the group; returns what follows.
  detail::next_step leave_if_empty() noexcept;

  task_group_options options_;
  std::optional<cancel_scope> scope_;
  detail::awaiting_coroutine awaiting_;
  std::size_t children_count_ = 0;
  std::exception_ptr error_;
  bool body_runs_ = false;
  bool stopped_ = false;  // from outside, and told to a coroutine that cannot be unwound
};

namespace detail {

/// What with_task_group() awaits: the body's callable stays here, captures and all, until the group has ended.
template <class Fn>
class task_group_region : bounded_task<void> {
 public:
  using gyre_awaitable = void;

  task_group_region(task_group_options options, Fn&& body)
      : bounded_task<void>{&body_ended}, group_{options}, body_{std::move(body)} {}

  /// Before it is awaited.
  task_group_region(task_group_region&& other) : task_group_region{other.group_.options_, std::move(other.body_)} {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    group_.awaiting_ = awaiting_coroutine{awaiting};
    group_.scope_.emplace(group_.awaiting_.scope(), cancel_scope::kind::plain);
    group_.body_runs_ = true;
    try {
      hold(body_(group_));
    } catch (...) {
      group_.body_runs_ = false;
      group_.failed(std::current_exception(), cancel_siblings);
      return follow(group_.leave_if_empty());
    }
    return begin(*group_.scope_);
  }

  void await_resume() {
    if (group_.error_) std::rethrow_exception(std::move(group_.error_));
    if (group_.stopped_) throw_errno(ECANCELED, "task group");
  }

 private:
  static next_step body_ended(boundary& self, ending how) noexcept {
    auto& region = static_cast<task_group_region&>(self);
    region.leave_scope();
    region.group_.body_runs_ = false;
    if (how == ending::ended) region.take_body_result();
    return region.group_.leave_if_empty();
  }

  void take_body_result() noexcept {
    try {
      take_result();
    } catch (...) {
      group_.failed(std::current_exception(), cancel_siblings);
    }
  }

  task_group group_;
  Fn body_;
};

}  // namespace detail

/// Opens a group, runs `body(group)` in it, and waits until the body and every child that was started have ended.
///
/// @param options  What to do when a child fails.
/// @param body     Returns task<>. Lives until the group has ended, captures and all.
/// @errors         The first exception that left the body, or a child under cancel_siblings.
/// @cancellation   Stops the body and all children, and waits for them. A failure of a child is rethrown all the same.
template <class Fn>
  requires std::invocable<Fn&, task_group&> && std::same_as<std::invoke_result_t<Fn&, task_group&>, task<>>
[[nodiscard]] detail::task_group_region<Fn> with_task_group(task_group_options options, Fn body) {
  return detail::task_group_region<Fn>{options, std::move(body)};
}

/// The same with the default options: a child's failure cancels its siblings.
template <class Fn>
  requires std::invocable<Fn&, task_group&> && std::same_as<std::invoke_result_t<Fn&, task_group&>, task<>>
[[nodiscard]] detail::task_group_region<Fn> with_task_group(Fn body) {
  return detail::task_group_region<Fn>{{}, std::move(body)};
}

}  // namespace gyre
