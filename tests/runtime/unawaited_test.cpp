// SPDX-License-Identifier: MIT
// What is made and never awaited: it asks the kernel for nothing, waits for nobody, and what it owns goes with it.
// Of tasks task_test.cpp says so, of streams stream_test.cpp and accept_stream_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/barrier.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/event.hpp>
#include <gyre/sync/latch.hpp>
#include <gyre/sync/mutex.hpp>
#include <gyre/sync/select.hpp>
#include <gyre/sync/semaphore.hpp>
#include <gyre/sync/shared_mutex.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr int some_number = 1'000'123;

template <class Made>
void drop(Made&&) {}

// In a turn, where each of them could be awaited.
task<> make_and_drop_operations(std::array<std::byte, 4>& buffer) {
  drop(ops::nop());
  drop(ops::recv(some_number, buffer));
  drop(ops::send_all(some_number, buffer));
  drop(ops::accept(some_number));
  drop(ops::openat(AT_FDCWD, "name", 0));
  drop(ops::fsync(some_number));
  drop(ops::link(ops::fsync(some_number), ops::nop()));
  drop(with_timeout(1s, ops::nop()));
  drop(move_on_after(1s, ops::fsync(some_number)));
  drop(as_result(ops::nop()));
  drop(stopped_as_error(ops::nop()));
  drop(sleep_for(1s));
  drop(this_task::yield());
  co_return;
}

task<> make_and_drop_regions(const std::shared_ptr<int>& owned, executor& elsewhere) {
  const auto holds = [](std::shared_ptr<int>) -> task<> { co_return; };
  drop(with_timeout(1s, holds(owned)));
  drop(with_cancel_scope([owned](cancel_scope&) -> task<> { co_return; }));
  drop(with_task_group([owned](task_group&) -> task<> { co_return; }));
  drop(shield(holds(owned)));
  drop(stopped_as_error(holds(owned)));
  drop(when_all(holds(owned), ops::nop()));
  drop(when_any(holds(owned), ops::nop()));
  drop(race(holds(owned), ops::nop()));
  drop(on(elsewhere, holds(owned)));
  drop(offload([owned] { return *owned; }));
  co_return;
}

task<> make_and_drop_waits(sync::channel<std::shared_ptr<int>>& items, const std::shared_ptr<int>& owned) {
  sync::mutex locked;
  sync::shared_mutex shared;
  sync::semaphore permits{1};
  sync::event happened;
  sync::latch counted{1};
  sync::barrier together{1};
  drop(locked.lock());
  drop(shared.lock());
  drop(shared.lock_shared());
  drop(permits.acquire());
  drop(happened.wait());
  drop(counted.wait());
  drop(together.arrive_and_wait());
  drop(items.send(owned));
  drop(items.receive());
  drop(sync::select(items.receive(), items.receive()));

  CHECK(locked.try_lock());
  CHECK(permits.available() == 1);
  co_return;
}

}  // namespace

TEST_CASE("operations that are never awaited are never submitted") {
  scripted_executor on;
  std::array<std::byte, 4> buffer{};

  auto root = on.loop.start(make_and_drop_operations(buffer));
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(on.script.in_flight().empty());
  CHECK(on.script.enters_count() == 0);
  CHECK(on.loop.timers().empty());
}

TEST_CASE("a close that is never awaited closes all the same: its descriptor is its own") {
  const std::size_t open_before = open_descriptors_count();

  drop(ops::close(unique_fd{::dup(STDERR_FILENO)}));

  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("regions that are never awaited begin nothing, and what was given to them goes") {
  scripted_executor on;
  scripted_executor elsewhere;
  const auto owned = std::make_shared<int>(1);

  auto root = on.loop.start(make_and_drop_regions(owned, elsewhere.loop));
  on.loop.run_ready();
  elsewhere.loop.run_ready();

  CHECK(root.done());
  CHECK(owned.use_count() == 1);
  CHECK(on.loop.timers().empty());
  CHECK(on.script.enters_count() == 0);
  CHECK(elsewhere.loop.statistics().resumes == 0);
}

TEST_CASE("waits of sync/ that are never awaited take nothing, hand on nothing, and keep nobody waiting") {
  scripted_executor on;
  sync::channel<std::shared_ptr<int>> items{1};
  const auto owned = std::make_shared<int>(1);

  auto root = on.loop.start(make_and_drop_waits(items, owned));
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(items.size() == 0);
  CHECK(owned.use_count() == 1);
}

}  // namespace gyre
