// SPDX-License-Identifier: MIT
// A stream is read on an executor whose ring knows nothing of the device's queue: its number may be another queue's.
// must say: a zero_copy_queue serves the executor that it was made for
#include <gyre/runtime/ops/recv_zc.hpp>
#include <gyre/runtime/zero_copy_queue.hpp>

#include "../support/scripted.hpp"

gyre::task<> read_one(gyre::ops::recv_zc_stream& incoming) { static_cast<void>(co_await incoming.next()); }

int main() {
  gyre::test::scripted_executor here{{.modes = {.big = true}}};
  gyre::test::scripted_executor there{{.modes = {.big = true}}};
  const gyre::zero_copy_queue queue{there.loop, "eth0"};
  gyre::ops::recv_zc_stream incoming{1'000'123, queue};
  here.loop.run(read_one(incoming));  // must stop here
}
