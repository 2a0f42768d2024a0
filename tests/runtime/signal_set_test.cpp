// SPDX-License-Identifier: MIT
// Signals as a stream: what is told, who is told, what the process is like while a set is there and after it.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/sanitizers.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/signal_set.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

static_assert(stream_like<signal_set>);

// What happens in children is told by letters.
constexpr char ready = 'r';
constexpr char heard = 'h';
constexpr char stopped = 's';

// ThreadSanitizer keeps signals until a call that it knows, and of each number one.
constexpr bool sanitizer_merges_signals = GYRE_DETAIL_THREAD_SANITIZER;

std::atomic<int> own_handler_calls = 0;
void own_handler(int /*number*/) { ++own_handler_calls; }

/// While it lives the signal has this handler.
class handled_by {
 public:
  handled_by(int number, void (*handler)(int)) : number_{number} {
    struct ::sigaction action{};
    action.sa_handler = handler;
    ::sigaction(number_, &action, &before_);
  }
  handled_by(const handled_by&) = delete;
  handled_by& operator=(const handled_by&) = delete;
  ~handled_by() { ::sigaction(number_, &before_, nullptr); }

 private:
  int number_;
  struct ::sigaction before_{};
};

bool is_handled_by(int number, void (*handler)(int)) {
  struct ::sigaction now{};
  ::sigaction(number, nullptr, &now);
  return now.sa_handler == handler;
}

/// Blocks a signal in this thread for as long as it lives.
class blocked {
 public:
  explicit blocked(int number) {
    ::sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, number);
    ::pthread_sigmask(SIG_BLOCK, &one, &before_);
  }
  blocked(const blocked&) = delete;
  blocked& operator=(const blocked&) = delete;
  ~blocked() {
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    ::kill(::getpid(), 0);  // ThreadSanitizer runs handlers in calls that it knows to be such
  }

 private:
  ::sigset_t before_{};
};

task<> take_one(signal_set& from, signal_info& taken) { taken = *co_await from.next(); }

signal_info next_of_set(executor& loop, signal_set& from) {
  signal_info taken;
  loop.run(take_one(from, taken));
  return taken;
}

/// What is there already; nothing where nothing comes within a turn or two.
std::optional<signal_info> next_at_hand(executor& loop, signal_set& from) {
  std::optional<signal_info> taken;
  loop.run([&]() -> task<> {
    const auto got = co_await as_result(with_timeout(1ms, from.next()));
    if (got) taken = **got;
  }());
  return taken;
}

int queue_signal(int number, int value) {
  ::sigval given{};
  given.sival_int = value;
  return ::sigqueue(::getpid(), number, given);
}

