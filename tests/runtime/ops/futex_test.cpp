// SPDX-License-Identifier: MIT
// Waits on words of memory, on the kernel: who wakes whom, and what a cancel that crosses a wake leaves behind. Every
// order of a cancel on the scripted ring: cancel_race_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/futex.hpp>

#include "../../support/child.hpp"
#include "../../support/forbidden.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ops::futex_kind;
using word = std::atomic<std::uint32_t>;

constexpr auto in_process = futex_kind::process_private;
constexpr auto shared = futex_kind::process_shared;

// futex(2), FUTEX_WAKE, as a thread calls it that knows nothing of gyre.
long wake_by_system_call(word& woken, int count, futex_kind kind = in_process) {
  const int op = kind == shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE;
  return ::syscall(SYS_futex, &woken, op, count, nullptr, nullptr, 0);
}

// Memory that a child process maps too.
class shared_word {
 public:
  shared_word() : memory_{::mmap(nullptr, sizeof(word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)} {
    REQUIRE(memory_ != MAP_FAILED);
  }
  shared_word(const shared_word&) = delete;
  shared_word& operator=(const shared_word&) = delete;
  ~shared_word() { ::munmap(memory_, sizeof(word)); }
  word& operator*() const noexcept { return *static_cast<word*>(memory_); }

 private:
  void* memory_;
};

task<> note_wait(word& waited_on, futex_kind kind, std::optional<bool>& woken) {
  woken = co_await ops::futex_wait(waited_on, 0, kind);
}

// A wait that is in the kernel.
struct waiting {
  waiting(executor& loop, word& waited_on, futex_kind kind = in_process)
      : root{loop.start(note_wait(waited_on, kind, woken))} {
    loop.run_ready();
  }
  std::optional<bool> woken;
  root_task<void> root;
};

}  // namespace

TEST_CASE("a wait on a word ends with the wake, whoever wakes") {
  for (const auto kind : {in_process, shared}) {
    for (const bool by_system_call : {false, true}) {
      CAPTURE(by_system_call);
      executor loop;
      word waited_on = 0;
      waiting one{loop, waited_on, kind};
      CHECK(!one.woken.has_value());

      if (by_system_call) CHECK(wake_by_system_call(waited_on, 1, kind) == 1);
      else CHECK(loop.run([&]() -> task<std::size_t> { co_return co_await ops::futex_wake(waited_on, 1, kind); }) == 1);
      turn_until_done(loop, one.root);

      CHECK(one.woken == true);
    }
  }
}

TEST_CASE("a word that holds something else is not waited on") {
  executor loop;
  word waited_on = 1;

  CHECK(!loop.run([&]() -> task<bool> { co_return co_await ops::futex_wait(waited_on, 0); }));
  const auto as_value =
      loop.run([&]() -> task<result<bool>> { co_return co_await as_result(ops::futex_wait(waited_on, 0, shared)); });

  REQUIRE(as_value.has_value());
  CHECK(!*as_value);
}

TEST_CASE("no memory is an error, and none that nobody waits on is none") {
  executor loop;
  auto& nowhere = *reinterpret_cast<word*>(std::uintptr_t{8});
  word somewhere = 0;

  loop.run([&]() -> task<> {
    const auto waited = co_await as_result(ops::futex_wait(nowhere, 0, shared));
    CHECK(waited.error() == std::errc::bad_address);
    const auto woken = co_await as_result(ops::futex_wake(nowhere, 1, shared));
    CHECK(woken.error() == std::errc::bad_address);
    CHECK(co_await ops::futex_wake(somewhere, 1) == 0);
    CHECK(co_await ops::futex_wake(somewhere, 0) == 0);
  });
}

TEST_CASE("who came first is woken first, and as many as asked for") {
  executor loop;
  word waited_on = 0;
  std::list<waiting> all;
  for (int i = 0; i < 4; ++i) all.emplace_back(loop, waited_on);

  CHECK(loop.run([&]() -> task<std::size_t> { co_return co_await ops::futex_wake(waited_on, 3); }) == 3);
  loop.run_ready();

  int index = 0;
  for (const auto& each : all) CHECK(each.woken.has_value() == (index++ < 3));
  CHECK(wake_by_system_call(waited_on, 8) == 1);
  turn_until_done(loop, all.back().root);
}

