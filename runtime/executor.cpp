// SPDX-License-Identifier: MIT
// The turn of an executor, step by step, and the protocol of its sleep.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <liburing.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
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

std::uint64_t tagged(detail::completion_handler& handler) noexcept {
  return reinterpret_cast<std::uint64_t>(&handler) | detail::handler_tag;
}

// How long it is until `due`. The kernel is told spans and never points in time: in a time namespace a program reads
// another clock than the one by which the kernel takes points in time. What is overdue comes at once.
__kernel_timespec time_until(detail::clock_ns due, detail::clock_ns now) noexcept {
  constexpr detail::clock_ns second = 1'000'000'000;
  const detail::clock_ns left = due > now ? due - now : 0;
  return {.tv_sec = left / second, .tv_nsec = left % second};
}

}  // namespace

// The one timeout that the kernel holds for an executor: for the earliest of its timers, armed only when it is about to
// park. A timer that went away leaves it armed: a wake too many costs less than a move at every cancelled sleep.
struct executor::kernel_timeout : detail::completion_handler {
  explicit kernel_timeout(executor& owner) noexcept : completion_handler{&fired, &prepare}, loop{owner} {}

  static void fired(completion_handler&, std::int32_t, std::uint32_t) noexcept {}
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {
    auto& described = static_cast<kernel_timeout&>(self);
    described.count_from_now();
    io_uring_prep_timeout(&sqe, &described.time, 0, 0);
  }

  // The kernel reads `time` when it takes the entry.
  void count_from_now() noexcept { time = time_until(due, loop.now()); }

  executor& loop;
  detail::clock_ns due = 0;
  __kernel_timespec time{};
};

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
      link_times_{std::make_unique<link_time[]>(ring_->sq_entries())},
      timeout_{std::make_unique<kernel_timeout>(*this)},
      wake_poll_{std::make_unique<wake_poll>(ring_->event_fd())},
      parks_in_ring_{options.park == parking::ring_wait} {
  GYRE_ASSERT(options.turn_budget > 0, "a turn resumes something");
  GYRE_ASSERT(ring_->sq_entries() > 1, "an operation and its linked timeout go into the ring together");
  now();
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
  if (!timers_.empty()) now();  // who is resumed counts deadlines from here, and not from before the last sleep
  take_completions();
  if (!ready_.empty()) run_ready_batch();
  if (!posted_.empty()) take_posted();
  if (!timers_.empty()) expire_timers();
  const bool idle = may_park && ready_.empty() && !std::exchange(returning_, false);
  if (idle) flush_and_park();
  else flush();
  return has_work();
}

void executor::flush_and_park() noexcept {
  arm_wakers();
  if (parks_in_ring_) return wait_in_ring();
  flush();
  if (parks_in_ring_ || has_work() || !kernel_times_timers()) return;
  park();
  flush();
}

bool executor::work_is_visible() const noexcept {
  return ring_->has_completions() || ring_->wants_enter() || !posted_.empty();
}

// Requests that have no submission entry yet.
bool executor::has_queued() const noexcept {
  if (!may_have_queued_) [[likely]]
    return false;
  return !backlog_.empty() || !handler_backlog_.empty() || !operation_cancels_.empty() || !handler_cancels_.empty();
}

bool executor::has_work() const noexcept {
  return !ready_.empty() || work_is_visible() || has_queued() || ring_->unsubmitted() > 0;
}

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
  while (detail::timer* const expired = timers_.pop_due(coarse_now_)) expired->expire(*expired);
}

// ------------------------------------------------------------------------------------------------ submission

executor& executor::begin(detail::waiter& entering, std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  executor& loop = bound.scope->executor();
  GYRE_ASSERT(detail::current_executor == &loop,
              "an executor was used from another thread than its own, or from a turn of another executor");
  entering.set_coroutine(awaiter);
  entering.bound_ = &bound;
  entering.since_ms_ = loop.coarse_now_ms_;
  entering.enter_boundary();
  return loop;
}

void operation::start_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  executor& loop = executor::begin(*this, awaiter, bound);
  if (!bound.scope->stop_requested()) return loop.submit(*this);
  set(stage::waiting);
  finish_stopped();
}

