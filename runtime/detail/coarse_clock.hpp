// SPDX-License-Identifier: MIT
// The executor's clock: its ring's, and what that said when somebody last looked.
//
// A look costs some 20 ns, an old answer nothing. So each place that needs a time says which of the two it needs.
#pragma once

#include <gyre/runtime/detail/ring.hpp>

#include <cstdint>

namespace gyre::detail {

class coarse_clock {
 public:
  explicit coarse_clock(const ring& its_ring) noexcept : ring_{its_ring} { look(); }

  /// The time now.
  clock_ns look() noexcept {
    last_look_ = ring_.now();
    last_look_ms_ = std::uint64_t{static_cast<std::uint32_t>(last_look_ / 1'000'000)} << 32;
    return last_look_;
  }

  /// The time as of the last look, and the same in milliseconds, which begin anew after 49 days: in the upper half.
  [[nodiscard]] clock_ns last_look() const noexcept { return last_look_; }
  [[nodiscard]] std::uint64_t last_look_ms() const noexcept { return last_look_ms_; }

 private:
  const ring& ring_;
  clock_ns last_look_ = 0;
  std::uint64_t last_look_ms_ = 0;
};

}  // namespace gyre::detail
