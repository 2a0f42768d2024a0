// SPDX-License-Identifier: MIT
// The turn of an executor, step by step, and the protocol of its sleep.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace gyre {

thread_local constinit executor* detail::current_executor = nullptr;

namespace {

using detail::current_executor;

// Makes an executor the current one of this thread for as long as it lives.
class current_guard {
 public:
  explicit current_guard(executor& entering) noexcept : before_{std::exchange(current_executor, &entering)} {}
  ~current_guard() { current_executor = before_; }
  current_guard(const current_guard&) = delete;
  current_guard& operator=(const current_guard&) = delete;

 private:
  executor* before_;
};

detail::ring_request request_for(const executor_options& options) {
  constexpr unsigned sq_entries_min = 2;  // an operation and its linked timeout go in together
  return {.sq_entries = std::max(options.sq_entries, sq_entries_min),
          .cq_entries = options.cq_entries,
          .iowq_bounded_workers_max = options.iowq_bounded_workers_max,
          .iowq_unbounded_workers_max = options.iowq_unbounded_workers_max,
          .completions_signal_eventfd = options.park == parking::eventfd};
}

}  // namespace

// For parking in the ring: a multishot poll of the eventfd, which is never read, so that a write to it ends the wait.
struct executor::wake_poll : detail::completion_handler {
  explicit wake_poll(int event_fd) noexcept : completion_handler{&woken, &prepare}, polled_fd{event_fd} {}

  static void woken(completion_handler&, std::int32_t, std::uint32_t) noexcept {}
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {
    io_uring_prep_poll_multishot(&sqe, static_cast<wake_poll&>(self).polled_fd, POLLIN);
  }

  int polled_fd;
};

executor::executor(executor_options options)
    : executor{std::make_unique<detail::kernel_ring>(request_for(options)), options} {}

executor::executor(std::unique_ptr<detail::ring> ring, executor_options options)
    : options_{options},
      ring_{std::move(ring)},
      wake_poll_{std::make_unique<wake_poll>(ring_->event_fd())},
      parks_in_ring_{options.park == parking::ring_wait} {
  GYRE_ASSERT(options.turn_budget > 0, "a turn resumes something");
}

executor::~executor() {
  GYRE_ASSERT(current_executor != this, "an executor is not destroyed in its own turn");
  GYRE_ASSERT(belongs_to_this_thread(), "an executor is destroyed on the thread that made it");
  GYRE_ASSERT(root_scope_.empty(), "an executor was destroyed while tasks are still running on it");
  drain();
}

detail::clock_ns detail::deadline_after(executor& loop, std::chrono::nanoseconds duration) noexcept {
  return later(loop.now(), duration);
}

bool executor::turn(bool may_park) {
  GYRE_ASSERT(belongs_to_this_thread(), "an executor was used from another thread than the one that made it");
  const current_guard guard{*this};
  return take_turn(may_park);
}

void executor::run_until(const bool& done) {
  GYRE_ASSERT(belongs_to_this_thread(), "an executor was used from another thread than the one that made it");
  const current_guard guard{*this};
  while (!done) take_turn(/*may_park=*/true);
}

bool executor::take_turn(bool may_park) noexcept {
  ++counted_.turns;
  take_completions();
  if (!ready_.empty()) run_ready_batch();
  if (!posted_.empty()) take_posted();
  if (!timers_.empty()) expire_timers();
  const bool idle = may_park && ready_.empty() && !std::exchange(returning_, false);
  if (idle) flush_and_park();
  else submission_.flush();
  return has_work();
}

void executor::flush_and_park() noexcept {
  arm_wakers();
  if (parks_in_ring_) return wait_in_ring();
  submission_.flush();
  if (parks_in_ring_ || has_work() || !kernel_times_timers()) return;
  park();
  submission_.flush();
}

bool executor::work_is_visible() const noexcept {
  return ring_->has_completions() || ring_->wants_enter() || !posted_.empty();
}

bool executor::has_work() const noexcept { return !ready_.empty() || work_is_visible() || submission_.has_work(); }

void executor::run_ready() {
  while (turn(/*may_park=*/false)) {
  }
}

// Runs what was ready when the turn began, up to the budget. What becomes ready meanwhile waits for the next turn.
void executor::run_ready_batch() noexcept {
  detail::intrusive_queue<detail::runnable> batch;
  batch.take_front(ready_);
  detail::runnable* each = batch.detach();
  unsigned left = options_.turn_budget;
  do {
    detail::runnable* const following = each->next;
    each->run();  // `each` may no longer exist after this line
    each = following;
  } while (each != nullptr && --left > 0);
  counted_.resumes += options_.turn_budget - left + (each == nullptr ? 1 : 0);
  if (each == nullptr) return;
  batch.attach_from(*each);
  ready_.take_front(batch);
}

