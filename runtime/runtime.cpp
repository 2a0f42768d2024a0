// SPDX-License-Identifier: MIT
// The threads of a runtime, and what they tell one another in a run: begin, stop, all have ended.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/pin.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/signal_stop.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/runtime.hpp>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <future>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

namespace gyre {
namespace detail {

// One run() of all members. Lives until the last root task has been counted as ended, and who has done so touches it
// no more.
class runtime_run {
 public:
  runtime_run(root_maker its_maker, std::vector<std::unique_ptr<runtime_member>>& members) noexcept
      : maker{its_maker}, running_count{members.size()}, members_{members} {}

  /// From any member's thread: has all root tasks cancelled. `reason` is a literal.
  void stop(const char* reason) noexcept;

  /// Why all are to stop; null when they are not.
  [[nodiscard]] const char* stop_reason() const noexcept { return stop_reason_; }

  /// A root task has failed: from its thread.
  void fail(std::exception_ptr error) noexcept;

  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

  const root_maker maker;
  std::atomic<std::size_t> running_count;

 private:
  std::vector<std::unique_ptr<runtime_member>>& members_;
  std::atomic<const char*> stop_reason_ = nullptr;
  std::mutex guard_;  // of what follows
  std::exception_ptr failure_;
};

// One executor of a runtime, and its thread.
//
// A run tells it to begin, and perhaps to stop. The stop can overtake the begin, as other threads send it: so it is a
// message to look, and what it is about stands in the run. It can also be left over when its run has ended; then the
// next begin comes behind it.
class runtime_member {
 public:
  /// @param first  The member whose thread waits for all; null for that itself.
  runtime_member(const runtime_options& options, std::size_t index, std::optional<unsigned> cpu, runtime_member* first)
      : options_{options}, index_{index}, cpu_{cpu}, first_{first != nullptr ? *first : *this} {}
  runtime_member(const runtime_member&) = delete;
  runtime_member& operator=(const runtime_member&) = delete;
  ~runtime_member() { GYRE_ASSERT(!thread_.joinable(), "a runtime ends its threads before they are forgotten"); }

  /// Makes the executor on this thread.
  void make_here() {
    pin();
    own_.emplace(options_.executor);
    ring_notes_ = own_->notes();
    loop_ = &*own_;
  }

