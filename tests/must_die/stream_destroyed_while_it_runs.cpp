// SPDX-License-Identifier: MIT
// A stream is destroyed by somebody else while its coroutine waits for what a next() asked for.
// must say: a stream was destroyed while its next() is awaited
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include <chrono>
#include <memory>

namespace {

gyre::stream<int> never() {
  co_await gyre::sleep_for(std::chrono::hours{1});
  co_yield 1;
}

gyre::task<> read(gyre::stream<int>& from) { static_cast<void>(co_await from.next()); }

gyre::task<> destroy(std::unique_ptr<gyre::stream<int>>& destroyed) {
  destroyed.reset();  // must stop here
  co_return;
}

}  // namespace

int main() {
  gyre::executor loop;
  auto slow = std::make_unique<gyre::stream<int>>(never());
  loop.run([&]() -> gyre::task<> { co_await gyre::when_all(read(*slow), destroy(slow)); });
}
