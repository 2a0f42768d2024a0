// SPDX-License-Identifier: MIT
// Blocking work: a function runs on a thread of a bounded pool, and the coroutine that waits for it goes on here.
//
// What waits, what runs, and the place for the result are one object in the awaiting frame; the pool has no memory of
// its own for a call. Its threads touch the call from the moment that they take it out of the line until they post it;
// who waits is touched on the executor's thread only.
//
//   idle -> in_line      co_await: no thread is free. First come, first served.
//   idle -> on_thread    co_await: a thread is free, or is started
//   in_line -> on_thread a thread has become free
//   on_thread -> over    the function has returned or thrown. The thread posts the call to the executor, where it
//                        settles; the thread does not touch it any more
//   in_line -> idle      cancelled: the function never runs
//
// The pool's lock guards these steps, so that a cancel finds out which it was; it is never held while anything runs.
//
//   a cancel comes          what happens
//   before the co_await     stopped at once; the pool never hears of it
//   in line                 it leaves the line and is stopped at once; the function is destroyed unrun
//   on a thread             nobody can stop a function by force: it is asked, if it takes a std::stop_token, and
//                           waited for. What it returns or throws is delivered; but where it was asked, and says
//                           operation_canceled, the wait ends stopped
//   over, not yet resumed   nothing: the result is delivered
#pragma once

#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {

/// What a call does that finds all threads busy and the queue full.
enum class when_queue_full : std::uint8_t {
  wait,   ///< Waits behind the queue, first come, first served.
  refuse  ///< Fails at once: resource_unavailable_try_again.
};

/// What a pool is made with.
struct offload_pool_options {
  /// How many calls run at a time, each on a thread of its own. More than zero. For work that computes, as many as
  /// there are processors; for work that waits for somebody else, as many as that somebody bears.
  std::size_t threads_max = 32;

  /// How many calls may be in the queue for a thread. Those that come then do as `on_full` says.
  std::size_t queue_max = SIZE_MAX;
  when_queue_full on_full = when_queue_full::wait;

  /// How long a thread without work stays. Of several that are idle the one that was busy last gets the next call.
  std::chrono::nanoseconds idle_time = std::chrono::seconds{10};

  /// As top(1) and debuggers show its threads; the kernel keeps 15 bytes.
  std::string thread_name = "gyre-offload";
};

/// What a pool is doing now, and has counted since it was made.
struct offload_statistics {
  std::size_t threads = 0;           ///< There are, idle ones included.
  std::size_t idle = 0;              ///< Threads that wait for a call.
  std::size_t running = 0;           ///< Calls on a thread.
  std::size_t queued = 0;            ///< Calls in the queue, or about to be taken from it by a thread that is free.
  std::size_t waiting_for_room = 0;  ///< Calls behind the full queue.
  std::uint64_t finished = 0;        ///< Calls that have run to their end.
  std::uint64_t refused = 0;         ///< Calls that failed because the queue was full.
  std::uint64_t threads_started = 0;
};

class offload_pool;

namespace detail {

class offload_call;

struct offload_kind : waiter_kind {
  /// Calls the function and keeps what comes of it. On a thread of the pool.
  void (*call)(offload_call& self) noexcept;

  /// Asks the function to stop, soon and not inside the call. Null: it cannot be asked.
  void (*ask_to_stop)(offload_call& self) noexcept;
};

/// What a thread of the pool hands back: posted to the executor when the function is over.
class offload_delivery : public runnable {
 protected:
  explicit offload_delivery(const runnable_kind& its_kind) noexcept : runnable{its_kind} {}
};

/// A function that is to run on a pool's thread, and the wait for it: what does not depend on the function's type.
class offload_call : public waiter, offload_delivery, public ring_links {
 public:
  bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) [[likely]]
      hand_to_pool();
  }

 protected:
  offload_call(const offload_kind& its_kind, offload_pool& pool) noexcept
      : waiter{its_kind}, offload_delivery{kind_of_delivery}, pool_{&pool} {}
  offload_call(const offload_kind& its_kind, offload_call&& other) noexcept
      : waiter{its_kind, other}, offload_delivery{kind_of_delivery}, pool_{other.pool_} {}

  /// A function that can be asked to stop has thrown: notes whether it says that it gave up. Within the handler.
  void note_exception() noexcept;

  /// The coroutine is back. Throws where the function did not run: refused, or stopped as an error.
  void resumed();

  static void cancel_waiting(waiter& self) noexcept;

  [[nodiscard]] gyre::executor& its_loop() const noexcept { return loop(); }

 private:
  friend gyre::offload_pool;
  enum class place : std::uint8_t { idle, in_line, on_thread, over };

  void hand_to_pool() noexcept;
  void deliver() noexcept { loop_->post(static_cast<offload_delivery&>(*this)); }
  static void delivered(runnable& self) noexcept;
  static const runnable_kind kind_of_delivery;

  [[nodiscard]] const offload_kind& its_kind() const noexcept {
    return static_cast<const offload_kind&>(*waiter::kind);
  }

  offload_pool* pool_;
  gyre::executor* loop_ = nullptr;  // set before the pool hears of it

  // Guarded by the pool's lock.
  place place_ = place::idle;

  // Written on the pool's thread, and read when it has been delivered.
  bool gave_up_ = false;

  // Touched on the executor's thread only.
  bool was_asked_ = false;
  int refusal_ = 0;  // an errno: the pool did not take it
};

}  // namespace detail

