// SPDX-License-Identifier: MIT
// Reading a Range field (RFC 9110, 14.1.2).
#include "byte_range.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace http {
namespace {

// A number too large to count is larger than any file.
std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  constexpr auto largest = std::numeric_limits<std::uint64_t>::max();
  if (text.empty()) return std::nullopt;
  std::uint64_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    const auto value = static_cast<std::uint64_t>(digit - '0');
    number = number > (largest - value) / 10 ? largest : number * 10 + value;
  }
  return number;
}

bool remove_unit(std::string_view& field) noexcept {
  constexpr std::string_view unit = "bytes=";
  if (field.size() < unit.size()) return false;
  const bool is_bytes = std::equal(unit.begin(), unit.end(), field.begin(), [](char expected, char given) {
    return expected == given || (given >= 'A' && given <= 'Z' && expected == given - 'A' + 'a');
  });
  field.remove_prefix(unit.size());
  return is_bytes;
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

byte_range last_bytes(std::uint64_t count, std::uint64_t file_bytes) noexcept {
  if (count == 0) return {.what = byte_range::kind::unsatisfiable};
  if (file_bytes == 0) return {};  // all of it, and no Content-Range can say that
  const auto size = std::min(count, file_bytes);
  return {.what = byte_range::kind::part, .first = file_bytes - size, .size_bytes = size};
}

}  // namespace

byte_range byte_range::of(std::string_view field, std::uint64_t file_bytes) noexcept {
  if (!remove_unit(field)) return {};
  field = trimmed(field);
  const auto dash = field.find('-');
  if (dash == std::string_view::npos) return {};
  const auto first_text = field.substr(0, dash);
  const auto last_text = field.substr(dash + 1);

  const auto last = parse_number(last_text);
  if (first_text.empty()) return last ? last_bytes(*last, file_bytes) : byte_range{};

  const auto first = parse_number(first_text);
  if (!first || (!last && !last_text.empty()) || (last && *last < *first)) return {};
  if (*first >= file_bytes) return {.what = kind::unsatisfiable};
  const auto end = last && *last < file_bytes ? *last + 1 : file_bytes;
  return {.what = kind::part, .first = *first, .size_bytes = end - *first};
}

}  // namespace http
