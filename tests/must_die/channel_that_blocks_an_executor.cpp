// SPDX-License-Identifier: MIT
// A coroutine blocks its executor's thread in a channel, which only another coroutine of it could end.
// must say: a coroutine does not block its executor
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/channel.hpp>

namespace {

gyre::task<> receive(gyre::sync::channel<int>& from) {
  static_cast<void>(from.receive_blocking());
  co_return;
}

}  // namespace

int main() {
  gyre::executor loop;
  gyre::sync::channel<int> through{1};
  loop.run(receive(through));
}
