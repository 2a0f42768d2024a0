// SPDX-License-Identifier: MIT
// The queue of plain values: its own place, and the memory that it grows into.
#include <gyre/runtime/detail/fifo.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>

namespace gyre::detail {

TEST_CASE("values leave a fifo in the order in which they came, however it grows in between") {
  std::mt19937 random{20'261'122};
  for (const std::size_t first_capacity : {std::size_t{2}, std::size_t{8}}) {
    fifo<std::uint32_t> queue{first_capacity};
    std::deque<std::uint32_t> same;
    for (std::uint32_t value = 0; value < 20'000; ++value) {
      const bool comes = same.empty() || random() % 100 < (value / 5'000 % 2 == 0 ? 55U : 45U);
      if (comes) {
        REQUIRE(queue.push_back(value));
        same.push_back(value);
      } else {
        REQUIRE(queue.pop_front() == same.front());
        same.pop_front();
      }
      REQUIRE(queue.size() == same.size());
      REQUIRE(queue.empty() == same.empty());
    }
  }
}

}  // namespace gyre::detail
