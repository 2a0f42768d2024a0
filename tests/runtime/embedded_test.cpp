// SPDX-License-Identifier: MIT
// An executor in a foreign loop: every order of a wake and a step of the sleep that the two share, and loops of epoll.
#include <gyre/runtime/detail/sanitizers.hpp>
#include <gyre/runtime/embedded.hpp>
#include <gyre/runtime/ops/epoll.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/counted_calls.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;
constexpr auto never = embedded::time_point::max();

task<> recv_and_note(bool& received) {
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
  received = true;
}

task<> sleep_and_note(std::chrono::nanoseconds duration, bool& over) {
  co_await sleep_for(duration);
  over = true;
}

task<> submit_something() { co_await ops::nop(); }

task<> sleep_until_cancelled() { co_await sleep_for(24h); }

task<> give_way(int times) {
  for (int i = 0; i < times; ++i) co_await this_task::yield();
}

// A loop of somebody else's, stepped: it sleeps until the descriptor is readable, or the time has come.
struct foreign_on_script {
  explicit foreign_on_script(const executor_options& options = {}) : on{{}, options}, inside{on.loop} {}

  embedded::time_point now() const { return embedded::time_point{std::chrono::nanoseconds{on.script.now()}}; }
  bool need_not_sleep() { return on.script.is_readable() || inside.next_wakeup() <= now(); }

  // Nothing but the script can end a sleep that no timer ends.
  void sleep() {
    if (need_not_sleep()) return;
    ++sleeps_count;
    const auto until = inside.next_wakeup();
    if (const auto cause = std::exchange(while_asleep, nullptr)) cause();
    if (on.script.is_readable()) return;
    REQUIRE(until != never);
    on.script.advance(until - now());
  }

  void round() {
    sleep();
    inside.run_ready();
  }

  void settle() {
    while (inside.run_ready()) continue;
  }

  scripted_executor on;
  embedded inside;
  int sleeps_count = 0;
  std::function<void()> while_asleep;
};

// The moments between which something can happen.
enum class moment { clock_read, before_enter, after_enter, signals_on, asleep, signals_off, signals_taken };
constexpr std::array moments{moment::clock_read, moment::before_enter, moment::after_enter,  moment::signals_on,
                             moment::asleep,     moment::signals_off,  moment::signals_taken};

// Has `cause` called once, when the two are at that moment.
void at(moment when, foreign_on_script& foreign, std::function<void()> cause) {
  auto& script = foreign.on.script;
  const auto once = [&script, cause = std::move(cause)] {
    script.on_now = script.on_enter = script.after_enter = script.on_take_signals = nullptr;
    script.on_notify = nullptr;
    cause();
  };
  const auto is_woken = [&script] { script.wake(); };
  switch (when) {
    case moment::clock_read:
      script.on_now = once;
      return;
    case moment::before_enter:
      script.on_enter = once;
      return;
    case moment::after_enter:
      script.after_enter = once;
      return;
    case moment::signals_on:
      script.on_notify = [once](bool on) {
        if (on) once();
      };
      return;
    case moment::asleep:
      foreign.while_asleep = once;
      return;
    case moment::signals_off:
      foreign.while_asleep = is_woken;
      script.on_notify = [once](bool on) {
        if (!on) once();
      };
      return;
    case moment::signals_taken:
      foreign.while_asleep = is_woken;
      script.on_take_signals = once;
      return;
  }
}

}  // namespace

TEST_CASE("a post at any moment around a foreign sleep is run, and the foreign loop does not sleep over it") {
  for (const bool with_timer : {false, true}) {
    for (const auto when : moments) {
      if (when == moment::clock_read && !with_timer) continue;  // nobody looks
      CAPTURE(static_cast<int>(when));
      CAPTURE(with_timer);
      foreign_on_script foreign;
      bool posted = false;
      std::optional<root_task<void>> timer;
      if (with_timer) timer.emplace(foreign.on.loop, sleep_until_cancelled());
      foreign.settle();
      auto submitted = foreign.on.loop.start(submit_something());
      at(when, foreign, [&] {
        foreign.on.loop.post([&] { posted = true; });
        foreign.while_asleep = [] { FAIL("it sleeps over what was posted"); };
      });

      for (int i = 0; i < 8 && !posted; ++i) foreign.round();

      CHECK(posted);
      foreign.while_asleep = nullptr;
      submitted.cancel();
      if (timer) timer->cancel();
      foreign.settle();
      CHECK(submitted.done());
      CHECK((!timer || timer->done()));
    }
  }
}

