// SPDX-License-Identifier: MIT
// The turn of an executor, step by step; its beginning and its end.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/buffer_group.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include <liburing.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

namespace gyre {

thread_local constinit executor* detail::current_executor = nullptr;

namespace {

using detail::current_executor;

// How far GYRE_ASSERT_ALL walks in each turn.
[[maybe_unused]] constexpr std::size_t walked_max = 256;

// Options that contradict each other: no machine has both.
void check(const executor_options& options) {
  const auto refuse_if = [](bool contradicts, const char* why) {
    if (contradicts) throw std::system_error{std::make_error_code(std::errc::invalid_argument), why};
  };
  const bool in_ring = options.park == parking::ring_wait;
  const bool polls_devices = options.iopoll != iopoll_mode::off;
  const bool polls_network = options.napi.busy_poll.count() > 0;
  const bool grows = options.sq_entries_max > 0 || options.cq_entries_max > 0;

  refuse_if(options.min_wait.count() > 0 && !in_ring,
            "executor_options: min_wait is part of a wait in io_uring_enter(2), and parking::eventfd waits in read(2): "
            "choose parking::ring_wait");
  refuse_if(polls_network && !in_ring && !options.sqpoll,
            "executor_options: napi polls in a wait in io_uring_enter(2) or in the submission thread, and "
            "parking::eventfd waits in read(2): choose parking::ring_wait, or sqpoll");
  refuse_if(
      polls_devices && (in_ring || options.sqpoll || polls_network),
      "executor_options: an executor with iopoll takes reads and writes of files, and no poll of an eventfd or of a "
      "network device, and asks for completions itself: leave out parking::ring_wait, sqpoll and napi");
  refuse_if(polls_devices && options.direct_descriptors > 0,
            "executor_options: an executor with iopoll takes no request that closes a direct descriptor: leave out "
            "direct_descriptors");
  refuse_if(options.big_entries && grows,
            "executor_options: a ring with big_entries keeps its size: leave out sq_entries_max and cq_entries_max");
  refuse_if(
      options.numbered_descriptors > 0 && options.numbered_descriptors >= options.direct_descriptors,
      "executor_options: numbered_descriptors are some of direct_descriptors, and leave others to the kernel: raise "
      "direct_descriptors");
  refuse_if(options.sqpoll && grows,
            "executor_options: a ring with a submission thread keeps its size: leave out sq_entries_max and "
            "cq_entries_max, or sqpoll");
}

template <class Duration>
unsigned count_of(Duration duration) noexcept {
  constexpr std::int64_t longest = UINT32_MAX;
  return static_cast<unsigned>(std::clamp<std::int64_t>(duration.count(), 0, longest));
}

detail::completions_by completions_by(iopoll_mode mode) noexcept {
  switch (mode) {
    case iopoll_mode::busy:
      return detail::completions_by::polls;
    case iopoll_mode::hybrid:
      return detail::completions_by::hybrid_polls;
    case iopoll_mode::off:
      break;
  }
  return detail::completions_by::signals;
}

detail::ring_request request_for(const executor_options& options) {
  check(options);
  constexpr unsigned sq_entries_min = 2;  // an operation and its linked timeout go in together
  std::optional<detail::sqpoll_request> sqpoll;
  if (options.sqpoll) sqpoll = {.idle_ms = std::max(1U, count_of(options.sqpoll->idle)), .cpu = options.sqpoll->cpu};
  return {.sq_entries = std::max(options.sq_entries, sq_entries_min),
          .cq_entries = options.cq_entries,
          .iowq_bounded_workers_max = options.iowq_bounded_workers_max,
          .iowq_unbounded_workers_max = options.iowq_unbounded_workers_max,
          .completions_signal_eventfd = options.park == parking::eventfd,
          .sqpoll = sqpoll,
          .completions = completions_by(options.iopoll),
          .min_wait_usec = options.min_wait_count > 1 ? count_of(options.min_wait) : 0,
          .napi = {.busy_poll_usec = count_of(options.napi.busy_poll),
                   .prefer_busy_poll = options.napi.prefer_busy_poll,
                   .static_tracking = options.napi.tracking == napi_tracking::by_program},
          .big_entries = options.big_entries,
          .iowq_cpus = options.iowq_cpus,
          .only_opcodes = options.only_opcodes};
}

// What holds where the ring is one of these. See submission::keep_deadline().
executor_options fitted(executor_options options, const detail::ring_modes& modes) {
  if (modes.sqpoll || modes.iopoll) options.linked_timeout_max = std::chrono::nanoseconds::zero();
  return options;
}

detail::parker::manners manners_of(const executor_options& options) noexcept {
  using detail::parker;
  return {.where = options.park == parking::ring_wait ? parker::sleeps_in::ring : parker::sleeps_in::eventfd,
          .slack = options.timer_slack,
          .spin_max = options.spin_before_park,
          .min_wait_count = options.min_wait_count};
}

}  // namespace

// Makes an executor the current one of this thread for as long as it lives. A turn inside a turn would resume again who
// waited for the completions that the outer one is at; current_executor alone does not show it, as another executor's
// turn can stand between the two.
class executor::turn_guard {
 public:
  explicit turn_guard(executor& entering) noexcept
      : entered_{entering}, before_{std::exchange(current_executor, &entering)} {
    const bool is_in_turn = std::exchange(entered_.in_turn_, true);
    GYRE_ASSERT(!is_in_turn, "an executor is not run in its own turn: co_await the task instead");
  }
  ~turn_guard() {
    entered_.in_turn_ = false;
    current_executor = before_;
  }
  turn_guard(const turn_guard&) = delete;
  turn_guard& operator=(const turn_guard&) = delete;

