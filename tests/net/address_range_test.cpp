// SPDX-License-Identifier: MIT
// Ranges of addresses: their text, their bounds, and what lies in them.
#include <gyre/net/address.hpp>
#include <gyre/net/address_range.hpp>
#include <gyre/runtime/error.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <iterator>
#include <ostream>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::string_view_literals;

static_assert(std::ranges::forward_range<address_range>);

address at(std::string_view text) { return address::parse(text).value(); }

address_range range(std::string_view text) { return address_range::parse(text).value(); }

std::string reprinted(std::string_view text) {
  const auto parsed = address_range::parse(text);
  return parsed ? parsed->to_string() : "no range";
}

std::vector<std::string> hosts_of(const address_range& of) {
  std::vector<std::string> hosts;
  for (const address& each : of) hosts.push_back(each.host());
  return hosts;
}

}  // namespace

TEST_CASE("a range that is printed reads as the same range, whatever its prefix") {
  for (unsigned bits = 0; bits <= 128; ++bits) {
    const address_range of_v6{at("2001:db8:5555:aaaa:ffff:5555:aaaa:ffff"), bits};
    CAPTURE(of_v6.to_string());
    CHECK(range(of_v6.to_string()) == of_v6);
    CHECK(of_v6.prefix_length() == bits);
    if (bits > 32) continue;
    const address_range of_v4{at("85.170.255.129"), bits};
    CHECK(range(of_v4.to_string()) == of_v4);
  }
}

TEST_CASE("a range prints as everybody writes it") {
  CHECK(reprinted("10.0.0.0/8") == "10.0.0.0/8");
  CHECK(reprinted("0.0.0.0/0") == "0.0.0.0/0");
  CHECK(reprinted("192.0.2.1/32") == "192.0.2.1/32");
  CHECK(reprinted("192.0.2.1") == "192.0.2.1/32");
  CHECK(reprinted("2001:DB8:0::/32") == "2001:db8::/32");
  CHECK(reprinted("::1") == "::1/128");
  CHECK(reprinted("::ffff:10.0.0.0/104") == "::ffff:10.0.0.0/104");
  CHECK(address_range{}.to_string() == "0.0.0.0/0");
}

TEST_CASE("what is no range is refused") {
  for (const auto text : {""sv,
                          "/"sv,
                          "/8"sv,
                          "10.0.0.0/"sv,
                          "10.0.0.0/33"sv,
                          "10.0.0.0/-1"sv,
                          "10.0.0.0/+8"sv,
                          "10.0.0.0/8/8"sv,
                          "10.0.0.0/ 8"sv,
                          "10.0.0.0/8 "sv,
                          "10.0.0.0/255.0.0.0"sv,
                          "10/8"sv,
                          "10.0.0/8"sv,
                          "::/129"sv,
                          "[::]/0"sv,
                          "10.0.0.0:80/8"sv,
                          "fe80::%1/10"sv,
                          "localhost/8"sv,
                          "10.0.0.0/99999999999999999999"sv,
                          "10.0.0.0/8\0"sv}) {
    CAPTURE(text);
    CHECK(address_range::parse(text).error() == make_error_code(errc::invalid_address));
  }
}

TEST_CASE("an address with bits behind the prefix is no range; the range that it lies in is made of it") {
  CHECK(reprinted("10.0.0.1/8") == "no range");
  CHECK(reprinted("10.0.0.0/7") == "10.0.0.0/7");
  CHECK(reprinted("11.0.0.0/7") == "no range");
  CHECK(reprinted("2001:db8::1/127") == "no range");

  CHECK(address_range{at("10.1.2.3:80"), 8} == range("10.0.0.0/8"));
  CHECK(address_range{at("[fe80::1%3]:80"), 10} == range("fe80::/10"));
}

TEST_CASE("the bounds of a range are in it, and their neighbours are not") {
  const auto subject = range("192.0.2.64/26");

  CHECK(subject.first().host() == "192.0.2.64");
  CHECK(subject.last().host() == "192.0.2.127");
  CHECK(subject.contains(subject.first()));
  CHECK(subject.contains(subject.last()));
  CHECK(!subject.contains(at("192.0.2.63")));
  CHECK(!subject.contains(at("192.0.2.128")));
  CHECK(range("2001:db8::/33").last().host() == "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff");
}

TEST_CASE("ports and scopes have no part in it") {
  CHECK(range("192.0.2.0/24").contains(at("192.0.2.1:65535")));
  CHECK(range("fe80::/10").contains(at("[fe80::1%7]:80")));
}

TEST_CASE("the families are apart, but for IPv4 addresses in IPv6") {
  CHECK(!range("::/0").contains(at("10.0.0.1")));
  CHECK(!range("0.0.0.0/0").contains(at("::1")));
  CHECK(range("10.0.0.0/8").contains(at("::ffff:10.0.0.1")));
  CHECK(!range("10.0.0.0/8").contains(at("::ffff:11.0.0.1")));
  CHECK(range("::/0").contains(at("::ffff:10.0.0.1")));
  CHECK(range("::ffff:0:0/96").contains(at("::ffff:10.0.0.1")));
}

TEST_CASE("one of two ranges contains the other, or they have nothing in common") {
  CHECK(range("10.0.0.0/8").contains(range("10.1.0.0/16")));
  CHECK(!range("10.1.0.0/16").contains(range("10.0.0.0/8")));
  CHECK(range("10.0.0.0/8").contains(range("10.0.0.0/8")));
  CHECK(!range("10.0.0.0/8").contains(range("11.0.0.0/16")));
  CHECK(!range("::/0").contains(range("10.0.0.0/8")));
}

TEST_CASE("a range of few addresses can be gone through") {
  CHECK(hosts_of(range("192.0.2.254/31")) == std::vector<std::string>{"192.0.2.254", "192.0.2.255"});
  CHECK(hosts_of(range("255.255.255.255/32")) == std::vector<std::string>{"255.255.255.255"});
  CHECK(hosts_of(range("2001:db8::fffe/127")) == std::vector<std::string>{"2001:db8::fffe", "2001:db8::ffff"});
  CHECK(std::ranges::distance(range("10.0.0.0/16")) == 65536);
}

TEST_CASE("one that goes beyond a byte carries over") {
  auto each = range("10.0.0.0/15").begin();
  std::ranges::advance(each, 256);
  CHECK(each->host() == "10.0.1.0");
  std::ranges::advance(each, 65536 - 256);

  CHECK(each->host() == "10.1.0.0");
  CHECK(each == std::ranges::next(range("10.0.0.0/15").begin(), 65536));
}

TEST_CASE("ranges are in order of their addresses, the larger one first") {
  CHECK(range("10.0.0.0/8") < range("10.0.0.0/9"));
  CHECK(range("10.0.0.0/9") < range("10.128.0.0/9"));
  CHECK(range("255.0.0.0/8") < range("::/0"));
}

TEST_CASE("the compiler reads a range and looks into it") {
  constexpr auto inside = address_range::literal("10.0.0.0/8");
  static_assert(inside.contains(address::literal("10.255.0.1")));
  static_assert(!inside.contains(address::literal("11.0.0.1")));
  static_assert(address_range::literal("2001:db8::/32").last() ==
                address::literal("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
  static_assert(*std::ranges::next(address_range::literal("::/0").begin(), 257) == address::literal("::101"));
  CHECK(inside == range("10.0.0.0/8"));
}

}  // namespace gyre::net