TEST_CASE("a completion at any moment around a foreign sleep is taken, and the foreign loop does not sleep over it") {
  for (const auto when : moments) {
    for (const bool needs_enter : {true, false}) {
      CAPTURE(static_cast<int>(when));
      CAPTURE(needs_enter);
      foreign_on_script foreign;
      bool received = false;
      auto root = foreign.on.loop.start(recv_and_note(received));
      auto timer = foreign.on.loop.start(sleep_until_cancelled());
      foreign.settle();
      auto submitted = foreign.on.loop.start(submit_something());
      at(when, foreign, [&] {
        const auto waiting = foreign.on.script.only(IORING_OP_RECV);
        if (needs_enter) foreign.on.script.complete_on_enter(waiting, 4);
        else foreign.on.script.complete(waiting, 4);
        foreign.while_asleep = [] { FAIL("it sleeps over what was completed"); };
      });

      for (int i = 0; i < 8 && !received; ++i) foreign.round();

      CHECK(received);
      CHECK(root.done());
      foreign.while_asleep = nullptr;
      timer.cancel();
      submitted.cancel();
      foreign.settle();
      CHECK(timer.done());
      CHECK(submitted.done());
    }
  }
}

TEST_CASE("a post to an armed executor writes its descriptor once, however many follow, and one that is awake never") {
  foreign_on_script foreign;
  int run_count = 0;
  const auto post_many = [&] {
    for (int i = 0; i < 100; ++i) foreign.on.loop.post([&] { ++run_count; });
  };

  post_many();
  CHECK(foreign.on.script.wakes_count() == 0);  // nobody has called run_ready() yet, and next_wakeup() says so
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  foreign.settle();
  CHECK(run_count == 100);
  CHECK(foreign.on.script.wakes_count() == 0);
  CHECK_FALSE(foreign.on.script.is_readable());

  post_many();
  CHECK(foreign.on.script.wakes_count() == 1);
  CHECK(foreign.on.script.is_readable());
  foreign.settle();
  CHECK(run_count == 200);
  CHECK_FALSE(foreign.on.script.is_readable());

  auto posts_in_its_turn = foreign.on.loop.start([](auto& post) -> task<> {
    post();
    co_return;
  }(post_many));
  foreign.settle();
  CHECK(posts_in_its_turn.done());
  CHECK(run_count == 300);
  CHECK(foreign.on.script.wakes_count() == 1);
  CHECK(foreign.on.loop.statistics().wakes_written == 1);
}

TEST_CASE("a foreign loop that comes unasked finds nothing to do, takes nothing away, and is armed as before") {
  foreign_on_script foreign;
  bool received = false;
  auto root = foreign.on.loop.start(recv_and_note(received));
  foreign.settle();
  const auto enters_before = foreign.on.loop.statistics().enters;

  for (int i = 0; i < 10; ++i) CHECK_FALSE(foreign.inside.run_ready());
  CHECK(foreign.on.loop.statistics().enters == enters_before);
  foreign.on.script.complete(foreign.on.script.only(IORING_OP_RECV), 4);
  CHECK(foreign.on.script.is_readable());
  foreign.round();

  CHECK(received);
  CHECK(root.done());
  CHECK(foreign.sleeps_count == 0);
}

