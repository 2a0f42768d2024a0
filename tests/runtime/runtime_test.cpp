// SPDX-License-Identifier: MIT
// Several executors: who runs where, how all end when one fails or a signal comes, and which CPUs they take.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/captured_log.hpp"
#include "../support/child.hpp"
#include "../support/forbidden.hpp"
#include "../support/outcome.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr char began = 'b';
constexpr char stopping = 's';

// Small rings: a test makes many.
runtime_options several(unsigned count) {
  return {.executors = count, .executor = {.sq_entries = 8, .cq_entries = 64}};
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string name_of_this_thread() {
  std::array<char, 16> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  return name.data();
}

// Keeps the thread on these CPUs, and gives it back those that it had.
class restricted_to {
 public:
  explicit restricted_to(const std::vector<unsigned>& cpus) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t some{};
    for (const unsigned each : cpus) CPU_SET(each, &some);
    REQUIRE(::sched_setaffinity(0, sizeof some, &some) == 0);
  }
  restricted_to(const restricted_to&) = delete;
  restricted_to& operator=(const restricted_to&) = delete;
  ~restricted_to() { ::sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

struct says_when_destroyed {
  ~says_when_destroyed() { say(stopping); }
};

task<> wait_for_a_stop() {
  const says_when_destroyed watch;
  say(began);
  co_await sleep_for(24h);
}

task<> be_stubborn() {
  say(began);
  co_await shield(sleep_for(24h));
}

}  // namespace

TEST_CASE("a root task runs on each executor, each on a thread of its own with a name") {
  runtime all{several(3)};
  std::mutex guard;
  std::set<std::size_t> indexes;
  std::set<std::thread::id> threads;
  std::set<std::string> names;

  const int status = all.run([&](std::size_t index) -> task<> {
    co_await ops::nop();
    const std::lock_guard lock{guard};
    CHECK(&executor::current() == &all[index]);
    indexes.insert(index);
    threads.insert(std::this_thread::get_id());
    if (index > 0) names.insert(name_of_this_thread());
  });

  CHECK(status == EXIT_SUCCESS);
  CHECK(all.size() == 3);
  CHECK(indexes == std::set<std::size_t>{0, 1, 2});
  CHECK(threads.size() == 3);
  CHECK(threads.contains(std::this_thread::get_id()));
  CHECK(names == std::set<std::string>{"gyre/1", "gyre/2"});
}

TEST_CASE("a long thread name is cut, and the index stays") {
  auto options = several(2);
  options.thread_name = "a server with a long name";
  runtime all{options};
  std::string name;

  all.run([&](std::size_t index) -> task<> {
    if (index == 1) name = name_of_this_thread();
    co_return;
  });

  CHECK(name == "a server with/1");
}

TEST_CASE("run() gives the first status by index that is no success, and can be called again") {
  runtime all{several(3)};

  CHECK(all.run([](std::size_t index) -> task<int> { co_return static_cast<int>(index) * 10; }) == 10);
  CHECK(all.run([]() -> task<int> { co_return 0; }) == 0);
  CHECK(all.run([]() -> task<> { co_return; }) == EXIT_SUCCESS);
}

TEST_CASE("a runtime that is never run, and one of a single executor") {
  {
    const runtime unused{several(3)};
  }
  runtime alone{several(1)};

  CHECK(alone.run([](std::size_t index) -> task<int> { co_return index == 0 ? 4 : 5; }) == 4);
}

TEST_CASE("the first root task to fail has the others stopped, and its exception leaves run()") {
  runtime all{several(3)};
  for (const std::size_t failing : {0u, 1u, 2u}) {
    CAPTURE(failing);
    std::atomic<int> stopped_count = 0;
    struct counts_when_destroyed {
      ~counts_when_destroyed() { ++count; }
      std::atomic<int>& count;
    };
    const auto fail_or_wait = [&](std::size_t index) -> task<> {
      if (index == failing) throw std::out_of_range{"the one that fails"};
      const counts_when_destroyed watch{stopped_count};
      co_await sleep_for(24h);
    };

    CHECK_THROWS_WITH_AS(all.run(fail_or_wait), "the one that fails", std::out_of_range);

    CHECK(stopped_count == 2);
  }
  CHECK(all.run([]() -> task<> { co_return; }) == EXIT_SUCCESS);
}

TEST_CASE("a failure of the function that makes the root tasks is that of the task") {
  runtime all{several(2)};
  for (const std::size_t failing : {0u, 1u}) {
    CAPTURE(failing);
    const auto make = [&](std::size_t index) -> task<> {
      if (index == failing) throw std::out_of_range{"no task"};
      return []() -> task<> { co_await sleep_for(24h); }();
    };

    CHECK_THROWS_AS(all.run(make), std::out_of_range);
  }
}

TEST_CASE("when two fail one exception is thrown, and the other is logged") {
  const captured_log log;
  runtime all{several(2)};
  std::atomic<int> failed_count = 0;
  const auto fail = [&]() -> task<> {
    ++failed_count;
    while (failed_count < 2) std::this_thread::yield();
    throw std::out_of_range{"failed"};
    co_return;
  };

  CHECK_THROWS_AS(all.run(fail), std::out_of_range);

  CHECK(has(log.text(), "the root task of another executor has failed as well"));
}

TEST_CASE("the executors of a runtime visit one another, all at once") {
  runtime all{several(3)};
  std::atomic<int> visits_count = 0;
  const auto note = [&](const executor& expected) -> task<> {
    if (&executor::current() == &expected) ++visits_count;
    co_return;
  };
  const auto visit_all = [&]() -> task<> {
    for (int i = 0; i < 100; ++i)
      for (std::size_t index = 0; index < all.size(); ++index) co_await on(all[index], note(all[index]));
  };

  all.run(visit_all);

  CHECK(visits_count == 900);
}

TEST_CASE("a stop reaches who is on a visit, and the executor over there goes on until he is home") {
  runtime all{several(2)};
  std::atomic<bool> is_there = false;
  outcome noted;
  const auto over_there = [&]() -> task<> {
    is_there = true;
    co_await sleep_for(24h);
  };
  const auto visit = [&](std::size_t index) -> task<> {
    if (index == 0) co_await observe(on(all[1], over_there()), noted);
    while (!is_there) co_await sleep_for(1ms);
    throw std::out_of_range{"the end"};
  };

  CHECK_THROWS_AS(all.run(visit), std::out_of_range);

  CHECK(noted.how == ended::stopped);
}

TEST_CASE("before it is run, its other executors take visits already") {
  runtime all{several(2)};
  executor loop;
  const auto visit = [&]() -> task<executor*> {
    const auto tell = []() -> task<executor*> { co_return &executor::current(); };
    co_return co_await on(all[1], tell());
  };

  CHECK(loop.run(visit()) == &all[1]);
}

namespace {

task<> stay(std::atomic<bool>& is_there) {
  is_there = true;
  co_await sleep_for(24h);
}

// Has an executor of another thread await a visit to a runtime's.
std::thread visit_from_elsewhere(executor& there, task<> body, outcome& noted) {
  return std::thread{[&there, body = std::move(body), &noted]() mutable {
    executor loop;
    loop.run(observe(on(there, std::move(body)), noted));
  }};
}

}  // namespace

TEST_CASE("a runtime that is destroyed stops who visits it from elsewhere, wherever he has gone on to") {
  for (const std::size_t last : {0, 1, 2}) {
    CAPTURE(last);
    outcome noted;
    std::atomic<bool> is_on_the_way = false;
    std::atomic<bool> is_there = false;
    std::optional<runtime> all{several(3)};
    executor& last_one = (*all)[last];
    const auto go_on = [&]() -> task<> {
      is_on_the_way = true;
      co_await on(last_one, stay(is_there));
    };
    std::thread elsewhere = visit_from_elsewhere((*all)[1], go_on(), noted);
    const std::atomic<bool>& waited_for = last == 0 ? is_on_the_way : is_there;  // 0 is turned in run() only
    while (!waited_for) std::this_thread::yield();

    all.reset();
    elsewhere.join();

    CHECK(noted.error == std::errc::operation_canceled);
  }
}

TEST_CASE("a runtime is destroyed when nobody visits any of it: who is busy meanwhile can go on to each executor") {
  struct says_when_gone {
    ~says_when_gone() { said = true; }
    std::atomic<bool>& said;
  };
  for (int i = 0; i < 20; ++i) {
    std::array<outcome, 2> noted;
    std::atomic<bool> first_is_stopped = false;
    std::atomic<bool> is_there = false;
    std::atomic<bool> is_busy = false;
    std::atomic<bool> never_there = false;
    std::optional<runtime> all{several(3)};
    executor& third = (*all)[2];
    const auto be_stopped = [&]() -> task<> {
      const says_when_gone watch{first_is_stopped};
      co_await stay(is_there);
    };
    const auto be_busy = [&]() -> task<> {
      is_busy = true;
      while (!first_is_stopped) std::this_thread::yield();
      co_await on(third, stay(never_there));
    };
    std::thread one = visit_from_elsewhere(third, be_stopped(), noted[0]);
    std::thread other = visit_from_elsewhere((*all)[1], be_busy(), noted[1]);
    while (!is_there || !is_busy) std::this_thread::yield();

    all.reset();
    one.join();
    other.join();

    for (const outcome& each : noted) CHECK(each.error == std::errc::operation_canceled);
  }
}

TEST_CASE("each executor's counts can be had") {
  runtime all{several(2)};
  all.run([](std::size_t index) -> task<> {
    for (std::size_t i = 0; i <= index * 100; ++i) co_await ops::nop();
  });

  const auto counted = all.statistics();

  REQUIRE(counted.size() == 2);
  CHECK(counted[0].cqes >= 1);
  CHECK(counted[1].cqes >= 101);
  CHECK(counted[0].cqes < 100);
}

TEST_CASE("where a ring is refused, the first or a later one, there is no runtime, and nothing is left of it") {
  for (const int granted_count : {0, 1, 2}) {
    CAPTURE(granted_count);
    const auto descriptors_before = open_descriptors_count();
    int asked_count = 0;
    const auto judge = [&](const io_uring_params&) { return ++asked_count > granted_count ? EPERM : 0; };

    CHECK_THROWS_AS(on_a_kernel_that(judge, [] { return runtime{several(3)}.size(); }), std::system_error);

    CHECK(open_descriptors_count() == descriptors_before);
  }
}

TEST_CASE("where a thread is refused there is no runtime") {
  const auto ended = child{[] {
                       if (install_filter({SYS_clone3}, SECCOMP_RET_ERRNO | EAGAIN) != 0) return 3;
                       const auto descriptors_before = open_descriptors_count();
                       try {
                         const runtime all{several(3)};
                         return 4;
                       } catch (const std::system_error&) {
                         return open_descriptors_count() == descriptors_before ? 0 : 5;
                       }
                     }}.wait();

  CHECK(ended.exit_status == 0);
}

// ------------------------------------------------------------------------------------------------------------- CPUs

TEST_CASE("by default there is an executor for each CPU that the process may use, and it stays there") {
  const auto allowed = allowed_cpus();
  REQUIRE(!allowed.empty());
  std::mutex guard;
  std::set<unsigned> used;
  std::set<std::size_t> used_by_each;
  {
    runtime all{{.executor = {.sq_entries = 8, .cq_entries = 64}}};
    CHECK(all.size() == allowed.size());
    all.run([&]() -> task<> {
      const auto mine = allowed_cpus();
      const std::lock_guard lock{guard};
      used.insert(mine.begin(), mine.end());
      used_by_each.insert(mine.size());
      co_return;
    });
    CHECK(all.notes() == "");
  }

  CHECK(used == std::set<unsigned>(allowed.begin(), allowed.end()));
  CHECK(used_by_each == std::set<std::size_t>{1});
  CHECK(allowed_cpus() == allowed);  // the calling thread has its own again
}

TEST_CASE("a process that is kept on one CPU gets one executor, there") {
  const unsigned last = allowed_cpus().back();
  const restricted_to one{{last}};

  runtime all{{.executor = {.sq_entries = 8, .cq_entries = 64}}};

  CHECK(all.size() == 1);
  CHECK(all.run([&]() -> task<int> { co_return allowed_cpus() == std::vector{last} ? 3 : 4; }) == 3);
}

TEST_CASE("with fewer executors than CPUs, or when told so, nobody is pinned") {
  const auto allowed = allowed_cpus();
  auto never = several(static_cast<unsigned>(allowed.size()));
  never.pin = pinning::never;
  auto more = several(static_cast<unsigned>(allowed.size()) + 1);
  for (const auto& options : {never, more}) {
    runtime all{options};
    std::atomic<int> unpinned_count = 0;

    all.run([&]() -> task<> {
      if (allowed_cpus() == allowed) ++unpinned_count;
      co_return;
    });

    CHECK(unpinned_count == static_cast<int>(all.size()));
  }
}

TEST_CASE("a CPU that is not there is noted, and the executor runs where it may, with others pinned beside it") {
  const auto allowed = allowed_cpus();
  auto options = several(2);
  options.cpus = {allowed.front(), 4'000};
  const captured_log log;
  std::array<std::vector<unsigned>, 2> used;

  runtime all{options};
  const int status = all.run([&](std::size_t index) -> task<> {
    used[index] = allowed_cpus();
    co_return;
  });

  CHECK(status == EXIT_SUCCESS);
  CHECK(used[0] == std::vector{allowed.front()});
  CHECK(used[1] == allowed);
  CHECK(has(all.notes(), "executor 1 is not pinned on CPU 4000: Invalid argument"));
  CHECK(has(log.text(), "executor 1 is not pinned on CPU 4000"));
}

TEST_CASE("what a pinned executor has done on a pool's thread may use all CPUs, and so may a thread that asks for it") {
  const auto allowed = allowed_cpus();
  std::array<std::vector<unsigned>, 2> offloaded;
  std::array<std::vector<unsigned>, 2> inherited;
  std::array<std::vector<unsigned>, 2> restored;
  auto options = several(2);
  options.pin = pinning::always;
  runtime all{options};

  all.run([&](std::size_t index) -> task<> {
    offload_pool pool;
    offloaded[index] = co_await offload(pool, [] { return allowed_cpus(); });
    std::thread{[&, cpus = cpus_before_pinning{}] {
      inherited[index] = allowed_cpus();
      cpus.restore();
      restored[index] = allowed_cpus();
    }}.join();
  });

  for (const std::size_t index : {0U, 1U}) {
    CAPTURE(index);
    CHECK(offloaded[index] == allowed);
    CHECK(inherited[index].size() == 1);
    CHECK(restored[index] == allowed);
  }
}

TEST_CASE("a thread that no runtime has pinned hands on the CPUs that it was given by others") {
  const restricted_to one{{allowed_cpus().back()}};
  const auto mine = allowed_cpus();
  std::vector<unsigned> used;

  std::thread{[&, cpus = cpus_before_pinning{}] {
    cpus.restore();
    used = allowed_cpus();
  }}.join();

  CHECK(used == mine);
}

TEST_CASE("two runtimes of one thread pin it where the later one says, and leave it as it was, whichever goes first") {
  const auto allowed = allowed_cpus();
  auto options = several(1);
  options.pin = pinning::always;
  options.cpus = {allowed.front()};
  auto on_last = options;
  on_last.cpus = {allowed.back()};
  for (const bool earlier_first : {true, false}) {
    CAPTURE(earlier_first);
    std::optional<runtime> earlier{options};
    std::optional<runtime> later{on_last};
    CHECK(allowed_cpus() == on_last.cpus);

    (earlier_first ? earlier : later).reset();
    const auto between = allowed_cpus();
    std::vector<unsigned> of_a_thread;
    std::thread{[&, cpus = cpus_before_pinning{}] {
      cpus.restore();
      of_a_thread = allowed_cpus();
    }}.join();
    (earlier_first ? later : earlier).reset();

    CHECK(between == (earlier_first ? on_last.cpus : options.cpus));
    CHECK(of_a_thread == allowed);
    CHECK(allowed_cpus() == allowed);
  }
}

// ---------------------------------------------------------------------------------------------------------- signals

TEST_CASE("SIGINT and SIGTERM stop all root tasks, and the status is success") {
  for (const int number : {SIGINT, SIGTERM}) {
    CAPTURE(number);
    child program{[] {
      runtime all{several(3)};
      return all.run([]() -> task<> { co_await wait_for_a_stop(); });
    }};
    for (int i = 0; i < 3; ++i) CHECK(program.hears() == began);

    program.signal(number);

    for (int i = 0; i < 3; ++i) CHECK(program.hears() == stopping);
    const auto ended = program.wait();
    CHECK(ended.exit_status == EXIT_SUCCESS);
    CHECK(ended.errors.empty());
  }
}

TEST_CASE("SIGQUIT tells of the tasks of each executor; when they do not end in time, so does the log") {
  child program{[] {
    auto options = several(2);
    options.grace_period = 1ms;
    runtime all{options};
    return all.run([]() -> task<> { co_await be_stubborn(); });
  }};
  for (int i = 0; i < 2; ++i) CHECK(program.hears() == began);

  program.signal(SIGQUIT);
  program.signal(SIGINT);

  const auto ended = program.wait();
  CHECK(ended.exit_status == EXIT_FAILURE);
  for (const std::string part :
       {"SIGQUIT came", "executor 0:\nroot task", "executor 1:\nroot task", "shield", "the grace period is over"}) {
    CAPTURE(part);
    CHECK(has(ended.errors, part));
  }
}

TEST_CASE("an executor that is busy when it is asked for its tasks is told to be so") {
  child program{[] {
    auto options = several(2);
    options.grace_period = 1ms;
    runtime all{options};
    return all.run([](std::size_t index) -> task<> {
      say(began);
      while (index == 1) std::this_thread::yield();
      co_await shield(sleep_for(24h));
    });
  }};
  for (int i = 0; i < 2; ++i) CHECK(program.hears() == began);

  program.signal(SIGINT);

  CHECK(has(program.wait().errors, "executor 1 is busy"));
}

}  // namespace gyre
