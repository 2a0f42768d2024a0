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
//
// Room, for groups with max_tasks: a child that ends offers its place to the first of those who wait for room, which
// goes into the ready queue. There it looks again: somebody may have started a child without waiting. Then it waits on,
// at its place in the line. When it has resumed it offers what room is left to the next, since it may not use it: no
// offer is lost, at the price of one look in vain for each.
//
//   room: waiting <-> offered -> resumed      in both of the first it is in the group's line, in the order of its call
//         waiting -> stopped                  cancelled; one that is offered is not waiting
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_handle.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace gyre {

/// What a task group does when an exception leaves one of its children.
enum class error_policy : std::uint8_t {
  cancel_siblings,  ///< Cancel all the others; with_task_group() rethrows it when they have ended.
  log_and_continue  ///< Log it; the others go on. The body's own exception still cancels the group.
};
inline constexpr error_policy cancel_siblings = error_policy::cancel_siblings;
inline constexpr error_policy log_and_continue = error_policy::log_and_continue;

/// What task_group_options::on_error takes: a policy, or a function of the program's own.
class error_handling {
 public:
  error_handling(error_policy policy) noexcept : policy_{policy} {}  // NOLINT(google-explicit-constructor)

  /// @param handler  Called as void(std::exception_ptr) with each exception that leaves a child, when the child's frame
  ///                 is gone and before the group can end; the other children go on. On the executor's thread, in no
  ///                 coroutine: it may cancel the group or start a child. What it throws is the group's failure.
  template <class Fn>
    requires std::invocable<Fn&, std::exception_ptr>
  error_handling(Fn handler)  // NOLINT(google-explicit-constructor)
      : handler_{std::make_shared<handler_of<Fn>>(std::move(handler))} {}

  /// Whether it is log_and_continue: for who knows more of a child than the group does, and logs in its place.
  [[nodiscard]] bool only_logs() const noexcept {
    return handler_ == nullptr && policy_ == error_policy::log_and_continue;
  }

 private:
  friend task_group;

  // Behind a pointer, as few groups have one and each pays for what lies in its frame.
  struct any_handler {
    any_handler() noexcept = default;
    any_handler(const any_handler&) = delete;
    any_handler& operator=(const any_handler&) = delete;
    virtual ~any_handler() = default;
    virtual void handle(std::exception_ptr error) = 0;
  };
  template <class Fn>
  struct handler_of final : any_handler {
    explicit handler_of(Fn&& its_fn) : fn{std::move(its_fn)} {}
    void handle(std::exception_ptr error) override { fn(std::move(error)); }
    Fn fn;
  };

  error_policy policy_ = error_policy::log_and_continue;
  std::shared_ptr<any_handler> handler_;
};

struct task_group_options {
  /// cancel_siblings, log_and_continue, or a function: what an exception that leaves a child does. One that leaves the
  /// body cancels the group in any case.
  error_handling on_error = cancel_siblings;

  /// How many children room() lets run at a time. More than zero.
  std::size_t max_tasks = SIZE_MAX;
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

  /// Starts a task: it begins soon, not inside the call, and the group waits for it.
  ///
  /// @param started Owned by the group from here on; its frame is destroyed when it ends.
  /// @errors        std::bad_alloc: then the child is destroyed without having begun.
  /// @cancellation  In a group that is cancelled the child does not begin.
  /// @threads       The executor's thread, while the group is open.
  /// @limits        Does not wait: with max_tasks children it makes one more, and room() waits until they are fewer.
  ///                co_await room() right before it.
  void start(task<> started);

  /// Calls `fn(args…)` and starts the task that it returns. Owns the callable and the arguments until the task has
  /// ended, so that a lambda's captures live as long as its coroutine.
  template <class Fn, class... Args>
    requires std::invocable<Fn&, Args&...> && std::same_as<std::invoke_result_t<Fn&, Args&...>, task<>>
  void start(Fn fn, Args... args) {
    start(call(std::move(fn), std::move(args)...));
  }

  /// Starts a task whose result is wanted. co_await the handle for it, or destroy the handle: see task_handle.
  ///
  /// Otherwise as start().
  template <class T>
  task_handle<T> start_with_result(task<T> started) {
    return task_handle<T>{new detail::result_child<T>{*this, std::move(started)}};
  }

  /// Calls `fn(args…)`, and keeps the callable and the arguments until the task that it returns has ended.
  template <class Fn, class... Args>
    requires(std::invocable<Fn&, Args&...> && detail::is_task<std::invoke_result_t<Fn&, Args&...>>)
  auto start_with_result(Fn fn, Args... args) {
    return start_with_result(call(std::move(fn), std::move(args)...));
  }

  /// The wait of room().
  class [[nodiscard]] room_operation final : public detail::waiter, public detail::ring_links {
   public:
    explicit room_operation(task_group& of) noexcept : waiter{kind_of_room}, group_{of} {}
    room_operation(room_operation&& other) noexcept : waiter{kind_of_room, other}, group_{other.group_} {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      return suspend(awaiter, bound_of(awaiter));
    }

    /// Throws operation_canceled when the stop was asked for as an error: stopped_as_error().
    void await_resume();
    [[nodiscard]] result<void> await_result() noexcept;

   private:
    friend task_group;
    bool suspend(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept;
    static void run(runnable& self) noexcept;
    static void cancel_waiting(waiter& self) noexcept;
    static const detail::waiter_kind kind_of_room;
    task_group& group_;
    bool offered_ = false;
  };

  /// Waits until there are fewer than max_tasks children. First come, first served.
  ///
  /// The room is there until the next co_await: start the child before it, when several coroutines start children.
  ///
  ///   for (;;) {
  ///     auto client = co_await listener.accept();
  ///     co_await group.room();
  ///     group.start(session(std::move(client)));
  ///   }
  ///
  /// @cancellation  Safe; at once. Stopped also where there is room.
  /// @threads       The executor's thread, inside the group: in its body or a child.
  room_operation room() noexcept { return room_operation{*this}; }

  /// Whether there are fewer than max_tasks children.
  [[nodiscard]] bool has_room() const noexcept { return awaiting_.running_count < options_.max_tasks; }

  /// Asks everything in the group to stop, the body too. with_task_group() then returns normally.
  ///
  /// @param reason  As for cancel_scope::cancel().
  void cancel(std::string_view reason = {}) noexcept { scope_->cancel(reason); }

  /// The group's scope.
  [[nodiscard]] cancel_scope& scope() noexcept { return *scope_; }

  /// Children that have been started and have not ended. The body is not counted.
  [[nodiscard]] std::size_t size() const noexcept { return awaiting_.running_count; }

 private:
  template <class Fn>
  friend class detail::task_group_region;
  friend detail::result_child_base;
  class child;

  explicit task_group(task_group_options&& options) noexcept : options_{std::move(options)} {}
  ~task_group() {
    GYRE_ASSERT(awaiting_.running_count == 0, "a task group was destroyed while children are running");
    GYRE_ASSERT(waiting_for_room_.empty(), "who waits for room in a group is in the group: it has ended");
  }

  template <class Fn, class... Args>
  static std::invoke_result_t<Fn&, Args&...> call(Fn fn, Args... args) {
    co_return co_await detail::for_caller(fn(args...));
  }

  // In task_group.cpp only, so that they are a part of who calls them.
  inline void queue(detail::runnable& begun) noexcept;
  inline detail::next_step child_left() noexcept;
  void failed(std::exception_ptr error, error_policy policy) noexcept;
  void child_failed(std::exception_ptr error) noexcept;
  [[gnu::noinline]] detail::next_step child_left_with_care() noexcept;
  void offer_room() noexcept;

  // When the body and all children have ended, closes the group; returns what follows.
  detail::next_step leave_if_empty() noexcept;

  task_group_options options_;
  std::optional<cancel_scope> scope_;
  detail::awaiting_several awaiting_{"with_task_group"};  // its children; the body is not counted
  bool room_is_wanted_ = false;                           // somebody was in the line below when it was looked at last
  detail::intrusive_ring<room_operation> waiting_for_room_;
  std::size_t offers_count_ = 0;                                          // of them, who are in the ready queue
  detail::intrusive_ring<detail::result_child_base> awaitable_children_;  // whose handles have not let go of them
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

  task_group_region(task_group_options&& options, Fn&& body)
      : bounded_task<void>{&body_ended}, group_{std::move(options)}, body_{std::move(body)} {}

  /// Before it is awaited.
  task_group_region(task_group_region&& other)
      : task_group_region{std::move(other.group_.options_), std::move(other.body_)} {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    group_.awaiting_.begin(awaiting);
    group_.scope_.emplace(group_.awaiting_.scope(), cancel_scope::kind::plain, &group_.awaiting_);
    role = boundary_role::body;
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
/// @param options  What to do when a child fails, and how many room() lets run at a time.
/// @param body     Returns task<>. Lives until the group has ended, captures and all.
/// @errors         The first exception that left the body, or a child under cancel_siblings.
/// @cancellation   Stops the body and all children, and waits for them. A failure of a child is rethrown all the same.
template <class Fn>
  requires std::invocable<Fn&, task_group&> && std::same_as<std::invoke_result_t<Fn&, task_group&>, task<>>
[[nodiscard]] detail::task_group_region<Fn> with_task_group(task_group_options options, Fn body) {
  return detail::task_group_region<Fn>{std::move(options), std::move(body)};
}

/// The same with the default options: a child's failure cancels its siblings.
template <class Fn>
  requires std::invocable<Fn&, task_group&> && std::same_as<std::invoke_result_t<Fn&, task_group&>, task<>>
[[nodiscard]] detail::task_group_region<Fn> with_task_group(Fn body) {
  return detail::task_group_region<Fn>{{}, std::move(body)};
}

}  // namespace gyre