TEST_CASE("next_wakeup() is the earliest timer, with those that come right after it; never, where there is none") {
  foreign_on_script foreign{{.timer_slack = 70us}};
  foreign.settle();
  CHECK(foreign.inside.next_wakeup() == never);
  CHECK(foreign.inside.next_wakeup_ms() == -1);

  const auto begin = foreign.now();
  bool first = false;
  bool second = false;
  bool third = false;
  auto sleeper_1 = foreign.on.loop.start(sleep_and_note(10ms, first));
  auto sleeper_2 = foreign.on.loop.start(sleep_and_note(10ms + 50us, second));
  auto sleeper_3 = foreign.on.loop.start(sleep_and_note(20ms, third));
  foreign.settle();

  CHECK(foreign.inside.next_wakeup() == begin + 10ms + 50us);
  CHECK(foreign.inside.next_wakeup_ms() == 11);  // rounded up, else the loop would turn for nothing
  foreign.round();
  CHECK(first);
  CHECK(second);
  CHECK_FALSE(third);
  CHECK(foreign.sleeps_count == 1);

  CHECK(foreign.inside.next_wakeup() == begin + 20ms);
  foreign.on.script.advance(1h);
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  CHECK(foreign.inside.next_wakeup_ms() == 0);
  foreign.settle();
  CHECK(third);
  CHECK(sleeper_1.done());
  CHECK(sleeper_2.done());
  CHECK(sleeper_3.done());
  CHECK(foreign.inside.next_wakeup() == never);
}

TEST_CASE("next_wakeup_ms() of a timer that is beyond what an int can say is the longest time that it can") {
  foreign_on_script foreign;
  bool over = false;
  auto root = foreign.on.loop.start(sleep_and_note(24h * 365, over));
  foreign.settle();

  CHECK(foreign.inside.next_wakeup_ms() == INT32_MAX);

  root.cancel();
  foreign.settle();
  CHECK_FALSE(over);
  CHECK(root.stopped());
}

TEST_CASE("when its turns are used up, run_ready() returns with more to do, and next_wakeup() is now") {
  foreign_on_script foreign;
  auto root = foreign.on.loop.start(give_way(20));

  CHECK(foreign.inside.run_ready(/*turns_max=*/1));
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  CHECK(foreign.inside.next_wakeup_ms() == 0);
  CHECK(foreign.inside.run_ready(/*turns_max=*/8));
  CHECK_FALSE(root.done());
  const auto turns_before = foreign.on.loop.statistics().turns;
  CHECK_FALSE(foreign.inside.run_ready(/*turns_max=*/100));

  CHECK(root.done());
  CHECK(foreign.on.loop.statistics().turns - turns_before < 20);
  CHECK(foreign.inside.next_wakeup() == never);
}

TEST_CASE("what a foreign callback starts or cancels between run_ready() and the sleep is seen by next_wakeup()") {
  foreign_on_script foreign;
  bool received = false;
  foreign.settle();
  REQUIRE(foreign.inside.next_wakeup() == never);

  auto root = foreign.on.loop.start(recv_and_note(received));
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  foreign.settle();
  REQUIRE(foreign.inside.next_wakeup() == never);
  root.cancel();
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  foreign.settle();

  CHECK(root.stopped());
  CHECK(foreign.on.script.wakes_count() == 0);
}

TEST_CASE("wake() makes the descriptor readable, once for each run_ready(), and not where it is not armed") {
  foreign_on_script foreign;
  foreign.inside.wake();
  CHECK(foreign.on.script.wakes_count() == 0);

  for (std::uint64_t round = 1; round <= 3; ++round) {
    foreign.settle();
    CHECK_FALSE(foreign.on.script.is_readable());
    foreign.inside.wake();
    foreign.inside.wake();
    CHECK(foreign.on.script.is_readable());
    CHECK(foreign.on.script.wakes_count() == round);
  }
}

TEST_CASE("run() on an embedded executor sleeps by itself, and has the foreign loop come back afterwards") {
  foreign_on_script foreign;
  bool received = false;
  auto root = foreign.on.loop.start(recv_and_note(received));
  foreign.settle();
  bool slept = false;

  foreign.on.loop.run(sleep_and_note(1s, slept));
  CHECK(slept);
  CHECK(foreign.on.script.is_readable());
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  foreign.settle();
  CHECK_FALSE(foreign.inside.run_ready());  // what may be left of the wake
  REQUIRE(foreign.inside.next_wakeup() == never);
  foreign.on.script.complete(foreign.on.script.only(IORING_OP_RECV), 4);

  CHECK(foreign.on.script.is_readable());
  foreign.settle();
  CHECK(received);
  CHECK(root.done());
}

TEST_CASE("run() that need not sleep has the foreign loop come back, too: others may have become ready") {
  foreign_on_script foreign;
  auto others = foreign.on.loop.start(give_way(5));
  foreign.settle();

  auto more = foreign.on.loop.start(give_way(5));
  foreign.on.loop.run(give_way(1));

  CHECK(foreign.on.script.is_readable());
  foreign.settle();
  CHECK(others.done());
  CHECK(more.done());
}

