// SPDX-License-Identifier: MIT
// A direct descriptor is a number in one executor's table: on another it would be another file.
// must say: a direct descriptor is used in a turn of the executor whose it is
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include <sys/socket.h>

#include <array>

gyre::task<> make(gyre::direct_fd& made) { made = co_await gyre::ops::socket_direct{AF_UNIX, SOCK_STREAM}; }

gyre::task<> receive(const gyre::direct_fd& from) {
  std::array<std::byte, 4> buffer;
  co_await gyre::ops::recv{from, buffer};  // must stop here
}

int main() {
  const gyre::executor_options with_table{.direct_descriptors = 4};
  gyre::executor here{with_table};
  gyre::executor there{with_table};
  gyre::direct_fd made;
  here.run(make(made));
  there.run(receive(made));
}
