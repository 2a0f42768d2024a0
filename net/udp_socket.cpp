// SPDX-License-Identifier: MIT
// Binding, groups, and what the queue of errors tells.
#include <gyre/net/detail/datagram_control.hpp>
#include <gyre/net/detail/end_socket.hpp>
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/ops/control.hpp>
#include <gyre/runtime/scope.hpp>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <system_error>
#include <utility>

namespace gyre::net {
namespace {

unique_fd datagram_socket(int family) {
  unique_fd made{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP)};
  if (!made) detail::throw_socket_error("socket");
  return made;
}

// Room for what the kernel writes: less than that, and it leaves out an item.
std::size_t control_bytes_for(fd_ref socket) {
  const auto details = datagram_details::ask(socket);
  std::size_t bytes = 0;
  if (details.destination) bytes += CMSG_SPACE(sizeof(::in_pktinfo)) + CMSG_SPACE(sizeof(::in6_pktinfo));
  if (details.type_of_service) bytes += CMSG_SPACE(sizeof(int));
  if (details.hop_limit) bytes += CMSG_SPACE(sizeof(int));
  if (details.timestamp) bytes += CMSG_SPACE(sizeof(::timespec));
  if (details.dropped_count) bytes += CMSG_SPACE(sizeof(std::uint32_t));
  if (receive_offload::ask(socket).on) bytes += CMSG_SPACE(sizeof(int));
  return bytes;
}

// ------------------------------------------------------------------------------------------------------------ errors

error_origin origin_of(std::uint8_t told) noexcept {
  switch (told) {
    case SO_EE_ORIGIN_NONE:
      return error_origin::unknown;
    case SO_EE_ORIGIN_LOCAL:
      return error_origin::local;
    case SO_EE_ORIGIN_ICMP:
      return error_origin::icmp;
    case SO_EE_ORIGIN_ICMP6:
      return error_origin::icmp6;
    default:
      return error_origin::other;
  }
}

std::error_code code_of(int number) noexcept { return {number, std::system_category()}; }

void note(datagram_error& error, std::span<const std::byte> payload) noexcept {
  const auto told = detail::value_in<::sock_extended_err>(payload);
  error.code = code_of(static_cast<int>(told.ee_errno));
  error.origin = origin_of(told.ee_origin);
  error.icmp_type = told.ee_type;
  error.icmp_code = told.ee_code;
  if (told.ee_errno == EMSGSIZE) error.mtu = told.ee_info;
  error.reporter = detail::address_in(payload.subspan(std::min(sizeof told, payload.size())));
}

datagram_error error_in(std::span<const std::byte> control) noexcept {
  datagram_error error;
  ops::for_each_control(control, [&](const ::cmsghdr& item, std::span<const std::byte> payload) {
    const bool is_report = (item.cmsg_level == IPPROTO_IP && item.cmsg_type == IP_RECVERR) ||
                           (item.cmsg_level == IPPROTO_IPV6 && item.cmsg_type == IPV6_RECVERR);
    if (is_report) note(error, payload);
  });
  return error;
}

// The error that the next send or receive would be told. Nobody is told of it after this.
std::optional<datagram_error> pending_error(fd_ref socket) {
  const int pending = get_option(socket, SOL_SOCKET, SO_ERROR, "SO_ERROR");
  if (pending == 0) return std::nullopt;
  datagram_error error;
  error.code = code_of(pending);
  return error;
}

}  // namespace

udp_socket::udp_socket(unique_fd socket) noexcept : fd_{std::move(socket)}, reach_{detail::reach_of(fd_)} {
  note_peer();
}

udp_socket udp_socket::bind(const udp_options& options) {
  const address at = options.port != 0 ? options.at.with_port(options.port) : options.at;
  unique_fd socket = datagram_socket(at.family());
  if (at.is_v6()) v6_only::apply(socket, {.on = !options.dual_stack});
  if (options.reuse_address) reuse_address::apply(socket, {.on = true});
  if (options.reuse_port) reuse_port::apply(socket, {.on = true});
  if (options.details != datagram_details{}) datagram_details::apply(socket, options.details);
  if (::bind(socket.get(), at.data(), at.size()) != 0) detail::throw_socket_error(("bind " + at.to_string()).c_str());
  return udp_socket{std::move(socket)};
}

udp_socket udp_socket::connect(const address& peer) {
  const address to = peer.unmapped();
  udp_socket made{datagram_socket(to.family())};
  made.set_peer(to);
  return made;
}

void udp_socket::set_peer(const address& peer) {
  const address to = peer.unmapped();
  if (::connect(fd_.get(), to.data(), to.size()) != 0)
    detail::throw_socket_error(("connect " + to.to_string()).c_str());
  note_peer();
}

void udp_socket::clear_peer() {
  const ::sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  if (::connect(fd_.get(), &nobody, sizeof nobody) != 0) detail::throw_socket_error("connect");
}