TEST_CASE("an executor that is driven by hand meanwhile is armed anew by run_ready(), and next_wakeup() asks for it") {
  foreign_on_script foreign;
  bool over = false;
  auto root = foreign.on.loop.start(sleep_and_note(1ms, over));
  foreign.settle();

  while (!root.done()) foreign.on.loop.turn(/*may_park=*/true);
  CHECK(foreign.inside.next_wakeup() <= foreign.now());
  foreign.settle();

  CHECK(foreign.inside.next_wakeup() == never);
  foreign.on.loop.post([] {});
  CHECK(foreign.on.script.is_readable());
  foreign.settle();
}

TEST_CASE("when the foreign loop is gone the executor goes on by itself") {
  scripted_executor on;
  bool received = false;
  auto root = on.loop.start(recv_and_note(received));
  {
    embedded inside{on.loop};
    CHECK_FALSE(inside.run_ready());
  }
  on.script.on_sleep = [&] { on.script.complete(on.script.only(IORING_OP_RECV), 4); };

  while (!root.done()) on.loop.turn(/*may_park=*/true);

  CHECK(received);
  CHECK(on.script.sleeps_count() == 1);
  CHECK(on.script.wakes_count() == 0);
}

TEST_CASE("the eventfd is registered anew before each sleep, from the first request on that may wait for another one") {
  foreign_on_script foreign;
  bool received = false;
  auto root = foreign.on.loop.start(recv_and_note(received));
  for (int i = 0; i < 3; ++i) foreign.settle();
  CHECK(foreign.on.script.renewals_count() == 0);

  auto polls = foreign.on.loop.start([]() -> task<> { co_await ops::poll(some_socket, POLLIN); }());
  for (std::uint64_t armed = 1; armed <= 3; ++armed) {
    foreign.settle();
    CHECK(foreign.on.script.renewals_count() == armed);
  }
  CHECK(foreign.on.script.in_flight(IORING_OP_POLL_ADD).size() == 1);  // and none of the executor's own

  bool slept = false;
  foreign.on.loop.run(sleep_and_note(1s, slept));
  CHECK(slept);
  CHECK(foreign.on.script.renewals_count() == 4);
  CHECK(foreign.on.script.in_flight(IORING_OP_POLL_ADD).size() == 1);
  polls.cancel();
  root.cancel();
  foreign.settle();
  CHECK(polls.done());
  CHECK(root.done());
}

TEST_CASE("what completes when it is parked, and completions do not signal yet, is taken before run_ready() returns") {
  foreign_on_script foreign;
  bool received = false;
  auto root = foreign.on.loop.start(recv_and_note(received));
  auto polls = foreign.on.loop.start([]() -> task<> { co_await ops::poll(some_socket, POLLIN); }());
  foreign.on.script.on_renew = [&] {
    foreign.on.script.on_renew = nullptr;
    foreign.on.script.complete(foreign.on.script.only(IORING_OP_RECV), 4);
    CHECK_FALSE(foreign.on.script.is_readable());
  };

  foreign.settle();

  CHECK(received);
  CHECK(root.done());
  polls.cancel();
  foreign.settle();
  CHECK(polls.done());
}

TEST_CASE("an executor that has slept in its ring gives up its poll there as it is embedded, and polls again after") {
  scripted_executor on;
  bool slept = false;
  auto polls = on.loop.start([]() -> task<> { co_await ops::poll(some_socket, POLLIN); }());
  on.loop.run(sleep_and_note(1s, slept));
  REQUIRE(on.script.in_flight(IORING_OP_POLL_ADD).size() == 2);

  {
    embedded inside{on.loop};
    while (inside.run_ready()) continue;
    CHECK(on.script.in_flight(IORING_OP_POLL_ADD).size() == 1);
    on.loop.post([] {});
    CHECK(on.script.is_readable());
    while (inside.run_ready()) continue;
    CHECK_FALSE(on.script.is_readable());
  }
  on.loop.run(sleep_and_note(1s, slept));

  CHECK(on.script.in_flight(IORING_OP_POLL_ADD).size() == 2);
  polls.cancel();
  on.loop.run_ready();
  CHECK(polls.done());
}

