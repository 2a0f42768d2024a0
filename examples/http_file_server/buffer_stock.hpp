// SPDX-License-Identifier: MIT
// Buffers on loan: a response holds one while it sends a file, an idle connection none.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace http {

class buffer_stock {
 public:
  static constexpr std::size_t buffer_bytes = 64 * 1024;

  class loan;

  /// Ends with the loan. The one that came back last goes out first: it is still in the processor's cache.
  [[nodiscard]] loan borrow();

 private:
  static constexpr std::size_t kept_count_max = 64;

  void give_back(std::unique_ptr<std::byte[]> buffer) {
    if (free_.size() < kept_count_max) free_.push_back(std::move(buffer));
  }

  std::vector<std::unique_ptr<std::byte[]>> free_;
};

class buffer_stock::loan {
 public:
  loan(loan&&) noexcept = default;
  loan& operator=(loan&&) = delete;
  ~loan() {
    if (buffer_) stock_->give_back(std::move(buffer_));
  }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {buffer_.get(), buffer_bytes}; }

 private:
  friend buffer_stock;
  loan(buffer_stock& stock, std::unique_ptr<std::byte[]> buffer) noexcept
      : stock_{&stock}, buffer_{std::move(buffer)} {}

  buffer_stock* stock_;
  std::unique_ptr<std::byte[]> buffer_;
};

inline buffer_stock::loan buffer_stock::borrow() {
  if (free_.empty()) {
    free_.reserve(kept_count_max);  // so that giving back never allocates
    return {*this, std::make_unique_for_overwrite<std::byte[]>(buffer_bytes)};
  }
  auto last = std::move(free_.back());
  free_.pop_back();
  return {*this, std::move(last)};
}

}  // namespace http
