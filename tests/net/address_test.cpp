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

#include <array>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string>
#include <string_view>

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

}  // namespace gyre::net
