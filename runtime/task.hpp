// SPDX-License-Identifier: MIT
// A lazy coroutine with one awaiter and three ways to end: a value, an exception, or stopped.
//
// A task starts when it is awaited, on the executor and in the scope of who awaits it, by symmetric transfer; it ends
// the same way. How a stop takes it down is detail/promise_base.hpp's business.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/detail/promise_base.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/error.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

// Older compilers turn coroutines into programs that fail at run time; see README, "What it needs".
#if defined(__clang__)
#if __clang_major__ < 16
#error "gyre needs clang 16 or newer: older ones cache thread-local addresses across a co_await"
#endif
#elif defined(__GNUC__) && __GNUC__ < 14
#error "gyre needs g++ 14 or newer: older ones destroy the temporaries of a co_await twice, or never resume"
#endif

// With this attribute clang 20 and newer put the frame of an immediately awaited task into the frame of who awaits it.
#if defined(__clang__) && defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::coro_await_elidable)
#define GYRE_DETAIL_AWAIT_ELIDABLE [[clang::coro_await_elidable]]
#endif
#endif
#ifndef GYRE_DETAIL_AWAIT_ELIDABLE
#define GYRE_DETAIL_AWAIT_ELIDABLE
#endif

namespace gyre {

template <class T = void>
class task;

namespace detail {

/// Marks awaitables that know of scopes by themselves; any other is taken for somebody else's.
template <class Awaitable>
concept own_awaitable = std::derived_from<Awaitable, waiter> || requires { typename Awaitable::gyre_awaitable; };

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

class coroutine_promise;

/// What a coroutine of gyre's awaits for its caller: diagnosis shows the caller's line, and not the one in gyre.
template <class Awaitable>
struct awaited_for_caller {
  Awaitable&& awaited;
};
template <class Awaitable>
awaited_for_caller<Awaitable> for_caller(Awaitable&& awaited) noexcept {
  return {std::forward<Awaitable>(awaited)};
}

// What the language makes of `co_await x` before it calls anything of it.
template <class T>
concept has_member_co_await = requires(T&& awaited) { static_cast<T&&>(awaited).operator co_await(); };
template <class T>
concept has_free_co_await = requires(T&& awaited) { operator co_await(static_cast<T&&>(awaited)); };
template <class T>
decltype(auto) awaiter_of(T&& awaited) {
  if constexpr (has_member_co_await<T>) return static_cast<T&&>(awaited).operator co_await();
  else if constexpr (has_free_co_await<T>) return operator co_await(static_cast<T&&>(awaited));
  else return static_cast<T&&>(awaited);
}
template <class T>
using awaiter_of_t = std::remove_reference_t<decltype(awaiter_of(std::declval<T>()))>;

template <class T>
concept has_awaiter = requires(awaiter_of_t<T>& awaiter) {
  { awaiter.await_ready() } -> std::convertible_to<bool>;
  awaiter.await_resume();
};
template <class T>
concept can_suspend_gyre = requires(awaiter_of_t<T>& awaiter, std::coroutine_handle<coroutine_promise> awaiting) {
  awaiter.await_suspend(awaiting);
};

/// A coroutine function, or a lambda that is one, that was not called.
template <class T>
concept makes_a_task = requires(T&& function) { requires is_task<std::remove_cvref_t<decltype(function())>>; };

}  // namespace detail

/// What can be awaited in a gyre coroutine: `co_await std::declval<T>()`. For a variable, T is an lvalue reference.
///
/// - a task that is given away: task<int>, and not task<int>&;
/// - what gyre's functions return: operations, sleeps, deadlines, groups;
/// - anything of another library whose await_suspend() takes the handle of any coroutine.
template <class T>
concept awaitable = (detail::is_task<T> && !std::is_const_v<T>) ||
                    (!detail::is_task<std::remove_cvref_t<T>> && detail::has_awaiter<T> && detail::can_suspend_gyre<T>);

namespace detail {

/// Where a coroutine's value or exception lies until it is taken.
template <class T>
class result_slot {
  using stored = std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>, T>;

 public:
  result_slot() noexcept {}
  ~result_slot() {
    if (holds_ == holds::value) std::destroy_at(&value_);
    else if (holds_ == holds::exception) std::destroy_at(&exception_);
  }

