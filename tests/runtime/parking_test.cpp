// SPDX-License-Identifier: MIT
// Parking: every order of a wake and a step of the protocol, and threads that post without mercy.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/epoll.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/file_flags.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/asleep.hpp"
#include "../support/gate.hpp"
#include "../support/kernel_has.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <semaphore>
#include <span>
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
constexpr std::array both_ways{parking::eventfd, parking::ring_wait};

std::string name_of(parking park) { return park == parking::eventfd ? "eventfd" : "ring_wait"; }

task<> recv_and_note(bool& received) {
  std::vector<std::byte> buffer(4);
  co_await ops::recv(some_socket, buffer);
  received = true;
}

task<> wait_for(const bool& happened) {
  while (!happened) co_await sleep_for(1h);
}

task<> submit_something() { co_await ops::nop(); }

// The moments of a park between which something can happen.
enum class moment { clock_read, before_enter, after_enter, notifications_on, asleep, notifications_off };
constexpr std::array moments{moment::clock_read,       moment::before_enter, moment::after_enter,
                             moment::notifications_on, moment::asleep,       moment::notifications_off};

// Has `cause` called once, when the executor is at that moment of a park.
void at(moment when, scripted_ring& script, std::function<void()> cause) {
  auto once = [&script, cause = std::move(cause)] {
    script.on_now = script.on_enter = script.after_enter = script.on_sleep = nullptr;
    script.on_notify = nullptr;
    cause();
  };
  switch (when) {
    case moment::clock_read:
      script.on_now = once;
      return;
    case moment::before_enter:
      script.on_enter = once;
      return;
    case moment::after_enter:
      script.on_sleep = [&script] { script.wake(); };
      script.after_enter = once;
      return;
    case moment::notifications_on:
      script.on_notify = [once](bool on) {
        if (on) once();
      };
      return;
    case moment::asleep:
      script.on_sleep = once;
      return;
    case moment::notifications_off:
      script.on_sleep = [&script] { script.wake(); };
      script.on_notify = [once](bool on) {
        if (!on) once();
      };
      return;
  }
}

// Moments that a park comes by, when nothing else happens.
bool comes_by(moment when, parking park) {
  const bool notifies = when == moment::notifications_on || when == moment::notifications_off;
  return !(notifies && park == parking::ring_wait);
}

}  // namespace

TEST_CASE("a post at any moment of a park is run, and the executor does not sleep over it") {
  for (const auto park : both_ways) {
    for (const auto when : moments) {
      if (!comes_by(when, park)) continue;
      CAPTURE(name_of(park));
      CAPTURE(static_cast<int>(when));
      scripted_executor on{{}, {.park = park}};
      bool posted = false;
      auto timer = on.loop.start(wait_for(posted));
      on.loop.run_ready();
      auto submitted_by_park = on.loop.start(submit_something());
      at(when, on.script, [&] {
        on.loop.post([&] { posted = true; });
        on.script.on_sleep = [&] {
          CHECK(posted);  // it may sleep again, but only when it has run what was posted
          on.script.wake();
        };
      });

      while (!posted) on.loop.turn(/*may_park=*/true);

      timer.cancel();
      submitted_by_park.cancel();
      on.loop.run_ready();
      CHECK(timer.done());
    }
  }
}

TEST_CASE("a completion at any moment of a park is taken, and the executor does not sleep over it") {
  for (const auto park : both_ways) {
    for (const auto when : moments) {
      for (const bool needs_enter : {true, false}) {
        if (!comes_by(when, park)) continue;
        CAPTURE(name_of(park));
        CAPTURE(static_cast<int>(when));
        CAPTURE(needs_enter);
        scripted_executor on{{}, {.park = park}};
        bool received = false;
        auto root = on.loop.start(recv_and_note(received));
        on.loop.run_ready();
        auto timer = on.loop.start(wait_for(received));
        on.loop.turn(/*may_park=*/false);
        auto submitted_by_park = on.loop.start(submit_something());
        at(when, on.script, [&] {
          const auto waiting = on.script.only(IORING_OP_RECV);
          if (needs_enter) on.script.complete_on_enter(waiting, 4);
          else on.script.complete(waiting, 4);
        });

        while (!received) on.loop.turn(/*may_park=*/true);

        CHECK(root.done());
        timer.cancel();
        submitted_by_park.cancel();
        on.loop.run_ready();
        CHECK(timer.done());
      }
    }
  }
}

