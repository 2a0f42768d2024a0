// SPDX-License-Identifier: MIT
// Whether an executor looks for work awake before it sleeps: as long as that paid lately.
//
//   it paid           1 less of doubt
//   it did not        3 more, up to 11
//   doubt above 3     before the next look 2^(doubt - 3) - 1 sleeps pass
//
// A look in vain costs more than one that paid has saved: its whole length, for a sleep and a wake. So who finds work
// three times of four looks before each sleep. Who finds it more rarely comes to look before each 256th; so does who is
// idle.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gyre::detail {

class spin_habit {
 public:
  /// Whether to look before this sleep.
  [[nodiscard]] bool looks() noexcept {
    if (skips_left_ == 0) return true;
    --skips_left_;
    return false;
  }

  /// Tells whether work came while it looked.
  void note(bool paid) noexcept {
    constexpr unsigned doubt_max = 11;
    constexpr unsigned harmless = 3;
    doubt_ = paid ? doubt_ - std::min(doubt_, 1U) : std::min(doubt_ + 3, doubt_max);
    skips_left_ = (1U << (std::max(doubt_, harmless) - harmless)) - 1;
    ++(paid ? paid_ : vain_);
  }

  /// How often it looked, and how often work came meanwhile.
  [[nodiscard]] std::uint64_t looks_count() const noexcept { return paid_ + vain_; }
  [[nodiscard]] std::uint64_t paid_count() const noexcept { return paid_; }

 private:
  unsigned doubt_ = 0;
  unsigned skips_left_ = 0;
  std::uint64_t paid_ = 0;
  std::uint64_t vain_ = 0;
};

}  // namespace gyre::detail