TEST_CASE("an executor that sleeps elsewhere, or is signalled by nobody, is refused with cause and cure") {
  const auto refusal_of = [](const executor_options& options) -> std::string {
    scripted_executor on{{}, options};
    try {
      const embedded inside{on.loop};
    } catch (const std::system_error& refused) {
      CHECK(refused.code() == std::errc::invalid_argument);
      return refused.what();
    }
    return {};
  };

  CHECK(refusal_of({.park = parking::ring_wait}).find("make it with parking::eventfd") != std::string::npos);
  CHECK(refusal_of({.iopoll = iopoll_mode::busy}).find("leave out iopoll") != std::string::npos);
  CHECK(refusal_of({.iopoll = iopoll_mode::hybrid}).find("leave out iopoll") != std::string::npos);
  CHECK(refusal_of({}).empty());
}

// ------------------------------------------------------------------------------------------- the kernel, and epoll

namespace {

// The plainest foreign loop there is.
class foreign_epoll {
 public:
  explicit foreign_epoll(executor& loop) : inside_{loop}, set_{::epoll_create1(EPOLL_CLOEXEC)} {
    watch(inside_.poll_fd());
  }

  void watch(int fd) {
    epoll_event readable{.events = EPOLLIN, .data = {.fd = fd}};
    REQUIRE(::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &readable) == 0);
  }

  // Which of the descriptors ended the sleep; none: it was time.
  std::optional<int> sleep() {
    epoll_event ready{};
    const int count = ::epoll_wait(set_.get(), &ready, 1, inside_.next_wakeup_ms());
    const int fd = ready.data.fd;  // epoll_event is packed: no reference to what is in it
    return count == 1 ? std::optional{fd} : std::nullopt;
  }

  void round() {
    sleep();
    inside_.run_ready();
  }

  template <class T>
  void run_until_done(const root_task<T>& root) {
    while (!root.done()) round();
  }

  embedded& inside() noexcept { return inside_; }

 private:
  embedded inside_;
  unique_fd set_;
};

executor_options awake_never() { return {.spin_before_park = 0us}; }

// The sanitizers make calls of their own, a write(2) to look at memory among them.
bool can_count() {
  constexpr bool can = !GYRE_DETAIL_ADDRESS_SANITIZER && !GYRE_DETAIL_THREAD_SANITIZER;
  if (!can) MESSAGE("skipped: under a sanitizer, whose own system calls would be counted");
  return can;
}

}  // namespace

TEST_CASE("a post to an armed executor of the kernel's is one write(2), and one read takes it") {
  if (!can_count()) return;
  const auto counted = count_calls({SYS_write, SYS_preadv2, SYS_read}, [] {
    executor loop;
    foreign_epoll foreign{loop};
    int run_count = 0;
    while (foreign.inside().run_ready()) continue;
    for (int i = 0; i < 10; ++i) loop.post([&] { ++run_count; });
    CHECK(foreign.sleep() == foreign.inside().poll_fd());
    while (foreign.inside().run_ready()) continue;
    CHECK(run_count == 10);
  });
  if (!counted.were_counted) {
    MESSAGE("skipped: system calls cannot be counted here");
    return;
  }

  CHECK(counted.of(SYS_write) == 1);
  CHECK(counted.of(SYS_preadv2) == 3);  // as it was embedded; with the signal; as the foreign loop was gone
  CHECK(counted.of(SYS_read) == 0);
}

