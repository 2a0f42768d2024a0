// SPDX-License-Identifier: MIT
// A task is awaited a second time, when its frame is gone.
// must say: a task is awaited once
#include <gyre/runtime/executor.hpp>

#include <utility>

namespace {

gyre::task<int> one() { co_return 1; }

gyre::task<int> await_twice() {
  auto awaited = one();
  const int first = co_await std::move(awaited);
  const int second = co_await std::move(awaited);
  co_return first + second;
}

}  // namespace

int main() {
  gyre::executor loop;
  return loop.run(await_twice());
}
