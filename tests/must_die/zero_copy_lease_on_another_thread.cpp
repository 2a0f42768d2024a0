// SPDX-License-Identifier: MIT
// Bytes that a device has put into memory go back on another thread: two would write into the ring by which they go.
// must say: a zero_copy_lease is destroyed on the thread of its executor
#include <gyre/runtime/ops/recv_zc.hpp>
#include <gyre/runtime/zero_copy_queue.hpp>

#include "../support/scripted.hpp"

#include <optional>
#include <thread>

gyre::task<> read_one(gyre::ops::recv_zc_stream& incoming, std::optional<gyre::zero_copy_lease>& got) {
  got = co_await incoming.next();
}

int main() {
  constexpr unsigned op_recv_zc = 58;
  gyre::test::scripted_executor on{{.modes = {.big = true}}};
  const gyre::zero_copy_queue queue{on.loop, "eth0"};
  gyre::ops::recv_zc_stream incoming{1'000'123, queue};
  std::optional<gyre::zero_copy_lease> got;
  const auto root = on.loop.start(read_one(incoming, got));
  on.loop.run_ready();
  on.script.deliver_zero_copy(on.script.only(op_recv_zc), 0, "bytes");
  on.loop.run_ready();
  std::thread{[&] { got.reset(); }}.join();  // must stop here
}
