// SPDX-License-Identifier: MIT
// An executor goes before a pool of its buffers.
// must say: an executor was destroyed while a buffer_pool of it, or a stream over one, is still there
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/executor.hpp>

#include <optional>

int main() {
  std::optional<gyre::executor> loop{std::in_place};
  const gyre::buffer_pool pool{*loop};
  loop.reset();
}
