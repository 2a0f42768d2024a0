// SPDX-License-Identifier: MIT
// on(): a task that runs on another executor, while the coroutine that awaits it stays on its own.
//
// No coroutine moves. The task runs in a scope of its own below the root scope of the executor over there; what goes
// between the two executors are messages, each a post() to the other one. All of it lies in the awaiting frame, which
// stays until the last message has come back: nothing is allocated, and nothing dangles.
//
//   begin      here -> there   begins the task; drops it when a stop was asked for, or the executor ends
//   stop       here -> there   the scope here was cancelled, by hand or a deadline: cancels the task's scope
//   come back  there -> here   the task has ended, and a stop that was sent has arrived: the coroutine goes on
//
// Both ends may act at once, and the word `said_` decides which of them was first: each adds its bit, and reads what
// the other has added before.
//
//   said first       said second      what goes between them
//   stop             –                stop; the task ends, by it or by itself; come back
//   stop             end              stop arrives at a task that has ended, and is what sends come back
//   end              stop             nothing: come back is on its way already
//   stop, before begin has arrived    begin drops the task; stop arrives after it, and sends come back
//
//   how the task ended    asked to stop from here    what the co_await does
//   value, exception      either                     gives it, throws it: what crossed the stop is delivered
//   stopped               yes                        is stopped as well
//   stopped               no                         throws operation_canceled: somebody over there has stopped it
//
// An executor that is destroyed stops the tasks that run on it for others, and waits for them; those that arrive after
// that are dropped. Both come back as stopped. A stop that is said, and perhaps not posted yet, is waited for as well.
#pragma once

#include <gyre/runtime/detail/guest.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre {
namespace detail {

/// The part of a visit that depends on no type: the messages.
class visit_base : public waiter {
 protected:
  struct guest_kind {
    std::coroutine_handle<> (*begin)(visit_base& self, cancel_scope& in) noexcept;
    void (*drop)(visit_base& self) noexcept;  // destroys the task, which has not begun
  };

  visit_base(gyre::executor& there, const guest_kind& its_guest) noexcept
      : waiter{kind_of_visit}, there_{&there}, guest_kind_{&its_guest} {}
  visit_base(visit_base&& other) noexcept
      : waiter{kind_of_visit, other}, there_{other.there_}, guest_kind_{other.guest_kind_} {}
  ~visit_base() = default;

  /// Whether `there` is where the coroutine is itself.
  [[nodiscard]] bool is_at_home() const noexcept { return there_ == current_executor; }

  /// Sends the task over. When the scope is cancelled already, it stays, and the wait ends as stopped.
  template <class Promise>
  void depart(std::coroutine_handle<Promise> awaiting) noexcept {
    if (waiter::begin(awaiting)) send_task();
  }

  /// Over there: the task has ended, or never began. `this` may be gone afterwards.
  void end(ending how) noexcept;

  /// The first thing of await_resume(): throws when there is no result.
  void come_back();

 private:
  enum said : std::uint8_t { nothing = 0, stop = 1, ended = 2 };

  // One that is under way, to `loop`.
  struct message : runnable {
    using run_fn = void (visit_base::*)() noexcept;

    explicit message(visit_base& its_visit) noexcept : runnable{kind_of_message}, visit{its_visit} {}
    void send(gyre::executor& to, run_fn what) noexcept;
    static void run(runnable& self) noexcept;
    static const runnable_kind kind_of_message;

    visit_base& visit;
    run_fn arrives = nullptr;
  };

  void send_task() noexcept;
  static void ask_to_stop(waiter& self) noexcept;
  void task_arrives() noexcept;
  void stop_arrives() noexcept;
  void send_back() noexcept;
  void comes_back() noexcept;
  static const waiter_kind kind_of_visit;

  // Constant from the co_await on.
  gyre::executor* there_;
  gyre::executor* here_ = nullptr;
  const guest_kind* guest_kind_;

  // Touched over there, and here when it has come back.
  std::optional<guest> guest_;
  bool stop_has_arrived_ = false;
  bool was_stopped_there_ = false;

  // Each is with one executor at a time.
  message task_{*this};  // goes over, and comes back
  message stop_{*this};

  // Both sides.
  std::atomic<std::uint8_t> said_ = nothing;
};

/// What on() awaits.
template <class T>
class [[nodiscard]] visit final : public visit_base, bounded_task<T> {
 public:
  visit(gyre::executor& there, task<T>&& body) noexcept
      : visit_base{there, kind_of_guest}, bounded_task<T>{std::move(body), &ended_there} {}