void udp_socket::note_peer() noexcept {
  ::sockaddr_storage peer{};
  ::socklen_t size = sizeof peer;
  if (::getpeername(fd_.get(), reinterpret_cast<::sockaddr*>(&peer), &size) != 0) return;
  const auto known = detail::address_in(std::as_bytes(std::span{&peer, 1}));
  peer_is_v6_ = known && known->is_v6();
}

incoming_datagrams udp_socket::datagrams(const buffer_pool& pool, std::size_t pause_at) {
  auto messages = incoming_datagrams::messages_of(fd_, pool, control_bytes_for(fd_), pause_at);
  streams_.add(messages);
  return incoming_datagrams{std::move(messages)};
}

std::size_t udp_socket::buffer_bytes_for(std::size_t datagram_bytes) const {
  return incoming_datagrams::overhead_bytes(control_bytes_for(fd_)) + datagram_bytes;
}

// ------------------------------------------------------------------------------------------------------------ errors

std::optional<datagram_error> udp_socket::try_receive_error(std::span<std::byte> datagram) {
  ::sockaddr_storage destination{};
  alignas(::cmsghdr) std::array<std::byte, 256> control{};
  ::iovec part{.iov_base = datagram.data(), .iov_len = datagram.size()};
  ::msghdr header{};
  header.msg_name = &destination;
  header.msg_namelen = sizeof destination;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const auto received = ::recvmsg(fd_.get(), &header, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (received < 0 && errno != EAGAIN) detail::throw_socket_error("recvmsg, MSG_ERRQUEUE");
  if (received < 0) return pending_error(fd_);

  auto error = error_in(std::span<const std::byte>{control}.first(header.msg_controllen));
  error.destination = detail::address_in(std::as_bytes(std::span{&destination, 1}));
  error.bytes = static_cast<std::size_t>(received);
  return error;
}

// A receive of the ring's from that queue would end with EAGAIN as soon as a datagram waits to be received: it is woken
// by that, tries some hundred times, and gives up. So it polls, for errors alone, and looks by itself.
task<datagram_error> udp_socket::receive_error(std::span<std::byte> datagram) {
  for (;;) {
    if (auto error = try_receive_error(datagram)) co_return std::move(*error);
    const int events = co_await detail::waiting_for_error{fd_};
    if ((events & POLLERR) == 0) throw std::system_error{EPIPE, std::system_category(), "receive_error"};
  }
}

// ------------------------------------------------------------------------------------------------------------ groups

namespace {

void copy_into(::sockaddr_storage& storage, const address& from) noexcept {
  std::memcpy(&storage, from.data(), from.size());
}

}  // namespace

void udp_socket::change_membership(const multicast_group& group, bool joins) {
  const address of_group = group.group.unmapped();
  const int level = of_group.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP;
  if (group.source) {
    ::group_source_req request{};
    request.gsr_interface = group.interface.index;
    copy_into(request.gsr_group, of_group);
    copy_into(request.gsr_source, group.source->unmapped());
    return set_option(fd_, level, joins ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP,
                      std::as_bytes(std::span{&request, 1}),
                      joins ? "MCAST_JOIN_SOURCE_GROUP" : "MCAST_LEAVE_SOURCE_GROUP");
  }
  ::group_req request{};
  request.gr_interface = group.interface.index;
  copy_into(request.gr_group, of_group);
  set_option(fd_, level, joins ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, std::as_bytes(std::span{&request, 1}),
             joins ? "MCAST_JOIN_GROUP" : "MCAST_LEAVE_GROUP");
}

void udp_socket::join(const multicast_group& group) { change_membership(group, /*joins=*/true); }

void udp_socket::leave(const multicast_group& group) { change_membership(group, /*joins=*/false); }

void udp_socket::set_multicast_interface(network_interface interface) {
  const auto index = static_cast<int>(interface.index);
  if (reach_ != detail::reach::v6) {
    ::ip_mreqn request{};
    request.imr_ifindex = index;
    set_option(fd_, IPPROTO_IP, IP_MULTICAST_IF, std::as_bytes(std::span{&request, 1}), "IP_MULTICAST_IF");
  }
  if (reach_ != detail::reach::v4) set_option(fd_, IPPROTO_IPV6, IPV6_MULTICAST_IF, index, "IPV6_MULTICAST_IF");
}

// ---------------------------------------------------------------------------------------------------------- the rest

address udp_socket::local_address() const { return detail::local_address_of(fd_).unmapped(); }

address udp_socket::peer_address() const { return detail::peer_address_of(fd_).unmapped(); }

std::size_t udp_socket::path_mtu() const {
  const bool is_v6 = peer_address().is_v6();
  const int bytes =
      is_v6 ? get_option(fd_, IPPROTO_IPV6, IPV6_MTU, "IPV6_MTU") : get_option(fd_, IPPROTO_IP, IP_MTU, "IP_MTU");
  return static_cast<std::size_t>(bytes);
}

task<> udp_socket::close() {
  streams_.end_all();
  unique_fd closing = std::move(fd_);
  co_await shield(detail::end_socket(std::move(closing)));
}

}  // namespace gyre::net