 private:
  executor& entered_;
  executor* before_;
};

executor::executor(executor_options options)
    : executor{std::make_unique<detail::kernel_ring>(request_for(options)), options} {}

executor::executor(std::unique_ptr<detail::ring> ring, executor_options options)
    : options_{fitted(std::move(options), ring->modes())},
      ring_{std::move(ring)},
      direct_table_{
          detail::direct_table::make(*this, *ring_, options_.direct_descriptors, options_.numbered_descriptors)},
      buffer_table_{detail::buffer_table::make(*this, *ring_, options_.registered_buffers)},
      parker_{*ring_, clock_, timers_, submission_, manners_of(options_)} {
  GYRE_ASSERT(options_.turn_budget > 0, "a turn resumes something");
  GYRE_ASSERT(options_.timer_slack >= std::chrono::nanoseconds::zero(), "no timer ends early");
}

executor::~executor() {
  if (ring_->is_parents()) return;  // in the child of a fork: it is the parent's to drain
  GYRE_ASSERT(!in_turn_, "an executor is not destroyed in its own turn");
  GYRE_ASSERT(belongs_to_this_thread(), "an executor is destroyed on the thread that made it");
  send_guests_home();
  GYRE_ASSERT(root_scope_.empty(), "an executor was destroyed while tasks are still running on it");
  drain();
}

std::uint32_t executor::next_number() noexcept {
  static constinit std::atomic<std::uint32_t> made_count = 0;
  return made_count.fetch_add(1, std::memory_order_relaxed) + 1;
}

detail::clock_ns detail::deadline_after(executor& loop, std::chrono::nanoseconds duration) noexcept {
  return later(loop.now(), duration);
}

detail::clock_ns executor::on_steady_clock(point_in_time when) noexcept {
  if (when.clock() == detail::clock_id::steady || when.at() == detail::for_ever) return when.at();
  const detail::clock_ns due = std::max<detail::clock_ns>(when.at(), 0);  // what is long past is past
  return detail::later(now(), std::chrono::nanoseconds{due - now_on(when.clock())});
}

bool executor::turn(bool may_park) {
  detail::refuse_child(*ring_);
  GYRE_ASSERT(belongs_to_this_thread(), "an executor was used from another thread than the one that made it");
  const turn_guard guard{*this};
  const std::uint64_t done_before = resumes_ + ring_->cq_head();
  work();
  const bool has_done_something = resumes_ + ring_->cq_head() != done_before;
  end_turn(may_park && !has_done_something);
  return has_work();
}

void executor::turn_until_told() noexcept {
  detail::refuse_child(*ring_);
  GYRE_ASSERT(belongs_to_this_thread(), "an executor was used from another thread than the one that made it");
  const turn_guard guard{*this};
  work();
  end_turn(/*may_park=*/true);
}

void executor::run_until(const bool& done) {
  detail::refuse_child(*ring_);
  GYRE_ASSERT(belongs_to_this_thread(), "an executor was used from another thread than the one that made it");
  const turn_guard guard{*this};
  const bool interrupts_foreign_sleep = parker_.is_armed();
  while (!done) {
    work();
    end_turn(/*may_park=*/true);
  }
  if (interrupts_foreign_sleep) parker_.end_foreign_sleep();  // it was armed for what there was before
}

void executor::work() noexcept {
  ++turns_;
  if (submission_.may_want_more()) [[unlikely]]
    submission_.grow_ring(options_.sq_entries_max, options_.cq_entries_max);
  if (!timers_.empty()) now();  // who is resumed counts deadlines from here, and not from before the last sleep
  take_completions();
  if (!ready_.empty()) run_ready_batch();
  ready_.take_back(next_turn_);
  if (parker_.has_posted()) take_posted();
  if (!timers_.empty()) expire_timers();
  GYRE_ASSERT_ALL(ready_.is_sound(walked_max) && submission_.is_sound(walked_max), "a queue ends where it says");
  GYRE_ASSERT_ALL(timers_.is_sound(walked_max), "timers are in the order in which they are due");
}

[[gnu::always_inline]] inline void executor::end_turn(bool may_park) noexcept {
  const bool idle = may_park && ready_.empty() && !std::exchange(returning_, false);
  if (idle) parker_.flush_and_park();
  else parker_.flush();
}

bool executor::has_work() const noexcept {
  return !ready_.empty() || !next_turn_.empty() || parker_.work_is_visible() || submission_.has_work();
}

void executor::run_ready() {
  while (turn(/*may_park=*/false)) {
  }
}

// Runs what is ready, and what that makes ready, up to the budget.
void executor::run_ready_batch() noexcept {
  unsigned left = options_.turn_budget;
  do {
    detail::runnable& first = *ready_.pop_front();
    first.run();  // `first` may no longer exist after this line
  } while (--left > 0 && !ready_.empty());
  resumes_ += options_.turn_budget - left;
}

void executor::take_posted() noexcept {
  for (detail::runnable* each = parker_.take_posted(); each != nullptr;) {
    detail::runnable* const following = each->next;
    ready_.push_back(*each);
    each = following;
  }
}

void executor::expire_timers() noexcept {
  while (detail::timer* const expired = timers_.pop_due(coarse_now())) expired->expire();
}

// ------------------------------------------------------------------------------------------- who begins to wait

bool executor::begin_plainly(detail::waiter& entering, std::coroutine_handle<> awaiter,
                             detail::boundary& bound) noexcept {
  const executor* const loop = detail::current_executor;
  if (loop != bound.undisturbed_on || !entering.is_plainly(detail::waiter::stage::idle)) [[unlikely]]
    return false;
  entering.set_coroutine(awaiter);
  entering.set_plainly(detail::waiter::stage::waiting, loop->clock_.last_look_ms());
  bound.waiting = &entering;
  return true;
}

executor& executor::begin(detail::waiter& entering, std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
  executor& loop = bound.scope->executor();
  GYRE_ASSERT(detail::current_executor == &loop,
              "an executor was used from another thread than its own, or from a turn of another executor");
  entering.set_coroutine(awaiter);
  entering.note_since(loop.clock_.last_look_ms());
  entering.enter_boundary(bound);
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
[[gnu::always_inline]] inline void executor::take_completions() noexcept {
  const auto batch = ring_->oldest_completions(options_.turn_budget);
  if (batch.empty()) return;
  const std::size_t dealt_with = ready_.empty() ? resume_completed(batch) : 0;
  if (dealt_with < batch.size()) [[unlikely]]
    queue_completed(batch.subspan(dealt_with));
  ring_->free_oldest(static_cast<unsigned>(batch.size()));
}

// Up to the first that has to wait for others; returns how many completions it has dealt with.
std::size_t executor::resume_completed(std::span<const detail::completion> batch) noexcept {
  const detail::completion* done = batch.data();
  std::size_t careful_count = 0;
  for (const detail::completion* const end = done + batch.size(); done != end; ++done) {
    if (operation* const op = plainly_completed(*done)) [[likely]] {
      op->resume();  // `op` no longer exists after this line
      continue;
    }
    ++careful_count;
    if (!complete_in_place(*done)) {
      ++done;
      break;
    }
  }
  const auto count = static_cast<std::size_t>(done - batch.data());
  resumes_ += count - careful_count;
  return count;
}

// Resumes whom it concerns, unless that is nobody. Returns false where more is to be done than that: then it is queued,
// and whoever completed after it comes after it.
bool executor::complete_in_place(const detail::completion& done) noexcept {
  const bool others_are_ready = !ready_.empty();
  if ((done.user_data & detail::handler_tag) != 0) complete_tagged(done);
  else complete_with_care(done);
  if (others_are_ready) return false;
  detail::runnable* const first = ready_.front();
  if (first == nullptr) return true;
  if (first->next != nullptr || !first->is_coroutine()) return false;
  ready_.pop_front();
  ++resumes_;
  first->run();  // `first` may no longer exist after this line
  return true;
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
  if (!op.plainly_ends_with(done.res)) return nullptr;
  op.complete_plainly(done);
  return &op;
}

void executor::complete_with_care(const detail::completion& done) noexcept {
  if ((done.user_data & detail::handler_tag) != 0) return complete_tagged(done);
  auto& op = *reinterpret_cast<operation*>(done.user_data);
  GYRE_ASSERT(op.current() >= operation::stage::in_kernel, "a completion for something that is not in flight");
  std::int32_t res = done.res;
  if (const auto note = op.its_kind().note_or_null) {
    res = note(op, done.its_answer());
    if ((done.flags & IORING_CQE_F_MORE) != 0) return submission_.note_no_end();  // the kernel still has its memory
  }
  submission_.forget_cancel(op);
  if (op.has(operation::linked) && ring_->has_task_work() && op.linked_timeout_may_wait()) submission_.note_late_link();
  op.finish(res, done.flags);
}

void executor::complete_tagged(const detail::completion& done) noexcept {
  if (done.user_data == detail::nobody) return submission_.note_no_end();
  detail::completion_handler& handler = detail::untagged(done.user_data);
  const bool is_last = (done.flags & IORING_CQE_F_MORE) == 0;  // a message from another ring is not: ops::msg_ring
  if (is_last) return complete_last(handler, done);
  submission_.note_no_end();
  handler.complete(handler, done.res, done.flags);
}

void executor::complete_last(detail::completion_handler& handler, const detail::completion& done) noexcept {
  submission_.end_request(handler);
  const bool refused = done.res == -EINVAL && ring_->modes().iopoll;  // it takes no request of a handler's
  handler.complete(handler, refused ? -EOPNOTSUPP : done.res, done.flags);
}

// ------------------------------------------------------------------------------------------------------ posts

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

bool executor::receive(std::optional<detail::guest>& arriving) noexcept {
  arriving.emplace(guests_, root_scope_);
  return !is_ending_ && !root_scope_.stop_requested();
}

void executor::part_with(std::optional<detail::guest>& leaving) noexcept {
  leaving.reset();
  if (is_ending_) return_soon();  // it waits for this, and for nothing else
}

void executor::stop_guests() noexcept {
  is_ending_ = true;
  guests_.for_each([](detail::guest& each) { each.scope.cancel("its executor is destroyed"); });
}

void executor::send_guests_home() noexcept {
  stop_guests();
  while (has_guests()) turn_until_told();
}

// The kernel must be done with all memory before the ring is closed: closing it waits for nothing. So must who posts,
// and guests that come even now.
void executor::drain() noexcept {
  do {
    run_ready();
    send_guests_home();
    parker_.wait_for_posters();
  } while (parker_.has_posted());
  const turn_guard guard{*this};
  cancel_all_in_kernel();
  while (in_kernel_count() > 0) {
    submission_.flush();
    take_completions();
    if (in_kernel_count() > 0 && !has_work()) submission_.enter(/*wait_count=*/1);
  }
}

// The parker's timeout and poll, and requests whose streams outlive the executor: one entry for all of them. They are
// few; the kernel walks all for each that it ends.
void executor::cancel_all_in_kernel() noexcept {
  // What is refused stays where it is, until completions that are taken make room.
  for (submission_.flush(); submission_.has_queued() || ring_->free_sqes() == 0; submission_.flush())
    take_completions();
  while (!submission_.let_all_wait()) take_completions();
  if (in_kernel_count() > 0) submission_.submit_cancel_of_all();
}

result<std::size_t> executor::cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept {
  submission_.flush();
  if (submission_.has_work()) return detail::errno_code(EAGAIN);
  const int found = ring_->cancel_sync(fd, timeout);
  if (found < 0) return detail::errno_code(found == -ETIME ? ETIMEDOUT : -found);
  return static_cast<std::size_t>(found);
}

result<void> executor::add_napi_id(unsigned id) noexcept {
  if (const int error = ring_->poll_napi_id(id, /*on=*/true); error != 0) return detail::errno_code(error);
  return {};
}

result<void> executor::remove_napi_id(unsigned id) noexcept {
  if (const int error = ring_->poll_napi_id(id, /*on=*/false); error != 0) return detail::errno_code(error);
  return {};
}

executor_statistics executor::statistics() const noexcept {
  const detail::submission::counts& submitted = submission_.counted();
  const detail::buffer_groups* const buffers = local_or_null<detail::buffer_groups>();
  return {.turns = turns_,
          .enters = ring_->enters_count(),
          .sqes = ring_->sq_tail(),
          .cqes = ring_->cq_head(),
          .cancels = submitted.cancels,
          .resumes = resumes_,
          .parks = parker_.parks(),
          .wakes_written = parker_.wakes_written(),
          .wakes_suppressed = parker_.wakes_suppressed(),
          .overflows = submitted.overflows,
          .refusals = submitted.refusals,
          .backlogged = submitted.backlogged,
          .growths = submitted.growths,
          .spins = parker_.spins().looks_count(),
          .spins_paid = parker_.spins().paid_count(),
          .buffer_shortages = buffers != nullptr ? buffers->shortages() : 0,
          .direct_fds = direct_table_ ? direct_table_->owned_count() : 0,
          .registered_buffers = buffer_table_ ? buffer_table_->owned_count() : 0};
}

}  // namespace gyre
