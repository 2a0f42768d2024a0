// SPDX-License-Identifier: MIT
// A block of addresses by a prefix, "10.0.0.0/8" or "2001:db8::/32": who may connect, whom a route is for.
//
//   constexpr auto inside = net::address_range::literal("10.0.0.0/8");
//   if (!inside.contains(client.peer_address())) co_return;
//
// A range is of addresses alone: ports and scopes have no part in it.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

namespace gyre::net {

/// All addresses that begin with the same bits. A value.
class address_range {
 public:
  class iterator;

  /// All IPv4 addresses: 0.0.0.0/0.
  constexpr address_range() noexcept = default;

  /// The range of that size which the address lies in: `{address::literal("10.1.2.3"), 8}` is 10.0.0.0/8.
  ///
  /// @param prefix_length  How many bits its addresses have in common: 0 to 32 for IPv4, 0 to 128 for IPv6.
  constexpr address_range(const address& inside, unsigned prefix_length)
      : first_{with_rest_of_bits(inside, prefix_length, false)}, prefix_length_{prefix_length} {
    GYRE_ASSERT(prefix_length <= bits_of(inside), "a prefix is no longer than its address");
  }

  /// Reads "10.0.0.0/8", "2001:db8::/32", and an address alone, which is a range of one.
  ///
  /// @return  The range; errc::invalid_address also for one whose address has bits behind the prefix, "10.0.0.1/8": it
  ///          is more likely a mistake than a range.
  [[nodiscard]] static result<address_range> parse(std::string_view text) noexcept;

  /// The same of a text in the program, read by the compiler, which refuses what is no range.
  [[nodiscard]] static consteval address_range literal(std::string_view text);

  /// The bounds of the range, both in it.
  [[nodiscard]] constexpr address first() const noexcept { return first_; }
  [[nodiscard]] constexpr address last() const noexcept { return with_rest_of_bits(first_, prefix_length_, true); }

  [[nodiscard]] constexpr unsigned prefix_length() const noexcept { return prefix_length_; }
  [[nodiscard]] constexpr bool is_v4() const noexcept { return first_.is_v4(); }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return first_.is_v6(); }

  /// Whether the address lies in it, whatever its port and scope. A range of IPv4 contains such addresses in IPv6 too,
  /// as a socket that takes both has them for its peers: 10.0.0.0/8 has ::ffff:10.0.0.1.
  [[nodiscard]] constexpr bool contains(const address& asked) const noexcept {
    const address comparable = is_v4() ? asked.unmapped() : asked;
    return comparable.family() == first_.family() && with_rest_of_bits(comparable, prefix_length_, false) == first_;
  }

  /// Whether all addresses of the other lie in it. Two ranges have no address in common, or one contains the other.
  [[nodiscard]] constexpr bool contains(const address_range& other) const noexcept {
    return prefix_length_ <= other.prefix_length_ && is_v4() == other.is_v4() && contains(other.first_);
  }

  /// Its addresses from first() to last(), with port 0: `for (const address& each : range)`. There may be very many.
  [[nodiscard]] constexpr iterator begin() const noexcept;
  [[nodiscard]] static constexpr std::default_sentinel_t end() noexcept { return {}; }

  /// "10.0.0.0/8", as parse() reads it.
  [[nodiscard]] std::string to_string() const;

  /// By the first address, then the larger range first.
  friend constexpr std::strong_ordering operator<=>(const address_range&, const address_range&) noexcept = default;
  friend constexpr bool operator==(const address_range&, const address_range&) noexcept = default;

 private:
  static constexpr unsigned bits_of(const address& of) noexcept { return of.is_v4() ? 32 : 128; }

  // The address alone, with what follows the prefix all ones or all zeros.
  static constexpr address with_rest_of_bits(const address& of, unsigned prefix_length, bool ones) noexcept {
    std::array<std::uint8_t, 16> bytes{};
    const auto given = of.bytes();
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto bits_kept = prefix_length > 8 * i ? prefix_length - 8 * i : 0;
      const unsigned rest = bits_kept >= 8 ? 0U : 0xffU >> bits_kept;
      bytes[i] = static_cast<std::uint8_t>(ones ? given[i] | rest : given[i] & ~rest);
    }
    return of.is_v4() ? address::v4({bytes[0], bytes[1], bytes[2], bytes[3]}) : address::v6(bytes);
  }

  static constexpr std::optional<address_range> read(std::string_view text) noexcept {
    const std::size_t slash = text.find('/');
    const std::string_view host = text.substr(0, slash);
    std::optional<address> first;
    if (const auto v4 = detail::parse_v4(host)) first.emplace(address::v4(*v4));
    else if (const auto v6 = detail::parse_v6(host)) first.emplace(address::v6(*v6));
    if (!first) return std::nullopt;
    if (slash == std::string_view::npos) return address_range{*first, bits_of(*first)};
    const auto prefix_length = detail::parse_number(text.substr(slash + 1), bits_of(*first));
    if (!prefix_length) return std::nullopt;
    const address_range found{*first, *prefix_length};
    if (found.first_ != *first) return std::nullopt;
    return found;
  }

  address first_;
  unsigned prefix_length_ = 0;
};

/// Goes from one address to the next.
class address_range::iterator {
 public:
  using iterator_concept = std::forward_iterator_tag;
  using difference_type = std::ptrdiff_t;
  using value_type = address;

  constexpr iterator() noexcept = default;

  [[nodiscard]] constexpr const address& operator*() const noexcept { return at_; }
  [[nodiscard]] constexpr const address* operator->() const noexcept { return &at_; }

  constexpr iterator& operator++() noexcept {
    if (at_ == last_) is_over_ = true;
    else at_ = next_of(at_);
    return *this;
  }
  constexpr iterator operator++(int) noexcept {
    const iterator before = *this;
    ++*this;
    return before;
  }

  friend constexpr bool operator==(const iterator&, const iterator&) noexcept = default;
  friend constexpr bool operator==(const iterator& at, std::default_sentinel_t) noexcept { return at.is_over_; }

 private:
  friend address_range;
  constexpr iterator(const address& first, const address& last) noexcept : at_{first}, last_{last}, is_over_{false} {}

  static constexpr address next_of(const address& before) noexcept {
    std::array<std::uint8_t, 16> bytes{};
    std::copy(before.bytes().begin(), before.bytes().end(), bytes.begin());
    for (std::size_t i = before.bytes().size(); i-- > 0 && ++bytes[i] == 0;) {
    }
    return before.is_v4() ? address::v4({bytes[0], bytes[1], bytes[2], bytes[3]}) : address::v6(bytes);
  }

  address at_;
  address last_;
  bool is_over_ = true;
};

constexpr address_range::iterator address_range::begin() const noexcept { return {first_, last()}; }

consteval address_range address_range::literal(std::string_view text) {
  const auto found = read(text);
  if (!found) throw "this text is no range of addresses";
  return *found;
}

}  // namespace gyre::net