/// Threads for calls that block. Any number of executors may share one.
///
/// A thread is started when a call finds none free and there are fewer than threads_max, and ends when it has been idle
/// for a while. Signals are blocked in it, but for those that a fault raises: a handler of the program's runs on other
/// threads, and interrupts no call. It may use the CPUs that the thread which starts it has had before a runtime pinned
/// that one.
///
/// The pool outlives the calls: a pool that is destroyed while one waits or runs in it stops the program. It stays with
/// the process that made it: the child of a fork(2) has its memory and not its threads, may destroy it, and is stopped
/// when it uses it.
class offload_pool {
 public:
  /// Starts no thread yet.
  explicit offload_pool(offload_pool_options options = {});

  offload_pool(const offload_pool&) = delete;
  offload_pool& operator=(const offload_pool&) = delete;

  /// Waits for its threads, which are idle, to end.
  ~offload_pool();

  /// The pool of calls that name none, with the default options. Made at the first use, and in the child of a fork(2)
  /// once more. At the end of the process its threads are joined, unless calls still run in it: std::exit() waits for
  /// nobody.
  ///
  /// @threads  Any.
  [[nodiscard]] static offload_pool& common();

  /// @threads  Any.
  [[nodiscard]] offload_statistics statistics() const;

  [[nodiscard]] const offload_pool_options& options() const noexcept { return options_; }

 private:
  friend detail::offload_call;
  using call = detail::offload_call;
  struct worker;

  /// Returns 0, or the errno for which it was not taken.
  int take(call& arriving) noexcept;
  /// Takes it out of the line. Returns where it was.
  call::place take_out(call& leaving) noexcept;

  void end_threads() noexcept;
  void leave_to_parent() noexcept;
  [[nodiscard]] bool is_at_rest() const;
  void start_thread();
  void work(std::list<std::thread>::iterator its_handle) noexcept;
  call* finish(call& done) noexcept;
  call* wait_for_call(worker& self) noexcept;
  call* first_in_line() noexcept;
  void retire(worker& leaving) noexcept;
  /// How many calls may be in the line before one is behind the queue: the others are as good as on a thread.
  [[nodiscard]] std::size_t room_in_line() const noexcept;

  // Set by the constructor, constant ever after.
  const offload_pool_options options_;
  const unsigned process_;

  mutable std::mutex guard_;

  // Guarded by it.
  detail::intrusive_ring<call> line_;  // empty while a thread is idle
  std::size_t line_size_ = 0;
  std::vector<worker*> idle_;         // the one that was busy last is the last
  std::list<std::thread> threads_;    // that have not ended
  std::list<std::thread> ended_;      // to be joined by the next one that ends
  std::condition_variable has_none_;  // no thread is left
  bool closing_ = false;
  std::size_t running_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t threads_started_ = 0;
};

namespace detail {

template <class Fn>
concept offloadable = std::invocable<Fn> || std::invocable<Fn, std::stop_token>;

template <class Fn>
struct offload_result : std::invoke_result<Fn> {};
template <class Fn>
  requires std::invocable<Fn, std::stop_token>
struct offload_result<Fn> : std::invoke_result<Fn, std::stop_token> {};
template <class Fn>
using offload_result_t = typename offload_result<Fn>::type;

/// A function that cannot be asked to stop.
template <class Fn>
class offload_function {
 protected:
  explicit offload_function(Fn&& fn) : fn_{std::move(fn)} {}
  decltype(auto) call() { return std::invoke(std::move(fn_)); }

