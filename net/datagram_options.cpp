// SPDX-License-Identifier: MIT
// Which numbers these options have, in one family and in the other.
#include <gyre/net/datagram_options.hpp>
#include <gyre/net/detail/reach.hpp>
#include <gyre/net/socket_options.hpp>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <type_traits>

namespace gyre::net {
namespace {

// IPV6_MULTICAST_ALL of linux/in6.h, which <netinet/in.h> has as well in later releases.
constexpr int v6_multicast_all = 29;

// One option of both families.
struct in_each_family {
  int v4;
  const char* v4_name;
  int v6;
  const char* v6_name;
};
constexpr in_each_family destination_told{IP_PKTINFO, "IP_PKTINFO", IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"};
constexpr in_each_family service_told{IP_RECVTOS, "IP_RECVTOS", IPV6_RECVTCLASS, "IPV6_RECVTCLASS"};
constexpr in_each_family hops_told{IP_RECVTTL, "IP_RECVTTL", IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT"};
constexpr in_each_family errors_told{IP_RECVERR, "IP_RECVERR", IPV6_RECVERR, "IPV6_RECVERR"};
constexpr in_each_family hops{IP_TTL, "IP_TTL", IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"};
constexpr in_each_family group_hops{IP_MULTICAST_TTL, "IP_MULTICAST_TTL", IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS"};
constexpr in_each_family loop{IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP", IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP"};
constexpr in_each_family all{IP_MULTICAST_ALL, "IP_MULTICAST_ALL", v6_multicast_all, "IPV6_MULTICAST_ALL"};
constexpr in_each_family discovery{IP_MTU_DISCOVER, "IP_MTU_DISCOVER", IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER"};

void set_both(fd_ref socket, const in_each_family& option, int value) {
  const auto reach = detail::reach_of(socket);
  if (reach != detail::reach::v6) set_option(socket, IPPROTO_IP, option.v4, value, option.v4_name);
  if (reach != detail::reach::v4) set_option(socket, IPPROTO_IPV6, option.v6, value, option.v6_name);
}

int ask_one(fd_ref socket, const in_each_family& option) {
  if (detail::reach_of(socket) == detail::reach::v4) return get_option(socket, IPPROTO_IP, option.v4, option.v4_name);
  return get_option(socket, IPPROTO_IPV6, option.v6, option.v6_name);
}

// The kernel's words for each, in both families: linux/in.h, linux/in6.h.
static_assert(static_cast<int>(mtu_discovery::mode::fragment) == IP_PMTUDISC_DONT);
static_assert(static_cast<int>(mtu_discovery::mode::learn) == IP_PMTUDISC_WANT);
static_assert(static_cast<int>(mtu_discovery::mode::never_fragment) == IP_PMTUDISC_DO);
static_assert(static_cast<int>(mtu_discovery::mode::probe) == IP_PMTUDISC_PROBE);
static_assert(static_cast<int>(mtu_discovery::mode::interface) == IP_PMTUDISC_INTERFACE);
static_assert(static_cast<int>(mtu_discovery::mode::omit) == IP_PMTUDISC_OMIT);

}  // namespace

#define GYRE_NET_OPTION(type, member, option)                                                               \
  void type::apply(fd_ref socket, type value) { set_both(socket, option, static_cast<int>(value.member)); } \
  type type::ask(fd_ref socket) {                                                                           \
    return {.member = static_cast<std::remove_cvref_t<decltype(type::member)>>(ask_one(socket, option))};   \
  }

GYRE_NET_OPTION(report_errors, on, errors_told)
GYRE_NET_OPTION(hop_limit, hops, net::hops)
GYRE_NET_OPTION(multicast_hop_limit, hops, group_hops)
GYRE_NET_OPTION(multicast_loop, on, loop)
GYRE_NET_OPTION(multicast_all, on, all)
GYRE_NET_OPTION(mtu_discovery, how, discovery)

#undef GYRE_NET_OPTION

void receive_offload::apply(fd_ref socket, receive_offload option) {
  set_option(socket, SOL_UDP, UDP_GRO, int{option.on}, "UDP_GRO");
}
receive_offload receive_offload::ask(fd_ref socket) {
  return {.on = get_option(socket, SOL_UDP, UDP_GRO, "UDP_GRO") != 0};
}

void broadcast::apply(fd_ref socket, broadcast option) {
  set_option(socket, SOL_SOCKET, SO_BROADCAST, int{option.on}, "SO_BROADCAST");
}
broadcast broadcast::ask(fd_ref socket) {
  return {.on = get_option(socket, SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST") != 0};
}

void datagram_details::apply(fd_ref socket, const datagram_details& option) {
  set_both(socket, destination_told, option.destination);
  set_both(socket, service_told, option.type_of_service);
  set_both(socket, hops_told, option.hop_limit);
  set_option(socket, SOL_SOCKET, SO_TIMESTAMPNS, int{option.timestamp}, "SO_TIMESTAMPNS");
  set_option(socket, SOL_SOCKET, SO_RXQ_OVFL, int{option.dropped_count}, "SO_RXQ_OVFL");
}

datagram_details datagram_details::ask(fd_ref socket) {
  return {.destination = ask_one(socket, destination_told) != 0,
          .type_of_service = ask_one(socket, service_told) != 0,
          .hop_limit = ask_one(socket, hops_told) != 0,
          .timestamp = get_option(socket, SOL_SOCKET, SO_TIMESTAMPNS, "SO_TIMESTAMPNS") != 0,
          .dropped_count = get_option(socket, SOL_SOCKET, SO_RXQ_OVFL, "SO_RXQ_OVFL") != 0};
}

}  // namespace gyre::net
