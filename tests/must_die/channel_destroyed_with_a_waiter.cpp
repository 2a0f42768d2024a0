// SPDX-License-Identifier: MIT
// A channel goes while a coroutine waits for an item of it.
// must say: a channel was destroyed while somebody waits at it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/channel.hpp>

#include <optional>

namespace {

gyre::task<> receive(gyre::sync::channel<int>& from) { static_cast<void>(co_await from.receive()); }

}  // namespace

int main() {
  gyre::executor loop;
  std::optional<gyre::sync::channel<int>> gone{1};
  const auto root = loop.start(receive(*gone));
  loop.run_ready();
  gone.reset();
}
