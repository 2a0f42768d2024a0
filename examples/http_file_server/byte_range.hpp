// SPDX-License-Identifier: MIT
// The Range field: which part of a file a client wants.
#pragma once

#include <cstdint>
#include <string_view>

namespace http {

struct byte_range {
  enum class kind : std::uint8_t {
    whole,         // no range, several, or one that is not understood: RFC 9110, 14.2 lets a server ignore it
    part,          // `first` and `size_bytes` say which
    unsatisfiable  // it begins beyond the end
  };

  kind what = kind::whole;
  std::uint64_t first = 0;
  std::uint64_t size_bytes = 0;

  /// @param field       "bytes=0-499", "bytes=500-", "bytes=-500"; may be empty.
  /// @param file_bytes  The size of the whole file.
  [[nodiscard]] static byte_range of(std::string_view field, std::uint64_t file_bytes) noexcept;
};

}  // namespace http
