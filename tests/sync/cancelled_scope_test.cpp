// SPDX-License-Identifier: MIT
// What happens in a scope that is cancelled already, where nobody would have to wait: one rule for all types of sync/,
// told in docs/synchronisation.md. What guards something, or says that something has happened, lets pass; where items
// or other coroutines are met it is stopped, with nothing taken.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/auto_event.hpp>
#include <gyre/sync/barrier.hpp>
#include <gyre/sync/broadcast.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/event.hpp>
#include <gyre/sync/latch.hpp>
#include <gyre/sync/mutex.hpp>
#include <gyre/sync/once.hpp>
#include <gyre/sync/robust_mutex.hpp>
#include <gyre/sync/select.hpp>
#include <gyre/sync/semaphore.hpp>
#include <gyre/sync/shared_mutex.hpp>
#include <gyre/sync/watch.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>

#include <utility>

namespace gyre::sync {
namespace {

using test::ended;

template <class Awaitable>
task<> await_when_cancelled(Awaitable awaitable, test::outcome& noted) {
  cancel_scope& scope = co_await this_task::scope();
  scope.cancel();
  const test::stop_watch watch{noted};
  static_cast<void>(co_await std::move(awaitable));
  noted.how = ended::with_value;
}

template <class Awaitable>
ended when_cancelled(Awaitable awaitable) {
  test::scripted_executor on;
  test::outcome noted;
  auto root = on.loop.start(await_when_cancelled(std::move(awaitable), noted));
  on.loop.run_ready();
  CHECK(root.done());
  return noted.how;
}

task<> take_nothing() { co_return; }

// Whoever is inside it never ends by himself.
task<> wait_with(condition_variable& changed, mutex& guarded) {
  auto held = co_await guarded.lock();
  co_await changed.wait(held);
}

}  // namespace

TEST_CASE("in a scope that is cancelled already, what is free is taken, and what is open lets pass") {
  mutex plain;
  robust_mutex robust;
  shared_mutex shared;
  semaphore permits{1};
  event happened;
  happened.set();
  auto_event told;
  told.set();
  latch counted{0};
  latch last{1};
  once done;
  CHECK(when_cancelled(done.call(take_nothing)) == ended::with_value);

  CHECK(when_cancelled(plain.lock()) == ended::with_value);
  CHECK(when_cancelled(robust.lock()) == ended::with_value);
  CHECK(when_cancelled(shared.lock()) == ended::with_value);
  CHECK(when_cancelled(shared.lock_shared()) == ended::with_value);
  CHECK(when_cancelled(permits.acquire()) == ended::with_value);
  CHECK(when_cancelled(happened.wait()) == ended::with_value);
  CHECK(when_cancelled(told.wait()) == ended::with_value);
  CHECK(when_cancelled(counted.wait()) == ended::with_value);
  CHECK(when_cancelled(last.arrive_and_wait()) == ended::with_value);
  CHECK(when_cancelled(done.call(take_nothing)) == ended::with_value);
}

TEST_CASE("in a scope that is cancelled already, what is taken or shut keeps nobody waiting: who comes is stopped") {
  mutex plain;
  shared_mutex shared;
  semaphore permits{0};
  event never;
  latch counted{1};
  const auto held = plain.try_lock();
  const auto read = shared.try_lock_shared();

  CHECK(when_cancelled(plain.lock()) == ended::stopped);
  CHECK(when_cancelled(shared.lock()) == ended::stopped);
  CHECK(when_cancelled(permits.acquire()) == ended::stopped);
  CHECK(when_cancelled(never.wait()) == ended::stopped);
  CHECK(when_cancelled(counted.wait()) == ended::stopped);
}

TEST_CASE("in a scope that is cancelled already no item changes hands, also where nobody would have to wait") {
  channel<int> items{2};
  CHECK(items.try_send(1));
  int kept = 2;
  broadcast<int> source{2};
  subscriber<int> subscribed{source};
  source.send(1);
  watch<int> value{0};
  observer<int> seen{value};
  value.set(1);

  CHECK(when_cancelled(items.receive()) == ended::stopped);
  CHECK(when_cancelled(items.send(3)) == ended::stopped);
  CHECK(when_cancelled(items.send_from(kept)) == ended::stopped);
  CHECK(when_cancelled(select(items.receive())) == ended::stopped);
  CHECK(when_cancelled(subscribed.receive()) == ended::stopped);
  CHECK(when_cancelled(seen.changed()) == ended::stopped);

  CHECK(items.size() == 1);
  CHECK(kept == 2);
  CHECK(subscribed.try_receive().has_value());
  CHECK(seen.has_changed());
}

TEST_CASE("in a scope that is cancelled already nobody arrives at a barrier, and nobody sleeps for a condition") {
  int phases_count = 0;
  barrier alone{1, [&]() noexcept { ++phases_count; }};
  condition_variable changed;
  mutex guarded;

  CHECK(when_cancelled(alone.arrive_and_wait()) == ended::stopped);
  CHECK(when_cancelled(wait_with(changed, guarded)) == ended::stopped);

  CHECK(phases_count == 0);
  CHECK(guarded.try_lock());
}

}  // namespace gyre::sync
