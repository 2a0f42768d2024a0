// SPDX-License-Identifier: MIT
// A pool goes while a call is in its line.
// must say: an offload pool was destroyed while a call waits or runs in it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>

#include <future>
#include <optional>

namespace {

gyre::task<> waits_for(gyre::offload_pool& pool, std::shared_future<void> end) {
  co_await gyre::offload(pool, [end] { end.wait(); });
}

}  // namespace

int main() {
  gyre::executor loop;
  std::promise<void> never;
  std::optional<gyre::offload_pool> pool;
  pool.emplace();
  const auto root = loop.start(waits_for(*pool, never.get_future().share()));
  loop.run_ready();
  pool.reset();
}
