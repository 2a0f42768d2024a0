// SPDX-License-Identifier: MIT
// Locks on files: shared and alone, on parts, waited for, stopped, with a deadline, and of another process.
#include <gyre/fs/file.hpp>
#include <gyre/fs/file_lock.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

using namespace test;
using namespace std::chrono_literals;

// A file, opened as often as is wanted.
struct shared_file {
  [[nodiscard]] file open() { return loop.run(file::open(path, {.access = file_access::read_write})); }
  [[nodiscard]] bool is_free(const file& opened, lock_mode mode, lock_range range = {}) {
    return loop.run(lock_if_free(opened, mode, range)).has_value();
  }

  temp_folder folder;
  std::string path = folder.file("shared", "contents");
  executor loop;
};

}  // namespace

TEST_CASE("an exclusive lock shuts out everybody, until it is let go of") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();
  auto held = shared.loop.run(lock(mine, lock_mode::exclusive));

  CHECK(!shared.is_free(other, lock_mode::exclusive));
  CHECK(!shared.is_free(other, lock_mode::shared));

  shared.loop.run(held.unlock());
  CHECK(!held);
  CHECK(shared.is_free(other, lock_mode::exclusive));
}

TEST_CASE("shared locks go together, and shut out an exclusive one") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();
  const auto held = shared.loop.run(lock(mine, lock_mode::shared));

  CHECK(shared.is_free(other, lock_mode::shared));
  CHECK(!shared.is_free(other, lock_mode::exclusive));
}

TEST_CASE("locks on different parts of a file do not meet") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();
  const auto held = shared.loop.run(lock(mine, lock_mode::exclusive, {.offset = 0, .length = 4}));

  CHECK(shared.is_free(other, lock_mode::exclusive, {.offset = 4, .length = 0}));
  CHECK(!shared.is_free(other, lock_mode::exclusive, {.offset = 3, .length = 1}));
}

TEST_CASE("a lock that is destroyed, or replaced, is let go of") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();

  {
    const auto held = shared.loop.run(lock(mine, lock_mode::exclusive));
    CHECK(!shared.is_free(other, lock_mode::shared));
  }
  CHECK(shared.is_free(other, lock_mode::shared));

  auto held = shared.loop.run(lock(mine, lock_mode::exclusive));
  held = file_lock{};
  CHECK(shared.is_free(other, lock_mode::shared));
}

TEST_CASE("a lock outlives the file that it was taken by") {
  shared_file shared;
  const file other = shared.open();
  std::optional<file_lock> held;
  {
    const file mine = shared.open();
    held = shared.loop.run(lock(mine, lock_mode::exclusive));
  }

  CHECK(!shared.is_free(other, lock_mode::shared));
  held.reset();
  CHECK(shared.is_free(other, lock_mode::shared));
}

TEST_CASE("who waits for a lock gets it when it becomes free") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();
  auto held = shared.loop.run(lock(mine, lock_mode::exclusive));
  auto waiting = shared.loop.start(lock(other, lock_mode::exclusive));
  for (int turn = 0; turn < 5; ++turn) shared.loop.turn(/*may_park=*/true);
  CHECK(!waiting.done());

  held = file_lock{};
  turn_until_done(shared.loop, waiting);

  CHECK(waiting.get());
}

TEST_CASE("who waits for a lock is stopped at any moment, and has locked nothing") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();
  const auto before = open_descriptors_count();
  {
    const auto held = shared.loop.run(lock(mine, lock_mode::exclusive));
    for (int turns_before = 0; turns_before < 6; ++turns_before) {
      auto waiting = shared.loop.start(lock(other, lock_mode::exclusive));
      for (int turn = 0; turn < turns_before; ++turn) shared.loop.turn(/*may_park=*/turn > 0);
      waiting.cancel();
      turn_until_done(shared.loop, waiting);
      CHECK(waiting.stopped());
    }
  }

  CHECK(shared.is_free(mine, lock_mode::exclusive));
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a deadline ends the wait for a lock") {
  shared_file shared;
  const file mine = shared.open();
  const file other = shared.open();
  const auto held = shared.loop.run(lock(mine, lock_mode::exclusive));

  const auto late = shared.loop.run(as_result(with_timeout(5ms, lock(other, lock_mode::exclusive))));

  CHECK(late.error() == std::errc::timed_out);
}

TEST_CASE("an exclusive lock wants a file that is open for writing") {
  shared_file shared;
  const file reading = shared.loop.run(file::open(shared.path));

  const auto refused = shared.loop.run(as_result(lock(reading, lock_mode::exclusive)));

  CHECK(refused.error() == std::errc::bad_file_descriptor);
  CHECK(shared.is_free(reading, lock_mode::shared));
}

TEST_CASE("letting go of no lock is an error") {
  executor loop;
  file_lock none;

  CHECK(loop.run(as_result(none.unlock())).error() == std::errc::bad_file_descriptor);
}

TEST_CASE("the lock of another process goes with it, also when it is killed") {
  shared_file shared;
  const file mine = shared.open();
  child other{[&] {
    executor loop;
    const auto opened = loop.run(file::open(shared.path, {.access = file_access::read_write}));
    const auto held = loop.run(lock(opened, lock_mode::exclusive));
    say('l');
    for (;;) ::pause();
    return 0;
  }};
  REQUIRE(other.hears() == 'l');
  CHECK(!shared.is_free(mine, lock_mode::shared));

  other.signal(SIGKILL);
  (void)other.wait();

  CHECK(shared.loop.run(lock(mine, lock_mode::exclusive)));
}

}  // namespace gyre::fs