void executor::take_posted() noexcept {
  for (detail::runnable* each = posted_.take_all(); each != nullptr;) {
    detail::runnable* const following = each->next;
    ready_.push_back(*each);
    each = following;
  }
}

void executor::expire_timers() noexcept {
  const detail::clock_ns due = now();
  while (detail::timer* const expired = timers_.pop_due(due)) expired->expire(*expired);
}

// ------------------------------------------------------------------------------------------- who begins to wait

executor& executor::begin(detail::waiter& entering, std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  executor& loop = bound.scope->executor();
  GYRE_ASSERT(detail::current_executor == &loop,
              "an executor was used from another thread than its own, or from a turn of another executor");
  entering.set_coroutine(awaiter);
  entering.bound_ = &bound;
  entering.since_ms_ = loop.clock_.last_look_ms();
  entering.enter_boundary();
  return loop;
}

void operation::start_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  executor& loop = executor::begin(*this, awaiter, bound);
  if (!bound.scope->stop_requested()) return loop.submit(*this);
  set(stage::waiting);
  finish_stopped();
}

// ------------------------------------------------------------------------------------------------- completion

// Takes back what the kernel finished, up to the budget and to the end of the queue's memory, and resumes who waited
// for it: at once, as long as nobody comes before them in the ready queue. What the kernel still has to do (one enter()
// runs some 20 pieces of its work) comes in the next turn, which enters anyway: the coroutines will have something to
// submit.
void executor::take_completions() noexcept {
  const auto batch = ring_->oldest_completions(options_.turn_budget);
  if (batch.empty()) return;
  const std::size_t resumed_count = ready_.empty() ? resume_plain_ones(batch) : 0;
  if (resumed_count < batch.size()) [[unlikely]]
    queue_completed(batch.subspan(resumed_count));
  ring_->free_oldest(static_cast<unsigned>(batch.size()));
}

// Up to the first that is not plain; returns how many.
std::size_t executor::resume_plain_ones(std::span<const detail::completion> batch) noexcept {
  std::size_t count = 0;
  for (const detail::completion& done : batch) {
    operation* const op = plainly_completed(done);
    if (op == nullptr) [[unlikely]]
      break;
    ++count;
    op->resume();  // `op` no longer exists after this line
  }
  counted_.resumes += count;
  return count;
}

void executor::queue_completed(std::span<const detail::completion> batch) noexcept {
  for (const detail::completion& done : batch) {
    if (operation* const op = plainly_completed(done)) {
      op->set_plainly(operation::stage::ready);
      ready_.push_back(*op);
    } else {
      complete_with_care(done);
    }
  }
}

// The way of nearly every completion: of an operation, with a result that is no error, and nobody has asked it to end.
// Null for any other, to which nothing has happened.
inline operation* executor::plainly_completed(const detail::completion& done) noexcept {
  if ((done.user_data & detail::handler_tag) != 0) return nullptr;
  auto& op = *reinterpret_cast<operation*>(done.user_data);
  if (!op.is_plainly(operation::stage::in_kernel) || !op.is_whole(done.res)) return nullptr;
  op.answer_ = done.its_answer();
  op.bound_->waiting = nullptr;
  return &op;
}

void executor::complete_with_care(const detail::completion& done) noexcept {
  if ((done.user_data & detail::handler_tag) != 0) return complete_tagged(done);
  auto& op = *reinterpret_cast<operation*>(done.user_data);
  GYRE_ASSERT(op.current() >= operation::stage::in_kernel, "a completion for something that is not in flight");
  submission_.forget_cancel(op);
  op.finish(done.res, done.flags);
}

void executor::complete_tagged(const detail::completion& done) noexcept {
  const bool ends_a_request = done.user_data != detail::nobody && (done.flags & IORING_CQE_F_MORE) == 0;
  if (!ends_a_request) submission_.note_no_end();
  if (done.user_data == detail::nobody) return;
  complete(detail::untagged(done.user_data), done);
}

void executor::complete(detail::completion_handler& handler, const detail::completion& done) noexcept {
  if ((done.flags & IORING_CQE_F_MORE) == 0) submission_.end_request(handler);
  handler.complete(handler, done.res, done.flags);
}

// ---------------------------------------------------------------------------------------------------- parking