TEST_CASE("a wake of the other kind finds nobody") {
  executor loop;
  word waited_on = 0;
  waiting one{loop, waited_on, in_process};

  CHECK(wake_by_system_call(waited_on, 1, shared) == 0);
  loop.run_ready();
  CHECK(!one.woken.has_value());

  CHECK(wake_by_system_call(waited_on, 1, in_process) == 1);
  turn_until_done(loop, one.root);
}

TEST_CASE("a coroutine waits for another process, and the other way round") {
  const shared_word there;
  const shared_word back;
  child other{[&] {
    executor loop;
    say('w');
    loop.run([&]() -> task<> {
      while ((*there).load() == 0) co_await ops::futex_wait(*there, 0, shared);
    });
    (*back).store(1);
    wake_by_system_call(*back, 1, shared);
    return 0;
  }};
  REQUIRE(other.hears() == 'w');
  executor loop;

  loop.run([&]() -> task<> {
    (*there).store(1);
    co_await ops::futex_wake(*there, 1, shared);
    while ((*back).load() == 0) co_await ops::futex_wait(*back, 0, shared);
  });

  CHECK(other.wait().exit_status == 0);
}

// The process of this test has no other thread yet: from the first on the kernel looks for its waiters elsewhere. In a
// child process, so that it holds in whatever order the tests run.
TEST_CASE("a wait that began before the first thread of the process is woken after it") {
  child fresh{[] {
    executor loop;
    word waited_on = 0;
    waiting one{loop, waited_on};
    long woken_count = 0;
    std::thread{[&] { woken_count = wake_by_system_call(waited_on, 1); }}.join();
    loop.run_ready();
    one.root.cancel();
    turn_until_done(loop, one.root);
    return woken_count == 1 && one.woken == true ? 0 : 1;
  }};

  CHECK(fresh.wait().exit_status == 0);
}

// As above where no thread is to be had when the wait begins, and one later.
TEST_CASE("a wait that began where the process could have no thread is woken by the first that it has") {
  child full{[] {
    constexpr ::uid_t nobody = 65534;  // root may have as many as it likes
    executor loop;
    if (::geteuid() == 0 && ::setuid(nobody) != 0) return 2;
    ::rlimit limit{};
    ::getrlimit(RLIMIT_NPROC, &limit);
    const ::rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ::setrlimit(RLIMIT_NPROC, &none);
    word waited_on = 0;
    waiting one{loop, waited_on};
    ::setrlimit(RLIMIT_NPROC, &limit);
    long woken_count = 0;
    std::thread{[&] { woken_count = wake_by_system_call(waited_on, 1); }}.join();
    loop.run_ready();
    one.root.cancel();
    turn_until_done(loop, one.root);
    return woken_count == 1 && one.woken == true ? 0 : 1;
  }};

  CHECK(full.wait().exit_status == 0);
}

TEST_CASE("where nothing makes sure that a wait is found by its wake, it ends at once") {
  child confined{[] {
    executor loop;
    if (install_filter({SYS_clone, SYS_clone3, SYS_prctl}, SECCOMP_RET_ERRNO | EPERM) != 0) return 2;
    word waited_on = 0;
    waiting one{loop, waited_on};
    const std::vector expected{ops::futex_expectation{waited_on, 0}};
    bool any_ended = false;
    auto any = loop.start([](const auto& on, bool& ended) -> task<> {
      ended = !(co_await ops::futex_wait_any(on)).has_value();
    }(expected, any_ended));
    waiting shared_one{loop, waited_on, shared};
    const bool well = one.woken == false && any_ended && !shared_one.woken.has_value();
    shared_one.root.cancel();
    turn_until_done(loop, shared_one.root);
    return well ? 0 : 1;
  }};

  const auto end = confined.wait();
  if (end.exit_status == 2) MESSAGE("skipped: seccomp filters are not to be had here");
  else CHECK(end.exit_status == 0);
}