// Everything that the executor could call; the foreign loop's own work is done with other calls.
TEST_CASE("while a foreign loop has work of its own, and gyre has none, gyre makes no system call") {
  if (!can_count()) return;
  constexpr std::size_t rounds_count = 1'000;
  const std::vector<unsigned> calls{io_uring_enter_call, io_uring_register_call, SYS_read,  SYS_preadv2,
                                    SYS_write,           SYS_epoll_pwait2,       SYS_ppoll, SYS_sendto};
  std::size_t rounds_done = 0;
  const auto all_but_its_own = [&](std::size_t rounds) {
    return count_calls(calls, [&, rounds] {
      executor loop;
      foreign_epoll foreign{loop};
      const socket_pair idle;
      const socket_pair busy;
      foreign.watch(busy.here.get());
      auto waits = loop.start([](const socket_pair& pair) -> task<> {
        std::array<std::byte, 16> buffer;
        co_await ops::recv(pair.here, buffer);
      }(idle));
      auto sleeps = loop.start(sleep_until_cancelled());
      while (foreign.inside().run_ready()) continue;

      for (std::size_t i = 0; i < rounds; ++i) {
        std::array<char, 8> taken{};
        CHECK(::sendto(busy.there.get(), "x", 1, 0, nullptr, 0) == 1);
        CHECK(foreign.sleep() == busy.here.get());
        CHECK(::recvfrom(busy.here.get(), taken.data(), taken.size(), 0, nullptr, nullptr) == 1);
        ++rounds_done;
      }

      waits.cancel();
      sleeps.cancel();
      foreign.run_until_done(waits);
      foreign.run_until_done(sleeps);
    });
  };

  auto busy = all_but_its_own(rounds_count);
  const auto done = std::exchange(rounds_done, 0);
  auto idle = all_but_its_own(0);
  if (!busy.were_counted) {
    MESSAGE("skipped: system calls cannot be counted here");
    return;
  }

  CHECK(done == rounds_count);
  CHECK(busy.of(SYS_sendto) == rounds_count);
  busy.by_number.erase(SYS_sendto);
  idle.by_number.erase(SYS_sendto);
  CHECK(busy.by_number == idle.by_number);  // the same as if nothing had happened in between
  CHECK(idle.of(io_uring_enter_call) > 0);
}

TEST_CASE("posts from another thread, and data, each to a foreign loop that has gone to sleep: none is lost") {
  constexpr int rounds_count = 2'000;
  for (const bool with_timer : {false, true}) {
    CAPTURE(with_timer);
    executor loop{awake_never()};
    foreign_epoll foreign{loop};
    const socket_pair pair;
    std::atomic<int> posted = 0;
    std::atomic<int> received = 0;
    std::optional<root_task<void>> timer;
    if (with_timer) timer.emplace(loop, sleep_until_cancelled());
    auto receiver = loop.start([](const socket_pair& from, std::atomic<int>& count) -> task<> {
      std::array<std::byte, 1> buffer;
      for (int i = 0; i < rounds_count; ++i) {
        co_await ops::recv(from.here, buffer);
        count.fetch_add(1);
      }
    }(pair, received));

    std::thread poster{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        loop.post([&] { posted.fetch_add(1); });
        while (posted.load() <= i) std::this_thread::yield();
      }
    }};
    std::thread sender{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        if (::send(pair.there.get(), "x", 1, 0) != 1) return;
        while (received.load() <= i) std::this_thread::yield();
      }
    }};
    while (!receiver.done() || posted.load() < rounds_count) foreign.round();
    poster.join();
    sender.join();

    CHECK(received.load() == rounds_count);
    CHECK(loop.statistics().wakes_written <= rounds_count);
    if (timer) timer->cancel();
    while (timer && !timer->done()) foreign.round();
  }
}

namespace {

struct on_eventfd {
  const char* name;
  task<> (*once)(const unique_fd& events);
};

task<> by_poll(const unique_fd& events) {
  co_await ops::poll(events, POLLIN);
  eventfd_t value = 0;
  CHECK(::eventfd_read(events.get(), &value) == 0);
}

task<> by_poll_of_a_set(const unique_fd& events) {
  const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event wanted{.events = EPOLLIN, .data = {}};
  CHECK(::epoll_ctl(set.get(), EPOLL_CTL_ADD, events.get(), &wanted) == 0);
  co_await ops::poll(set, POLLIN);
  eventfd_t value = 0;
  CHECK(::eventfd_read(events.get(), &value) == 0);
}

task<> by_read(const unique_fd& events) {
  std::array<std::byte, 8> value;
  co_await ops::read(events, value);
}

task<> again_and_again(const on_eventfd& operation, const unique_fd& events, int count, std::binary_semaphore& wanted) {
  for (int i = 0; i < count; ++i) {
    wanted.release();
    co_await operation.once(events);
  }
}

}  // namespace

