// SPDX-License-Identifier: MIT
// A registered buffer goes before the executor in whose table it is.
// must say: an executor was destroyed while somebody owns a registered buffer of it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include <array>
#include <optional>

int main() {
  std::array<std::byte, 64> memory{};
  std::optional<gyre::executor> loop{gyre::executor_options{.registered_buffers = 4}};
  const gyre::registered_buffer made{*loop, memory};
  loop.reset();  // must stop here
}
