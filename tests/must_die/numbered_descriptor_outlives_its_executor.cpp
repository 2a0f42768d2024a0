// SPDX-License-Identifier: MIT
// A numbered descriptor goes before the executor in whose table it is.
// must say: an executor was destroyed while somebody owns a direct descriptor of it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/numbered_fd.hpp>

#include <unistd.h>

#include <optional>

int main() {
  std::optional<gyre::executor> loop{gyre::executor_options{.direct_descriptors = 4, .numbered_descriptors = 2}};
  const gyre::numbered_fd made{*loop, 0, STDIN_FILENO};
  loop.reset();  // must stop here
}
