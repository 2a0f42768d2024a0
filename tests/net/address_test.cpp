// SPDX-License-Identifier: MIT
// Addresses: text to bytes and back, and all that is no address.
#include <gyre/net/address.hpp>
#include <gyre/runtime/error.hpp>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::string_view_literals;

// What parse() makes of a text, as text; "no address" if it is none.
std::string reprinted(std::string_view text, std::uint16_t default_port = 0) {
  const auto parsed = address::parse(text, default_port);
  return parsed ? parsed->to_string() : "no address";
}

template <class T>
::sockaddr_storage stored(const T& of_family) {
  ::sockaddr_storage storage{};
  std::memcpy(&storage, &of_family, sizeof of_family);
  return storage;
}

}  // namespace

TEST_CASE("an address that was printed reads as the same address") {
  for (const auto& each : {address{}, address::any(1), address::loopback(65535), address::any_v6(0),
                           address::parse("[2001:db8::1]:443").value(), address::parse("fe80::1%7").value()}) {
    CAPTURE(each.to_string());
    const auto parsed = address::parse(each.to_string());

    REQUIRE(parsed.has_value());
    CHECK(*parsed == each);
  }
}

TEST_CASE("the named addresses print as everybody writes them") {
  CHECK(address{}.to_string() == "0.0.0.0:0");
  CHECK(address::any(80).to_string() == "0.0.0.0:80");
  CHECK(address::loopback(7000).to_string() == "127.0.0.1:7000");
  CHECK(address::any_v6(8080).to_string() == "[::]:8080");
}