  /// Before it is awaited.
  visit(visit&& other) noexcept
      : visit_base{static_cast<visit_base&&>(other)}, bounded_task<T>{static_cast<bounded_task<T>&&>(other)} {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if (!is_at_home()) {
      depart(awaiting);
      return std::noop_coroutine();
    }
    at_home_.emplace("a task on its own executor").begin(awaiting);
    this->awaited_by = &*at_home_;
    bounded_task<T>::ended = &ended_at_home;
    return bounded_task<T>::begin(at_home_->scope());
  }

  T await_resume() {
    if (!at_home_) come_back();
    else if (stopped_at_home_) throw_errno(ECANCELED, "on");
    return this->take_result();
  }

 private:
  static std::coroutine_handle<> begin_guest(visit_base& self, cancel_scope& in) noexcept {
    return static_cast<visit&>(self).bounded_task<T>::begin(in);
  }
  static void drop_guest(visit_base& self) noexcept {
    std::exchange(static_cast<visit&>(self).frame, nullptr).destroy();
  }

  // The frame stays, with the result in it, until the coroutine here takes it: each executor's thread destroys the
  // frames that it has made.
  static next_step ended_there(boundary& self, ending how) noexcept {
    auto& mine = static_cast<visit&>(static_cast<bounded_task<T>&>(self));
    mine.leave_scope();
    mine.end(how);
    return {std::noop_coroutine()};
  }

  static next_step ended_at_home(boundary& self, ending how) noexcept {
    auto& mine = static_cast<visit&>(static_cast<bounded_task<T>&>(self));
    mine.leave_scope();
    mine.stopped_at_home_ = how == ending::stopped;
    if (mine.stopped_at_home_ && mine.stops_at_home()) return mine.at_home_->stopped();
    return mine.at_home_->resumed();
  }
  [[nodiscard]] bool stops_at_home() const noexcept { return at_home_->can_be_stopped() && !this->has(stop_as_error); }

  static constexpr guest_kind kind_of_guest{&begin_guest, &drop_guest};

  std::optional<awaiting_coroutine> at_home_;
  bool stopped_at_home_ = false;
};

/// Calls the function over there, and keeps it until its task has ended.
template <class Fn>
auto call_there(Fn fn) -> task<awaited_t<std::invoke_result_t<Fn&>>> {
  co_return co_await for_caller(std::invoke(fn));
}

}  // namespace detail

/// Runs a task on another executor; the awaiting coroutine stays, and goes on here when the task has ended there.
///
///     const auto hits = co_await on(others[2], count_hits(query));
///
/// On its own executor it is the await of the task, and nothing else.
///
/// @param there   Must be turned by its thread, and exist, until the co_await is over. Its destructor stops the task.
/// @param body    The task; anything else of gyre's that can be awaited; or a function, which is called over there and
///                stays, captures and all, until the task that it returns has ended. What they refer to is used on that
///                thread meanwhile.
/// @return        What the task returns: values are moved, references stay references.
/// @errors        What the task throws; operation_canceled when somebody over there has stopped it: its executor's root
///                scope was cancelled, or is destroyed.
/// @cancellation  A cancel of the scope here, and a deadline that passes here, travel there as a message, and stop what
///                runs there; the co_await ends when that has. One that comes before the task has begun there keeps it
///                from beginning. A value or exception that crosses the cancel is delivered. this_task::deadline() over
///                there tells of no deadline of here.
/// @threads       Awaited on the executor's thread; there, the task runs on the thread of `there`.
/// @limits        Two posts a visit, and one more to stop it; allocates nothing but the task's frame. Between two
///                threads that sleep it is two wakes: see benchmarks/README.md.
template <class T>
[[nodiscard]] detail::visit<T> on(executor& there, task<T> body) noexcept {
  return {there, std::move(body)};
}

template <detail::own_awaitable Awaitable>
[[nodiscard]] auto on(executor& there, Awaitable awaitable) {
  return on(there, detail::as_task(std::move(awaitable)));
}

template <std::invocable Fn>
  requires(!detail::own_awaitable<Fn> && !detail::is_task<Fn>)
[[nodiscard]] auto on(executor& there, Fn fn) {
  return on(there, detail::call_there(std::move(fn)));
}

}  // namespace gyre