  template <class U>
  void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<stored, U>) {
    if constexpr (std::is_reference_v<T>) std::construct_at(&value_, std::addressof(value));
    else std::construct_at(&value_, std::forward<U>(value));
    holds_ = holds::value;
  }

  [[gnu::always_inline]] void store_exception() noexcept {
    ::new (&exception_) std::exception_ptr{std::current_exception()};  // needs no place on the stack, as a copy would
    holds_ = holds::exception;
  }

  T take() {
    if (holds_ == holds::exception) [[unlikely]]
      std::rethrow_exception(std::move(exception_));
    if constexpr (std::is_reference_v<T>) return static_cast<T>(*value_);
    else return std::move(value_);
  }

 private:
  enum class holds : unsigned char { nothing, value, exception };
  union {
    stored value_;
    std::exception_ptr exception_;
  };
  holds holds_ = holds::nothing;
};

template <>
class result_slot<void> {
 public:
  void return_void() noexcept {}
  [[gnu::always_inline]] void store_exception() noexcept {
    ::new (&exception_) std::exception_ptr{std::current_exception()};  // needs no place on the stack, as a copy would
  }
  void take() {
    if (exception_) [[unlikely]]
      std::rethrow_exception(std::move(exception_));
  }

 private:
  std::exception_ptr exception_;
};

template <class T>
class task_awaiter;

/// Stops the compiler with a sentence where `awaitable<T>` does not hold.
template <class T>
constexpr void explain_what_is_no_awaitable() noexcept {
  using plain = std::remove_cvref_t<T>;
  static_assert(!is_task<plain>, "a task is awaited once and given away: co_await std::move(it)");
  if constexpr (makes_a_task<T>) {
    static_assert(!makes_a_task<T>, "this is a function that returns a task: call it, co_await f()");
  } else if constexpr (!own_awaitable<plain> && !is_task<plain>) {
    static_assert(has_awaiter<T>,
                  "gyre::awaitable: this is no task, has no operator co_await, and lacks await_ready() or "
                  "await_resume(); see docs/foreign-coroutines.md");
    static_assert(!has_awaiter<T> || can_suspend_gyre<T>,
                  "gyre::awaitable: its await_suspend() does not take a coroutine of gyre's, but only those of its own "
                  "library; see docs/foreign-coroutines.md");
  }
}

/// What the promises of all gyre coroutine types do alike.
class coroutine_promise : public promise_base {
 public:
  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept { deallocate_frame(frame, bytes); }

  std::suspend_always initial_suspend() noexcept { return {}; }

  class final_awaiter {
   public:
    final_awaiter() noexcept {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) noexcept {
      const promise_base& promise = finished.promise();
      if (promise.continuation) [[likely]]
        return promise.continuation;
      return follow(promise.bound->ended(*promise.bound, ending::ended));
    }
    void await_resume() const noexcept {}
  };
  final_awaiter final_suspend() noexcept { return {}; }

  template <class T>
  task_awaiter<T> await_transform(task<T>&& child,
                                  std::source_location where = std::source_location::current()) noexcept;

  template <class Awaitable>
  Awaitable&& await_transform(Awaitable&& awaited,
                              std::source_location where = std::source_location::current()) noexcept {
    explain_what_is_no_awaitable<Awaitable>();
    location = where;
    if constexpr (!own_awaitable<std::remove_cvref_t<Awaitable>>) enter_foreign(*bound);
    return std::forward<Awaitable>(awaited);
  }

  template <class Awaitable>
  decltype(auto) await_transform(awaited_for_caller<Awaitable> awaited) noexcept {
    return await_transform(std::forward<Awaitable>(awaited.awaited), std::source_location{});
  }
};

template <class T>
class task_promise final : public coroutine_promise, public result_slot<T> {
 public:
  task<T> get_return_object() noexcept;
  [[gnu::always_inline]] void unhandled_exception() noexcept { this->store_exception(); }
};

/// Awaits a task from a gyre coroutine: hands the scope down, and takes the result.
template <class T>
class task_awaiter : frame_slot {
 public:
  using gyre_awaitable = void;

