// SPDX-License-Identifier: MIT
// Groups: who hears what is sent to one, by which interface, and from whom.
#include <gyre/net/multicast.hpp>
#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/skip.hpp"
#include "../support/udp_pair.hpp"

#include <doctest/doctest.h>
#include <net/if.h>

#include <array>
#include <cstddef>
#include <optional>
#include <system_error>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

struct family_of_groups {
  address everywhere;  // to bind
  address group;
  address other_group;
};

std::vector<family_of_groups> families() {
  const auto read = [](const char* text) { return address::parse(text).value(); };
  std::vector<family_of_groups> all{{address::any(0), read("239.255.71.1"), read("239.255.71.2")}};
  if (has_ipv6_loopback(without_it::goes_on))
    all.push_back({address::any_v6(0), read("[ff15::7101]:0"), read("[ff15::7102]:0")});
  return all;
}

std::vector<network_interface> interfaces() {
  std::vector<network_interface> all{network_interface::named("lo")};
  auto* const known = ::if_nameindex();
  for (auto* each = known; each != nullptr && each->if_index != 0; ++each) all.push_back({.index = each->if_index});
  ::if_freenameindex(known);
  return all;
}

// A member, and somebody who sends to groups, by an interface that takes groups: the loopback, or else another one.
// What is sent passes no router and no wire, as it may make no hop at all. The machine may have none such.
struct members {
  explicit members(const family_of_groups& its) : of{its} {
    member.set(multicast_all{false});
    for (const auto& each : interfaces())
      if (!works) try_by(each);
    if (!works) SAY_LEFT_OUT("no interface of this machine takes the group ", of.group.to_string());
  }

  void join(const address& group, std::optional<address> from = {}) {
    member.join({.group = group, .interface = interface, .source = from});
  }
  void leave(const address& group, std::optional<address> from = {}) {
    member.leave({.group = group, .interface = interface, .source = from});
  }
  address to(const address& group) const { return group.with_port(member.local_address().port()); }

  // Whether what is sent to a group comes to the member.
  bool hears(const address& group) {
    loop.run([&]() -> task<> { co_await sender.send_to(bytes_of("anybody?"), to(group)); });
    const bool came = has_something(member);
    std::array<std::byte, 16> buffer{};
    if (came)
      source = loop.run([&]() -> task<received_datagram> { co_return co_await member.receive_from(buffer); }).source;
    return came;
  }

  const family_of_groups& of;
  executor loop{options_under_test()};
  udp_socket member = udp_socket::bind({.at = of.everywhere, .details = {.destination = true, .hop_limit = true}});
  udp_socket sender = udp_socket::bind({.at = of.everywhere});
  network_interface interface;
  address source;
  bool works = false;

 private:
  void try_by(const network_interface& one) {
    interface = one;
    try {
      sender.set_multicast_interface(one);
      sender.set(multicast_hop_limit{.hops = 0});
      join(of.group);
      works = hears(of.group);
      if (!works) leave(of.group);
    } catch (const std::system_error&) {
      works = false;
    }
  }
};

template <class Call>
std::error_code refusal_of(Call call) {
  try {
    call();
  } catch (const std::system_error& refused) {
    return refused.code();
  }
  return {};
}

}  // namespace

TEST_CASE("a member hears what is sent to its groups, from when it joins until it leaves, and nothing else") {
  for (const auto& each : families()) {
    members some{each};
    if (!some.works) continue;
    CHECK(some.hears(each.group));
    CHECK(!some.hears(each.other_group));

    some.join(each.other_group);
    CHECK(some.hears(each.other_group));
    some.leave(each.group);
    CHECK(!some.hears(each.group));
    CHECK(some.hears(each.other_group));
  }
}

TEST_CASE("a member of one source hears that source alone") {
  for (const auto& each : families()) {
    members some{each};
    if (!some.works) continue;
    const auto stranger = address::parse(each.group.is_v4() ? "192.0.2.1" : "2001:db8::1").value();

    some.join(each.other_group, some.source);
    CHECK(some.hears(each.other_group));
    some.leave(each.other_group, some.source);
    CHECK(!some.hears(each.other_group));
    some.join(each.other_group, stranger);
    CHECK(!some.hears(each.other_group));
  }
}

TEST_CASE("what came to a group is told as such, and is answered from an address of the interface") {
  for (const auto& each : families()) {
    members some{each};
    if (!some.works) continue;
    std::array<std::byte, 16> buffer{};

    some.loop.run([&]() -> task<> {
      co_await some.sender.send_to(bytes_of("who?"), some.to(each.group));
      const auto came = co_await some.member.receive_from(buffer);
      CHECK(came.facts.destination == each.group);
      CHECK(came.facts.interface_index == some.interface.index);
      CHECK(came.facts.hop_limit == 0);
      CHECK(came.facts.local.has_value() == each.group.is_v4());
      co_await some.member.answer(came, bytes_of("me"));
      const auto answer = co_await some.sender.receive_from(buffer);
      CHECK(answer.source.with_port(0) == came.source.with_port(0));  // this machine's, both
    });
  }
}

TEST_CASE("a socket that is bound to all addresses hears groups of others too, unless it says not to") {
  for (const auto& each : families()) {
    members some{each};
    if (!some.works) continue;
    auto other = udp_socket::bind({.at = each.everywhere});
    other.join({.group = each.other_group, .interface = some.interface});

    some.member.set(multicast_all{true});
    CHECK(some.hears(each.other_group));
    some.member.set(multicast_all{false});
    CHECK(!some.hears(each.other_group));
  }
}

TEST_CASE("joining what is no group, or twice, and leaving what was not joined, are errors that name the option") {
  for (const auto& each : families()) {
    members some{each};
    if (!some.works) continue;

    CHECK(refusal_of([&] { some.join(some.source); }) == std::errc::invalid_argument);
    CHECK(refusal_of([&] { some.join(each.group); }) == std::errc::address_in_use);
    CHECK(refusal_of([&] { some.leave(each.other_group); }) == std::errc::address_not_available);
    CHECK(static_cast<bool>(refusal_of([&] { some.leave(each.other_group, some.source); })));
    CHECK(refusal_of([&] { some.member.join({.group = each.other_group, .interface = {.index = 1'000'000}}); }) ==
          std::errc::no_such_device);
    CHECK(static_cast<bool>(refusal_of([&] { some.sender.set_multicast_interface({.index = 1'000'000}); })));
  }
}

}  // namespace gyre::net
