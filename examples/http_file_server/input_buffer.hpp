// SPDX-License-Identifier: MIT
// The bytes of a connection that have come and are not used up: a header has to fit in.
//
//   0 <= begin <= read <= end <= capacity
//
//   [begin, read)   of the request that is coming, already parsed
//   [read, end)     not looked at: the rest of it, or requests that were sent right behind it
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace http {

class input_buffer {
 public:
  explicit input_buffer(std::size_t capacity)
      : bytes_{std::make_unique_for_overwrite<std::byte[]>(capacity)}, capacity_{capacity} {}

  [[nodiscard]] std::span<const std::byte> unread() const noexcept { return {bytes_.get() + read_, end_ - read_}; }
  void read(std::size_t count) noexcept { read_ += count; }

  /// The request that was coming is complete: its bytes may be overwritten.
  void forget_read() noexcept {
    begin_ = read_;
    if (begin_ == end_) begin_ = read_ = end_ = 0;
  }

  /// Where the next bytes go; empty when the request fills the buffer.
  [[nodiscard]] std::span<std::byte> room() noexcept {
    if (end_ == capacity_ && begin_ > 0) move_to_front();
    return {bytes_.get() + end_, capacity_ - end_};
  }
  void came(std::size_t count) noexcept { end_ += count; }

  /// Drops up to `count` unread bytes; returns how many.
  std::uint64_t skip(std::uint64_t count) noexcept {
    const auto skipped = std::min<std::uint64_t>(count, end_ - read_);
    read(static_cast<std::size_t>(skipped));
    forget_read();
    return skipped;
  }

 private:
  void move_to_front() noexcept {
    std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
    read_ -= begin_;
    end_ -= begin_;
    begin_ = 0;
  }

  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_;
  std::size_t begin_ = 0;
  std::size_t read_ = 0;
  std::size_t end_ = 0;
};

}  // namespace http
