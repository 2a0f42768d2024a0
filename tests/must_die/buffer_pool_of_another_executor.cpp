// SPDX-License-Identifier: MIT
// An operation is given a pool whose buffers are another executor's.
// must say: a buffer_pool serves the executor that it was made for
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/leased.hpp>

int main() {
  gyre::executor mine;
  gyre::executor other;
  const gyre::buffer_pool pool{other};
  mine.run([&]() -> gyre::task<> { static_cast<void>(co_await gyre::ops::recv_leased(0, pool)); });
}