TEST_CASE("an executor that is awake is not written to, however much is posted") {
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    scripted_executor on{{}, {.park = park}};
    int run_count = 0;

    for (int i = 0; i < 100; ++i) on.loop.post([&] { ++run_count; });
    on.loop.run_ready();

    CHECK(run_count == 100);
    CHECK(on.script.wakes_count() == 0);
    CHECK(on.loop.statistics().wakes_written == 0);
    CHECK(on.loop.statistics().wakes_suppressed == 100);
  }
}

TEST_CASE("of many posts to a sleeping executor one writes, and the others see that it is awake") {
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    scripted_executor on{{}, {.park = park}};
    int run_count = 0;
    on.script.on_sleep = [&] {
      for (int i = 0; i < 100; ++i) on.loop.post([&] { ++run_count; });
    };

    on.loop.turn(/*may_park=*/true);
    on.loop.run_ready();

    CHECK(run_count == 100);
    CHECK(on.script.wakes_count() == 1);
    CHECK(on.loop.statistics().wakes_suppressed == 99);
    CHECK(on.loop.statistics().parks == 1);
  }
}

TEST_CASE("posts run in the order in which they were made") {
  scripted_executor on;
  std::vector<int> order;

  for (int i = 0; i < 10; ++i) on.loop.post([&order, i] { order.push_back(i); });
  on.loop.run_ready();

  CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("the executor's poll of its own descriptor is made again when the kernel ended it") {
  scripted_executor on{{}, {.park = parking::ring_wait}};
  int wakes = 0;
  on.script.on_sleep = [&] { on.loop.post([&] { ++wakes; }); };
  on.loop.turn(/*may_park=*/true);
  on.loop.run_ready();

  // As after an overflow: the last completion has no F_MORE.
  on.script.complete(on.script.only(IORING_OP_POLL_ADD), POLLIN, 0);
  on.loop.run_ready();
  on.loop.turn(/*may_park=*/true);
  on.loop.run_ready();

  CHECK(wakes == 2);
  CHECK(on.script.taken_count(IORING_OP_POLL_ADD) == 2);
}

TEST_CASE("a root task that ends makes turn() return instead of parking") {
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    scripted_executor on{{}, {.park = park}};
    auto root = on.loop.start([]() -> task<> { co_return; }());

    on.loop.turn(/*may_park=*/true);

    CHECK(root.done());
    CHECK(on.script.sleeps_count() == 0);
  }
}

TEST_CASE("however late epoll lets a long sleep come, it is over in time, after three of them at the most") {
  constexpr detail::clock_ns latest = std::chrono::nanoseconds{100ms}.count();
  for (const detail::clock_ns divisor : {1000, 200}) {  // of a thread as it is, and of one that is nice
    for (const std::chrono::nanoseconds longest : {49ms, 51ms, 1000ms, 10'000ms, 100'000ms, 3'600'000ms}) {
      CAPTURE(divisor);
      CAPTURE(longest.count());
      detail::clock_ns left = longest.count();
      int sleeps_count = 0;
      while (left > 50'000'000) {
        const detail::clock_ns asked = detail::epoll_sleep_within(left);
        CHECK(asked > 0);
        left -= asked + std::min(asked / divisor, latest);
        CHECK(left >= 0);
        ++sleeps_count;
      }
      CHECK(detail::epoll_sleep_within(left) == left);
      CHECK(sleeps_count <= 2);
    }
  }
}

// --------------------------------------------------------------------------------------------------- real threads

namespace {

task<> sleep_until_cancelled() { co_await sleep_for(24h); }

task<> receive_until_cancelled(fd_ref socket) {
  std::array<std::byte, 1> buffer;
  co_await ops::recv(socket, buffer);
}

// Counts what runs on the executor, and ends the wait when it was all.
struct countdown {
  root_task<void>& waiting;
  int left;

