// SPDX-License-Identifier: MIT
// A string as JSON writes it: quoted, with everything escaped that would break the quotes or the encoding.
#pragma once

#include <string>
#include <string_view>

namespace gyre::detail {

/// `text` as a JSON string literal. Bytes outside ASCII are read as Latin-1, so that the result is valid JSON (RFC
/// 8259, 7 and 8.1) whatever they are.
inline std::string json_text(std::string_view text) {
  constexpr std::string_view hex_digits = "0123456789abcdef";
  std::string quoted{'"'};
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte > 0x7e) {
      quoted += "\\u00";
      quoted += hex_digits[byte >> 4U];
      quoted += hex_digits[byte & 0xfU];
    } else {
      quoted += c;
    }
  }
  quoted += '"';
  return quoted;
}

}  // namespace gyre::detail
