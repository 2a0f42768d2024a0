// SPDX-License-Identifier: MIT
// One thread, one ring: submits operations, takes back their completions, resumes who waited, parks when idle.
//
// A turn:
//
//   1  resume those whose operations have completed, and what is ready, each up to a budget: in the order in which they
//      became so
//   2  take what other threads posted; expire timers
//   3  flush (detail/submission.hpp): cancels first, then operations that found the queue full; one enter() submits all
//      and runs the kernel's task work; none when there is nothing to tell the kernel
//   4  if nothing is ready and nothing has completed: park (detail/parker.hpp) until the earliest timer is due at the
//      latest, and then flush once more
//
// Nothing is resumed in steps 2 to 4, and nothing that is resumed in step 1 can bring in more completions: no
// coroutine runs inside another's co_await of an operation.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/live_executor.hpp>
#include <gyre/runtime/detail/parker.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/submission.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/point_in_time.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/task.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace gyre {

class operation;

/// How an executor sleeps when there is nothing to do.
enum class parking : std::uint8_t {
  eventfd,  ///< In read(2) on the eventfd registered with its ring.
            ///< From the first ops::read, write or poll on it sleeps as with ring_wait: see wait_in_ring_from_now_on().
  ring_wait  ///< In the io_uring_enter(2) that submits: one system call less a park, for programs that embed nothing.
};

/// What an executor is made with. The defaults suit a server.
struct executor_options {
  /// Submission entries; 2 to 32768, rounded up to a power of two. More awaits than entries cost a system call each
  /// time the queue fills; nothing fails.
  unsigned sq_entries = 512;

  /// Completion entries; at least twice sq_entries, to 65536. Also sizes the kernel's table for cancels by operation.
  unsigned cq_entries = 8192;

  parking park = parking::eventfd;

  /// How many completed operations, and how many other coroutines, are resumed in one turn before the kernel is looked
  /// at again. More saves system calls where hundreds are ready at once; fewer keeps what a turn touches in the cache.
  unsigned turn_budget = 64;

  /// How much later than at its time a sleep or a deadline may end where that lets timers share a wake. One that is
  /// alone ends at its time: with parking::eventfd an executor sets its thread's own slack to the smallest while it
  /// lives, since Linux would add that to each sleep: prctl(2), PR_SET_TIMERSLACK.
  std::chrono::nanoseconds timer_slack = std::chrono::microseconds{100};

  /// with_timeout() on one operation uses a linked timeout in the kernel up to this duration, and the executor's own
  /// timers above it; zero: never linked. Same meaning either way: see deadline.hpp.
  std::chrono::nanoseconds linked_timeout_max = std::chrono::seconds{1};

  /// Kernel threads for operations that block, on regular files and on everything else. 0: the kernel's own limits.
  unsigned iowq_bounded_workers_max = 8;
  unsigned iowq_unbounded_workers_max = 64;
};

/// What an executor has counted since it was made.
struct executor_statistics {
  std::uint64_t turns = 0;
  std::uint64_t enters = 0;            ///< io_uring_enter(2) calls.
  std::uint64_t sqes = 0;              ///< Entries described to the ring, cancels and timeouts included.
  std::uint64_t cqes = 0;              ///< Completions taken from it.
  std::uint64_t cancels = 0;           ///< Cancel requests among the entries, each of one operation or of many.
  std::uint64_t resumes = 0;           ///< Coroutines resumed, and other things run that were ready.
  std::uint64_t parks = 0;             ///< Times it went to sleep.
  std::uint64_t wakes_written = 0;     ///< Posts that had to write the eventfd.
  std::uint64_t wakes_suppressed = 0;  ///< Posts that found it awake.
  std::uint64_t overflows = 0;         ///< Times the completion queue was found to have overflowed.
  std::uint64_t refusals = 0;          ///< Times the kernel took not all of a submission, for want of room.
  std::uint64_t backlogged = 0;        ///< Operations that found the submission queue full and waited for a place.
};

class executor;