  void one_less() {
    if (--left == 0) waiting.cancel();
  }
};

struct counting final : detail::runnable {
  explicit counting(countdown& its_total) noexcept : runnable{kind_of_counting}, total{&its_total} {}
  static void run(runnable& self) noexcept { static_cast<counting&>(self).total->one_less(); }
  static constexpr detail::runnable_kind kind_of_counting{&counting::run};
  countdown* total;
};

// Linux signals a ring's registered eventfd only once for completions that a write to another eventfd causes. Here are
// the operations that may wait for one. An error is noted and not thrown: it would meet a thread that nobody has
// joined, and end the program without its text.
struct on_eventfd {
  const char* name;
  task<std::error_code> (*once)(const unique_fd& events);
  int needed_opcode = IORING_OP_NOP;
};

void take_what_is_there(const unique_fd& events) {
  eventfd_t value = 0;
  CHECK(::eventfd_read(events.get(), &value) == 0);
}

task<std::error_code> by_poll(const unique_fd& events) {
  const auto polled = co_await as_result(ops::poll(events, POLLIN));
  if (polled) take_what_is_there(events);
  co_return polled.error();
}
task<std::error_code> by_epoll_wait(const unique_fd& events) {
  const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event wanted{.events = EPOLLIN, .data = {}};
  CHECK(::epoll_ctl(set.get(), EPOLL_CTL_ADD, events.get(), &wanted) == 0);
  const auto waited = co_await as_result(ops::epoll_wait(set, std::span{&wanted, 1}));
  if (waited) take_what_is_there(events);
  co_return waited.error();
}
task<std::error_code> by_read(const unique_fd& events) {
  std::array<std::byte, 8> value;
  const auto read = co_await as_result(ops::read(events, value));
  co_return read.error();
}
task<std::error_code> by_read2(const unique_fd& events) {
  std::array<std::byte, 8> value;
  const auto read = co_await as_result(ops::read2(events, value, ops::current_position, 0));
  co_return read.error();
}
task<std::error_code> by_readv2(const unique_fd& events) {
  std::array<std::byte, 8> value;
  const std::array parts{::iovec{value.data(), value.size()}};
  const auto read = co_await as_result(ops::readv2(events, parts, ops::current_position, 0));
  co_return read.error();
}
constexpr std::array that_wait_for_a_write{
    on_eventfd{"poll", &by_poll},     on_eventfd{"epoll_wait", &by_epoll_wait, op_epoll_wait},
    on_eventfd{"read", &by_read},     on_eventfd{"read2", &by_read2},
    on_eventfd{"readv2", &by_readv2},
};

// The same for completions that a read causes: of a full eventfd, which is filled again each time.
constexpr std::uint64_t all_it_holds = UINT64_MAX - 1;
const std::span<const std::byte> all_of_it = std::as_bytes(std::span{&all_it_holds, 1});
const std::array all_in_parts{::iovec{const_cast<std::uint64_t*>(&all_it_holds), sizeof all_it_holds}};

task<std::error_code> by_write(const unique_fd& events) {
  const auto written = co_await as_result(ops::write(events, all_of_it));
  co_return written.error();
}
task<std::error_code> by_write2(const unique_fd& events) {
  const auto written = co_await as_result(ops::write2(events, all_of_it, ops::current_position, 0));
  co_return written.error();
}
task<std::error_code> by_writev(const unique_fd& events) {
  const auto written = co_await as_result(ops::writev(events, all_in_parts));
  co_return written.error();
}
task<std::error_code> by_writev2(const unique_fd& events) {
  const auto written = co_await as_result(ops::writev2(events, all_in_parts, ops::current_position, 0));
  co_return written.error();
}
constexpr std::array that_wait_for_a_read{
    on_eventfd{"write", &by_write},
    on_eventfd{"write2", &by_write2},
    on_eventfd{"writev", &by_writev},
    on_eventfd{"writev2", &by_writev2},
};

task<> again_and_again(const on_eventfd& operation, const unique_fd& events, int count, std::binary_semaphore& wanted) {
  for (int i = 0; i < count; ++i) {
    wanted.release();
    const auto error = co_await operation.once(events);
    CHECK(error == std::error_code{});
  }
}

TEST_CASE("an eventfd that another thread writes to wakes the executor each time, not only the first") {
  constexpr int events_count = 200;
  for (const parking park : both_ways) {
    for (const auto& operation : that_wait_for_a_write) {
      if (!kernel_has(operation.needed_opcode, operation.name, without_it::goes_on)) continue;
      CAPTURE(name_of(park));
      CAPTURE(operation.name);
      const unique_fd events{::eventfd(0, EFD_CLOEXEC)};
      std::binary_semaphore wanted{0};
      executor loop{{.park = park, .spin_before_park = 0us}};  // else it is awake when the write comes
      std::thread writer{[&] {
        for (int written = 0; written < events_count; ++written) {
          wanted.acquire();
          const std::uint64_t one = 1;
          const auto written_bytes = ::write(events.get(), &one, sizeof one);
          GYRE_ASSERT(written_bytes == sizeof one, "a write to an eventfd that is far from full succeeds");
        }
      }};

      loop.run(again_and_again(operation, events, events_count, wanted));

      writer.join();
      CHECK(loop.statistics().cqes >= events_count);
    }
  }
}

}  // namespace

