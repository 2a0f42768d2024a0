// SPDX-License-Identifier: MIT
// Two tasks await the next signal of one set: what is read of its pipe lies in one place.
// must say: a signal_set's next() is awaited by one coroutine at a time
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/signal_set.hpp>
#include <gyre/runtime/when_all.hpp>

#include <csignal>

namespace {

gyre::task<> read_one(gyre::signal_set& from) { co_await from.next(); }

}  // namespace

int main() {
  gyre::executor loop;
  gyre::signal_set signals{SIGUSR1};
  loop.run([&]() -> gyre::task<> { co_await gyre::when_all(read_one(signals), read_one(signals)); }());
}
