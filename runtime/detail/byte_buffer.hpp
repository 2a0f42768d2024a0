// SPDX-License-Identifier: MIT
// Bytes on their way between a stream and who reads or writes it: what buffered_reader and buffered_writer share.
#pragma once

#include <gyre/runtime/assert.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace gyre::detail {

/// A queue of bytes in one piece of memory of fixed size.
class byte_buffer {
 public:
  explicit byte_buffer(std::size_t capacity);

  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::span<const std::byte> held() const noexcept { return {memory_.get() + begin_, end_ - begin_}; }

  /// Where the next bytes go, which add() then says the number of. Not empty, unless it is full. Moves what is held, so
  /// that views of it end.
  [[nodiscard]] std::span<std::byte> room() noexcept;
  void add(std::size_t count) noexcept {
    GYRE_ASSERT(count <= capacity_ - end_, "a stream gave more bytes than there was room for");
    end_ += count;
  }

  /// Takes in as many of `bytes` as there is room for; returns how many.
  std::size_t put(std::span<const std::byte> bytes) noexcept;

  void consume(std::size_t count) noexcept {
    GYRE_ASSERT(count <= end_ - begin_, "more bytes are consumed than are buffered");
    begin_ += count;
  }

  /// The first `count` bytes, consumed. They stay where they are until room is asked for.
  std::span<const std::byte> pass(std::size_t count) noexcept {
    const auto passed = held().first(count);
    consume(count);
    return passed;
  }

  /// Copies out, and consumes, what there is and fits; returns how many bytes.
  std::size_t take(std::span<std::byte> into) noexcept;

 private:
  std::size_t capacity_;
  std::unique_ptr<std::byte[]> memory_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

inline constexpr std::size_t not_found = SIZE_MAX;

/// Behind the first occurrence of `wanted` that begins at `from` or later.
[[nodiscard]] std::size_t find_bytes(std::span<const std::byte> in, std::string_view wanted, std::size_t from) noexcept;

/// Asserts that something has one user at a time.
class single_use {
 public:
  explicit single_use(const char* rule) noexcept : rule_{rule} {}

  class [[nodiscard]] holding {
   public:
    explicit holding(single_use& used) noexcept : used_{used} {
      GYRE_ASSERT(!used_.in_use_, used_.rule_);
      used_.in_use_ = true;
    }
    holding(const holding&) = delete;
    holding& operator=(const holding&) = delete;
    ~holding() { used_.in_use_ = false; }

   private:
    single_use& used_;
  };

 private:
  const char* rule_;
  bool in_use_ = false;
};

}  // namespace gyre::detail
