// SPDX-License-Identifier: MIT
// Text as the bytes that operations move, and back.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace gyre::test {

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace gyre::test