TEST_CASE("a full eventfd that another thread reads wakes who waits to write to it each time, not only the first") {
  constexpr int reads_count = 200;
  for (const parking park : both_ways) {
    for (const auto& operation : that_wait_for_a_read) {
      CAPTURE(name_of(park));
      CAPTURE(operation.name);
      const unique_fd events{::eventfd(0, EFD_CLOEXEC)};
      REQUIRE(::write(events.get(), &all_it_holds, sizeof all_it_holds) == sizeof all_it_holds);
      std::binary_semaphore wanted{0};
      executor loop{{.park = park, .spin_before_park = 0us}};  // as above
      std::thread reader{[&] {
        for (int i = 0; i < reads_count; ++i) {
          wanted.acquire();
          std::uint64_t value = 0;
          const auto read_bytes = ::read(events.get(), &value, sizeof value);
          GYRE_ASSERT(read_bytes == sizeof value, "a read of an eventfd that is full succeeds");
        }
      }};

      loop.run(again_and_again(operation, events, reads_count, wanted));

      reader.join();
      CHECK(loop.statistics().cqes >= reads_count);
    }
  }
}

namespace {

// Posts until the executor has slept once more than it had. Returns how many posts that took, which is two as a rule.
int post_until_it_has_slept(executor& loop) {
  std::optional<std::uint64_t> first;
  for (int count = 1;; ++count) {
    std::promise<std::uint64_t> told;
    auto asked = told.get_future();
    loop.post([&loop, &told] { told.set_value(loop.statistics().parks); });
    const std::uint64_t parks = asked.get();
    if (!first) first = parks;
    else if (parks > *first) return count;
  }
}

}  // namespace

TEST_CASE("of 100,000 posts from four threads to an executor that parks between them none is lost") {
  constexpr int threads_count = 4;
  constexpr int posts_count = 25'000;
  constexpr int sleeps_count = 25;
  for (const auto& [park, timed] : {std::pair{parking::eventfd, false}, std::pair{parking::eventfd, true},
                                    std::pair{parking::ring_wait, false}, std::pair{parking::ring_wait, true}}) {
    CAPTURE(name_of(park));
    CAPTURE(timed);
    const socket_pair pair;
    executor loop{{.park = park}};
    auto root = loop.start(timed ? sleep_until_cancelled() : receive_until_cancelled(pair.here));
    countdown total{root, threads_count * posts_count};
    std::vector<std::unique_ptr<counting>> works;
    for (int i = 0; i < total.left; ++i) works.push_back(std::make_unique<counting>(total));

    std::uint64_t posts_between_count = 0;
    std::barrier all_have_posted_a_part{
        threads_count, [&]() noexcept { posts_between_count += static_cast<unsigned>(post_until_it_has_slept(loop)); }};
    std::vector<std::thread> threads;
    for (int t = 0; t < threads_count; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < posts_count; ++i) {
          if (i % (posts_count / sleeps_count) == 0) all_have_posted_a_part.arrive_and_wait();
          loop.post(*works[static_cast<std::size_t>(t * posts_count + i)]);
          if (i % 16 == 0) std::this_thread::yield();  // so that it finds time to park
        }
      });
    }
    turn_until_done(loop, root);
    for (auto& each : threads) each.join();

    const auto counted = loop.statistics();
    CHECK(total.left == 0);
    CHECK(counted.parks >= sleeps_count);
    CHECK(counted.wakes_written > 0);
    CHECK(counted.wakes_written + counted.wakes_suppressed == threads_count * posts_count + posts_between_count);
    CHECK(counted.wakes_written <= counted.turns);
  }
}

