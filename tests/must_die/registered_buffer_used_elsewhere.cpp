// SPDX-License-Identifier: MIT
// A registered buffer is a number in one executor's table: on another it would be other memory.
// must say: a registered buffer is used in a turn of the executor whose it is
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include <unistd.h>

#include <array>

gyre::task<> read(const gyre::registered_buffer& into) {
  co_await gyre::ops::read{STDIN_FILENO, into};  // must stop here
}

int main() {
  const gyre::executor_options with_table{.registered_buffers = 4};
  gyre::executor here{with_table};
  gyre::executor there{with_table};
  std::array<std::byte, 64> memory{};
  const gyre::registered_buffer made{here, memory};
  there.run(read(made));
}
