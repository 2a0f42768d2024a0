// SPDX-License-Identifier: MIT
// A personality goes before the executor whose ring has it.
// must say: an executor was destroyed while somebody owns a personality of it
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/personality.hpp>

#include <optional>

int main() {
  std::optional<gyre::executor> loop{std::in_place};
  const gyre::personality made{*loop};
  loop.reset();  // must stop here
}
