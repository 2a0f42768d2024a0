// SPDX-License-Identifier: MIT
// The ring says that the kernel has work to run, and it has none: as a thread leaves it that adds work, is slow, and
// says so when the work has run. Nobody turns for ever over that, and work that is there is run all the same.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::array both_ways{parking::eventfd, parking::ring_wait};

class ring_that_says_late : public detail::kernel_ring {
 public:
  using kernel_ring::kernel_ring;
  void say_late() noexcept { std::atomic_ref{*sq_flags_}.fetch_or(sq_task_work); }
};

struct late_executor {
  explicit late_executor(parking park) : late_executor{park, std::make_unique<ring_that_says_late>(request())} {}

  ring_that_says_late& ring;
  executor loop;

 private:
  static detail::ring_request request() { return {.sq_entries = 256, .cq_entries = 1'024}; }
  late_executor(parking park, std::unique_ptr<ring_that_says_late> its_ring)
      : ring{*its_ring}, loop{std::move(its_ring), executor_options{.park = park}} {}
};

task<> sleep_a_while(std::chrono::milliseconds duration) { co_await sleep_for(duration); }

task<> receive_byte(const unique_fd& from, int& received_count) {
  std::array<std::byte, 1> byte;
  if (co_await as_result(ops::recv(from, byte))) ++received_count;
}

task<> receive_from_all(const std::vector<socket_pair>& pairs, int& received_count) {
  co_await with_task_group([&](task_group& group) -> task<> {
    for (const socket_pair& each : pairs) group.start(receive_byte(each.here, received_count));
    co_return;
  });
}

// Both ends of many connections, and who receives from each: more than are cancelled, and than have their work run, at
// a time.
struct late_receivers {
  explicit late_receivers(parking park) : on{park}, root{on.loop.start(receive_from_all(pairs, received_count))} {
    on.loop.run_ready();
  }

  static constexpr std::size_t receivers_count = 100;
  const std::vector<socket_pair> pairs{receivers_count};
  int received_count = 0;
  late_executor on;
  root_task<void> root;
};

}  // namespace

TEST_CASE("an executor to which its ring says too late that there was work can be destroyed") {
  for (const parking park : both_ways) {
    CAPTURE(park == parking::eventfd);
    late_executor on{park};
    auto root = on.loop.start(sleep_a_while(1ms));
    turn_until_done(on.loop, root);

    on.ring.say_late();
    on.loop.run_ready();

    CHECK(!on.ring.has_task_work());
    on.ring.say_late();
  }
}

TEST_CASE("an executor to which its ring says too late that there was work sleeps all the same") {
  for (const parking park : both_ways) {
    CAPTURE(park == parking::eventfd);
    late_executor on{park};
    auto root = on.loop.start(sleep_a_while(20ms));
    on.loop.turn(/*may_park=*/false);
    on.ring.say_late();
    const executor_statistics before = on.loop.statistics();

    turn_until_done(on.loop, root);

    const executor_statistics after = on.loop.statistics();
    CHECK(after.parks > before.parks);
    CHECK(after.turns - before.turns < 10);
    CHECK(!on.ring.has_task_work());
  }
}

TEST_CASE("cancels go out when the ring says too late that there was work, and none is lost") {
  for (const parking park : both_ways) {
    CAPTURE(park == parking::eventfd);
    late_receivers subject{park};

    subject.on.ring.say_late();
    subject.root.cancel();
    turn_until_done(subject.on.loop, subject.root);

    CHECK(subject.on.loop.statistics().cancels == late_receivers::receivers_count);
    CHECK(subject.received_count == 0);
  }
}

TEST_CASE("work of the kernel that is there is run, whether the ring says so before or after") {
  for (const parking park : both_ways) {
    CAPTURE(park == parking::eventfd);
    late_receivers subject{park};
    subject.on.ring.say_late();
    subject.on.loop.turn(/*may_park=*/false);

    for (const socket_pair& each : subject.pairs) REQUIRE(::send(each.there.get(), "x", 1, 0) == 1);
    while (!subject.root.done()) {
      subject.on.ring.say_late();
      subject.on.loop.turn(/*may_park=*/true);
    }

    CHECK(subject.received_count == late_receivers::receivers_count);
  }
}

TEST_CASE("a cancel of all that is on a descriptor comes back when the ring says too late that there was work") {
  late_receivers subject{parking::eventfd};

  subject.on.ring.say_late();
  CHECK(subject.on.loop.cancel_sync(subject.pairs.front().here, 1s).value() == 1);

  subject.root.cancel();
  turn_until_done(subject.on.loop, subject.root);
  CHECK(subject.received_count == 0);
}

TEST_CASE("operations whose linked timeouts may still fire end when the ring says too late that there was work") {
  late_executor on{parking::eventfd};
  const socket_pair pair;
  bool timed_out = false;
  auto root = on.loop.start([](const socket_pair& on_pair, bool& was_timed_out) -> task<> {
    std::array<std::byte, 1> byte;
    for (int i = 0; i < 20; ++i) was_timed_out = !co_await as_result(with_timeout(1ms, ops::recv(on_pair.here, byte)));
  }(pair, timed_out));

  while (!root.done()) {
    on.ring.say_late();
    on.loop.turn(/*may_park=*/true);
  }

  CHECK(timed_out);
}

}  // namespace gyre