namespace detail {

// The executor whose turn it is on this thread. Constant-initialised: a use is a plain thread-local access.
[[gnu::tls_model("initial-exec")]] extern thread_local constinit executor* current_executor;

}  // namespace detail

class executor {
 public:
  /// An executor of the calling thread, which is the only one that may run it.
  ///
  /// @errors  std::system_error whose text names the cause and the cure when the kernel gives no ring.
  /// @limits  Each costs about 64 bytes an entry of its submission queue and 16 an entry of its completion queue, which
  ///          count against RLIMIT_MEMLOCK. A ring that does not fit is made smaller, and notes() says so.
  explicit executor(executor_options options = {});

  /// An executor on another ring: for tests, and for machines without io_uring.
  executor(std::unique_ptr<detail::ring> ring, executor_options options);

  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;

  /// Every task must have ended. Waits until the kernel has given back everything that is still in flight.
  ~executor();

  /// The executor whose turn it is on this thread. There must be one.
  [[nodiscard]] static executor& current() noexcept {
    GYRE_ASSERT(detail::current_executor != nullptr,
                "this needs an executor: it was called outside any turn, or on a thread that runs none");
    return *detail::current_executor;
  }

  /// Whether this thread is in a turn of an executor.
  [[nodiscard]] static bool has_current() noexcept { return detail::current_executor != nullptr; }

  /// Runs `root` to its end and returns its value, or throws its exception.
  ///
  /// @return   The task's value; std::system_error(operation_canceled) when its scope was cancelled.
  /// @threads  The thread that made the executor, outside any turn of it.
  template <class T>
  T run(task<T> root);

  /// Calls `make_root()` and runs the task that it returns. The callable outlives the task.
  template <class Fn>
    requires std::invocable<Fn&>
  decltype(auto) run(Fn make_root) {
    return run(std::invoke(make_root));
  }

  /// Starts `root` in the executor's next turn and returns its owner; drive it with turn(). See root_task.
  template <class T>
  [[nodiscard]] root_task<T> start(task<T> root);

  /// One turn. Returns whether there is something to do at once.
  ///
  /// @param may_park  Whether it may sleep until there is something to do; it does so in the same turn that ran the
  ///                  last ready work. A root task that ends in the turn keeps it from sleeping.
  /// @threads         The thread that made the executor, outside any turn of it.
  bool turn(bool may_park);

  /// Turns without parking until nothing is ready and nothing waits for the kernel to look at it.
  ///
  /// @threads  As turn().
  void run_ready();

  /// Has `work` run in a turn of this executor.
  ///
  /// @param work  Kept alive by the caller until it has run.
  /// @threads     Any thread, and signal handlers. Writes the eventfd only if the executor sleeps. The executor stays
  ///              until post() has returned, which may be after `work` has run: join who posts, then destroy it.
  void post(detail::runnable& work) noexcept { parker_.post(work); }

  /// Has `fn()` called in a turn of this executor. Allocates; fn must not throw.
  ///
  /// @threads  Any thread; the executor stays until post() has returned, as above.
  void post(std::function<void()> fn);

  /// Whether the calling thread is the one that made it, and may use it.
  [[nodiscard]] bool belongs_to_this_thread() const noexcept { return &detail::current_executor == thread_; }

  /// The scope of everything that runs here. Cancelling it stops the program's root task.
  [[nodiscard]] cancel_scope& root_scope() noexcept { return root_scope_; }

  [[nodiscard]] executor_statistics statistics() const noexcept;
  [[nodiscard]] const executor_options& options() const noexcept { return options_; }

  /// Where the ring is less than was asked for, in sentences; empty when it is all.
  [[nodiscard]] std::string notes() const { return ring_->notes(); }

  /// Requests in flight in the kernel; for a coroutine that a completion has resumed, also those whose completions came
  /// together with it. The same holds for executor_statistics::cqes and resumes.
  [[nodiscard]] std::uint32_t in_kernel_count() const noexcept { return submission_.in_kernel_count(); }

