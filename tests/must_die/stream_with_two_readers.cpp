// SPDX-License-Identifier: MIT
// Two tasks await the next item of one stream: its coroutine has one place to go on to.
// must say: a stream's next() is awaited by one coroutine at a time
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include <chrono>

namespace {

gyre::stream<int> never() {
  co_await gyre::sleep_for(std::chrono::hours{1});
  co_yield 1;
}

}  // namespace

int main() {
  gyre::executor loop;
  auto slow = never();
  loop.run([&]() -> gyre::task<> { co_await gyre::when_all(slow.next(), slow.next()); });  // must stop here
}