 private:
  Fn fn_;
};

/// One that takes a stop token. The stop is requested by the executor's turn, and not inside the cancel: that runs
/// nobody's code, and std::stop_source runs the callbacks that the function has registered.
template <class Fn>
  requires std::invocable<Fn, std::stop_token>
class offload_function<Fn> {
 protected:
  explicit offload_function(Fn&& fn) : fn_{std::move(fn)} {}
  offload_function(offload_function&& other) : fn_{std::move(other.fn_)}, stops_{std::move(other.stops_)} {}
  decltype(auto) call() { return std::invoke(std::move(fn_), stops_.get_token()); }
  void ask_to_stop(gyre::executor& loop) noexcept { loop.make_ready(request_); }

 private:
  struct request final : runnable {
    explicit request(offload_function& its_function) noexcept : runnable{kind_of_request}, function{its_function} {}
    static void run(runnable& self) noexcept { static_cast<request&>(self).function.stops_.request_stop(); }
    static constexpr runnable_kind kind_of_request{&request::run};
    offload_function& function;
  };

  Fn fn_;
  std::stop_source stops_;
  request request_{*this};  // runs before the coroutine is resumed: it is queued before
};

/// What offload() awaits.
template <class Fn>
class [[nodiscard]] offload_operation final : public offload_call, offload_function<Fn> {
  using T = offload_result_t<Fn>;
  static_assert(!is_task<std::remove_cvref_t<T>>,
                "offload() runs a function to its end on another thread; a task is awaited where it is");
  static constexpr bool takes_token = std::invocable<Fn, std::stop_token>;

 public:
  offload_operation(offload_pool& pool, Fn&& fn)
      : offload_call{kind_of_offload, pool}, offload_function<Fn>{std::move(fn)} {}

  /// Before it is awaited.
  offload_operation(offload_operation&& other)
      : offload_call{kind_of_offload, std::move(other)},
        offload_function<Fn>{static_cast<offload_function<Fn>&&>(other)} {}

  T await_resume() {
    resumed();
    return result_.take();
  }

 private:
  static void call(offload_call& self) noexcept {
    auto& mine = static_cast<offload_operation&>(self);
    try {
      if constexpr (std::is_void_v<T>) mine.offload_function<Fn>::call();
      else mine.result_.return_value(mine.offload_function<Fn>::call());
    } catch (...) {
      if constexpr (takes_token) mine.note_exception();
      mine.result_.store_exception();
    }
  }

  static void ask_to_stop(offload_call& self) noexcept {
    if constexpr (takes_token) {
      auto& mine = static_cast<offload_operation&>(self);
      mine.offload_function<Fn>::ask_to_stop(mine.its_loop());
    }
  }

  static constexpr offload_kind kind_of_offload{
      {{&offload_operation::run_slowly}, &offload_operation::cancel_waiting, "offload"},
      &offload_operation::call,
      takes_token ? &offload_operation::ask_to_stop : nullptr};

  result_slot<T> result_;
};

}  // namespace detail

/// Runs `fn()` on a thread of a pool, for calls that block and for long computations, and resumes here with what it
/// returns or throws.
///
///   const auto digest = co_await gyre::offload([path] { return sha256_of_file(path); });
///
///   co_await gyre::offload(pool, [&](std::stop_token stop) { search(tree, stop); });
///
/// @param pool    Where it runs; without one, offload_pool::common().
/// @param fn      Called once, as an rvalue, by a thread of the pool; with a std::stop_token, if it takes one. Kept
///                here, captures and all, until it has returned, and destroyed on the executor's thread.
/// @return        What fn returns: a value that can be moved, a reference, or nothing.
/// @errors        What fn throws. resource_unavailable_try_again: the queue is full, and its pool refuses; or there is
///                no thread at all, and none could be started.
/// @cancellation  In line: stopped at once, fn never runs. Running: waits until fn has ended, and delivers what it
///                gave. An fn that takes a token is asked, and may end early: with what it has, or by throwing
///                std::system_error(operation_canceled), which then is a stop. A call that cannot be asked, and has no
///                timeout of its own, is waited for as long as it takes.
/// @threads       The stop is requested on the executor's thread, in a turn of it; so are callbacks of the token
///                called, if fn has registered any.
/// @limits        Two hand-overs between threads, 5 to 40 us where both sleep. Allocates nothing for the call, but for
///                the token's state where fn takes one. Starting a thread, where none is free, keeps the executor for
///                some 20 us.
template <class Fn>
  requires detail::offloadable<Fn>
[[nodiscard]] detail::offload_operation<Fn> offload(offload_pool& pool, Fn fn) {
  return {pool, std::move(fn)};
}

template <class Fn>
  requires detail::offloadable<Fn>
[[nodiscard]] detail::offload_operation<Fn> offload(Fn fn) {
  return {offload_pool::common(), std::move(fn)};
}

}  // namespace gyre