// Linux would signal the ring's eventfd once, and then never again: each comes late, and none is lost.
TEST_CASE("an eventfd that another thread writes to ends the foreign sleep each time, not only the first") {
  constexpr int events_count = 20;
  for (const auto& operation : {on_eventfd{"poll", &by_poll}, on_eventfd{"poll of an epoll set", &by_poll_of_a_set},
                                on_eventfd{"read", &by_read}}) {
    CAPTURE(operation.name);
    const unique_fd events{::eventfd(0, EFD_CLOEXEC)};
    std::binary_semaphore wanted{0};
    executor loop{awake_never()};
    foreign_epoll foreign{loop};
    std::thread writer{[&] {
      for (int written = 0; written < events_count; ++written) {
        wanted.acquire();
        const std::uint64_t one = 1;
        if (::write(events.get(), &one, sizeof one) != sizeof one) return;
      }
    }};

    auto root = loop.start(again_and_again(operation, events, events_count, wanted));
    foreign.run_until_done(root);

    writer.join();
    root.get();
    CHECK(loop.statistics().cqes >= events_count);
  }
}

TEST_CASE("run() of an embedded executor is woken each time by an eventfd, too: it sleeps in no ring") {
  constexpr int events_count = 10;
  const unique_fd events{::eventfd(0, EFD_CLOEXEC)};
  std::binary_semaphore wanted{0};
  executor loop{awake_never()};
  foreign_epoll foreign{loop};
  while (foreign.inside().run_ready()) continue;
  std::thread writer{[&] {
    for (int written = 0; written < events_count; ++written) {
      wanted.acquire();
      const std::uint64_t one = 1;
      if (::write(events.get(), &one, sizeof one) != sizeof one) return;
    }
  }};

  loop.run(again_and_again({"poll", &by_poll}, events, events_count, wanted));

  writer.join();
  CHECK(foreign.sleep() == foreign.inside().poll_fd());  // it is asked to come back
  while (foreign.inside().run_ready()) continue;
}

TEST_CASE("a timer ends a foreign sleep, and other clocks' timers do") {
  executor loop;
  foreign_epoll foreign{loop};

  auto steady = loop.start([]() -> task<> { co_await sleep_for(5ms); }());
  foreign.run_until_done(steady);
  auto boot = loop.start([]() -> task<> { co_await sleep_until(boot_clock::now() + 5ms); }());
  foreign.run_until_done(boot);
  auto system = loop.start([]() -> task<> { co_await sleep_until(std::chrono::system_clock::now() + 5ms); }());
  foreign.run_until_done(system);

  CHECK_FALSE(steady.stopped());
  CHECK_FALSE(boot.stopped());
  CHECK_FALSE(system.stopped());
}

TEST_CASE("with a submission thread completions end the foreign sleep as well") {
  std::optional<executor> loop;
  try {
    loop.emplace(executor_options{.spin_before_park = 0us, .sqpoll = sqpoll_options{.idle = 1ms}});
  } catch (const std::system_error& refused) {
    MESSAGE("skipped: ", refused.what());
    return;
  }
  foreign_epoll foreign{*loop};
  const socket_pair pair;
  std::atomic<int> received = 0;
  constexpr int rounds_count = 20;
  auto receiver = loop->start([](const socket_pair& from, std::atomic<int>& count) -> task<> {
    std::array<std::byte, 1> buffer;
    for (int i = 0; i < rounds_count; ++i) {
      co_await ops::recv(from.here, buffer);
      count.fetch_add(1);
    }
  }(pair, received));
  std::thread sender{[&] {
    for (int i = 0; i < rounds_count; ++i) {
      if (::send(pair.there.get(), "x", 1, 0) != 1) return;
      while (received.load() <= i) std::this_thread::yield();
    }
  }};

  foreign.run_until_done(receiver);

  sender.join();
  CHECK(received.load() == rounds_count);
}

TEST_CASE("where a filter forbids the call that takes signals, embedding is refused with cause and cure") {
  const std::string said = where_calls_fail(EPERM, {SYS_preadv2}, []() -> std::string {
    executor loop;
    try {
      const embedded inside{loop};
    } catch (const std::system_error& refused) {
      return refused.what();
    }
    return "it was not refused";
  });

  CHECK(said.find("preadv2(2)") != std::string::npos);
  CHECK(said.find("allow it in the filter") != std::string::npos);
}

}  // namespace gyre
