// SPDX-License-Identifier: MIT
// A direct descriptor goes before the executor in whose table it is.
// must say: an executor was destroyed while somebody owns a direct descriptor of it
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>

#include <sys/socket.h>

#include <optional>

gyre::task<> make(gyre::direct_fd& made) { made = co_await gyre::ops::socket_direct{AF_UNIX, SOCK_STREAM}; }

int main() {
  gyre::direct_fd made;
  std::optional<gyre::executor> loop{gyre::executor_options{.direct_descriptors = 4}};
  loop->run(make(made));
  loop.reset();  // must stop here
}
