// SPDX-License-Identifier: MIT
// What a signal does in its handler, and what in the turn after it.
#include <gyre/runtime/detail/signal_stop.hpp>
#include <gyre/runtime/last_words.hpp>
#include <gyre/runtime/log.hpp>

#include <spdlog/logger.h>
#include <unistd.h>

#include <cstdlib>

namespace gyre::detail {
namespace {

constexpr int signals_before_the_end = 2;  // the first asks, the second insists; one more and nobody is asked

}  // namespace

constinit const runnable_kind dump_request::kind_of_dump{&dump_request::run};
constinit std::atomic<signal_stop*> signal_stop::taker = nullptr;
constinit const runnable_kind signal_stop::kind_of_stop{&signal_stop::run};
constinit const timer_kind signal_stop::kind_of_grace{&signal_stop::grace_ended};

void dump_request::run(runnable& self) noexcept {
  auto& mine = static_cast<dump_request&>(self);
  mine.queued_ = false;
  try {
    log::warning("SIGQUIT came: these tasks run\n" + mine.told_.tasks());
    log::logger()->flush();
  } catch (...) {
    log::error("SIGQUIT came, and there is no memory to say who waits for what");
  }
}

signal_stop::signal_stop(stoppable& stopped, executor& loop, std::chrono::nanoseconds grace)
    : runnable{kind_of_stop},
      timer{kind_of_grace},
      signal_hearer{bit_of_signal(SIGINT) | bit_of_signal(SIGTERM) | bit_of_signal(SIGQUIT), rank::last_resort},
      stopped_{stopped},
      loop_{loop},
      grace_{grace} {
  signal_stop* none = nullptr;
  const bool first = taker.compare_exchange_strong(none, this);
  GYRE_ASSERT(first, "one run() at a time in a process: signals have one taker");
  struct ::sigaction ignored{};
  ignored.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignored, &sigpipe_before_);
  const auto listens = listen();
  GYRE_ASSERT(listens.has_value(), "these signals can be handled");
}

signal_stop::~signal_stop() {
  leave();
  ::sigaction(SIGPIPE, &sigpipe_before_, nullptr);
  taker = nullptr;
  while (queued_ || dump_.queued())
    loop_.turn(/*may_park=*/false);  // posted as the task ended: the executor still has its address
  loop_.timers().disarm(*this);
}

// In a signal handler.
void signal_stop::heard(int number, const ::siginfo_t& /*about*/) noexcept {
  if (number == SIGQUIT) return dump_.post();
  const int count = ++signals_count_;
  if (count > signals_before_the_end) {
    last_words::say_all();
    ::_exit(128 + number);
  }
  if (!queued_.exchange(true)) loop_.post(*this);
}

// In a turn of the executor.
void signal_stop::run(runnable& self) noexcept {
  auto& mine = static_cast<signal_stop&>(self);
  mine.queued_ = false;
  if (mine.stopped_.done()) return;
  if (mine.signals_count_ >= signals_before_the_end) mine.give_up("a second signal came");
  mine.stopped_.stop("a signal came");  // it may be stopping already, and still get no further
  if (!mine.armed()) mine.loop_.timers().arm(mine, deadline_after(mine.loop_, mine.grace_));
}

// In a turn of the executor, perhaps the one in which the task has ended.
void signal_stop::grace_ended(timer& self) noexcept {
  auto& mine = static_cast<signal_stop&>(self);
  if (!mine.stopped_.done()) mine.give_up("the grace period is over");
}

void signal_stop::give_up(const char* why) noexcept {
  try {
    log::error(std::string{why} + ", and these have not ended:\n" + stopped_.tasks());
    log::logger()->flush();
  } catch (...) {
    log::error("the program is made to end, and there is no memory to say who has not ended");
  }
  last_words::say_all();
  ::_exit(EXIT_FAILURE);
}

}  // namespace gyre::detail