TEST_CASE("a cancelled wait takes no wake with it") {
  executor loop;
  word waited_on = 0;
  waiting first{loop, waited_on};
  waiting second{loop, waited_on};

  first.root.cancel();
  loop.run_ready();
  CHECK(first.root.stopped());
  CHECK(wake_by_system_call(waited_on, 1) == 1);
  turn_until_done(loop, second.root);

  CHECK(!first.woken.has_value());
  CHECK(second.woken == true);
}

TEST_CASE("a wake that comes before the cancel is the waiter's, although its scope is cancelled") {
  scripted_executor on{by_hand};
  word waited_on = 0;
  waiting one{on.loop, waited_on};

  one.root.cancel();
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_FUTEX_WAIT), 0);
  on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
  on.loop.run_ready();

  CHECK(one.woken == true);
  CHECK(!one.root.stopped());
}

TEST_CASE("on the kernel a wake and a cancel cross, and the wake is counted once") {
  executor loop;
  word waited_on = 0;
  int woken_count = 0;
  int stopped_count = 0;

  for (int i = 0; i < 200; ++i) {
    waiting one{loop, waited_on};
    long counted = 0;
    const bool cancel_first = i % 2 == 0;
    if (cancel_first) one.root.cancel();
    std::thread waker{[&] { counted = wake_by_system_call(waited_on, 1); }};
    if (!cancel_first) one.root.cancel();
    turn_until_done(loop, one.root);
    waker.join();
    loop.run_ready();

    CHECK(one.woken.has_value() == (counted == 1));
    (one.root.stopped() ? stopped_count : woken_count) += 1;
  }
  MESSAGE(woken_count, " were woken, ", stopped_count, " stopped");
}

TEST_CASE("a wait on a word has a deadline, on any clock") {
  executor loop;
  word waited_on = 0;

  loop.run([&]() -> task<> {
    const auto on_steady = co_await as_result(with_timeout(1ms, ops::futex_wait(waited_on, 0)));
    CHECK(on_steady.error() == std::errc::timed_out);
    const auto on_boot = co_await as_result(with_deadline(boot_clock::now() + 1ms, ops::futex_wait(waited_on, 0)));
    CHECK(on_boot.error() == std::errc::timed_out);
  });

  CHECK(wake_by_system_call(waited_on, 1) == 0);
}

TEST_CASE("a wait on several words tells which was woken") {
  executor loop;
  std::array<word, 3> words{};
  const std::vector waited_on{ops::futex_expectation{words[0], 0}, ops::futex_expectation{words[1], 0, shared},
                              ops::futex_expectation{words[2], 0}};
  std::optional<std::size_t> woken;
  auto root = loop.start(
      [](const auto& on, auto& noted) -> task<> { noted = co_await ops::futex_wait_any(on); }(waited_on, woken));
  loop.run_ready();
  CHECK(!woken.has_value());

  CHECK(wake_by_system_call(words[1], 1, shared) == 1);
  turn_until_done(loop, root);

  CHECK(woken == 1);
  CHECK(wake_by_system_call(words[0], 1) == 0);
}

TEST_CASE("of several words none is waited on when one holds something else, and no word at all is an error") {
  executor loop;
  std::array<word, 2> words{};
  words[1] = 7;
  const std::vector waited_on{ops::futex_expectation{words[0], 0}, ops::futex_expectation{words[1], 0}};

  loop.run([&]() -> task<> {
    CHECK(!(co_await ops::futex_wait_any(waited_on)).has_value());
    const auto of_none = co_await as_result(ops::futex_wait_any({}));
    CHECK(of_none.error() == std::errc::invalid_argument);
  });
  CHECK(wake_by_system_call(words[0], 1) == 0);
}

TEST_CASE("a wait on several words is cancelled, and leaves no waiter behind") {
  executor loop;
  std::array<word, 2> words{};
  const std::vector waited_on{ops::futex_expectation{words[0], 0}, ops::futex_expectation{words[1], 0}};
  outcome noted;
  auto root = loop.start(observe(ops::futex_wait_any(waited_on), noted));
  loop.run_ready();

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::stopped);
  CHECK(wake_by_system_call(words[0], 1) == 0);
  CHECK(wake_by_system_call(words[1], 1) == 0);
}

}  // namespace gyre