  /// Ends all that is in flight on a descriptor, and blocks the thread until the kernel is done with it: for teardown,
  /// where nothing can be awaited any more. Elsewhere ops::cancel_fd, or a cancel of the scope.
  ///
  /// No coroutine runs meanwhile. Those that waited hear of it in the executor's next turns: operation_canceled, or the
  /// result that there was already. A transfer of many parts then goes on with its rest: shutdown(2) the socket first.
  ///
  /// @param timeout  For what a kernel worker has begun, and which ends only by itself, an fsync. Zero does not wait.
  /// @return         How many were found; 0 when there was nothing (the kernel's -ENOENT). Those that a worker ran may
  ///                 be missing from the count.
  /// @errors         timed_out              one still runs in a worker (the kernel's -EALREADY, and -ETIME)
  ///                 bad_file_descriptor    it is not open
  ///                 resource_unavailable_try_again   the kernel did not take what was to be submitted before
  ///                 invalid_argument       before Linux 6.0
  /// @threads        The executor's thread, inside a turn or outside.
  /// @limits         Walks all that is armed on the ring for each that it finds there: some 2 ms for 1000 on one
  ///                 descriptor, a second for 9000. The kernel does not find what is to be run by a worker, and was not
  ///                 begun yet.
  /// @source         io_uring_register_sync_cancel(3), IORING_ASYNC_CANCEL_FD. Linux 6.0.
  [[nodiscard]] result<std::size_t> cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept;

  // What follows is for those who write operations, waiters and scopes; a user of them needs none of it.

  /// Sleeps in the ring from here on: something begins that may wait for an eventfd. See detail/parker.hpp.
  void wait_in_ring_from_now_on() noexcept { parker_.sleep_in_ring_from_now_on(); }

  /// The executor's clock, as of the last time that somebody looked. Refreshed by now().
  [[nodiscard]] detail::clock_ns coarse_now() const noexcept { return clock_.last_look(); }
  detail::clock_ns now() noexcept { return clock_.look(); }

  /// The clock as of this turn: exact when no timer is armed, otherwise as of the turn's beginning, or a later look.
  [[nodiscard]] detail::clock_ns turn_time() noexcept { return timers_.empty() ? now() : coarse_now(); }

  /// Up to this duration a deadline is counted from the very moment, or kept by the kernel; above it, from turn_time().
  [[nodiscard]] std::chrono::nanoseconds short_duration_max() const noexcept { return short_duration_max_; }

  /// A timer on any clock: arms it, or moves it on the same clock; takes it out; looks at the clock.
  void arm_on(point_in_time when, detail::timer& armed) noexcept { submission_.arm(when, armed); }
  void disarm_on(detail::clock_id clock, detail::timer& armed) noexcept { submission_.disarm(clock, armed); }
  [[nodiscard]] detail::clock_ns now_on(detail::clock_id clock) noexcept {
    return clock == detail::clock_id::steady ? now() : ring_->now_on(clock);
  }

  /// The same for who only looks: the timers on a clock; a point on it, as it looks now on the steady clock.
  [[nodiscard]] const detail::timer_heap& timers_on(detail::clock_id clock) const noexcept {
    return submission_.timers_on(clock);
  }
  [[nodiscard]] detail::clock_ns on_steady_clock(point_in_time when) noexcept;

  [[nodiscard]] detail::timer_heap& timers() noexcept { return timers_; }
  [[nodiscard]] detail::ring& ring() noexcept { return *ring_; }

  /// Queues `work` for the next time ready things are run.
  void make_ready(detail::runnable& work) noexcept { ready_.push_back(work); }

