// SPDX-License-Identifier: MIT
// Requests that no coroutine awaits, and what an executor keeps for a library: executor::local().
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/kernel_request.hpp>

#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace gyre {
namespace {

using namespace test;

// Notes how its request ends.
struct noted_request : kernel_request {
  explicit noted_request(std::vector<int>& ends) noexcept : kernel_request{&ended, &prepare}, ended_with{ends} {}
  static void prepare(kernel_request&, io_uring_sqe& sqe) noexcept { io_uring_prep_nop(&sqe); }
  static void ended(kernel_request& self, std::int32_t res, std::uint32_t) noexcept {
    static_cast<noted_request&>(self).ended_with.push_back(res);
  }
  std::vector<int>& ended_with;
};

// What a library keeps: it has a request in flight when the executor ends.
struct kept {
  explicit kept(executor& its_loop) : loop{its_loop} {}
  ~kept() { ++destroyed_count; }
  executor& loop;
  static inline std::vector<int> ends;
  static inline int destroyed_count = 0;
  noted_request request{ends};
};

struct other {
  explicit other(executor&) {}
  int value = 7;
};

}  // namespace

TEST_CASE("a request ends with its own completion, and can be submitted again") {
  scripted_executor on;
  std::vector<int> ends;
  noted_request request{ends};

  for (const int answer : {0, -EIO}) {
    on.loop.submit(request);
    on.loop.run_ready();
    on.script.complete(on.script.only(IORING_OP_NOP), answer);
    on.loop.run_ready();
  }

  CHECK(ends == std::vector{0, -EIO});
}

TEST_CASE("a request that is cancelled ends as the kernel says, or at once where it waits for a place") {
  scripted_executor on{{.sq_entries = 2}};
  std::vector<int> ends;
  std::vector<std::unique_ptr<noted_request>> all;
  for (int i = 0; i < 3; ++i) all.push_back(std::make_unique<noted_request>(ends));
  for (auto& each : all) on.loop.submit(*each);

  on.loop.submit_cancel(*all.back());
  CHECK(ends == std::vector{-ECANCELED});
  on.loop.run_ready();
  on.loop.submit_cancel(*all.front());
  on.loop.run_ready();
  CHECK(ends == std::vector{-ECANCELED, -ECANCELED});
  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();

  CHECK(ends.size() == 3);
}

TEST_CASE("an executor keeps one object of a type, made when it is asked for") {
  scripted_executor first;
  scripted_executor second;
  CHECK(first.loop.local_or_null<other>() == nullptr);

  auto& of_first = first.loop.local<other>();
  of_first.value = 8;

  CHECK(&first.loop.local<other>() == &of_first);
  CHECK(first.loop.local_or_null<other>() == &of_first);
  CHECK(second.loop.local_or_null<other>() == nullptr);
  CHECK(second.loop.local<other>().value == 7);
  CHECK(first.loop.number() != second.loop.number());
}

TEST_CASE("what an executor keeps stays until the kernel has given back its requests") {
  kept::ends.clear();
  kept::destroyed_count = 0;
  {
    std::optional<scripted_executor> on{std::in_place};
    auto& mine = on->loop.local<kept>();
    CHECK(&mine.loop == &on->loop);
    static_cast<void>(on->loop.local<other>());
    on->loop.submit(mine.request);
    on->loop.run_ready();
    CHECK(kept::destroyed_count == 0);
  }

  CHECK(kept::ends == std::vector{-ECANCELED});
  CHECK(kept::destroyed_count == 1);
}

}  // namespace gyre