  explicit task_awaiter(std::coroutine_handle<task_promise<T>> child) noexcept : frame_slot{child} {}
  task_awaiter(const task_awaiter&) = delete;
  task_awaiter& operator=(const task_awaiter&) = delete;
  ~task_awaiter() {
    if (frame) frame.destroy();
  }

  bool await_ready() const noexcept { return false; }

  template <gyre_promise Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    promise_base& child = promise();
    child.continuation = awaiting;
    child.slot = this;
    child.bound = awaiting.promise().bound;
    return frame;
  }

  T await_resume() { return promise().take(); }

 private:
  task_promise<T>& promise() const noexcept {
    return std::coroutine_handle<task_promise<T>>::from_address(frame.address()).promise();
  }
};

/// Owns a task that a boundary waits for.
template <class T>
class bounded_task : public boundary {
 public:
  explicit bounded_task(ended_fn on_ended) noexcept : boundary{on_ended} {}
  bounded_task(task<T>&& body, ended_fn on_ended) noexcept : boundary{on_ended} { hold(std::move(body)); }
  /// Before begin() only: from then on the task knows where its owner is.
  bounded_task(bounded_task&& other) noexcept : boundary{other.ended} { frame = std::exchange(other.frame, nullptr); }
  bounded_task& operator=(bounded_task&&) = delete;
  ~bounded_task() {
    if (!frame) return;
    GYRE_ASSERT(!linked(), "a task was destroyed while it runs: who awaits it stays until it has ended");
    frame.destroy();
  }

  /// Takes the task over. Once, before begin().
  void hold(task<T>&& body) noexcept { frame = body.release(); }

  /// What to resume so that the task runs, in `scope`.
  [[nodiscard]] std::coroutine_handle<> begin(cancel_scope& in) noexcept {
    promise().slot = this;
    promise().bound = this;
    in.enter(*this);
    return frame;
  }

  /// Leaves its scope: the first thing that `ended` does.
  void leave_scope() noexcept {
    unlink();
    if (foreign_below) [[unlikely]]
      forget_foreign(*this);
  }

  /// The value or the exception, after ending::ended. Destroys the frame.
  T take_result() {
    const destroy_frame destroys_it{*this};
    return promise().take();
  }

 private:
  struct destroy_frame {
    explicit destroy_frame(bounded_task& its_owner) noexcept : owner{its_owner} {}
    ~destroy_frame() { std::exchange(owner.frame, nullptr).destroy(); }
    bounded_task& owner;
  };

  task_promise<T>& promise() const noexcept {
    return std::coroutine_handle<task_promise<T>>::from_address(frame.address()).promise();
  }
};

/// Who awaits, by whatever coroutine type: its handle, its scope, and what to do when it is to be stopped.
class awaiting_coroutine {
 public:
  /// @param what  What it awaits, for people; a literal.
  explicit awaiting_coroutine(const char* what) noexcept : awaiting_coroutine{what, /*several=*/false} {}

  template <class Promise>
  explicit awaiting_coroutine(std::coroutine_handle<Promise> awaiting) noexcept : awaiting_coroutine{""} {
    begin(awaiting);
  }

  template <class Promise>
  void begin(std::coroutine_handle<Promise> awaiting) noexcept {
    handle_ = awaiting;
    if constexpr (gyre_promise<Promise>) bound_ = awaiting.promise().bound;
    else bound_ = &foreign_boundary(), foreign_ = true;
  }

  [[nodiscard]] const char* what() const noexcept { return what_; }

  [[nodiscard]] cancel_scope& scope() const noexcept { return *bound_->scope; }

  [[nodiscard]] next_step resumed() const noexcept {
    if (foreign_) enter_foreign(*bound_);
    return {handle_};
  }

  /// Whether stopped() can be used: somebody else's coroutine hears of a stop by an exception.
  [[nodiscard]] bool can_be_stopped() const noexcept { return !foreign_; }
  [[nodiscard]] next_step stopped() const noexcept { return {handle_, /*stops=*/true}; }

 protected:
  awaiting_coroutine(const char* what, bool several) noexcept : what_{what}, several_{several} {}

 private:
  friend class task_tree;

