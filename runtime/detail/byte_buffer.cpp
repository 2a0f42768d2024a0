// SPDX-License-Identifier: MIT
// How bytes move in and out of a buffer.
#include <gyre/runtime/detail/byte_buffer.hpp>

#include <algorithm>
#include <cstring>

namespace gyre::detail {

byte_buffer::byte_buffer(std::size_t capacity)
    : capacity_{capacity}, memory_{std::make_unique_for_overwrite<std::byte[]>(capacity)} {
  GYRE_ASSERT(capacity > 0, "a buffer has room for a byte");
}

std::span<std::byte> byte_buffer::room() noexcept {
  if (begin_ > 0) {
    std::memmove(memory_.get(), memory_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {memory_.get() + end_, capacity_ - end_};
}

std::size_t byte_buffer::put(std::span<const std::byte> bytes) noexcept {
  if (end_ + bytes.size() > capacity_) static_cast<void>(room());
  const std::size_t count = std::min(bytes.size(), capacity_ - end_);
  std::copy_n(bytes.data(), count, memory_.get() + end_);
  end_ += count;
  return count;
}

std::size_t byte_buffer::take(std::span<std::byte> into) noexcept {
  const auto taken = pass(std::min(into.size(), held().size()));
  std::copy_n(taken.data(), taken.size(), into.data());
  return taken.size();
}

std::size_t find_bytes(std::span<const std::byte> in, std::string_view wanted, std::size_t from) noexcept {
  const std::string_view text{reinterpret_cast<const char*>(in.data()), in.size()};
  const std::size_t found = text.find(wanted, from);
  return found == std::string_view::npos ? not_found : found + wanted.size();
}

}  // namespace gyre::detail
