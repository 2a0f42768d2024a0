// SPDX-License-Identifier: MIT
// Readers and writers: who is in together with whom, and who comes next.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/shared_mutex.hpp>

#include <doctest/doctest.h>
#include "../support/every_order.hpp"
#include "../support/scripted.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using sync::local_shared_mutex;
using sync::shared_mutex;
using test::scripted_executor;

// Both stay until they are stopped.
template <class Mutex>
task<> read(Mutex& guarded, std::string& told, char name) {
  const auto reading = co_await guarded.lock_shared();
  told += name;
  co_await sleep_for(10'000h);
}

template <class Mutex>
task<> write(Mutex& guarded, std::string& told, char name) {
  const auto writing = co_await guarded.lock();
  told += name;
  co_await sleep_for(10'000h);
}

TEST_CASE_TEMPLATE("readers read together, a writer writes alone", Mutex, shared_mutex, local_shared_mutex) {
  scripted_executor test;
  Mutex guarded;
  std::string told;
  auto first = test.loop.start(read(guarded, told, 'r'));
  auto second = test.loop.start(read(guarded, told, 's'));
  auto third = test.loop.start(write(guarded, told, 'W'));
  test.loop.run_ready();
  CHECK(told == "rs");

  test.stop(first);
  CHECK(told == "rs");
  test.stop(second);
  CHECK(told == "rsW");

  CHECK(!guarded.try_lock());
  CHECK(!guarded.try_lock_shared());
  test.stop(third);
  CHECK(guarded.try_lock());
}

TEST_CASE_TEMPLATE("a reader goes behind a writer who waits, and readers that wait go in together", Mutex, shared_mutex,
                   local_shared_mutex) {
  scripted_executor test;
  Mutex guarded;
  std::string told;
  auto reads = test.loop.start(read(guarded, told, 'r'));
  auto writes = test.loop.start(write(guarded, told, 'W'));
  auto reads_later = test.loop.start(read(guarded, told, 's'));
  auto reads_too = test.loop.start(read(guarded, told, 't'));
  auto writes_later = test.loop.start(write(guarded, told, 'V'));
  test.loop.run_ready();
  CHECK(told == "r");
  CHECK(!guarded.try_lock_shared());

  test.stop(reads);
  CHECK(told == "rW");
  test.stop(writes);
  CHECK(told == "rWst");
  test.stop(reads_later);
  test.stop(reads_too);
  CHECK(told == "rWstV");
  test.stop(writes_later);
}

TEST_CASE_TEMPLATE("a writer that is stopped lets in the readers behind it", Mutex, shared_mutex, local_shared_mutex) {
  scripted_executor test;
  Mutex guarded;
  std::string told;
  auto reads = test.loop.start(read(guarded, told, 'r'));
  auto writes = test.loop.start(write(guarded, told, 'W'));
  auto reads_later = test.loop.start(read(guarded, told, 's'));
  test.loop.run_ready();

  test.stop(writes);

  CHECK(told == "rs");
  test.stop(reads);
  test.stop(reads_later);
}

TEST_CASE("a stop ends a wait for the lock, unless it was granted before") {
  scripted_executor test;
  shared_mutex guarded;
  std::string told;
  auto held = guarded.try_lock();
  auto reads = test.loop.start(read(guarded, told, 'r'));
  auto writes = test.loop.start(write(guarded, told, 'W'));

  SUBCASE("before they wait") {
    test.stop(reads);
    test.stop(writes);
    held->unlock();
    CHECK(told.empty());
  }
  SUBCASE("while they wait") {
    test.loop.run_ready();
    test.stop(reads);
    test.stop(writes);
    held->unlock();
    CHECK(told.empty());
  }
  SUBCASE("after it was granted") {
    test.loop.run_ready();
    held->unlock();
    reads.cancel();
    writes.cancel();
    test.loop.run_ready();
    CHECK(told == "r");
  }

  CHECK(reads.stopped());
  CHECK(writes.stopped());
  CHECK(guarded.try_lock());
}

TEST_CASE("a lock that is unlocked on another executor arrives, also where a stop crosses it") {
  scripted_executor here;
  scripted_executor there;
  shared_mutex guarded;
  std::string told;
  auto holds = there.loop.start(write(guarded, told, 'W'));
  there.loop.run_ready();
  auto waits = here.loop.start(write(guarded, told, 'V'));
  here.loop.run_ready();
  there.stop(holds);

  SUBCASE("no stop") { here.loop.run_ready(); }
  SUBCASE("a stop") { here.stop(waits); }

  CHECK(told == "WV");
  here.stop(waits);
  CHECK(guarded.try_lock());
}

task<> lock_in_time(shared_mutex& guarded, std::string& told) {
  const auto writing = co_await as_result(with_timeout(1s, guarded.lock()));
  told += writing ? "writes" : "does not write";
}

task<> lock_shared_in_time(shared_mutex& guarded, std::string& told) {
  const auto reading = co_await as_result(with_timeout(2s, guarded.lock_shared()));
  told += reading ? "reads, " : "does not read, ";
}

TEST_CASE("a deadline ends a wait for the lock") {
  scripted_executor test;
  shared_mutex guarded;
  std::string told;
  auto held = guarded.try_lock_shared();
  auto writes = test.loop.start(lock_in_time(guarded, told));
  auto reads = test.loop.start(lock_shared_in_time(guarded, told));
  test.loop.run_ready();
  CHECK(dump_tasks(test.loop).find("shared_mutex, to write for 0.0 s") != std::string::npos);
  CHECK(dump_tasks(test.loop).find("shared_mutex, to read for 0.0 s") != std::string::npos);

  test.advance(1s);

  CHECK(told == "reads, does not write");
}

task<> try_both(shared_mutex& guarded, std::string& told) {
  const auto writing = co_await as_result(stopped_as_error(guarded.lock()));
  if (!writing) told += "no write, ";
  const auto reading = co_await as_result(stopped_as_error(guarded.lock_shared()));
  if (!reading) told += "no read";
}

TEST_CASE("a stop can be heard of as an error") {
  scripted_executor test;
  shared_mutex guarded;
  std::string told;
  auto held = guarded.try_lock();
  auto tries = test.loop.start(try_both(guarded, told));
  test.loop.run_ready();

  test.stop(tries);

  CHECK(told == "no write, no read");
}

TEST_CASE("a writer can go on as a reader, and lets in the readers in front") {
  scripted_executor test;
  shared_mutex guarded;
  std::string told;
  auto writing = guarded.try_lock();
  auto reads = test.loop.start(read(guarded, told, 'r'));
  auto writes = test.loop.start(write(guarded, told, 'W'));
  test.loop.run_ready();

  auto reading = writing->downgrade();
  CHECK(!*writing);
  test.loop.run_ready();
  CHECK(told == "r");

  test.stop(reads);
  CHECK(told == "r");
  reading.unlock();
  test.loop.run_ready();
  CHECK(told == "rW");
  test.stop(writes);
}

TEST_CASE("guards can be moved, and unlock once") {
  shared_mutex guarded;
  auto writing = guarded.try_lock();

  auto elsewhere = std::move(*writing);
  writing.reset();
  CHECK(!guarded.try_lock_shared());

  elsewhere.unlock();
  CHECK(!elsewhere);
  const auto reading = guarded.try_lock_shared();
  CHECK(guarded.try_lock_shared());
}

// --------------------------------------------------------------------------------------------------------- every order

struct world {
  shared_mutex guarded;
  int readers_count = 0;
  int writers_count = 0;
};

class counted_in {
 public:
  explicit counted_in(int& count) noexcept : count_{count} { ++count_; }
  counted_in(const counted_in&) = delete;
  counted_in& operator=(const counted_in&) = delete;
  ~counted_in() { --count_; }

 private:
  int& count_;
};

task<> read_for_a_turn(world& in) {
  const auto reading = co_await in.guarded.lock_shared();
  const counted_in counted{in.readers_count};
  co_await this_task::yield();
}

task<> write_for_a_turn(world& in) {
  const auto writing = co_await in.guarded.lock();
  const counted_in counted{in.writers_count};
  co_await this_task::yield();
}

TEST_CASE("two readers and two writers on two executors, in every order with cancels") {
  bool was_read_together = false;
  const std::size_t orders_count = test::for_every_order([&](test::choices& choose) {
    CAPTURE(choose);
    test::left_and_right on;
    world in;
    std::array roots{on.left.loop.start(read_for_a_turn(in)), on.right.loop.start(write_for_a_turn(in)),
                     on.left.loop.start(write_for_a_turn(in)), on.right.loop.start(read_for_a_turn(in))};

    test::steps next;
    on.add_turns(next);
    next.perhaps("cancel a writer", [&] { roots[1].cancel(); });
    next.perhaps("cancel the other", [&] { roots[2].cancel(); });
    next.take_all(choose, [&] {
      REQUIRE(in.writers_count <= 1);
      REQUIRE((in.writers_count == 0 || in.readers_count == 0));
      was_read_together |= in.readers_count == 2;
    });

    for (const auto& each : roots) REQUIRE(each.done());
    REQUIRE(in.guarded.try_lock());
  });

  CHECK(orders_count > 1000);
  CHECK(was_read_together);
}

// ------------------------------------------------------------------------------------------------------------- threads

struct pair_of_values {
  shared_mutex guarded;
  int left = 0;
  int right = 0;
};

task<> write_both(pair_of_values& in, int times) {
  for (int index = 0; index < times; ++index) {
    const auto writing = co_await in.guarded.lock();
    ++in.left;
    if (index % 8 == 0) co_await this_task::yield();
    ++in.right;
  }
}

task<> read_both(pair_of_values& in, int times, int& torn_count) {
  for (int index = 0; index < times; ++index) {
    const auto reading = co_await in.guarded.lock_shared();
    const int left = in.left;
    if (index % 8 == 0) co_await this_task::yield();
    if (left != in.right) ++torn_count;
  }
}

TEST_CASE("readers on several threads see all or nothing of what a writer does") {
  constexpr int times = 300;
  pair_of_values in;
  std::array<int, 3> torn{};
  std::vector<std::thread> threads;
  for (int& its_torn_count : torn) {
    threads.emplace_back([&] {
      executor loop;
      loop.run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
          group.start(write_both(in, times));
          for (int index = 0; index < 3; ++index) group.start(read_both(in, times, its_torn_count));
          co_return;
        });
      });
    });
  }
  for (std::thread& each : threads) each.join();

  CHECK(in.left == 3 * times);
  CHECK(in.right == 3 * times);
  for (const int each : torn) CHECK(each == 0);
}

}  // namespace
}  // namespace gyre