std::error_code refusal_of(int number) {
  try {
    const signal_set made{number};
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

}  // namespace

TEST_CASE("a signal is told with its number, its sender, and what it was given along") {
  executor loop;
  signal_set signals{SIGUSR1, SIGUSR2};

  ::kill(::getpid(), SIGUSR1);
  const auto killed = next_of_set(loop, signals);
  queue_signal(SIGUSR2, 42);
  const auto queued = next_of_set(loop, signals);

  CHECK(killed.number == SIGUSR1);
  CHECK(killed.code == SI_USER);
  CHECK(killed.process == ::getpid());
  CHECK(killed.user == ::getuid());
  CHECK(!killed.is_summary);
  CHECK(queued.number == SIGUSR2);
  CHECK(queued.code == SI_QUEUE);
  CHECK(queued.value.sival_int == 42);
}

TEST_CASE("who waits for a signal is resumed when it comes, and not before") {
  executor loop;
  signal_set signals{SIGUSR1};
  signal_info taken;
  auto root = loop.start(take_one(signals, taken));
  loop.run_ready();
  CHECK(!root.done());

  ::raise(SIGUSR1);
  turn_until_done(loop, root);

  CHECK(taken.number == SIGUSR1);
}

TEST_CASE("each of several sets is told of a signal, on whichever executor it is read") {
  executor loop;
  signal_set first{SIGUSR1, SIGUSR2};
  signal_set second{SIGUSR1};
  signal_info taken_elsewhere;
  std::atomic<bool> is_waiting = false;
  std::thread other{[&] {
    executor its_loop;
    auto root = its_loop.start(take_one(second, taken_elsewhere));
    its_loop.run_ready();
    is_waiting = true;
    turn_until_done(its_loop, root);
  }};
  while (!is_waiting) std::this_thread::yield();

  ::kill(::getpid(), SIGUSR1);
  other.join();

  CHECK(taken_elsewhere.number == SIGUSR1);
  CHECK(next_of_set(loop, first).number == SIGUSR1);
  ::kill(::getpid(), SIGUSR2);
  CHECK(next_of_set(loop, first).number == SIGUSR2);
  CHECK(!next_at_hand(loop, second));
}

TEST_CASE("the action before is back at the end of the last set that has the signal") {
  const handled_by own{SIGUSR1, &own_handler};
  const handled_by ignored{SIGUSR2, SIG_IGN};
  {
    const signal_set first{SIGUSR1, SIGUSR2};
    {
      signal_set second{SIGUSR1};
      signal_set moved{std::move(second)};
    }
    own_handler_calls = 0;
    ::raise(SIGUSR1);
    CHECK(own_handler_calls == 0);
  }

  CHECK(is_handled_by(SIGUSR1, &own_handler));
  CHECK(is_handled_by(SIGUSR2, SIG_IGN));
  ::raise(SIGUSR1);
  CHECK(own_handler_calls == 1);
}

TEST_CASE("an action that somebody else sets meanwhile takes the signal, and stays") {
  executor loop;
  const handled_by before{SIGUSR1, SIG_IGN};
  {
    signal_set signals{SIGUSR1};
    const handled_by meanwhile{SIGUSR1, &own_handler};
    own_handler_calls = 0;
    ::raise(SIGUSR1);
    CHECK(own_handler_calls == 1);
    CHECK(!next_at_hand(loop, signals));

    signal_set later{SIGUSR1};
    ::raise(SIGUSR1);
    CHECK(next_of_set(loop, later).number == SIGUSR1);
    CHECK(next_of_set(loop, signals).number == SIGUSR1);
    std::signal(SIGUSR1, &own_handler);
  }
  CHECK(is_handled_by(SIGUSR1, SIG_IGN));

  signal_set signals{SIGUSR1};
  std::signal(SIGUSR1, &own_handler);
  {
    const signal_set gone = std::move(signals);
  }
  CHECK(is_handled_by(SIGUSR1, &own_handler));
}

TEST_CASE("a set is moved with what came into it") {
  executor loop;
  signal_set signals{SIGUSR1};
  ::raise(SIGUSR1);

  signal_set moved{std::move(signals)};
  CHECK(next_of_set(loop, moved).number == SIGUSR1);
  moved = signal_set{SIGUSR2};
  ::raise(SIGUSR2);
  CHECK(next_of_set(loop, moved).number == SIGUSR2);
}

TEST_CASE("standard signals come together, real-time signals come one by one and in order") {
  executor loop;
  signal_set signals{SIGUSR1, SIGRTMIN};
  {
    const blocked real_time{SIGRTMIN};
    const blocked standard{SIGUSR1};  // the first that is let through
    for (int each = 0; each < 3; ++each) {
      ::raise(SIGUSR1);
      queue_signal(SIGRTMIN, each);
    }
  }

  CHECK(next_of_set(loop, signals).number == SIGUSR1);
  for (int each = 0; each < (sanitizer_merges_signals ? 1 : 3); ++each) {
    const auto taken = next_of_set(loop, signals);
    CHECK(taken.number == SIGRTMIN);
    CHECK(taken.value.sival_int == each);
  }
  CHECK(!next_at_hand(loop, signals));
}

TEST_CASE("SIGCHLD says which child it is about, and leaves it to who waits for it") {
  executor loop;
  signal_set signals{SIGCHLD};
  const ::pid_t child = ::fork();
  if (child == 0) ::_exit(7);

  const auto taken = next_of_set(loop, signals);

  CHECK(taken.number == SIGCHLD);
  CHECK(taken.code == CLD_EXITED);
  CHECK(taken.process == child);
  CHECK(taken.status == 7);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("a next() that is stopped or timed out loses no signal, before it comes and after") {
  executor loop;
  signal_set signals{SIGUSR1};
  signal_info taken;
  outcome noted;

  auto root = loop.start(observe(signals.next(), noted));
  loop.run_ready();
  root.cancel();
  turn_until_done(loop, root);
  CHECK(noted.how == ended::stopped);
  CHECK(!next_at_hand(loop, signals));
  ::raise(SIGUSR1);
  CHECK(next_of_set(loop, signals).number == SIGUSR1);

  // The cancel crosses the signal: it is told, or there for the next.
  for (const bool signal_first : {true, false}) {
    taken = {};
    auto crossed = loop.start(take_one(signals, taken));
    loop.run_ready();
    if (signal_first) ::raise(SIGUSR1);
    crossed.cancel();
    if (!signal_first) ::raise(SIGUSR1);
    turn_until_done(loop, crossed);
    const bool is_told = taken.number == SIGUSR1;
    CHECK(next_at_hand(loop, signals).has_value() == !is_told);
  }

  auto late = loop.start(take_one(signals, taken));
  late.cancel();
  turn_until_done(loop, late);
  CHECK(late.stopped());
}

TEST_CASE("of signals that find the set full each sort is told once more, and none is lost altogether") {
  if (sanitizer_merges_signals) return;
  executor loop;
  signal_set signals{SIGUSR1, SIGRTMIN};
  constexpr int more_than_fit = 70'000 / static_cast<int>(sizeof(signal_info));
  for (int each = 0; each < more_than_fit; ++each) queue_signal(SIGRTMIN, each);
  ::raise(SIGUSR1);

  int in_full_count = 0;
  std::vector<int> summed_up;
  while (const auto taken = next_at_hand(loop, signals)) {
    if (taken->is_summary) {
      summed_up.push_back(taken->number);
    } else {
      CHECK(taken->number == SIGRTMIN);
      CHECK(taken->value.sival_int == in_full_count);
      ++in_full_count;
    }
  }

  CHECK(in_full_count > 0);
  CHECK(in_full_count < more_than_fit);
  CHECK(summed_up == std::vector<int>{SIGUSR1, SIGRTMIN});
  ::raise(SIGUSR1);
  CHECK(!next_of_set(loop, signals).is_summary);
}

TEST_CASE("what no set can have is refused, and nothing is changed by that") {
  for (const int number :
       {SIGKILL, SIGSTOP, SIGPIPE, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, 0, -1, 65, 1000})
    CHECK(refusal_of(number) == std::errc::invalid_argument);
  CHECK_THROWS_AS((signal_set{std::span<const int>{}}), std::system_error);

  const auto descriptors_before = open_descriptors_count();
  CHECK_THROWS_AS((signal_set{SIGUSR1, SIGKILL}), std::system_error);
  CHECK(is_handled_by(SIGUSR1, SIG_DFL));
  {
    const no_descriptor_left scarce;
    CHECK(refusal_of(SIGUSR1) == std::errc::too_many_files_open);
  }
  {
    const signal_set signals{SIGUSR1};
  }
  CHECK(open_descriptors_count() == descriptors_before);
}

TEST_CASE("signals from several threads are told, while sets come and go") {
  constexpr int threads_count = 3;
  constexpr int each_sends = 300;
  executor loop;
  signal_set signals{SIGRTMIN};
  std::atomic<bool> is_over = false;
  std::thread comes_and_goes{[&] {
    while (!is_over) {
      const signal_set one{SIGRTMIN, SIGUSR2};
      const signal_set other{SIGRTMIN};
    }
  }};
  std::vector<std::thread> senders;
  for (int each = 0; each < threads_count; ++each)
    senders.emplace_back([] {
      for (int sent = 0; sent < each_sends; ++sent)
        while (queue_signal(SIGRTMIN, sent) != 0) std::this_thread::yield();  // EAGAIN: too many are pending
    });

  for (auto& each : senders) each.join();
  is_over = true;
  comes_and_goes.join();
  int told_count = 0;
  while (const auto told = next_at_hand(loop, signals)) {
    CHECK(told->number == SIGRTMIN);
    ++told_count;
  }

  CHECK(told_count > 0);
  if (!sanitizer_merges_signals) CHECK(told_count == threads_count * each_sends);
}

TEST_CASE("a set in run() has its signals for itself, and gives them back") {
  child program{[] {
    return run([]() -> task<int> {
      {
        signal_set signals{SIGTERM, SIGINT};
        say(ready);
        for (int each = 0; each < 3; ++each) {  // more than run() would bear
          co_await signals.next();
          say(heard);
        }
      }
      struct says_when_destroyed {
        ~says_when_destroyed() { say(stopped); }
      };
      const says_when_destroyed watch;
      say(ready);
      co_await sleep_for(24h);
      co_return 1;
    }());
  }};
  CHECK(program.hears() == ready);
  for (const int number : {SIGTERM, SIGINT, SIGTERM}) {
    program.signal(number);
    CHECK(program.hears() == heard);
  }
  CHECK(program.hears() == ready);
  program.signal(SIGTERM);
  CHECK(program.hears() == stopped);
  CHECK(program.wait().exit_status == EXIT_SUCCESS);
}

TEST_CASE("a set that was there before run() has its signals, too, and after it") {
  child program{[] {
    signal_set signals{SIGTERM};
    const auto wait_for_two = [&]() -> task<> {
      say(ready);
      co_await signals.next();
      say(heard);
    };
    int status = run(wait_for_two());
    status += run(wait_for_two());
    executor loop;
    loop.run(wait_for_two());
    return status;
  }};
  for (int each = 0; each < 3; ++each) {
    CHECK(program.hears() == ready);
    program.signal(SIGTERM);
    CHECK(program.hears() == heard);
  }
  CHECK(program.wait().exit_status == EXIT_SUCCESS);
}

TEST_CASE("in the child of a fork a signal does what it did before, and the set hears nothing of it") {
  executor loop;
  signal_set signals{SIGTERM, SIGUSR1};

  child dies{[] {
    say(ready);
    for (;;) ::pause();
    return 0;
  }};
  CHECK(dies.hears() == ready);
  dies.signal(SIGUSR1);
  CHECK(dies.wait().killed_by == SIGUSR1);

  child has_its_own{[&] {
    signal_set inherited{std::move(signals)};
    signal_set its_own{SIGUSR1};
    ::raise(SIGUSR1);
    executor its_loop;
    return next_of_set(its_loop, its_own).number == SIGUSR1 ? 0 : 1;
  }};
  CHECK(has_its_own.wait().exit_status == 0);
  CHECK(!next_at_hand(loop, signals));
}

TEST_CASE("SIGPIPE is nobody's: a set of every other signal leaves it alone") {
  const handled_by own{SIGPIPE, &own_handler};
  const signal_set signals{SIGHUP, SIGUSR1};
  own_handler_calls = 0;
  ::raise(SIGPIPE);
  CHECK(own_handler_calls == 1);
}

}  // namespace gyre
