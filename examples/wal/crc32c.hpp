// SPDX-License-Identifier: MIT
// CRC-32C, the checksum of iSCSI and of many logs: finds every burst of up to 32 bits that has changed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace wal {
namespace detail {

constexpr std::array<std::uint32_t, 256> make_crc32c_table() noexcept {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1U) ^ ((rest & 1U) != 0 ? 0x82f63b78U : 0U);
    table[byte] = rest;
  }
  return table;
}

inline constexpr auto crc32c_table = make_crc32c_table();

}  // namespace detail

/// The checksum of bytes; or of those before and these, given what it was of those before.
constexpr std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept {
  std::uint32_t rest = ~before;
  for (const std::byte each : bytes)
    rest = (rest >> 8U) ^ detail::crc32c_table[(rest ^ std::to_integer<std::uint32_t>(each)) & 0xffU];
  return ~rest;
}

inline constexpr std::array known_text{std::byte{'1'}, std::byte{'2'}, std::byte{'3'}, std::byte{'4'}, std::byte{'5'},
                                       std::byte{'6'}, std::byte{'7'}, std::byte{'8'}, std::byte{'9'}};
static_assert(crc32c(known_text) == 0xe3069283U, "the check value that its definition comes with");

}  // namespace wal