  /// Makes it on a thread of its own; wait_until_made() has what went wrong.
  void make_on_thread() {
    thread_ = std::thread{[this] {
      live();
      pin_.reset();
    }};
  }
  std::exception_ptr wait_until_made() noexcept {
    if (!thread_.joinable()) return nullptr;
    try {
      made_.get_future().get();
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  /// These are called for all members, one after the other. The first two where all were made: as long as one of them
  /// has a guest, that may go on to any other.
  void ask_to_leave() noexcept { loop_->post(leave_); }
  [[nodiscard]] bool has_left() const noexcept { return has_left_.load(std::memory_order_acquire); }
  void ask_to_end() noexcept {
    if (thread_.joinable() && loop_ != nullptr) loop_->post(end_);
  }
  void end() noexcept {
    if (thread_.joinable()) thread_.join();
    own_.reset();
    pin_.reset();
  }

  [[nodiscard]] executor& loop() noexcept { return *loop_; }

  // ----------------------------------------------------------------------------------------------------- a run of all

  /// From the thread of the first member.
  void send_begin(runtime_run& run) noexcept {
    given_ = &run;
    loop_->post(begin_);
  }

  /// From any thread.
  void send_stop() noexcept {
    if (!stop_is_sent_.exchange(true)) loop_->post(stop_);
  }

  /// After each turn.
  void look_at_tasks() noexcept {
    if (root_ && root_->done()) end_root();
    if (leaves_ && !loop_->has_guests()) leave();
  }

  [[nodiscard]] int status() const noexcept { return status_; }

  /// From any thread: has the turn of the first member return, so that its thread sees what has ended.
  void send_return() noexcept {
    if (!return_is_sent_.exchange(true)) loop_->post(return_);
  }

  // ---------------------------------------------------------------------------------------------------------- answers

  [[nodiscard]] std::string notes() const {
    const std::string of_ring = ring_notes_.empty() ? "" : ring_notes_ + '\n';
    return of_ring + pin_note_;
  }

 private:
  struct message : runnable {
    using arrives_fn = void (runtime_member::*)() noexcept;
    message(runtime_member& its_member, arrives_fn what) noexcept
        : runnable{kind_of_message}, member{its_member}, arrives{what} {}
    static void run(runnable& self) noexcept {
      auto& mine = static_cast<message&>(self);
      (mine.member.*mine.arrives)();
    }
    static constexpr runnable_kind kind_of_message{&message::run};
    runtime_member& member;
    arrives_fn arrives;
  };

  void live() noexcept {
    try {
      ::pthread_setname_np(::pthread_self(), thread_name().c_str());
      pin();
      own_.emplace(options_.executor);
      ring_notes_ = own_->notes();
    } catch (...) {
      made_.set_exception(std::current_exception());
      return;
    }
    loop_ = &*own_;
    made_.set_value();
    while (!ends_) {
      loop_->turn_until_told();
      look_at_tasks();
    }
    own_.reset();
  }

  [[nodiscard]] std::string thread_name() const {
    constexpr std::size_t name_bytes_max = 15;  // pthread_setname_np(3)
    const std::string number = '/' + std::to_string(index_);
    return options_.thread_name.substr(0, name_bytes_max - std::min(number.size(), name_bytes_max)) + number;
  }

  void pin() {
    if (!cpu_) return;
    if (const std::error_code error = pin_.emplace(*cpu_).error())
      pin_note_ = "executor " + std::to_string(index_) + " is not pinned on CPU " + std::to_string(*cpu_) + ": " +
                  error.message();
  }

  void begin_arrives() noexcept {
    run_ = given_;
    status_ = EXIT_SUCCESS;
    try {
      root_.emplace(*loop_, run_->maker.make(run_->maker.fn, index_));
    } catch (...) {
      run_->fail(std::current_exception());
      return count_end();
    }
    look_whether_to_stop();
  }

  void stop_arrives() noexcept {
    stop_is_sent_.exchange(false);
    look_whether_to_stop();
  }

  void look_whether_to_stop() noexcept {
    if (!root_ || root_->done()) return;
    if (const char* const reason = run_->stop_reason()) root_->cancel(reason);
  }

  void end_root() noexcept {
    try {
      status_ = root_->stopped() ? EXIT_SUCCESS : root_->get();
    } catch (...) {
      run_->fail(std::current_exception());
    }
    root_.reset();
    count_end();
  }

  // The last to end tells the first member, which waits for all. It stays until its runtime goes, and the run does not.
  void count_end() noexcept {
    runtime_run& run = *std::exchange(run_, nullptr);
    if (run.running_count.fetch_sub(1, std::memory_order_acq_rel) == 1) first_.send_return();
  }

  void return_arrives() noexcept {
    return_is_sent_.exchange(false);
    loop_->return_soon();
  }

  void leave_arrives() noexcept {
    leaves_ = true;
    loop_->stop_guests();
    loop_->return_soon();
  }

  // Once; the first member waits for it.
  void leave() noexcept {
    leaves_ = false;
    has_left_.store(true, std::memory_order_release);
    first_.send_return();
  }

  void end_arrives() noexcept {
    ends_ = true;
    loop_->return_soon();
  }

  // Set before the member's thread, or by it before anybody else looks.
  const runtime_options& options_;
  const std::size_t index_;
  const std::optional<unsigned> cpu_;
  runtime_member& first_;
  executor* loop_ = nullptr;
  std::string ring_notes_;
  std::string pin_note_;
  std::promise<void> made_;
  std::thread thread_;  // the first member has none

  // Its thread's.
  std::optional<pinned_thread> pin_;
  std::optional<executor> own_;
  std::optional<root_task<int>> root_;
  runtime_run* run_ = nullptr;
  int status_ = EXIT_SUCCESS;
  bool leaves_ = false;
  bool ends_ = false;

  // Messages, from any thread.
  runtime_run* given_ = nullptr;  // goes with begin_
  message begin_{*this, &runtime_member::begin_arrives};
  message stop_{*this, &runtime_member::stop_arrives};
  message return_{*this, &runtime_member::return_arrives};
  message leave_{*this, &runtime_member::leave_arrives};
  message end_{*this, &runtime_member::end_arrives};
  std::atomic<bool> stop_is_sent_ = false;
  std::atomic<bool> return_is_sent_ = false;
  std::atomic<bool> has_left_ = false;
};

void runtime_run::stop(const char* reason) noexcept {
  const char* none = nullptr;
  if (!stop_reason_.compare_exchange_strong(none, reason)) return;
  for (const auto& each : members_) each->send_stop();
}

void runtime_run::fail(std::exception_ptr error) noexcept {
  {
    const std::lock_guard lock{guard_};
    if (failure_) return log::exception("the root task of another executor has failed as well", error);
    failure_ = std::move(error);
  }
  stop("the root task of another executor has failed");
}

namespace {

// What signals are for, in a run. On the thread of the first member.
class stoppable_run final : public stoppable {
 public:
  stoppable_run(runtime_run& run, std::vector<std::unique_ptr<runtime_member>>& members) noexcept
      : run_{run}, members_{members} {}

  [[nodiscard]] bool done() const noexcept override { return run_.running_count.load(std::memory_order_acquire) == 0; }
  void stop(std::string_view reason) noexcept override { run_.stop(reason.data()); }

  // Each executor tells of its own tasks, in its own turn. One that is busy for too long is told to be so.
  [[nodiscard]] std::string tasks() override {
    std::vector<std::future<std::string>> answers;
    for (const auto& each : members_) answers.push_back(ask(each->loop()));
    std::string all;
    const auto patience_ends = std::chrono::steady_clock::now() + std::chrono::seconds{1};
    for (std::size_t index = 0; index < answers.size(); ++index) {
      const bool answered = answers[index].wait_until(patience_ends) == std::future_status::ready;
      all += "executor " + std::to_string(index) + (answered ? ":\n" + answers[index].get() : " is busy\n");
    }
    return all;
  }

 private:
  static std::future<std::string> ask(executor& loop) {
    auto asked = std::make_shared<std::promise<std::string>>();
    auto answer = asked->get_future();
    if (loop.belongs_to_this_thread()) asked->set_value(dump_tasks(loop));
    else loop.post([asked, &loop] { asked->set_value(dump_tasks(loop)); });
    return answer;
  }

  runtime_run& run_;
  std::vector<std::unique_ptr<runtime_member>>& members_;
};

}  // namespace
}  // namespace detail

runtime::runtime(runtime_options options)
    : options_{[&] {
        if (options.cpus.empty()) options.cpus = allowed_cpus();
        if (options.executors == 0) options.executors = static_cast<unsigned>(options.cpus.size());
        return std::move(options);
      }()} {
  const bool one_each = options_.executors == options_.cpus.size();
  const bool pins = options_.pin == pinning::always || (options_.pin == pinning::if_one_each && one_each);
  for (std::size_t index = 0; index < options_.executors; ++index) {
    const auto cpu = pins ? std::optional{options_.cpus[index % options_.cpus.size()]} : std::nullopt;
    detail::runtime_member* const first = members_.empty() ? nullptr : members_.front().get();
    members_.push_back(std::make_unique<detail::runtime_member>(options_, index, cpu, first));
  }
  if (const std::exception_ptr failure = make_all()) {
    end_threads();
    std::rethrow_exception(failure);
  }
}

// Threads that are made are waited for also when another one is not: until then nobody can end them. They are made
// before this one is pinned, which they would inherit.
std::exception_ptr runtime::make_all() noexcept {
  std::exception_ptr failure;
  try {
    for (std::size_t index = 1; index < size(); ++index) members_[index]->make_on_thread();
    members_.front()->make_here();
  } catch (...) {
    failure = std::current_exception();
  }
  for (const auto& each : members_) {
    const std::exception_ptr its_failure = each->wait_until_made();
    if (its_failure && !failure) failure = its_failure;
  }
  return failure;
}

runtime::~runtime() {
  GYRE_ASSERT((*this)[0].belongs_to_this_thread(), "a runtime is destroyed on the thread that made it");
  if (members_.front()->loop().ring().is_parents()) {
    leave_to_parent();
    return;
  }
  stop_visits();
  end_threads();
}

// In the child of a fork there is this thread only. What the others had in hand as they were copied, their executors
// above all, nobody can end for them: it stays where it is.
void runtime::leave_to_parent() noexcept {
  for (std::size_t index = 1; index < size(); ++index) static_cast<void>(members_[index].release());
  members_.front()->end();
}

// Who is on one executor for somebody from elsewhere may go on to another one, also to this one, until he is stopped.
void runtime::stop_visits() noexcept {
  detail::runtime_member& mine = *members_.front();
  for (const auto& each : members_) each->ask_to_leave();
  while (!std::ranges::all_of(members_, [](const auto& each) { return each->has_left(); })) {
    mine.loop().turn_until_told();
    mine.look_at_tasks();
  }
}

void runtime::end_threads() noexcept {
  for (const auto& each : members_) each->ask_to_end();
  for (std::size_t index = size(); index > 0; --index) members_[index - 1]->end();
}

executor& runtime::operator[](std::size_t index) noexcept {
  GYRE_ASSERT(index < size(), "a runtime has executors from 0 to size() - 1");
  return members_[index]->loop();
}

int runtime::run_all(detail::root_maker maker) {
  detail::runtime_member& mine = *members_.front();
  GYRE_ASSERT(mine.loop().belongs_to_this_thread(), "a runtime is run on the thread that made it");
  if (const std::string told = notes(); !told.empty()) log::warning(told);
  detail::runtime_run run{maker, members_};
  detail::stoppable_run stopped{run, members_};
  {
    const detail::signal_stop stops_it{stopped, mine.loop(), options_.grace_period};
    for (const auto& each : members_) each->send_begin(run);
    while (!stopped.done()) {
      mine.loop().turn_until_told();
      mine.look_at_tasks();
    }
  }
  run.rethrow_failure();
  for (const auto& each : members_)
    if (each->status() != EXIT_SUCCESS) return each->status();
  return EXIT_SUCCESS;
}

std::vector<executor_statistics> runtime::statistics() {
  std::vector<executor_statistics> all;
  for (const auto& each : members_) {
    executor& loop = each->loop();
    if (loop.belongs_to_this_thread()) {
      all.push_back(loop.statistics());
      continue;
    }
    // Shared: who is answered may be gone before the answering thread has let go of it.
    const auto asked = std::make_shared<std::promise<executor_statistics>>();
    loop.post([asked, &loop] { asked->set_value(loop.statistics()); });
    all.push_back(asked->get_future().get());
  }
  return all;
}

std::string runtime::notes() const {
  std::string all;
  for (const auto& each : members_) {
    const std::string told = each->notes();
    if (!told.empty()) all += (all.empty() ? "" : "\n") + told;
  }
  return all;
}

}  // namespace gyre
