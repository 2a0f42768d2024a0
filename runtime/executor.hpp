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
//   4  if nothing is ready and nothing has completed meanwhile: park (detail/parker.hpp) until the earliest timer is
//      due at the latest, and then flush once more. turn() does not where step 1 had something to do: see there
//
// Nothing is resumed in steps 2 to 4, and nothing that is resumed in step 1 can bring in more completions: no
// coroutine runs inside another's co_await of an operation.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/coarse_clock.hpp>
#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/executor_locals.hpp>
#include <gyre/runtime/detail/guest.hpp>
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
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gyre {

class operation;

/// How an executor sleeps when there is nothing to do.
enum class parking : std::uint8_t {
  eventfd,  ///< In read(2) on the eventfd registered with its ring.
            ///< From the first ops::read, write or poll on it sleeps as with ring_wait: see wait_in_ring_from_now_on().
            ///< What an executor in a foreign loop has to have: embedded.hpp.
  ring_wait  ///< In the io_uring_enter(2) that submits: one system call less a park, for programs that embed nothing.
};

/// How an executor finds completions of file I/O: see executor_options::iopoll.
enum class iopoll_mode : std::uint8_t {
  off,    ///< The device interrupts, and the kernel tells the executor.
  busy,   ///< The executor asks the device, again and again, while something is in flight: IORING_SETUP_IOPOLL.
  hybrid  ///< The same, and sleeps for half of the time that such a request took lately: IORING_SETUP_HYBRID_IOPOLL.
};

/// A kernel thread that submits for an executor: see executor_options::sqpoll.
struct sqpoll_options {
  std::chrono::milliseconds idle{1000};  ///< How long it looks on, awake, when there is nothing; then it sleeps.
  std::optional<unsigned> cpu = {};      ///< Where it runs: IORING_SETUP_SQ_AFF. Else wherever there is room.
};

/// How the network devices to poll are known: IO_URING_NAPI_TRACKING_DYNAMIC, _STATIC.
enum class napi_tracking : std::uint8_t {
  by_kernel,  ///< Those whose sockets have lately been waited for.
  by_program  ///< Those that executor::add_napi_id() names. Linux 6.13.
};

/// Polling of network devices: see executor_options::napi.
struct napi_options {
  std::chrono::microseconds busy_poll{0};  ///< For how long in each wait; 0: not at all.
  bool prefer_busy_poll = false;           ///< The device's interrupts are held back: SO_PREFER_BUSY_POLL.
  napi_tracking tracking = napi_tracking::by_kernel;
};

/// What an executor is made with. The defaults suit a server; docs/executor-options.md has what each costs, measured.
///
/// What the machine cannot do is told in one of two ways. sqpoll, iopoll, direct_descriptors, numbered_descriptors,
/// registered_buffers, big_entries and only_opcodes change what a program can do, or who does it: they are refused,
/// with an error that names cause and cure. All others only make things faster: the executor does without, and notes()
/// says so. Options that contradict each other are refused with invalid_argument.
struct executor_options {
  /// Submission entries; 2 to 32768, rounded up to a power of two. More awaits than entries cost a system call each
  /// time the queue fills; nothing fails.
  unsigned sq_entries = 512;

  /// Completion entries; at least twice sq_entries, to 65536. Also sizes the kernel's table for cancels by operation.
  unsigned cq_entries = 8192;

  parking park = parking::eventfd;

  /// How many completed operations, and how many other coroutines, are resumed in one turn before the kernel is looked
  /// at again. More saves system calls where hundreds are ready at once; fewer keeps what a turn touches in the cache.
  /// So long coroutines that make each other ready may keep completions, posts, timers and stops waiting.
  unsigned turn_budget = 64;

  /// How much later than at its time a sleep or a deadline may end where that lets timers share a wake. One that is
  /// alone ends at its time: with parking::eventfd an executor sets its thread's own slack to the smallest while it
  /// lives, since Linux would add that to each sleep: prctl(2), PR_SET_TIMERSLACK.
  std::chrono::nanoseconds timer_slack = std::chrono::microseconds{70};

  /// with_timeout() on one operation uses a linked timeout in the kernel up to this duration, and the executor's own
  /// timers above it; zero: never linked. Same meaning either way: see deadline.hpp.
  std::chrono::nanoseconds linked_timeout_max = std::chrono::seconds{1};

  /// Kernel threads for operations that block, on regular files and on everything else. 0: the kernel's own limits.
  unsigned iowq_bounded_workers_max = 8;
  unsigned iowq_unbounded_workers_max = 64;

  /// The CPUs that those threads may run on; empty: any. Keeps blocking file work away from the CPU of a thread that
  /// answers requests; costs waiting where they have too few. io_uring_register_iowq_aff(3), Linux 5.14.
  std::vector<unsigned> iowq_cpus = {};

  /// How long it looks for work, awake, before it sleeps: where that paid three times of four lately, and else before
  /// one in 256 sleeps; zero: never. Saves the wake of a sleeping CPU, which is most of a lone round trip; costs the
  /// processor time of looks in vain, and the other thread of the same core some of its speed. Not where devices are
  /// polled. For programs that share one CPU with those that they talk to: zero.
  std::chrono::nanoseconds spin_before_park = std::chrono::microseconds{10};

  /// With parking::ring_wait a sleep goes on until there are min_wait_count completions, or as many as are in flight,
  /// for up to min_wait after it began; from then on the first ends it. Zero: the first ends it. Saves wakes where
  /// hundreds of connections have a little each; costs each of them up to that time, posts from other threads as well.
  /// IORING_FEAT_MIN_TIMEOUT, Linux 6.12. With parking::eventfd it is refused: that sleeps outside the ring.
  std::chrono::microseconds min_wait{0};
  unsigned min_wait_count = 16;

  /// A kernel thread submits, and finishes what waited: operations cost the executor no system call, as long as the
  /// thread is awake. Pays where a CPU is to spare for it, and submissions are what the executor's own CPU is short of;
  /// costs that CPU whole, and is slower than no thread by far where it shares one. Deadlines are then kept by the
  /// executor's timers, never linked. IORING_SETUP_SQPOLL; refused where it is not to be had.
  std::optional<sqpoll_options> sqpoll = {};

  /// For an executor that does nothing but read and write files opened with O_DIRECT on devices that can be polled
  /// (NVMe with poll queues): completions without interrupts. Costs its CPU whole while something is in flight; posts
  /// and timers wait meanwhile for the next completion. Any other operation fails with operation_not_supported, as do
  /// reads and writes where file system or device cannot. A cancel ends nothing that is in flight, and a time on the
  /// boot clock or the system clock is taken as it looks when the wait begins.
  iopoll_mode iopoll = iopoll_mode::off;

  /// A wait in the ring polls the network devices of its sockets first. Saves the interrupt's way, some microseconds of
  /// a message's; costs the processor time of the poll. Needs parking::ring_wait or sqpoll; on loopback and on sockets
  /// of the same machine there is no device to poll, and it does nothing. IORING_REGISTER_NAPI, Linux 6.9.
  napi_options napi = {};

  /// Up to where a queue that proves too small is doubled: submission entries when as many operations had to wait for
  /// one as there are, completion entries when they overflowed. Zero: never. Costs nothing until then, and some 100 us
  /// and the larger queue's memory each time. IORING_REGISTER_RESIZE_RINGS, Linux 6.13; where it is not to be had, or
  /// memory is refused, the ring stays as it is. Not with sqpoll.
  unsigned sq_entries_max = 0;
  unsigned cq_entries_max = 0;

  /// So many direct descriptors can be open at a time, in a table of the ring's; 0: there is no table. They are looked
  /// up without the process's descriptors, which its threads share, and can be sent to another executor: direct_fd.hpp.
  /// Costs some 80 bytes each. At most RLIMIT_NOFILE and 1048576; refused where the machine says no, and with iopoll.
  /// IORING_REGISTER_FILES2, Linux 5.19.
  unsigned direct_descriptors = 0;

  /// So many of them, the first, have numbers of the program's choice: numbered_fd.hpp. The others are the kernel's to
  /// give away. Less than direct_descriptors. IORING_REGISTER_FILE_ALLOC_RANGE, Linux 6.0.
  unsigned numbered_descriptors = 0;

  /// Entries of 128 bytes, and completions of 32: what ops::raw_command and zero_copy_queue need, and nothing else.
  /// Costs twice the memory, and completions are taken one a turn. Refused where it is not to be had, and with
  /// sq_entries_max or cq_entries_max. IORING_SETUP_SQE128, IORING_SETUP_CQE32, Linux 5.19.
  bool big_entries = false;

  /// So many registered buffers can there be at a time, in a table of the ring's; 0: there is no table. Reads and
  /// writes of registered memory are spared the look-up of its pages: registered_buffer.hpp. Costs some 50 bytes each,
  /// beside the memory. At most 16384; refused where the machine says no. IORING_REGISTER_BUFFERS2, Linux 5.19.
  unsigned registered_buffers = 0;

  /// All that its ring takes: numbers of linux/io_uring.h, IORING_OP_…; empty: everything. An operation of any other
  /// opcode fails with permission_denied, and the text says why. What the executor needs for itself is taken as well,
  /// for sleeps, deadlines and cancels, and to close a descriptor. It cannot be undone: for programs that give up,
  /// before they listen to the world, what they will not need. No personality can be registered there. Refused where
  /// the kernel does not know an opcode, or restrictions. IORING_REGISTER_RESTRICTIONS, Linux 5.10.
  std::vector<unsigned> only_opcodes = {};
};

/// What an executor has counted since it was made.
struct executor_statistics {
  std::uint64_t turns = 0;
  std::uint64_t enters = 0;              ///< io_uring_enter(2) calls. With sqpoll most submissions need none.
  std::uint64_t sqes = 0;                ///< Entries described to the ring, cancels and timeouts included.
  std::uint64_t cqes = 0;                ///< Completions taken from it.
  std::uint64_t cancels = 0;             ///< Cancel requests among the entries, each of one operation or of many.
  std::uint64_t resumes = 0;             ///< Coroutines resumed, and other things run that were ready.
  std::uint64_t parks = 0;               ///< Times it went to sleep.
  std::uint64_t wakes_written = 0;       ///< Posts that had to write the eventfd.
  std::uint64_t wakes_suppressed = 0;    ///< Posts that found it awake.
  std::uint64_t overflows = 0;           ///< Times the completion queue was found to have overflowed.
  std::uint64_t refusals = 0;            ///< Times the kernel took not all of a submission, for want of room.
  std::uint64_t backlogged = 0;          ///< Operations that found the submission queue full and waited for a place.
  std::uint64_t growths = 0;             ///< Times the ring was made larger: executor_options::sq_entries_max.
  std::uint64_t spins = 0;               ///< Times it looked for work, awake, before it slept: spin_before_park.
  std::uint64_t spins_paid = 0;          ///< Times there was some.
  std::uint64_t buffer_shortages = 0;    ///< Requests that found no buffer in their buffer_pool.
  std::uint64_t direct_fds = 0;          ///< Direct descriptors that are somebody's now.
  std::uint64_t registered_buffers = 0;  ///< Registered buffers that are.
};

class executor;

namespace detail {

class buffer_table;
class direct_table;

// The executor whose turn it is on this thread. Constant-initialised: a use is a plain thread-local access.
[[gnu::tls_model("initial-exec")]] extern thread_local constinit executor* current_executor;

}  // namespace detail

/// The child of a fork(2) has none of its parent's executors: there a use of one stops the program, with a sentence. It
/// can make its own, exec, or leave. See docs/several-executors.md.
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

  /// Every task must have ended, but those that run here for another executor (on.hpp): they are stopped, and waited
  /// for. Waits until the kernel has given back everything that is still in flight, and until nobody is in post().
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

  /// Starts `root` in a turn of the executor, this one or the next, and returns its owner; drive it with turn(). See
  /// root_task.
  template <class T>
  [[nodiscard]] root_task<T> start(task<T> root);

  /// One turn. Returns whether there is something to do at once.
  ///
  /// @param may_park  Whether it may sleep until there is something to do. It does not in a turn that has resumed
  ///                  anybody, taken a completion, or seen a root task end, so that a loop of turns may end at whatever
  ///                  these have brought about: `while (!enough) loop.turn(true)`.
  /// @threads         The thread that made the executor, outside any turn of it.
  bool turn(bool may_park);

  /// Whether there is something that a turn would do at once, as turn() returns it.
  ///
  /// @threads  The thread that made the executor.
  [[nodiscard]] bool has_work() const noexcept;

  /// Turns without parking until nothing is ready and nothing waits for the kernel to look at it.
  ///
  /// @threads  As turn().
  void run_ready();

  /// Has `work` run in a turn of this executor.
  ///
  /// @param work  Kept alive by the caller until it has run.
  /// @threads     Any thread, and signal handlers. Writes the eventfd only if the executor sleeps. `work` may have run
  ///              before post() has returned; the executor's destructor waits for those who are in post(), and runs
  ///              what they leave. So `work` may be what says that the executor is no longer needed.
  void post(detail::runnable& work) noexcept { parker_.post(work); }

  /// Has `fn()` called in a turn of this executor. Allocates; fn must not throw.
  ///
  /// @threads  Any thread; as above.
  void post(std::function<void()> fn);

  /// Whether the calling thread is the one that made it, and may use it.
  [[nodiscard]] bool belongs_to_this_thread() const noexcept { return &detail::current_executor == thread_; }

  /// The scope of everything that runs here. Cancelling it stops the program's root task.
  [[nodiscard]] cancel_scope& root_scope() noexcept { return root_scope_; }

  [[nodiscard]] executor_statistics statistics() const noexcept;
  [[nodiscard]] const executor_options& options() const noexcept { return options_; }

  /// Where the ring is less than was asked for, in sentences; empty when it is all.
  [[nodiscard]] std::string notes() const { return ring_->notes(); }

  /// Requests in flight in the kernel; for a coroutine that a completion has resumed, also one for each completion that
  /// came together with it. The same holds for executor_statistics::cqes and resumes.
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

  /// Has waits poll the network device behind `id` from here on, or no longer: with napi_tracking::by_program.
  ///
  /// @param id   What getsockopt(2), SO_INCOMING_NAPI_ID, says of a connected socket; 0 for one without a device.
  /// @errors     invalid_argument         no such id can be, or devices are tracked by the kernel, or before Linux 6.13
  ///             file_exists              it is polled already
  ///             no_such_file_or_directory   for remove_napi_id(): it is not
  ///             operation_not_supported  the ring is none of the kernel's
  /// @threads    The executor's thread.
  /// @source     io_uring_register_napi(3), IO_URING_NAPI_STATIC_ADD_ID and _DEL_ID. Linux 6.13.
  [[nodiscard]] result<void> add_napi_id(unsigned id) noexcept;
  [[nodiscard]] result<void> remove_napi_id(unsigned id) noexcept;

  // What follows is for those who write operations, waiters and scopes; a user of them needs none of it.

  /// A number that no other executor of this process has or had: 1 and up.
  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }

  /// What this executor has of a T, made when it is first asked for: T{loop}. For what a library keeps for each
  /// executor; one that nobody asks for costs nothing.
  ///
  /// It is destroyed with the executor, when all tasks have ended and the kernel has given back every request: a
  /// kernel_request that is a part of it may be in flight until then. Its destructor submits nothing.
  ///
  /// @threads  The executor's thread, and so is all that is done with what it returns.
  /// @limits   Found among those of other types one by one: a nanosecond or two for the few that there are.
  template <class T>
  [[nodiscard]] T& local() {
    return locals_.get<T>(*this);
  }

  /// The same, or null where nobody has asked for one yet.
  template <class T>
  [[nodiscard]] T* local_or_null() const noexcept {
    return locals_.find<T>();
  }

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

  /// How it sleeps: for embedded.hpp.
  [[nodiscard]] detail::parker& sleeper() noexcept { return parker_; }

  [[nodiscard]] detail::timer_heap& timers() noexcept { return timers_; }
  [[nodiscard]] detail::ring& ring() noexcept { return *ring_; }
  [[nodiscard]] const detail::ring& ring() const noexcept { return *ring_; }

  /// Its direct descriptors; null where executor_options::direct_descriptors is 0. From any thread.
  [[nodiscard]] detail::direct_table* direct_table_or_null() const noexcept { return direct_table_.get(); }

  /// The same of its registered buffers: executor_options::registered_buffers.
  [[nodiscard]] detail::buffer_table* buffer_table_or_null() const noexcept { return buffer_table_.get(); }

  /// Queues `work` for the next time ready things are run, which may be in this turn.
  void make_ready(detail::runnable& work) noexcept { ready_.push_back(work); }

  /// In a turn: queues `work` for the next one, so that the kernel is looked at before.
  void make_ready_next_turn(detail::runnable& work) noexcept { next_turn_.push_back(work); }

  /// The same as begin(), where nothing is out of the ordinary. Otherwise returns false, and nothing has happened.
  [[nodiscard]] static bool begin_plainly(detail::waiter& entering, std::coroutine_handle<> awaiter,
                                          detail::boundary& bound) noexcept;

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

  /// An operation that went alone has ended.
  void end_alone() noexcept { submission_.end_alone(); }

  /// The same for a handler's request. One that is still waiting for a place ends at once, with -ECANCELED.
  void submit(detail::completion_handler& handler) noexcept { submission_.submit(handler); }
  void submit_cancel(detail::completion_handler& handler) noexcept { submission_.submit_cancel(handler); }

  /// A root task has ended: whoever drives the executor gets it back without a sleep.
  void return_soon() noexcept { returning_ = true; }

  /// One turn of a loop that looks at nothing but what ends with return_soon(): it sleeps in the turn that ran the last
  /// ready work, so that a ring that sleeps itself submits and sleeps in one call.
  void turn_until_told() noexcept;

  /// A task arrives that is to run here for another executor, and leaves: until then the executor stays. Returns
  /// whether it may begin: not when the root scope is cancelled, or the executor is being destroyed.
  bool receive(std::optional<detail::guest>& arriving) noexcept;
  void part_with(std::optional<detail::guest>& leaving) noexcept;
  [[nodiscard]] bool has_guests() const noexcept { return !guests_.empty(); }

  /// Before it is destroyed: those that run here for other executors are stopped, and none begins any more.
  void stop_guests() noexcept;

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
  friend class suspension;
  friend class detail::task_tree;
  class turn_guard;

  [[nodiscard]] static std::uint32_t next_number() noexcept;
  void run_until(const bool& done);
  void work() noexcept;                   // steps 1 and 2
  void end_turn(bool may_park) noexcept;  // 3 and 4
  void run_ready_batch() noexcept;
  [[gnu::noinline]] void take_posted() noexcept;
  [[gnu::noinline]] void expire_timers() noexcept;
  void take_completions() noexcept;
  std::size_t resume_completed(std::span<const detail::completion> batch) noexcept;
  [[gnu::noinline]] bool complete_in_place(const detail::completion& done) noexcept;
  [[gnu::cold]] void queue_completed(std::span<const detail::completion> batch) noexcept;
  operation* plainly_completed(const detail::completion& done) noexcept;
  void complete_with_care(const detail::completion& done) noexcept;
  void complete_tagged(const detail::completion& done) noexcept;
  [[gnu::noinline]] void complete_last(detail::completion_handler& handler, const detail::completion& done) noexcept;
  void send_guests_home() noexcept;
  void drain() noexcept;
  void cancel_all_in_kernel() noexcept;

  // Set by the constructor, constant ever after.
  const executor_options options_;
  const std::unique_ptr<detail::ring> ring_;
  const std::chrono::nanoseconds short_duration_max_ =
      std::max<std::chrono::nanoseconds>(options_.linked_timeout_max, std::chrono::milliseconds{100});
  const std::uint32_t number_ = next_number();
  executor* const* const thread_ = &detail::current_executor;  // a thread-local's address tells threads apart

  // Touched by the thread that runs the executor, and by no other.
  detail::intrusive_queue<detail::runnable> ready_;
  detail::intrusive_queue<detail::runnable> next_turn_;  // empty between turns
  bool returning_ = false;                               // a root task ended: the turn returns instead of parking
  std::uint64_t turns_ = 0;
  std::uint64_t resumes_ = 0;
  detail::coarse_clock clock_{*ring_};
  detail::timer_heap timers_;
  detail::submission submission_{*ring_, clock_, timers_};
  cancel_scope root_scope_{*this};
  detail::intrusive_ring<detail::guest> guests_;
  bool is_ending_ = false;  // its destructor runs
  detail::live_executor listed_{*this};
  detail::boundary* foreign_ = nullptr;
  detail::executor_locals locals_;
  const std::unique_ptr<detail::direct_table> direct_table_;
  const std::unique_ptr<detail::buffer_table> buffer_table_;
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