TEST_CASE("of posts from four threads to one that sleeps in the kernel a single one writes, each time") {
  if (!proc_tells_of_sleeps()) {
    MESSAGE("skipped: /proc does not tell who sleeps");
    return;
  }
  constexpr int rounds_count = 100;
  constexpr int threads_count = 4;
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    const socket_pair pair;
    executor loop{{.park = park}};
    auto root = loop.start(receive_until_cancelled(pair.here));
    std::array<gate, rounds_count> gates;
    std::thread elsewhere{[&, sleeper = ::gettid()] {
      for (gate& held : gates) {
        wait_until_it_sleeps_in(sleeper, park == parking::eventfd ? SYS_read : SYS_io_uring_enter);
        std::vector<std::thread> posters;
        for (int each = 0; each < threads_count; ++each)
          posters.emplace_back([&] { loop.post([&] { held.pass(); }); });  // who is first keeps it awake
        for (auto& each : posters) each.join();
        held.open();
        held.wait_for_arrivals(threads_count);
      }
      loop.post([&] { root.cancel(); });
    }};

    turn_until_done(loop, root);
    elsewhere.join();

    const auto counted = loop.statistics();
    CHECK(counted.wakes_written >= rounds_count);
    CHECK(counted.wakes_written <= rounds_count + 1);  // the last post finds it asleep, or not yet
    CHECK(counted.wakes_written + counted.wakes_suppressed == threads_count * rounds_count + 1);
  }
}

TEST_CASE(
    "an executor can be destroyed as soon as what was posted has run: its destructor waits for the end of post()") {
  constexpr int rounds_count = 300;
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    std::atomic<executor*> there = nullptr;
    std::thread poster{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        while (there.load() == nullptr) std::this_thread::yield();
        there.exchange(nullptr)->post([] { executor::current().root_scope().cancel("it was posted"); });
      }
    }};

    for (int i = 0; i < rounds_count; ++i) {
      executor loop{{.sq_entries = 8, .cq_entries = 16, .park = park}};
      auto root = loop.start(sleep_until_cancelled());
      there = &loop;
      turn_until_done(loop, root);
    }

    poster.join();
    CHECK(there.load() == nullptr);
  }
}

TEST_CASE("what is posted while an executor is destroyed runs before it is gone") {
  int run_count = 0;

  {
    scripted_executor on;
    on.loop.post([&] {
      ++run_count;
      on.loop.post([&] { ++run_count; });
    });
  }

  CHECK(run_count == 2);
}

// A sleep that a timer ends is another call than one that lasts for ever, and they follow one another in any order.
TEST_CASE("one post at a time, each to an executor that has gone to sleep, with and without a timer: none is lost") {
  constexpr int rounds_count = 2'000;
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    executor loop{{.park = park}};
    const socket_pair pair;
    auto root = loop.start(receive_until_cancelled(pair.here));
    std::optional<root_task<void>> timed;
    countdown total{root, rounds_count};
    std::atomic<int> done = 0;

    std::thread poster{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        loop.post([&, i] {
          if (i % 3 == 0) timed.emplace(loop, sleep_until_cancelled());
          if (i % 3 == 2 || i == rounds_count - 1) timed->cancel();
          done.fetch_add(1);
          total.one_less();
        });
        while (done.load() <= i) std::this_thread::yield();
      }
    }};
    turn_until_done(loop, root);
    poster.join();

    CHECK(total.left == 0);
  }
}

TEST_CASE("data and posts that come from two threads at once both wake the executor") {
  constexpr int rounds_count = 2'000;
  for (const auto park : both_ways) {
    CAPTURE(name_of(park));
    executor loop{{.park = park}};
    const socket_pair pair;
    auto root = loop.start(sleep_until_cancelled());
    countdown total{root, 2 * rounds_count};
    std::atomic<int> received = 0;
    std::atomic<int> posted = 0;

    std::thread sender{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        if (::send(pair.there.get(), "x", 1, 0) != 1) return;
        while (received.load() <= i) std::this_thread::yield();
      }
    }};
    std::thread poster{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        loop.post([&] {
          ++posted;
          total.one_less();
        });
        while (posted.load() <= i) std::this_thread::yield();
      }
    }};
    const auto receive = [&]() -> task<> {
      std::array<std::byte, 1> buffer;
      for (int i = 0; i < rounds_count; ++i) {
        co_await ops::recv(pair.here, buffer);
        ++received;
        total.one_less();
      }
    };
    auto receiver = loop.start(receive());
    while (!root.done() || !receiver.done()) loop.turn(/*may_park=*/true);
    sender.join();
    poster.join();

    CHECK(received.load() == rounds_count);
  }
}

}  // namespace gyre
