// SPDX-License-Identifier: MIT
// The line of calls, the threads that take them out of it, and the way back to who waits.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/pinning.hpp>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <string_view>

namespace gyre {
namespace {

// Threads inherit the mask of who starts them. The program's handlers are to run on threads of its own, and a call that
// blocks is not to fail with EINTR. What a fault raises stays as it is: blocked, it would end the program without a
// word.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    ::sigset_t all_but_faults;
    ::sigfillset(&all_but_faults);
    for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP})
      ::sigdelset(&all_but_faults, fault);
    ::pthread_sigmask(SIG_SETMASK, &all_but_faults, &before_);
  }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;
  ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  ::sigset_t before_{};
};

void name_this_thread(std::string_view name) noexcept {
  std::array<char, 16> terminated{};  // pthread_setname_np(3): no more, its zero included
  name.copy(terminated.data(), terminated.size() - 1);
  ::pthread_setname_np(::pthread_self(), terminated.data());
}

// Which process this is, among those that forks have made of the first one that had a pool. A pool's threads stay in
// the process that has started them.
constinit std::atomic<unsigned> forks_count = 0;
void count_fork() noexcept { forks_count.fetch_add(1, std::memory_order_relaxed); }
unsigned this_process() noexcept {
  static const int watches_forks = ::pthread_atfork(nullptr, nullptr, &count_fork);
  static_cast<void>(watches_forks);
  return forks_count.load(std::memory_order_relaxed);
}