TEST_CASE("IPv6 is printed in the form of RFC 5952") {
  struct written {
    const char* text;
    const char* canonical;
  };
  for (const auto& [text, canonical] : {
           written{"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},  // 4.1, leading zeros
           written{"2001:DB8::AbCd", "2001:db8::abcd"},                        // 4.3, lower case
           written{"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},                   // 4.2.1, as short as possible
           written{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},            // 4.2.2, not for one field
           written{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},                     // 4.2.3, the longest run
           written{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},               // 4.2.3, of equals the first
           written{"0:0:0:0:0:0:0:0", "::"},                                   // all of it
           written{"0:0:0:0:0:0:0:1", "::1"},                                  //
           written{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},                      //
           written{"::1:50", "::1:50"},                                        //
           written{"::c000:0", "::c000:0"},                                    //
           written{"::10", "::10"},                                            //
           written{"::ffff:192.0.2.1", "::ffff:192.0.2.1"},                    // 5, an IPv4 address in it
           written{"::ffff:c000:0201", "::ffff:192.0.2.1"},                    //
           written{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
       }) {
    CAPTURE(text);
    CHECK(reprinted(text, 53) == '[' + std::string{canonical} + "]:53");
    CHECK(reprinted('[' + std::string{text} + "]:53") == '[' + std::string{canonical} + "]:53");
  }
}

TEST_CASE("a port follows a colon; without one it is the default") {
  CHECK(reprinted("192.0.2.1:0") == "192.0.2.1:0");
  CHECK(reprinted("192.0.2.1:65535", 80) == "192.0.2.1:65535");
  CHECK(reprinted("192.0.2.1", 80) == "192.0.2.1:80");
  CHECK(reprinted("192.0.2.1") == "192.0.2.1:0");
  CHECK(reprinted("[::1]:1", 80) == "[::1]:1");
  CHECK(reprinted("[::1]", 80) == "[::1]:80");
  CHECK(reprinted("::1", 80) == "[::1]:80");
  CHECK(reprinted("::1:80", 7) == "[::1:80]:7");  // outside brackets every colon is one of the address
}

TEST_CASE("a port that is none makes the text no address") {
  for (const std::string_view port : {":"sv, ":-1"sv, ":+1"sv, ": 1"sv, ":1 "sv, ":65536"sv, ":99999999999999999999"sv,
                                      ":0x50"sv, ":http"sv, ":80:80"sv, ":8\0000"sv}) {
    CAPTURE(port);
    CHECK(reprinted("192.0.2.1" + std::string{port}) == "no address");
    CHECK(reprinted("[2001:db8::1]" + std::string{port}) == "no address");
  }
}

TEST_CASE("a link-local address has a scope, by number or by the interface's name") {
  const unsigned loopback_index = ::if_nametoindex("lo");
  const auto by_number = "[fe80::1%" + std::to_string(loopback_index) + "]:80";

  CHECK(reprinted("[fe80::1%42]:80") == "[fe80::1%42]:80");
  CHECK(reprinted("fe80::1%42", 80) == "[fe80::1%42]:80");
  CHECK(reprinted("[fe80::1%4294967295]:80") == "[fe80::1%4294967295]:80");
  CHECK(reprinted("[fe80::1%0]:80") == "[fe80::1]:80");
  if (loopback_index != 0) CHECK(reprinted("[fe80::1%lo]:80") == by_number);
}

TEST_CASE("a scope that does not exist makes the text no address") {
  for (const std::string_view scope :
       {"%"sv, "%-1"sv, "%4294967296"sv, "%no such interface"sv, "%lo%lo"sv, "%1x"sv, "%lo\0"sv, "%lo\0x"sv}) {
    CAPTURE(scope);
    CHECK(reprinted("[fe80::1" + std::string{scope} + "]:80") == "no address");
    CHECK(reprinted("fe80::1" + std::string{scope}) == "no address");
  }
  CHECK(reprinted("fe80::1%" + std::string(10'000, 'x')) == "no address");
  CHECK(reprinted("127.0.0.1%1") == "no address");
}

TEST_CASE("what is no address is refused, whatever it is") {
  const std::string overlong(100'000, '1');
  for (const std::string_view text : {
           ""sv,
           " "sv,
           ":"sv,
           "::::"sv,
           ":::"sv,
           ":80"sv,
           "[]"sv,
           "[]:80"sv,
           "["sv,
           "]"sv,
           "[::1"sv,
           "::1]"sv,
           "[[::1]]"sv,
           "[::1]]:80"sv,
           "[::1]80"sv,
           "[::1] :80"sv,
           "[127.0.0.1]:80"sv,
           "[localhost]:80"sv,
           "localhost"sv,
           "localhost:80"sv,
           "example.org:80"sv,
           "1"sv,
           "1.2.3"sv,
           "1.2.3.4.5"sv,
           "256.0.0.1"sv,
           "-1.0.0.1"sv,
           "1.2.3.04"sv,
           "1.2.3.4 "sv,
           " 1.2.3.4"sv,
           "0x7f.0.0.1"sv,
           "1.2.3.4/8"sv,
           "::1/128"sv,
           "12345::"sv,
           "g::"sv,
           "1::2::3"sv,
           "1:2:3:4:5:6:7:8:9"sv,
           "1:2:3:4:5:6:7"sv,
           "::ffff:1.2.3"sv,
           "::ffff:1.2.3.256"sv,
           "\0"sv,
           "1.2.3.4\0"sv,
           "1.2.3.4\0:80"sv,
           "::1\0"sv,
           "[::1\0]:80"sv,
           "[::1]\0:80"sv,
           "1.2.3.4:80\0"sv,
           "\xff\xfe"sv,
           std::string_view{overlong},
       }) {
    CAPTURE(text);
    const auto parsed = address::parse(text, 80);

    CHECK(parsed.error() == make_error_code(errc::invalid_address));
  }
  CHECK(reprinted('[' + overlong + "]:80") == "no address");
  CHECK(reprinted("::1%" + overlong) == "no address");
  CHECK(reprinted("1.2.3.4:" + overlong) == "no address");
}

TEST_CASE("another port changes nothing else") {
  const auto v4 = address::parse("192.0.2.1:80").value();
  const auto v6 = address::parse("[fe80::1%3]:80").value();

  CHECK(v4.with_port(81).to_string() == "192.0.2.1:81");
  CHECK(v6.with_port(81).to_string() == "[fe80::1%3]:81");
  CHECK(v4.with_port(81).with_port(80) == v4);
  CHECK(v4.port() == 80);
  CHECK(v6.port() == 80);
}

TEST_CASE("addresses are equal when family, host, port and scope are") {
  const auto parsed = [](std::string_view text) { return address::parse(text).value(); };

  CHECK(parsed("192.0.2.1:80") == parsed("192.0.2.1:80"));
  CHECK(parsed("192.0.2.1:80") != parsed("192.0.2.1:81"));
  CHECK(parsed("192.0.2.1:80") != parsed("192.0.2.2:80"));
  CHECK(parsed("0.0.0.0:80") != parsed("[::]:80"));
  CHECK(parsed("[fe80::1%1]:80") != parsed("[fe80::1%2]:80"));
  CHECK(parsed("[2001:DB8:0::1]:80") == parsed("[2001:db8::1]:80"));
}

TEST_CASE("the family decides what the socket calls are given") {
  const auto v4 = address::loopback(80);
  const auto v6 = address::any_v6(80);

  CHECK(v4.is_v4());
  CHECK(!v4.is_v6());
  CHECK(v4.size() == sizeof(::sockaddr_in));
  CHECK(v4.data()->sa_family == AF_INET);
  CHECK(v6.is_v6());
  CHECK(!v6.is_v4());
  CHECK(v6.size() == sizeof(::sockaddr_in6));
  CHECK(v6.data()->sa_family == AF_INET6);
}

TEST_CASE("what the kernel filled in becomes an address; other families do not") {
  ::sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(80);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(443);
  v6.sin6_addr.s6_addr[15] = 1;
  ::sockaddr_un local{};
  local.sun_family = AF_UNIX;

  CHECK(address::from_kernel(stored(v4)).value() == address::loopback(80));
  CHECK(address::from_kernel(stored(v6)).value().to_string() == "[::1]:443");
  CHECK(address::from_kernel(stored(local)).error() == make_error_code(errc::invalid_address));
  CHECK(address::from_kernel(::sockaddr_storage{}).error() == make_error_code(errc::invalid_address));
}

TEST_CASE("the compiler reads addresses, and asks about them") {
  constexpr auto v4 = address::literal("192.0.2.1:80");
  constexpr auto v6 = address::literal("[fe80::1%3]", 443);
  static_assert(v4 == address::v4({192, 0, 2, 1}, 80) && v4.port() == 80);
  static_assert(v6.is_link_local() && v6.scope_id() == 3 && v6.port() == 443);
  static_assert(v4.mapped().is_v4_mapped() && v4.mapped().unmapped() == v4);
  static_assert(v4 < v6 && v4.with_port(81) > v4);
  static_assert(address{} == address::any(0));

  CHECK(v4.to_string() == "192.0.2.1:80");
  CHECK(v6.to_string() == "[fe80::1%3]:443");
}

TEST_CASE("an address is 28 bytes, and copied as such") {
  static_assert(sizeof(address) == 28);
  static_assert(std::is_trivially_copyable_v<address>);
  const auto subject = address::parse("[fe80::1%3]:443").value();

  ::sockaddr_in6 as_kernel_sees_it{};
  std::memcpy(&as_kernel_sees_it, subject.data(), subject.size());

  CHECK(as_kernel_sees_it.sin6_family == AF_INET6);
  CHECK(as_kernel_sees_it.sin6_port == htons(443));
  CHECK(as_kernel_sees_it.sin6_flowinfo == 0);
  CHECK(as_kernel_sees_it.sin6_addr.s6_addr[0] == 0xfe);
  CHECK(as_kernel_sees_it.sin6_addr.s6_addr[15] == 1);
  CHECK(as_kernel_sees_it.sin6_scope_id == 3);
}

TEST_CASE("what the kernel leaves in an address beside it makes no difference") {
  ::sockaddr_in v4{};
  v4.sin_family = AF_INET;
  std::memset(v4.sin_zero, 0xff, sizeof v4.sin_zero);
  ::sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_flowinfo = htonl(12345);

  CHECK(address::from_kernel(stored(v4)).value() == address::any(0));
  CHECK(address::from_kernel(stored(v6)).value() == address::any_v6(0));
  CHECK(std::hash<address>{}(address::from_kernel(stored(v6)).value()) == std::hash<address>{}(address::any_v6(0)));
}

TEST_CASE("the bytes of an address are those that it is made of") {
  const auto v4 = address::parse("192.0.2.1:80").value();
  const auto v6 = address::parse("[2001:db8::ff%1]:80").value();

  CHECK(std::ranges::equal(v4.bytes(), std::array{192, 0, 2, 1}));
  CHECK(v6.bytes().size() == 16);
  CHECK(address::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff}, 80, 1) == v6);
  CHECK(v4.host() == "192.0.2.1");
  CHECK(v6.host() == "2001:db8::ff%1");
}

TEST_CASE("a scope can be changed where there are scopes") {
  const auto v4 = address::parse("192.0.2.1:80").value();
  const auto v6 = address::parse("[fe80::1%3]:80").value();

  CHECK(v6.with_scope_id(4).to_string() == "[fe80::1%4]:80");
  CHECK(v6.with_scope_id(0).to_string() == "[fe80::1]:80");
  CHECK(v4.with_scope_id(4) == v4);
}

TEST_CASE("addresses are of the sorts that their standards name, up to both bounds") {
  struct sort {
    const char* text;
    std::string sorts;
  };
  const auto sorts_of = [](const char* text) {
    const auto subject = address::parse(text).value();
    std::string sorts;
    if (subject.is_unspecified()) sorts += "unspecified ";
    if (subject.is_loopback()) sorts += "loopback ";
    if (subject.is_multicast()) sorts += "multicast ";
    if (subject.is_link_local()) sorts += "link-local ";
    if (subject.is_private()) sorts += "private ";
    return sorts;
  };
  for (const auto& [text, sorts] : {sort{"0.0.0.0", "unspecified "},
                                    sort{"0.0.0.1", ""},
                                    sort{"::", "unspecified "},
                                    sort{"126.255.255.255", ""},
                                    sort{"127.0.0.0", "loopback "},
                                    sort{"127.255.255.255", "loopback "},
                                    sort{"128.0.0.0", ""},
                                    sort{"::1", "loopback "},
                                    sort{"::2", ""},
                                    sort{"1::1", ""},
                                    sort{"223.255.255.255", ""},
                                    sort{"224.0.0.0", "multicast "},
                                    sort{"239.255.255.255", "multicast "},
                                    sort{"240.0.0.0", ""},
                                    sort{"ff00::", "multicast "},
                                    sort{"feff::", ""},
                                    sort{"169.253.255.255", ""},
                                    sort{"169.254.0.0", "link-local "},
                                    sort{"169.254.255.255", "link-local "},
                                    sort{"169.255.0.0", ""},
                                    sort{"fe7f::", ""},
                                    sort{"fe80::", "link-local "},
                                    sort{"febf::1", "link-local "},
                                    sort{"fec0::", ""},
                                    sort{"9.255.255.255", ""},
                                    sort{"10.0.0.0", "private "},
                                    sort{"10.255.255.255", "private "},
                                    sort{"11.0.0.0", ""},
                                    sort{"172.15.255.255", ""},
                                    sort{"172.16.0.0", "private "},
                                    sort{"172.31.255.255", "private "},
                                    sort{"172.32.0.0", ""},
                                    sort{"192.167.255.255", ""},
                                    sort{"192.168.0.0", "private "},
                                    sort{"192.168.255.255", "private "},
                                    sort{"192.169.0.0", ""},
                                    sort{"fbff::", ""},
                                    sort{"fc00::", "private "},
                                    sort{"fdff::", "private "},
                                    sort{"fe00::", ""},
                                    sort{"8.8.8.8", ""},
                                    sort{"2001:db8::1", ""}}) {
    CAPTURE(text);
    CHECK(sorts_of(text) == sorts);
  }
}

TEST_CASE("an IPv4 address in IPv6 is of the sort that the IPv4 address is") {
  CHECK(address::parse("::ffff:127.0.0.1").value().is_loopback());
  CHECK(address::parse("::ffff:0.0.0.0").value().is_unspecified());
  CHECK(address::parse("::ffff:224.0.0.1").value().is_multicast());
  CHECK(address::parse("::ffff:169.254.0.1").value().is_link_local());
  CHECK(address::parse("::ffff:10.0.0.1").value().is_private());
  CHECK(!address::parse("::fffe:127.0.0.1").value().is_loopback());
}

TEST_CASE("an IPv4 address goes into IPv6 and comes back, with its port") {
  const auto v4 = address::parse("192.0.2.1:80").value();
  const auto v6 = address::parse("[2001:db8::1]:80").value();

  CHECK(v4.mapped().to_string() == "[::ffff:192.0.2.1]:80");
  CHECK(v4.mapped().unmapped() == v4);
  CHECK(v4.unmapped() == v4);
  CHECK(v6.mapped() == v6);
  CHECK(v6.unmapped() == v6);
  CHECK(!v4.is_v4_mapped());
  CHECK(address::parse("::ffff:1:2").value().is_v4_mapped());
  CHECK(!address::parse("::1:ffff:1:2").value().is_v4_mapped());
}

TEST_CASE("addresses have an order, and can be kept in sets of both kinds") {
  const auto parsed = [](std::string_view text) { return address::parse(text).value(); };
  const std::vector<address> in_order{parsed("0.0.0.0:0"),     parsed("0.0.0.0:1"),   parsed("0.0.0.1:0"),
                                      parsed("255.0.0.0:0"),   parsed("[::]:0"),      parsed("[::1]:255"),
                                      parsed("[::1]:256"),     parsed("[::1%1]:256"), parsed("[::1%256]:256"),
                                      parsed("[ff00::]:65535")};
  std::vector<address> shuffled(in_order.rbegin(), in_order.rend());

  std::ranges::sort(shuffled);
  const std::unordered_set<address> hashed{shuffled.begin(), shuffled.end()};

  CHECK(shuffled == in_order);
  CHECK(hashed.size() == in_order.size());
  for (const auto& each : in_order) CHECK(hashed.contains(each));
}

TEST_CASE("whatever bytes an address has, it prints as inet_ntop(3) prints it, and reads as itself") {
  std::mt19937_64 random{20260101};
  for (int i = 0; i < 20'000; ++i) {
    std::array<std::uint8_t, 16> bytes{};
    const auto zeros = random();  // half of the groups, so that there are runs
    for (std::size_t k = 0; k < bytes.size(); ++k)
      bytes[k] = (zeros >> (k / 2) & 1U) != 0 ? 0 : static_cast<std::uint8_t>(random());
    const auto port = static_cast<std::uint16_t>(random());
    const auto v6 = address::v6(bytes, port, static_cast<std::uint32_t>(random() % 3));
    const auto v4 = address::v4({bytes[0], bytes[1], bytes[2], bytes[3]}, port);
    std::array<char, INET6_ADDRSTRLEN> of_v4{};
    std::array<char, INET6_ADDRSTRLEN> of_v6{};
    ::inet_ntop(AF_INET, bytes.data(), of_v4.data(), of_v4.size());
    ::inet_ntop(AF_INET6, bytes.data(), of_v6.data(), of_v6.size());
    CAPTURE(v6.to_string());

    CHECK(address::parse(v6.to_string()).value() == v6);
    CHECK(address::parse(v4.to_string()).value() == v4);
    CHECK(v4.host() == of_v4.data());
    const bool in_an_older_form = (zeros & 0x3fU) == 0x3fU && std::strchr(of_v6.data(), '.') != nullptr;
    if (!in_an_older_form) CHECK(v6.with_scope_id(0).host() == of_v6.data());
  }
}

TEST_CASE("whatever the text, it is an address where inet_pton(3) says so, and the same one") {
  constexpr std::string_view pieces[] = {"0",    "1",     "9", "255", "256", "a", "F",
                                         "dead", "beef0", ":", "::",  ".",   "%", " "};
  std::mt19937_64 random{20260102};
  int addresses_count = 0;
  for (int i = 0; i < 100'000; ++i) {
    // Colons between groups, or dots between numbers, more often than by chance alone.
    const std::string_view between = random() % 4 == 0 ? "." : ":";
    std::string text;
    for (auto left = 1 + random() % 9; left > 0; --left) {
      text += pieces[random() % (random() % 4 == 0 ? std::size(pieces) : 9)];
      if (left > 1) text += random() % 8 == 0 ? "::" : between;
    }
    std::array<std::uint8_t, 16> bytes{};
    std::array<std::uint8_t, 4> four{};
    const bool is_v6 = ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
    const bool is_v4 = ::inet_pton(AF_INET, text.c_str(), four.data()) == 1;
    CAPTURE(text);

    CHECK(detail::parse_v6(text) == (is_v6 ? std::optional{bytes} : std::nullopt));
    CHECK(detail::parse_v4(text) == (is_v4 ? std::optional{four} : std::nullopt));
    addresses_count += (is_v4 || is_v6) ? 1 : 0;
  }
  CHECK(addresses_count > 1000);  // else it has shown nothing
}

}  // namespace gyre::net
