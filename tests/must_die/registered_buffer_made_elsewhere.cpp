// SPDX-License-Identifier: MIT
// Memory is registered by the thread whose ring it is: the kernel takes it from no other.
// must say: memory is registered on the thread of its executor
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include <array>
#include <thread>

int main() {
  std::array<std::byte, 64> memory{};
  gyre::executor loop{gyre::executor_options{.registered_buffers = 4}};
  std::thread{[&] { const gyre::registered_buffer made{loop, memory}; }}.join();  // must stop here
}