// A point in time that the clock can be asked to wait for, however long `from_now` is.
std::chrono::steady_clock::time_point after(std::chrono::nanoseconds from_now) noexcept {
  constexpr std::chrono::nanoseconds longest = std::chrono::hours{24 * 365};
  return std::chrono::steady_clock::now() + std::min(from_now, longest);
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------ a call

namespace detail {

constinit const runnable_kind offload_call::kind_of_delivery{&offload_call::delivered};

void offload_call::hand_to_pool() noexcept {
  loop_ = &loop();
  refusal_ = pool_->take(*this);
  if (refusal_ != 0) settle(/*as_stopped=*/false);
}

void offload_call::delivered(runnable& self) noexcept {
  auto& call = static_cast<offload_call&>(static_cast<offload_delivery&>(self));
  call.settle(/*as_stopped=*/call.gave_up_ && call.was_asked_);
}

void offload_call::cancel_waiting(waiter& self) noexcept {
  auto& call = static_cast<offload_call&>(self);
  const place was = call.pool_->take_out(call);
  if (was == place::in_line) return call.settle(/*as_stopped=*/true);
  const bool can_be_asked = was == place::on_thread && call.its_kind().ask_to_stop != nullptr;
  if (!can_be_asked || std::exchange(call.was_asked_, true)) return;
  call.its_kind().ask_to_stop(call);
}

void offload_call::note_exception() noexcept {
  try {
    throw;
  } catch (const std::system_error& error) {
    gave_up_ = error.code() == std::errc::operation_canceled;
  } catch (...) {
    gave_up_ = false;
  }
}

void offload_call::resumed() {
  end_wait();
  if (was_stopped()) [[unlikely]]
    throw_errno(ECANCELED, name());
  if (refusal_ != 0) [[unlikely]]
    throw_errno(refusal_, name());
}

}  // namespace detail

// ----------------------------------------------------------------------------------------------------------- the pool

// A thread's own: what it shows of itself while it is idle.
struct offload_pool::worker {
  explicit worker(std::list<std::thread>::iterator its_handle) noexcept : handle{its_handle} {}

  const std::list<std::thread>::iterator handle;  // in the pool's lists
  std::condition_variable woken;
  call* given = nullptr;
  std::list<std::thread> to_be_joined;
};

offload_pool::offload_pool(offload_pool_options options) : options_{std::move(options)}, process_{this_process()} {
  GYRE_ASSERT(options_.threads_max > 0, "a pool without a thread runs nothing");
  GYRE_ASSERT(options_.idle_time >= std::chrono::nanoseconds::zero(), "no thread is idle for less than no time");
}

offload_pool::~offload_pool() {
  if (process_ == this_process()) end_threads();
  else leave_to_parent();
}

void offload_pool::end_threads() noexcept {
  std::unique_lock lock{guard_};
  GYRE_ASSERT(line_.empty() && running_ == 0,
              "an offload pool was destroyed while a call waits or runs in it: it outlives who awaits them");
  closing_ = true;
  for (worker* const each : idle_) each->woken.notify_one();
  has_none_.wait(lock, [this] { return threads_.empty(); });
  lock.unlock();
  for (std::thread& each : ended_) each.join();
}

// In the child of a fork there are no threads to wait for, and somebody in the parent may have held the lock.
void offload_pool::leave_to_parent() noexcept {
  for (std::list<std::thread>* const each : {&threads_, &ended_})
    for (std::thread& handle : *each) handle.detach();
}

// One for each process: the child of a fork finds that of its parent, and makes another.
offload_pool& offload_pool::common() {
  static constinit std::atomic<offload_pool*> kept = nullptr;
  // Left alone at the end of the process where calls still run: nobody waits for them any more, and they need it.
  struct until_exit {
    until_exit() noexcept = default;
    until_exit(const until_exit&) = delete;
    until_exit& operator=(const until_exit&) = delete;
    ~until_exit() {
      offload_pool* const pool = kept.load();
      if (pool != nullptr && pool->process_ == this_process() && pool->is_at_rest()) delete pool;
    }
  };
  static const until_exit guard;

  offload_pool* found = kept.load();
  while (found == nullptr || found->process_ != this_process()) {
    auto made = std::make_unique<offload_pool>();
    if (kept.compare_exchange_strong(found, made.get())) return *made.release();
  }
  return *found;
}

bool offload_pool::is_at_rest() const {
  const std::lock_guard lock{guard_};
  return running_ == 0 && line_.empty();
}

offload_statistics offload_pool::statistics() const {
  const std::lock_guard lock{guard_};
  const std::size_t queued = std::min(line_size_, room_in_line());
  return {.threads = threads_.size(),
          .idle = idle_.size(),
          .running = running_,
          .queued = queued,
          .waiting_for_room = line_size_ - queued,
          .finished = finished_,
          .refused = refused_,
          .threads_started = threads_started_};
}

// Not the threads that are idle: one that has delivered its call, and whose caller is back already, need not be so yet.
std::size_t offload_pool::room_in_line() const noexcept {
  const std::size_t free_threads = options_.threads_max - running_;
  return options_.queue_max < SIZE_MAX - free_threads ? options_.queue_max + free_threads : SIZE_MAX;
}

// A thread that is idle is given the call itself, so that nobody takes it away from it, and the next call finds another
// thread. It is notified with the lock held: afterwards it may have ended.
int offload_pool::take(call& arriving) noexcept {
  GYRE_ASSERT(
      process_ == this_process(),
      "the child of a fork uses an offload pool of its parent's, whose threads it has not: make one in the child");
  const std::lock_guard lock{guard_};
  if (!idle_.empty()) {
    worker& chosen = *idle_.back();
    idle_.pop_back();
    arriving.place_ = call::place::on_thread;
    ++running_;
    chosen.given = &arriving;
    chosen.woken.notify_one();
    return 0;
  }
  if (options_.on_full == when_queue_full::refuse && line_size_ >= room_in_line()) {
    ++refused_;
    return EAGAIN;
  }
  line_.push_back(arriving);
  ++line_size_;
  arriving.place_ = call::place::in_line;
  if (threads_.size() >= options_.threads_max) return 0;
  try {
    start_thread();
  } catch (...) {
    // As long as there is another thread it will come to this call.
    if (!threads_.empty()) return 0;
    arriving.unlink();
    --line_size_;
    arriving.place_ = call::place::idle;
    return EAGAIN;
  }
  return 0;
}

offload_pool::call::place offload_pool::take_out(call& leaving) noexcept {
  const std::lock_guard lock{guard_};
  const call::place was = leaving.place_;
  if (was == call::place::in_line) {
    leaving.unlink();
    --line_size_;
    leaving.place_ = call::place::idle;
  }
  return was;
}

// ---------------------------------------------------------------------------------------------------------- a thread

// With the lock held, which the new thread waits for. Throws when there is no memory, or no thread to be had.
void offload_pool::start_thread() {
  const signals_blocked meanwhile;
  const auto handle = threads_.emplace(threads_.end());
  try {
    idle_.reserve(threads_.size());
    *handle = std::thread{[this, handle, cpus = cpus_before_pinning{}] {
      cpus.restore();  // and not on the one of the executor that is to go on
      work(handle);
    }};
  } catch (...) {
    threads_.erase(handle);
    throw;
  }
  ++threads_started_;
}

void offload_pool::work(std::list<std::thread>::iterator its_handle) noexcept {
  name_this_thread(options_.thread_name);
  worker self{its_handle};
  for (call* current = wait_for_call(self); current != nullptr;) {
    current->its_kind().call(*current);
    call* const following = finish(*current);
    current->deliver();  // from here on it may be gone
    current = following != nullptr ? following : wait_for_call(self);
  }
  for (std::thread& each : self.to_be_joined) each.join();
}

offload_pool::call* offload_pool::finish(call& done) noexcept {
  const std::lock_guard lock{guard_};
  done.place_ = call::place::over;
  --running_;
  ++finished_;
  return first_in_line();
}

// With the lock held.
offload_pool::call* offload_pool::first_in_line() noexcept {
  call* const first = line_.front();
  if (first == nullptr) return nullptr;
  first->unlink();
  --line_size_;
  first->place_ = call::place::on_thread;
  ++running_;
  return first;
}

// Null: it has been idle for too long, or the pool goes. Then it has left the pool, too: nobody counts on a thread that
// would not look again.
offload_pool::call* offload_pool::wait_for_call(worker& self) noexcept {
  std::unique_lock lock{guard_};
  if (call* const first = first_in_line()) return first;
  idle_.push_back(&self);
  const auto is_over = [&] { return self.given != nullptr || closing_; };
  self.woken.wait_until(lock, after(options_.idle_time), is_over);
  if (call* const given = std::exchange(self.given, nullptr)) return given;
  std::erase(idle_, &self);
  retire(self);
  return nullptr;
}

// With the lock held. Nobody can join itself: each that ends joins the one before it, so that one at most is left.
void offload_pool::retire(worker& leaving) noexcept {
  if (!closing_) leaving.to_be_joined.swap(ended_);
  ended_.splice(ended_.end(), threads_, leaving.handle);
  if (threads_.empty()) has_none_.notify_one();
}

}  // namespace gyre
