// SPDX-License-Identifier: MIT
// A mutex goes while a coroutine of the executor that uses it alone holds it.
// must say: a mutex was destroyed while somebody holds it
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/mutex.hpp>

#include "../support/biased.hpp"

#include <memory>

int main() {
  gyre::executor loop;
  auto locked = std::make_unique<gyre::sync::mutex>();
  gyre::test::bias(*locked, loop);
  loop.run([&]() -> gyre::task<> {
    const auto held = co_await locked->lock();
    locked.reset();
  });
}