// What ends a sleep besides completions of operations: the earliest timer, and when it parks in the ring other threads.
void executor::arm_wakers() noexcept {
  using place = detail::completion_handler::place;
  if (parks_in_ring_ && wake_poll_->where == place::none) submit(*wake_poll_);
  if (!timers_.empty()) arm_kernel_timeout(timers_.earliest());
}

void executor::arm_kernel_timeout(detail::clock_ns due) noexcept {
  using place = detail::completion_handler::place;
  detail::kernel_timeout& timeout = submission_.timeout();
  if (timeout.where == place::in_kernel) {
    if (timeout.due <= due) return;
    if (ring_->free_sqes() == 0) submission_.flush();
    if (ring_->free_sqes() == 0) return;  // refused: there is more to do than to sleep
  }
  timeout.due = due;
  if (timeout.where == place::none) submit(timeout);
  else if (timeout.where == place::in_kernel) timeout.describe_move(submission_.take_nobodys_sqe());
}

// Whether a sleep would end in time for the earliest timer. Not so when there was no entry to arm the timeout by, or to
// move it: then the next turn does.
bool executor::kernel_times_timers() noexcept {
  return timers_.empty() || submission_.timeout().fires_by(timers_.earliest());
}

void executor::park() noexcept {
  state_.store(state::parked, std::memory_order_relaxed);
  ring_->notify_completions(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!work_is_visible()) {
    ++counted_.parks;
    ring_->sleep();
  }
  state_.store(state::running, std::memory_order_relaxed);
  ring_->notify_completions(false);
  now();
}

// The same promise as park(), with the ring itself to sleep in: what other threads write to is polled by the ring.
void executor::wait_in_ring() noexcept {
  submission_.flush_queued();
  state_.store(state::parked, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool sleeps = wake_poll_->where == detail::completion_handler::place::in_kernel && !ring_->has_completions() &&
                      posted_.empty() && !submission_.has_queued() && kernel_times_timers();
  if (sleeps) ++counted_.parks;
  submission_.enter(sleeps ? 1 : 0);
  state_.store(state::running, std::memory_order_relaxed);
  now();
}

void executor::post(detail::runnable& work) noexcept {
  posted_.push(work);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool parked = state_.load(std::memory_order_relaxed) == state::parked;
  if (parked && state_.exchange(state::running, std::memory_order_relaxed) == state::parked) {
    wakes_written_.fetch_add(1, std::memory_order_relaxed);
    ring_->wake();
  } else {
    wakes_suppressed_.fetch_add(1, std::memory_order_relaxed);
  }
}

namespace {

struct posted_function final : detail::runnable {
  explicit posted_function(std::function<void()> its_fn) : runnable{kind_of_function}, fn{std::move(its_fn)} {}

  static void run(runnable& self) noexcept {
    const std::unique_ptr<posted_function> owner{static_cast<posted_function*>(&self)};
    owner->fn();
  }

  static constexpr detail::runnable_kind kind_of_function{&posted_function::run};
  std::function<void()> fn;
};

}  // namespace

void executor::post(std::function<void()> fn) { post(*std::make_unique<posted_function>(std::move(fn)).release()); }

// --------------------------------------------------------------------------------------------------- its end

// The kernel must be done with all memory before the ring is closed: closing it waits for nothing.
void executor::drain() noexcept {
  run_ready();
  const current_guard guard{*this};
  submit_cancel(submission_.timeout());
  submit_cancel(*wake_poll_);
  cancel_all_in_kernel();
  while (in_kernel_count() > 0) {
    submission_.flush();
    take_completions();
    if (in_kernel_count() > 0 && !has_work()) submission_.enter(/*wait_count=*/1);
  }
}

// For requests whose streams outlive the executor.
void executor::cancel_all_in_kernel() noexcept {
  if (in_kernel_count() == 0) return;
  // What is refused stays where it is, until completions that are taken make room.
  for (submission_.flush(); submission_.has_queued() || ring_->free_sqes() == 0; submission_.flush())
    take_completions();
  submission_.submit_cancel_of_all();
}

executor_statistics executor::statistics() const noexcept {
  executor_statistics all = counted_;
  const auto& submitted = submission_.counted();
  all.enters = submitted.enters;
  all.cancels = submitted.cancels;
  all.overflows = submitted.overflows;
  all.refusals = submitted.refusals;
  all.backlogged = submitted.backlogged;
  all.sqes = ring_->sq_tail();
  all.cqes = ring_->cq_head();
  all.wakes_written = wakes_written_.load(std::memory_order_relaxed);
  all.wakes_suppressed = wakes_suppressed_.load(std::memory_order_relaxed);
  return all;
}

}  // namespace gyre