  /// Notes that `awaiter` begins to wait in `entering`, below `bound`. Returns the executor.
  static executor& begin(detail::waiter& entering, std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept;

  /// Describes `op` to the ring, or lets it wait for a place.
  void submit(operation& op) noexcept { submission_.submit(op); }

  /// Has the kernel asked to stop `op`, before anything else is submitted.
  void submit_cancel(operation& op) noexcept { submission_.submit_cancel(op); }

  /// Counts a cancel request that an operation has described.
  void count_cancel() noexcept { submission_.count_cancel(); }

  /// Ends `op`, which the kernel has not seen, as cancelled.
  void drop_queued(operation& op) noexcept { submission_.drop_queued(op); }

  /// The same for a handler's request. One that is still waiting for a place ends at once, with -ECANCELED.
  void submit(detail::completion_handler& handler) noexcept { submission_.submit(handler); }
  void submit_cancel(detail::completion_handler& handler) noexcept { submission_.submit_cancel(handler); }

  /// A root task has ended: whoever drives the executor gets it back without a sleep.
  void return_soon() noexcept { returning_ = true; }

  /// See detail::enter_foreign().
  void set_foreign_boundary(detail::boundary& bound) noexcept { foreign_ = &bound; }
  [[nodiscard]] detail::boundary& foreign_boundary() noexcept {
    GYRE_ASSERT(foreign_ != nullptr, "a coroutine of another library awaits gyre's operations only below a gyre task");
    return *foreign_;
  }
  void forget_boundary(const detail::boundary& leaving) noexcept {
    if (foreign_ == &leaving) foreign_ = nullptr;
  }

 private:
  friend class operation;
  friend class detail::task_tree;
  class turn_guard;

  void run_until(const bool& done);
  void take_turn(bool may_park) noexcept;
  void run_ready_batch() noexcept;
  [[gnu::noinline]] void take_posted() noexcept;
  [[gnu::noinline]] void expire_timers() noexcept;
  void take_completions() noexcept;
  std::size_t resume_plain_ones(std::span<const detail::completion> batch) noexcept;
  [[gnu::cold]] void queue_completed(std::span<const detail::completion> batch) noexcept;
  operation* plainly_completed(const detail::completion& done) noexcept;
  void complete_with_care(const detail::completion& done) noexcept;
  void complete_tagged(const detail::completion& done) noexcept;
  void complete(detail::completion_handler& handler, const detail::completion& done) noexcept;
  [[nodiscard]] bool has_work() const noexcept;
  void drain() noexcept;
  void cancel_all_in_kernel() noexcept;

  // Set by the constructor, constant ever after.
  const executor_options options_;
  const std::unique_ptr<detail::ring> ring_;
  const std::chrono::nanoseconds short_duration_max_ =
      std::max<std::chrono::nanoseconds>(options_.linked_timeout_max, std::chrono::milliseconds{100});
  executor* const* const thread_ = &detail::current_executor;  // a thread-local's address tells threads apart

  // Touched by the thread that runs the executor, and by no other.
  detail::intrusive_queue<detail::runnable> ready_;
  bool returning_ = false;  // a root task ended: the turn returns instead of parking
  std::uint64_t turns_ = 0;
  std::uint64_t resumes_ = 0;
  detail::coarse_clock clock_{*ring_};
  detail::timer_heap timers_;
  detail::submission submission_{*ring_, clock_, timers_};
  cancel_scope root_scope_{*this};
  detail::live_executor listed_{*this};
  detail::boundary* foreign_ = nullptr;
  bool in_turn_ = false;

  detail::parker parker_;  // its last members are touched by any thread
};

namespace detail {

/// `duration` after `now`; the far future when that cannot be counted.
[[nodiscard]] inline clock_ns later(clock_ns now, std::chrono::nanoseconds duration) noexcept {
  constexpr clock_ns far_future = INT64_MAX;
  return duration.count() > far_future - now ? far_future : now + duration.count();
}

/// The point in time `duration` from now.
[[nodiscard]] clock_ns deadline_after(executor& loop, std::chrono::nanoseconds duration) noexcept;

}  // namespace detail

template <class T>
root_task<T> executor::start(task<T> root) {
  return root_task<T>{*this, std::move(root)};
}

template <class T>
T executor::run(task<T> root) {
  root_task<T> running{*this, std::move(root)};
  run_until(running.done_);
  return running.get();
}

}  // namespace gyre