void executor::submit(operation& op) noexcept {
  if (backlog_.empty() && ring_->free_sqes() >= op.entries_count()) return describe_linked(op);
  op.set(operation::stage::queued);
  backlog_.push_back(op);
  may_have_queued_ = true;
  ++counted_.backlogged;
}

// Where there is known to be a free entry.
io_uring_sqe& executor::take_sqe() noexcept {
  io_uring_sqe* const sqe = ring_->try_sqe();
  GYRE_ASSERT(sqe != nullptr, "an entry is taken when one is free");
  return *sqe;
}

// The timeout follows its operation in the ring, and posts no completion: the operation's own tells everything. Its
// time counts from the executor's last look at the clock: the one that gave the operation its deadline. Who describes
// what has waited since looks again before.
void executor::describe_linked(operation& op) noexcept {
  op.set(operation::stage::in_kernel);
  io_uring_sqe& described = take_sqe();
  detail::ring::blank(described, reinterpret_cast<std::uint64_t>(&op));
  op.its_kind().prepare_entry(op, described);
  if (!op.has(operation::linked)) return;
  described.flags |= IOSQE_IO_LINK;
  io_uring_sqe& sqe = take_sqe();
  static_assert(sizeof(link_time) == sizeof(__kernel_timespec));
  std::memset(&sqe, 0, sizeof sqe);
  io_uring_prep_link_timeout(&sqe, reinterpret_cast<__kernel_timespec*>(&set_link_time(ring_->sq_tail() - 1, op)), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  make_nobodys(sqe);
}

executor::link_time& executor::set_link_time(std::uint64_t position, const operation& op) noexcept {
  const __kernel_timespec left = time_until(op.deadline_->due(), coarse_now_);
  link_time& time = link_times_[ring_->index_of(position)];
  time = {.seconds = left.tv_sec, .nanoseconds = left.tv_nsec};
  return time;
}

// The kernel can take an operation as the last that it has memory for. It would refuse the linked timeout behind it,
// which then stands alone, and tell nobody. So the executor's own timers keep that deadline. The operation is still
// there: nothing was reaped since it was taken.
void executor::keep_lost_deadline() noexcept {
  const std::uint64_t first_left = ring_->sq_head();
  io_uring_sqe& sqe = ring_->sqe_at(first_left);
  if (sqe.opcode != IORING_OP_LINK_TIMEOUT) return;
  detail::timer& deadline = *reinterpret_cast<const operation*>(ring_->sqe_at(first_left - 1).user_data)->deadline_;
  timers_.arm(deadline, deadline.due());
  std::memset(&sqe, 0, sizeof sqe);
  io_uring_prep_nop(&sqe);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe.user_data = detail::nobody;  // as it was, and as it is counted
}

// The times that entries bring with them were right when the kernel refused to take them.
void executor::set_times_anew() noexcept {
  times_are_old_ = false;
  timeout_->count_from_now();
  for (std::uint64_t position = ring_->sq_head() + 1; position != ring_->sq_tail(); ++position) {
    if (ring_->sqe_at(position).opcode != IORING_OP_LINK_TIMEOUT) continue;
    set_link_time(position, *reinterpret_cast<const operation*>(ring_->sqe_at(position - 1).user_data));
  }
}

void executor::submit_cancel(operation& op) noexcept {
  op.set(operation::stage::cancel_queued);
  operation_cancels_.push_front(op);  // newest first: see flush_cancels()
  may_have_queued_ = true;
}

void executor::submit(detail::completion_handler& handler) noexcept {
  GYRE_ASSERT(handler.where == detail::completion_handler::place::none, "a handler has one request at a time");
  if (ring_->free_sqes() > 0) return describe(handler);
  handler.where = detail::completion_handler::place::queued;
  handler_backlog_.push_back(handler);
  may_have_queued_ = true;
}

void executor::describe(detail::completion_handler& handler) noexcept {
  io_uring_sqe& sqe = take_sqe();
  detail::ring::blank(sqe, tagged(handler));
  handler.prepare(handler, sqe);
  handler.where = detail::completion_handler::place::in_kernel;
}

void executor::submit_cancel(detail::completion_handler& handler) noexcept {
  using place = detail::completion_handler::place;
  if (handler.where == place::in_kernel && !std::exchange(handler.cancel_queued, true)) {
    handler_cancels_.push_back(handler);
    may_have_queued_ = true;
  } else if (handler.where == place::queued) {
    handler_backlog_.remove(handler);
    handler.where = place::none;
    handler.complete(handler, -ECANCELED, 0);
  }
}

void executor::drop_queued(operation& op) noexcept {
  const bool was_queued = backlog_.remove(op);
  GYRE_ASSERT(was_queued, "a queued operation is in the backlog");
  op.finish(-ECANCELED, 0);
}

void executor::cancel_entry(std::uint64_t user_data) noexcept {
  io_uring_sqe& sqe = take_sqe();
  std::memset(&sqe, 0, sizeof sqe);
  io_uring_prep_cancel64(&sqe, user_data, 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;  // only -ENOENT and -EALREADY are told, and both are normal
  make_nobodys(sqe);
  ++counted_.cancels;
}

// Cancels go first, so that a full queue never delays one.
void executor::flush_queued() noexcept {
  flush_cancels();
  flush_backlog();
}

// The kernel looks for what is to be cancelled in a table of lists. The newest stands first in its list, so that newest
// first is the order in which each is found at once. Where the kernel still has work from those before, or completions
// fill half of their queue, no more than a few go out at a time, which the reap outruns.
void executor::flush_cancels() noexcept {
  constexpr unsigned few = 16;
  const bool is_behind = ring_->has_task_work() || ring_->ready_completions() > ring_->cq_entries() / 2;
  for (unsigned left = is_behind ? few : ring_->free_sqes(); left > 0 && ring_->free_sqes() > 0; --left) {
    if (auto* const op = static_cast<operation*>(operation_cancels_.pop_front())) {
      op->set(operation::stage::cancel_sent);
      cancel_entry(reinterpret_cast<std::uint64_t>(op));
    } else if (auto* const handler = handler_cancels_.pop_front()) {
      handler->cancel_queued = false;
      cancel_entry(tagged(*handler));
    } else {
      return;
    }
  }
}

void executor::flush_backlog() noexcept {
  while (ring_->free_sqes() > 0) {
    auto* const handler = handler_backlog_.pop_front();
    if (handler == nullptr) break;
    describe(*handler);
  }
  while (auto* const op = static_cast<operation*>(backlog_.front())) {
    if (ring_->free_sqes() < op->entries_count()) return;
    backlog_.pop_front();
    if (op->has(operation::linked)) now();
    describe_linked(*op);
  }
}

// Gives the kernel everything there is.
void executor::flush() noexcept {
  if (has_queued()) [[unlikely]]
    return flush_and_queue();
  if (ring_->unsubmitted() > 0 || ring_->wants_enter()) enter(/*wait_count=*/0);
}

// When the kernel refuses for want of room, what is left stays where it is: the reap makes room, and the next turn goes
// on.
void executor::flush_and_queue() noexcept {
  for (bool taken = true; taken && has_queued();) {
    flush_queued();
    taken = enter(/*wait_count=*/0);
    if (taken && has_cancels()) taken = finish_cancelled();
  }
  may_have_queued_ = has_queued();
}

// What was cancelled stays in the kernel's table until its task work has run, and who comes after has to pass it by: of
// a hundred thousand cancels each took 80 us so, and takes one. Returns whether there is room for more completions.
bool executor::finish_cancelled() noexcept {
  const auto has_room = [&] { return ring_->ready_completions() <= ring_->cq_entries() / 2; };
  while (ring_->has_task_work() && has_room())
    if (!enter(/*wait_count=*/0)) return false;
  return has_room();
}

result<std::size_t> executor::cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept {
  flush();
  if (has_queued() || ring_->unsubmitted() > 0) return detail::errno_code(EAGAIN);
  const int found = ring_->cancel_sync(fd.get(), timeout);
  if (found < 0) return detail::errno_code(found == -ETIME ? ETIMEDOUT : -found);
  return static_cast<std::size_t>(found);
}

std::uint32_t executor::in_kernel_count() const noexcept {
  return static_cast<std::uint32_t>(ring_->sq_tail() - ring_->cq_head()) - not_requests_;
}

// Nobody waits for this entry's completion, if it has one.
void executor::make_nobodys(io_uring_sqe& sqe) noexcept {
  sqe.user_data = detail::nobody;
  ++not_requests_;
}

// Returns whether the kernel took all that it was given.
bool executor::enter(unsigned wait_count) noexcept {
  if (times_are_old_) [[unlikely]]
    set_times_anew();
  ++counted_.enters;
  if (ring_->overflowed()) [[unlikely]]
    ++counted_.overflows;

  const int error = ring_->enter(wait_count);
  if (error == 0 || error == EINTR) [[likely]]
    return true;
  const bool wants_room = error == EBUSY || error == EAGAIN || error == ENOMEM;
  if (!wants_room) detail::fatal_errno(error, "executor: io_uring_enter(2) fails for a reason that no retry mends");
  ++counted_.refusals;
  times_are_old_ = ring_->unsubmitted() > 0;
  if (times_are_old_) keep_lost_deadline();
  return false;
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
  if (op.current() == operation::stage::cancel_queued) operation_cancels_.remove(op);
  op.finish(done.res, done.flags);
}

void executor::complete_tagged(const detail::completion& done) noexcept {
  const bool ends_a_request = done.user_data != detail::nobody && (done.flags & IORING_CQE_F_MORE) == 0;
  if (!ends_a_request) --not_requests_;
  if (done.user_data == detail::nobody) return;
  complete(*reinterpret_cast<detail::completion_handler*>(done.user_data & ~detail::handler_tag), done);
}

void executor::complete(detail::completion_handler& handler, const detail::completion& done) noexcept {
  if ((done.flags & IORING_CQE_F_MORE) == 0) {
    handler.where = detail::completion_handler::place::none;
    if (std::exchange(handler.cancel_queued, false)) handler_cancels_.remove(handler);
  }
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
  if (timeout_->where == place::in_kernel) {
    if (timeout_->due <= due) return;
    if (ring_->free_sqes() == 0) flush();
    if (ring_->free_sqes() == 0) return;  // refused: there is more to do than to sleep
  }
  timeout_->due = due;
  if (timeout_->where == place::none) submit(*timeout_);
  else if (timeout_->where == place::in_kernel) move_kernel_timeout();
}

// Whether a sleep would end in time for the earliest timer. Not so when the timeout that was armed, or was to be moved,
// has fired meanwhile and was reaped in this very turn, or when there was no entry to move it by: then the next turn
// arms it anew.
bool executor::kernel_times_timers() const noexcept {
  if (timers_.empty()) return true;
  return timeout_->where == detail::completion_handler::place::in_kernel && timeout_->due <= timers_.earliest();
}

void executor::move_kernel_timeout() noexcept {
  io_uring_sqe& sqe = take_sqe();  // -ENOENT: it has just fired, and the next turn arms it anew
  std::memset(&sqe, 0, sizeof sqe);
  timeout_->count_from_now();
  io_uring_prep_timeout_update(&sqe, &timeout_->time, tagged(*timeout_), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  make_nobodys(sqe);
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
  if (has_queued()) flush_and_queue();
  state_.store(state::parked, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool sleeps = wake_poll_->where == detail::completion_handler::place::in_kernel && !ring_->has_completions() &&
                      posted_.empty() && !has_queued() && kernel_times_timers();
  if (sleeps) ++counted_.parks;
  enter(sleeps ? 1 : 0);
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
  cancel_all_in_kernel();
  while (in_kernel_count() > 0) {
    flush();
    take_completions();
    if (in_kernel_count() > 0 && !has_work()) enter(/*wait_count=*/1);
  }
}

// Its own timeout and poll, and requests whose streams outlive it: one entry for all of them. They are few; the kernel
// walks all for each that it ends.
void executor::cancel_all_in_kernel() noexcept {
  for (flush(); has_queued() || ring_->free_sqes() == 0; flush()) take_completions();  // refused: these make room
  if (in_kernel_count() == 0) return;
  io_uring_sqe& sqe = take_sqe();
  std::memset(&sqe, 0, sizeof sqe);
  io_uring_prep_cancel64(&sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  make_nobodys(sqe);
  ++counted_.cancels;
}

executor_statistics executor::statistics() const noexcept {
  executor_statistics all = counted_;
  all.sqes = ring_->sq_tail();
  all.cqes = ring_->cq_head();
  all.wakes_written = wakes_written_.load(std::memory_order_relaxed);
  all.wakes_suppressed = wakes_suppressed_.load(std::memory_order_relaxed);
  return all;
}

}  // namespace gyre