  std::coroutine_handle<> handle_;
  boundary* bound_ = nullptr;
  const char* what_;  // for diagnosis
  bool several_;      // it is an awaiting_several
  bool foreign_ = false;
};

/// Who awaits several tasks at once: a group's children, or branches.
class awaiting_several : public awaiting_coroutine {
 public:
  explicit awaiting_several(const char* what) noexcept : awaiting_coroutine{what, /*several=*/true} {}

  std::size_t running_count = 0;  // not ended; those that are queued included
};

/// Awaits a task as a boundary: a stop ends here and is thrown as operation_canceled. For coroutines of somebody else's
/// type, and for stopped_as_error().
template <class T>
class stop_catching_awaiter : bounded_task<T> {
 public:
  using gyre_awaitable = void;

  explicit stop_catching_awaiter(task<T>&& body) noexcept : bounded_task<T>{std::move(body), &body_ended} {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    awaiting_.begin(awaiting);
    this->awaited_by = &awaiting_;
    return this->begin(awaiting_.scope());
  }

  T await_resume() {
    if (stopped_) throw_errno(ECANCELED, "task");
    return this->take_result();
  }

 private:
  static next_step body_ended(boundary& self, ending how) noexcept {
    auto& awaiter = static_cast<stop_catching_awaiter&>(self);
    awaiter.leave_scope();
    awaiter.stopped_ = how == ending::stopped;
    return awaiter.awaiting_.resumed();
  }

  awaiting_coroutine awaiting_{"a task, whose stop is an error"};
  bool stopped_ = false;
};

}  // namespace detail

/// A coroutine that computes a T, or nothing.
///
/// Lazy: it runs when it is awaited, `co_await f(…)`, or started by a task group, and only once. A task that is never
/// awaited destroys its arguments and does nothing else.
///
/// @errors        An exception that leaves the body is rethrown in the awaiting coroutine.
/// @cancellation  When its scope is cancelled, the co_await where it waits does not return: its frame is destroyed,
///                destructors run, `catch` blocks do not.
/// @threads       Runs on the executor of who awaits it. Until then it can be moved to another thread.
/// @limits        T is an object type that can be moved, a reference, or void; not over-aligned.
template <class T>
class [[nodiscard]] GYRE_DETAIL_AWAIT_ELIDABLE task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task(task&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() {
    if (frame_) frame_.destroy();
  }

  /// Whether it can be awaited: it was neither awaited nor moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return frame_ != nullptr; }

  /// For coroutines of somebody else's type; gyre's own go a shorter way. A stop arrives as operation_canceled.
  [[nodiscard]] detail::stop_catching_awaiter<T> operator co_await() && noexcept {
    return detail::stop_catching_awaiter<T>{std::move(*this)};
  }
  void operator co_await() & = delete;  // a task is awaited once and given away: co_await std::move(it)

  /// Gives the frame to who will run and destroy it.
  [[nodiscard]] std::coroutine_handle<promise_type> release() noexcept {
    GYRE_ASSERT(frame_ != nullptr, "a task is awaited once: this one was awaited, started or moved from before");
    return std::exchange(frame_, nullptr);
  }

 private:
  friend promise_type;
  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}

  std::coroutine_handle<promise_type> frame_;
};

namespace detail {

template <class>
struct awaited;
template <class T>
struct awaited<task<T>> {
  using type = T;
};
template <own_awaitable Awaitable>
struct awaited<Awaitable> {
  using type = decltype(std::declval<Awaitable&>().await_resume());
};
/// What a co_await of it gives: the T of task<T>, or what an awaitable of gyre's resumes with.
template <class Awaitable>
using awaited_t = typename awaited<Awaitable>::type;

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
  static_assert(alignof(task_promise) <= 2 * alignof(void*),
                "a task's value is not over-aligned: return a pointer to it");
  const auto mine = std::coroutine_handle<task_promise>::from_promise(*this);
  GYRE_ASSERT(&promise_of(mine) == this, "the promise lies where promise_of() looks for it");
  return task<T>{mine};
}

template <class T>
task_awaiter<T> coroutine_promise::await_transform(task<T>&& child, std::source_location where) noexcept {
  location = where;
  return task_awaiter<T>{child.release()};
}

}  // namespace detail
}  // namespace gyre
