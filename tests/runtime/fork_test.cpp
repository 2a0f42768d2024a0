// SPDX-License-Identifier: MIT
// fork(2): a child that uses its parent's executors is stopped, one that makes its own works, and the parent goes on.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/child.hpp"
#include "../support/gate.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::array both_ways{parking::eventfd, parking::ring_wait};

task<int> some_work() {
  for (int i = 0; i < 10; ++i) co_await ops::nop();
  co_await sleep_for(1ms);
  co_return 7;
}

// How a child ends that does this.
child_end in_a_child(const std::function<int()>& work) {
  return child{[&] {
           const ::rlimit no_core{0, 0};
           ::setrlimit(RLIMIT_CORE, &no_core);
           return work();
         }}
      .wait();
}

void check_refused(const child_end& ended) {
  CHECK(ended.killed_by == SIGABRT);
  CHECK(ended.errors.find("the child of a fork uses an executor of its parent's") != std::string::npos);
}

}  // namespace

TEST_CASE("a child that uses its parent's executor is stopped with a sentence, and the parent goes on") {
  for (const auto park : both_ways) {
    CAPTURE(static_cast<int>(park));
    executor loop{{.park = park}};
    loop.run(some_work());

    check_refused(in_a_child([&] { return loop.run(some_work()); }));
    check_refused(in_a_child([&] { return loop.turn(/*may_park=*/false) ? 1 : 0; }));
    check_refused(in_a_child([&] {
      loop.post([] {});
      return 0;
    }));
    check_refused(in_a_child([&] {
      executor own;
      const auto visit = [&]() -> task<int> { co_return co_await on(loop, some_work()); };
      return own.run(visit());
    }));

    CHECK(loop.run(some_work()) == 7);
  }
}

TEST_CASE("a child that goes on in its parent's coroutine is stopped at its next wait, and spoils nothing") {
  for (const auto park : both_ways) {
    CAPTURE(static_cast<int>(park));
    executor loop{{.park = park}};
    const socket_pair pair;
    pid_t forked = -1;
    const auto fork_between = [&]() -> task<std::size_t> {
      std::array<std::byte, 4> buffer;
      forked = ::fork();
      if (forked == 0) {
        const ::rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        std::signal(SIGABRT, SIG_DFL);
        co_await ops::nop();  // its entry would lie where the parent's recv goes
        ::_exit(0);
      }
      int status = 0;
      ::waitpid(forked, &status, 0);
      CHECK(WIFSIGNALED(status));
      if (WIFSIGNALED(status)) CHECK(WTERMSIG(status) == SIGABRT);
      static_cast<void>(::send(pair.there.get(), "abc", 3, 0));
      co_return co_await ops::recv(pair.here, buffer);
    };

    CHECK(loop.run(fork_between()) == 3);
  }
}

TEST_CASE("a child that makes executors of its own works, wherever it was forked") {
  executor loop;
  runtime all{{.executors = 2, .executor = {.sq_entries = 8, .cq_entries = 64}}};
  const auto own_executor = [] {
    executor own;
    return own.run(some_work());
  };
  const auto own_runtime = [] {
    runtime own{{.executors = 2, .executor = {.sq_entries = 8, .cq_entries = 64}}};
    return own.run([]() -> task<int> { co_return co_await some_work(); });
  };
  std::optional<child_end> in_a_turn;
  const auto fork_here = [&]() -> task<> {
    in_a_turn = in_a_child(own_executor);
    co_return;
  };

  CHECK(in_a_child(own_executor).exit_status == 7);
  CHECK(in_a_child(own_runtime).exit_status == 7);
  loop.run(fork_here());
  CHECK(in_a_turn->exit_status == 7);
}

TEST_CASE("a child may destroy what it inherited, and leaves the parent's operations alone") {
  auto loop = std::make_unique<executor>();
  const socket_pair pair;
  const auto receive = [&]() -> task<std::size_t> {
    std::array<std::byte, 4> buffer;
    co_return co_await ops::recv(pair.here, buffer);
  };
  auto idle = std::make_unique<executor>();
  auto root = loop->start(receive());
  loop->run_ready();

  const auto ended = in_a_child([&] {
    idle.reset();
    return 5;
  });
  static_cast<void>(::send(pair.there.get(), "abc", 3, 0));
  turn_until_done(*loop, root);

  CHECK(ended.exit_status == 5);
  CHECK(ended.errors.empty());
  CHECK(root.get() == 3);
  CHECK(idle->run(some_work()) == 7);
}

TEST_CASE("a child may destroy a runtime that it inherited, whatever its executors did, and the parent's goes on") {
  std::optional<runtime> all{std::in_place,
                             runtime_options{.executors = 3, .executor = {.sq_entries = 8, .cq_entries = 64}}};
  const auto destroy_it = [&] {
    all.reset();
    return 5;
  };
  gate in_a_turn;

  const auto before_its_run = in_a_child(destroy_it);
  REQUIRE(all->run([]() -> task<int> { co_return co_await some_work(); }) == 7);
  const auto after_its_run = in_a_child(destroy_it);
  (*all)[1].post([&] { in_a_turn.pass(); });
  in_a_turn.wait_for_arrivals(1);
  const auto while_one_is_busy = in_a_child(destroy_it);
  in_a_turn.open();

  for (const auto& ended : {before_its_run, after_its_run, while_one_is_busy}) {
    CHECK(ended.exit_status == 5);
    CHECK(ended.errors == "");
  }
  CHECK(all->run([]() -> task<int> { co_return co_await some_work(); }) == 7);
}

TEST_CASE("a child whose runtime was made by its parent has the CPUs again that the thread had before") {
  const auto allowed = allowed_cpus();
  std::optional<runtime> all{std::in_place, runtime_options{.executors = 2, .pin = pinning::always}};

  const auto ended = in_a_child([&] {
    all.reset();
    return allowed_cpus() == allowed ? 5 : 6;
  });

  CHECK(ended.exit_status == 5);
}

}  // namespace gyre
