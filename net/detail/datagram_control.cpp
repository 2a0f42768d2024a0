// SPDX-License-Identifier: MIT
// Which item of control data is what: ip(7), ipv6(7), socket(7), udp(7).
#include <gyre/net/detail/datagram_control.hpp>
#include <gyre/net/detail/reach.hpp>
#include <gyre/runtime/ops/control.hpp>

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace gyre::net::detail {
namespace {

address v4_address(const ::in_addr& host, std::uint16_t port) noexcept {
  ::sockaddr_storage storage{};
  const ::sockaddr_in v4{.sin_family = AF_INET, .sin_port = port, .sin_addr = host, .sin_zero = {}};
  std::memcpy(&storage, &v4, sizeof v4);
  return *address::from_kernel(storage);
}

address v6_address(const ::in6_addr& host, std::uint32_t scope) noexcept {
  ::sockaddr_storage storage{};
  ::sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = host;
  if (IN6_IS_ADDR_LINKLOCAL(&host) || IN6_IS_ADDR_MC_LINKLOCAL(&host)) v6.sin6_scope_id = scope;
  std::memcpy(&storage, &v6, sizeof v6);
  return *address::from_kernel(storage);
}

::in_addr v4_part_of(const ::in6_addr& mapped) noexcept { return {.s_addr = mapped.s6_addr32[3]}; }

void note(datagram_facts& facts, const ::in_pktinfo& told) noexcept {
  facts.destination = v4_address(told.ipi_addr, 0);
  facts.local = v4_address(told.ipi_spec_dst, 0);
  facts.interface_index = static_cast<unsigned>(told.ipi_ifindex);
}

// A socket of both families is told of an IPv4 datagram in both ways. The other one says more.
void note(datagram_facts& facts, const ::in6_pktinfo& told) noexcept {
  if (IN6_IS_ADDR_V4MAPPED(&told.ipi6_addr)) {
    if (facts.destination) return;
    facts.destination = v4_address(v4_part_of(told.ipi6_addr), 0);
  } else {
    facts.destination = v6_address(told.ipi6_addr, told.ipi6_ifindex);
    if (!IN6_IS_ADDR_MULTICAST(&told.ipi6_addr)) facts.local = facts.destination;
  }
  facts.interface_index = told.ipi6_ifindex;
}

void note(datagram_facts& facts, const ::timespec& told) noexcept {
  facts.timestamp = std::chrono::sys_time<std::chrono::nanoseconds>{std::chrono::seconds{told.tv_sec} +
                                                                    std::chrono::nanoseconds{told.tv_nsec}};
}

void note_of_v4(datagram_facts& facts, int type, std::span<const std::byte> payload) noexcept {
  if (type == IP_PKTINFO) note(facts, value_in<::in_pktinfo>(payload));
  else if (type == IP_TOS) facts.type_of_service = value_in<std::uint8_t>(payload);
  else if (type == IP_TTL) facts.hop_limit = static_cast<std::uint8_t>(value_in<int>(payload));
}

void note_of_v6(datagram_facts& facts, int type, std::span<const std::byte> payload) noexcept {
  if (type == IPV6_PKTINFO) note(facts, value_in<::in6_pktinfo>(payload));
  else if (type == IPV6_TCLASS) facts.type_of_service = static_cast<std::uint8_t>(value_in<int>(payload));
  else if (type == IPV6_HOPLIMIT) facts.hop_limit = static_cast<std::uint8_t>(value_in<int>(payload));
}

void note_of_socket(datagram_facts& facts, int type, std::span<const std::byte> payload) noexcept {
  if (type == SCM_TIMESTAMPNS) note(facts, value_in<::timespec>(payload));
  else if (type == SO_RXQ_OVFL) facts.dropped_count = value_in<std::uint32_t>(payload);
}

}  // namespace

reach reach_of(fd_ref socket) noexcept {
  int family = AF_INET;
  ::socklen_t size = sizeof family;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || family != AF_INET6) return reach::v4;
  int alone = 0;
  size = sizeof alone;
  static_cast<void>(::getsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &alone, &size));
  return alone != 0 ? reach::v6 : reach::both;
}

std::optional<address> address_in(std::span<const std::byte> name) noexcept {
  ::sockaddr_storage storage{};
  std::memcpy(&storage, name.data(), std::min(name.size(), sizeof storage));
  const auto read = address::from_kernel(storage);
  if (!read) return std::nullopt;
  return read->unmapped();
}

datagram_facts facts_in(std::span<const std::byte> control) noexcept {
  datagram_facts facts;
  ops::for_each_control(control, [&](const ::cmsghdr& item, std::span<const std::byte> payload) {
    if (item.cmsg_level == IPPROTO_IP) note_of_v4(facts, item.cmsg_type, payload);
    else if (item.cmsg_level == IPPROTO_IPV6) note_of_v6(facts, item.cmsg_type, payload);
    else if (item.cmsg_level == SOL_SOCKET) note_of_socket(facts, item.cmsg_type, payload);
    else if (item.cmsg_level == SOL_UDP && item.cmsg_type == UDP_GRO)
      facts.segment_bytes = static_cast<std::uint16_t>(value_in<int>(payload));
  });
  return facts;
}

}  // namespace gyre::net::detail
