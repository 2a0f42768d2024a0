// SPDX-License-Identifier: MIT
// run(): signals on the way in, an exit status on the way out.
//
// A signal handler may do little: it posts one node to the executor, which cancels the root task in its next turn, or
// has it told who waits for what. The handler can run on any thread, and while run() is leaving: `handlers_running`
// keeps run() from leaving under its feet.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/run.hpp>

#include <spdlog/logger.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

namespace gyre {
namespace {

constexpr int signals_before_the_end = 2;  // the first asks, the second insists; one more and nobody is asked

// Logs who waits for what, in a turn of the executor. Asked for again before that, it is one request.
class dump_request : detail::runnable {
 public:
  explicit dump_request(executor& loop) noexcept : runnable{kind_of_dump}, loop_{loop} {}

  /// In a signal handler.
  void post() noexcept {
    if (!queued_.exchange(true)) loop_.post(*this);
  }

  [[nodiscard]] bool queued() const noexcept { return queued_; }

 private:
  static void run(runnable& self) noexcept {
    auto& mine = static_cast<dump_request&>(self);
    mine.queued_ = false;
    try {
      log::warning("SIGQUIT came: these tasks run\n" + dump_tasks(mine.loop_));
      log::logger()->flush();
    } catch (...) {
      log::error("SIGQUIT came, and there is no memory to say who waits for what");
    }
  }

  static constexpr detail::runnable_kind kind_of_dump{&dump_request::run};
  executor& loop_;
  std::atomic<bool> queued_ = false;
};

// Takes the signals of the process for one root task.
class signal_stop : detail::runnable, detail::timer {
 public:
  signal_stop(root_task<int>& root, executor& loop, std::chrono::nanoseconds grace)
      : runnable{kind_of_stop}, timer{kind_of_grace}, root_{root}, loop_{loop}, grace_{grace} {
    signal_stop* none = nullptr;
    const bool first = taker.compare_exchange_strong(none, this);
    GYRE_ASSERT(first, "one run() at a time in a process: signals have one taker");
    install(SIGINT, &on_signal, 0);
    install(SIGTERM, &on_signal, 1);
    install(SIGPIPE, SIG_IGN, 2);
    install(SIGQUIT, &on_signal, 3);
  }

  ~signal_stop() {
    for (const auto& [number, action] : before_) ::sigaction(number, &action, nullptr);
    taker = nullptr;
    while (handlers_running > 0) {
    }
    while (queued_ || dump_.queued())
      loop_.turn(/*may_park=*/false);  // posted as the task ended: the executor still has its address
    loop_.timers().disarm(*this);
  }

 private:
  struct saved {
    int number;
    struct ::sigaction action;
  };

  void install(int number, void (*handler)(int), std::size_t place) {
    struct ::sigaction action{};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    before_[place].number = number;
    ::sigaction(number, &action, &before_[place].action);
  }

  // Whom it interrupts may be about to look at errno: between a call that failed and its answer.
  static void on_signal(int number) {
    const int errno_before = errno;
    ++handlers_running;
    if (signal_stop* const mine = taker) mine->signalled(number);
    --handlers_running;
    errno = errno_before;
  }

  void signalled(int number) noexcept {
    if (number == SIGQUIT) return dump_.post();
    const int count = ++signals_count_;
    if (count > signals_before_the_end) ::_exit(128 + number);
    if (!queued_.exchange(true)) loop_.post(*this);
  }

  // In a turn of the executor.
  static void run(runnable& self) noexcept {
    auto& mine = static_cast<signal_stop&>(self);
    mine.queued_ = false;
    if (mine.root_.done()) return;
    if (mine.signals_count_ >= signals_before_the_end) mine.give_up("a second signal came");
    if (mine.root_.scope().stop_requested()) return;
    mine.root_.cancel("a signal came");
    mine.loop_.timers().arm(mine, detail::deadline_after(mine.loop_, mine.grace_));
  }

  // In a turn of the executor, perhaps the one in which the task has ended.
  static void grace_ended(timer& self) noexcept {
    auto& mine = static_cast<signal_stop&>(self);
    if (!mine.root_.done()) mine.give_up("the grace period is over");
  }

  [[noreturn]] void give_up(const char* why) noexcept {
    try {
      log::error(std::string{why} + ", and these have not ended:\n" + dump_tasks(loop_));
      log::logger()->flush();
    } catch (...) {
      log::error("the program is made to end, and there is no memory to say who has not ended");
    }
    ::_exit(EXIT_FAILURE);
  }

  static inline std::atomic<signal_stop*> taker = nullptr;
  static inline std::atomic<int> handlers_running = 0;
  static constexpr detail::runnable_kind kind_of_stop{&signal_stop::run};
  static constexpr detail::timer_kind kind_of_grace{&signal_stop::grace_ended};

  root_task<int>& root_;
  executor& loop_;
  std::chrono::nanoseconds grace_;
  std::atomic<int> signals_count_ = 0;
  std::atomic<bool> queued_ = false;
  dump_request dump_{loop_};
  std::array<saved, 4> before_;
};

task<int> with_status(task<> root) {
  co_await detail::for_caller(std::move(root));
  co_return EXIT_SUCCESS;
}

int run_on(executor& loop, task<int> body, const run_options& options) {
  root_task<int> root = loop.start(std::move(body));
  {
    const signal_stop stops_it{root, loop, options.grace_period};
    while (!root.done()) loop.turn(/*may_park=*/true);
  }
  return root.stopped() ? EXIT_SUCCESS : root.get();
}

}  // namespace

int run(task<int> root, const run_options& options) {
  try {
    executor loop{options.executor};
    if (const std::string notes = loop.notes(); !notes.empty()) log::warning(notes);
    return run_on(loop, std::move(root), options);
  } catch (...) {
    log::exception("the program ends with an error", std::current_exception());
    return EXIT_FAILURE;
  }
}

int run(task<> root, const run_options& options) { return run(with_status(std::move(root)), options); }

}  // namespace gyre
