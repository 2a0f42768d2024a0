// SPDX-License-Identifier: MIT
// Operations by registered rights: of a thread that has given its own up, on the kernel; and what the entry says.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/personality.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

static_assert(std::is_nothrow_move_constructible_v<personality> && !std::is_copy_constructible_v<personality>);

// The calling thread is nobody to the file system for as long as it lives.
class as_nobody {
 public:
  as_nobody() noexcept { ::setfsuid(65534); }
  ~as_nobody() { ::setfsuid(::geteuid()); }
  as_nobody(const as_nobody&) = delete;
  as_nobody& operator=(const as_nobody&) = delete;
};

}  // namespace

TEST_CASE("a file is opened by rights that the thread no longer has") {
  if (::geteuid() != 0) {
    SAY_SKIPPED("only root can give rights up and have them back");
    return;
  }
  const temp_folder folder;
  const auto path = folder.file("of root alone", "text");
  executor loop;
  const personality root{loop};
  const as_nobody without_rights;

  loop.run([&]() -> task<> {
    const auto refused = co_await as_result(ops::openat{AT_FDCWD, path.c_str(), O_RDONLY});
    CHECK(refused.error() == std::errc::permission_denied);
    const unique_fd opened = co_await with_personality(root, ops::openat{AT_FDCWD, path.c_str(), O_RDONLY});
    CHECK(static_cast<bool>(opened));
    const unique_fd in_time =
        co_await with_timeout(1h, with_personality(root, ops::openat{AT_FDCWD, path.c_str(), O_RDONLY}));
    CHECK(static_cast<bool>(in_time));
    const auto missing = folder.file("none");
    const auto none = co_await as_result(with_personality(root, ops::openat{AT_FDCWD, missing.c_str(), O_RDONLY}));
    CHECK(none.error() == std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("personalities have numbers, are moved, and one that owns nothing changes nothing") {
  executor loop;
  personality first{loop};
  const personality second{loop};
  CHECK(first.number() != 0);
  CHECK(second.number() != first.number());
  CHECK(&first.owner() == &loop);

  const personality moved = std::move(first);
  CHECK(!first);
  CHECK(first.number() == 0);
  loop.run([&]() -> task<> {
    co_await with_personality(moved, ops::nop());
    co_await with_personality(first, ops::nop());
  });
}

TEST_CASE("a personality that has gone before the operation is an invalid argument") {
  executor loop;
  personality gone{loop};

  loop.run([&]() -> task<> {
    auto late = with_personality(gone, ops::nop());
    gone = {};
    CHECK((co_await as_result(std::move(late))).error() == std::errc::invalid_argument);
  });
}

TEST_CASE("each request of an operation names the personality, and none of another, on the scripted ring") {
  scripted_executor on;
  const personality rights{on.loop};
  outcome noted;
  std::array<std::byte, 4> bytes{};
  auto sending = on.loop.start([](const personality& by, std::span<const std::byte> all, outcome& how) -> task<> {
    co_await observe(with_personality(by, ops::send_all{5, all}), how);
    co_await ops::nop();
  }(rights, bytes, noted));
  on.loop.run_ready();

  for (const int sent : {1, 3}) {
    const auto asked = on.script.only(IORING_OP_SEND);
    CHECK(asked.personality == rights.number());
    on.script.complete(asked, sent);
    on.loop.run_ready();
  }
  CHECK(noted.how == ended::with_value);
  const auto other = on.script.only(IORING_OP_NOP);
  CHECK(other.personality == 0);
  on.script.complete(other, 0);
  on.loop.run_ready();
}

TEST_CASE("the members of a chain take its rights on, but for one that has its own") {
  scripted_executor on;
  const personality rights{on.loop};
  const personality others{on.loop};
  auto chained = on.loop.start([](const personality& by, const personality& own) -> task<> {
    co_await with_personality(by, ops::link(ops::nop(), with_personality(own, ops::nop()), ops::nop()));
    co_await with_personality(by, ops::drain(ops::nop()));
  }(rights, others));
  on.loop.run_ready();
  std::vector<std::uint16_t> seen;
  while (!on.script.in_flight().empty()) {
    const auto asked = on.script.in_flight().front();
    seen.push_back(asked.personality);
    on.script.complete(asked, 0);
    on.loop.run_ready();
  }
  CHECK(chained.done());
  CHECK(seen.size() == 4);
  CHECK(std::count(seen.begin(), seen.end(), rights.number()) == 3);
  CHECK(std::count(seen.begin(), seen.end(), others.number()) == 1);
}

TEST_CASE("an operation by other rights is stopped before, during and after, on the scripted ring") {
  const auto sending = [](const personality& by, outcome& how) -> task<> {
    std::array<std::byte, 4> bytes{};
    co_await observe(with_personality(by, ops::send{5, bytes}), how);
  };
  scripted_executor on;
  const personality rights{on.loop};
  std::array<outcome, 3> noted;

  auto before = on.loop.start(sending(rights, noted[0]));
  before.cancel();
  on.loop.run_ready();
  auto during = on.loop.start(sending(rights, noted[1]));
  on.loop.run_ready();
  during.cancel();
  on.loop.run_ready();
  auto after = on.loop.start(sending(rights, noted[2]));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_SEND), 4);
  after.cancel();
  on.loop.run_ready();

  CHECK(before.stopped());
  CHECK(on.script.taken_count(IORING_OP_SEND) == 2);
  CHECK(noted[1].how == ended::stopped);
  CHECK(noted[2].how == ended::with_value);
}

TEST_CASE("a kernel that keeps no more rights says so") {
  executor loop{{.only_opcodes = {IORING_OP_NOP}}};

  CHECK_THROWS_WITH_AS(static_cast<void>(personality{loop}), doctest::Contains("only_opcodes"), std::system_error);
}

}  // namespace gyre
