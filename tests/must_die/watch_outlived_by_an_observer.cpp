// SPDX-License-Identifier: MIT
// A watch goes, and somebody still follows it.
// must say: a watch or a broadcast outlives its observers and subscribers
#include <gyre/sync/watch.hpp>

#include <optional>

int main() {
  std::optional<gyre::sync::watch<int>> gone{1};
  const gyre::sync::observer<int> seen{*gone};
  gone.reset();
}
