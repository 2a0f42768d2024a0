// SPDX-License-Identifier: MIT
// Whether an executor looks for work awake before it sleeps: as long as that paid lately.
//
//   it paid           look again before the next sleep
//   it did not        let 1 sleep pass before the next look, then 3, 7, 15 ... 1023
//
// So who is woken in time each time looks each time; who is idle, or is woken by what takes longer, spends a look on a
// thousand sleeps.
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
    constexpr unsigned failures_max = 10;
    failures_ = paid ? 0 : std::min(failures_ + 1, failures_max);
    skips_left_ = (1U << failures_) - 1;
    ++(paid ? paid_ : vain_);
  }

  /// How often it looked, and how often work came meanwhile.
  [[nodiscard]] std::uint64_t looks_count() const noexcept { return paid_ + vain_; }
  [[nodiscard]] std::uint64_t paid_count() const noexcept { return paid_; }

 private:
  unsigned failures_ = 0;  // since the last that paid
  unsigned skips_left_ = 0;
  std::uint64_t paid_ = 0;
  std::uint64_t vain_ = 0;
};

}  // namespace gyre::detail
