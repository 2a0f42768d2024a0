// SPDX-License-Identifier: MIT
// How datagrams are described to the kernel, and what it says of them.
#include <gyre/net/datagram_transfer.hpp>
#include <gyre/net/detail/datagram_control.hpp>

#include <liburing.h>
#include <netinet/udp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::net::detail {
namespace {

template <class Sockaddr>
Sockaddr kernels_own(const address& any) noexcept {
  Sockaddr made;
  std::memcpy(&made, any.data(), sizeof made);
  return made;
}

bool reaches(reach of_socket, bool is_v6) noexcept {
  return of_socket == reach::both || (of_socket == reach::v6) == is_v6;
}

// Where a datagram comes from and what it goes out by. The words are those of the family by which it goes, which on a
// socket of both families is that of the address.
void add_origin(control_writer& control, const send_options& how, bool goes_by_v6) noexcept {
  if (!how.from && how.interface_index == 0) return;
  if (goes_by_v6) {
    ::in6_pktinfo origin{};
    if (how.from) origin.ipi6_addr = kernels_own<::sockaddr_in6>(*how.from).sin6_addr;
    origin.ipi6_ifindex = how.interface_index;
    return control.add(IPPROTO_IPV6, IPV6_PKTINFO, origin);
  }
  ::in_pktinfo origin{};
  if (how.from) origin.ipi_spec_dst = kernels_own<::sockaddr_in>(*how.from).sin_addr;
  origin.ipi_ifindex = static_cast<int>(how.interface_index);
  control.add(IPPROTO_IP, IP_PKTINFO, origin);
}

std::size_t bytes_in(const pieces& all) noexcept {
  std::size_t bytes = 0;
  for (const auto& each : all.all()) bytes += each.iov_len;
  return bytes;
}

}  // namespace

// -------------------------------------------------------------------------------------------------------------- out

sending::sending(const way_out& way, const pieces& bytes, const std::optional<address>& to,
                 const send_options& how) noexcept
    : operation_of{opcode}, socket_{way.socket}, goes_by_v6_{way.peer_is_v6}, bytes_{bytes}, to_{to}, how_{how} {
  if (to_) {
    to_ = to_->unmapped();
    goes_by_v6_ = to_->is_v6();
  }
  if (how_.from) how_.from = how_.from->unmapped();
  is_refused_ = (to_ && !reaches(way.reach, goes_by_v6_)) || (how_.from && how_.from->is_v6() != goes_by_v6_);
}

// What it keeps for the kernel is written when it begins, and not before.
sending::sending(sending&& other) noexcept
    : operation_of{std::move(other)},
      socket_{other.socket_},
      goes_by_v6_{other.goes_by_v6_},
      is_refused_{other.is_refused_},
      bytes_{other.bytes_},
      to_{other.to_},
      how_{other.how_} {}

// What cannot be said in the words of the socket's family is refused by the kernel, by way of no socket at all: Linux
// overlooks control data of the other family, and says of such an address one thing or another.
void sending::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_sendmsg(3)
  auto& op = static_cast<sending&>(self);
  op.describe();
  io_uring_prep_sendmsg(&sqe, op.is_refused_ ? -1 : op.socket_.in(sqe), &op.header_, MSG_NOSIGNAL);
}
constinit const operation_kind sending::opcode{"send_to", &sending::prepare, runs_in::ring,
                                               &describe_fd<&sending::socket_>};

void sending::describe() noexcept {
  control_writer control{control_};
  const int level = goes_by_v6_ ? IPPROTO_IPV6 : IPPROTO_IP;
  add_origin(control, how_, goes_by_v6_);
  if (how_.type_of_service) control.add<int>(level, goes_by_v6_ ? IPV6_TCLASS : IP_TOS, *how_.type_of_service);
  if (how_.hop_limit) control.add<int>(level, goes_by_v6_ ? IPV6_HOPLIMIT : IP_TTL, *how_.hop_limit);
  if (how_.segment_bytes != 0) control.add(SOL_UDP, UDP_SEGMENT, how_.segment_bytes);

  const auto parts = bytes_.all();
  header_ = {};
  header_.msg_name = to_ ? const_cast<::sockaddr*>(to_->data()) : nullptr;
  header_.msg_namelen = to_ ? to_->size() : 0;
  header_.msg_iov = const_cast<::iovec*>(parts.data());
  header_.msg_iovlen = parts.size();
  header_.msg_control = control_.data();
  header_.msg_controllen = control.bytes_count();
}

// EIO is what the kernel says where the device of the route computes no checksums, which it needs for segments.
std::error_code sending::failure() const noexcept {
  if (is_refused_) return std::make_error_code(std::errc::address_family_not_supported);
  if (how_.segment_bytes != 0 && res() == -EIO) return std::make_error_code(std::errc::operation_not_supported);
  return error();
}

void sending::fail() const {
  if (is_refused_) throw std::system_error{failure(), "send_to: the socket, or the address to send from"};
  if (how_.segment_bytes == 0) throw_error();
  if (res() == -EIO) throw std::system_error{failure(), "send_segmented: the network device of the route"};
  const auto cut = std::to_string(bytes_in(bytes_)) + " bytes in segments of " + std::to_string(how_.segment_bytes);
  throw std::system_error{failure(), "send_segmented: " + cut};
}

// --------------------------------------------------------------------------------------------------------------- in

receiving::receiving(fd_ref socket, const pieces& into, int flags) noexcept
    : operation_of{opcode}, socket_{socket}, flags_{flags}, into_{into} {}

receiving::receiving(receiving&& other) noexcept
    : operation_of{std::move(other)}, socket_{other.socket_}, flags_{other.flags_}, into_{other.into_} {}

// With MSG_TRUNC the kernel tells how long the datagram was, and not how much of it lies in the parts.
void receiving::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recvmsg(3)
  auto& op = static_cast<receiving&>(self);
  const auto parts = op.into_.all();
  op.source_ = {};
  op.header_ = {};
  op.header_.msg_name = &op.source_;
  op.header_.msg_namelen = sizeof op.source_;
  op.header_.msg_iov = const_cast<::iovec*>(parts.data());
  op.header_.msg_iovlen = parts.size();
  op.header_.msg_control = op.control_.data();
  op.header_.msg_controllen = op.control_.size();
  io_uring_prep_recvmsg(&sqe, op.socket_.in(sqe), &op.header_, static_cast<unsigned>(op.flags_ | MSG_TRUNC));
}
constinit const operation_kind receiving::opcode{"receive_from", &receiving::prepare, runs_in::ring,
                                                 &describe_fd<&receiving::socket_>};

received_datagram receiving::value() const noexcept {
  const std::span<const ::sockaddr_in6> source{&source_, 1};
  const auto told = static_cast<std::size_t>(res());
  received_datagram came;
  came.bytes = std::min(told, bytes_in(into_));
  came.datagram_bytes = told;
  came.source = address_in(std::as_bytes(source)).value_or(address{});
  came.facts = facts_in(std::span<const std::byte>{control_}.first(header_.msg_controllen));
  return came;
}

void receiving_bytes::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv(3)
  auto& op = static_cast<receiving_bytes&>(self);
  io_uring_prep_recv(&sqe, op.socket_.in(sqe), op.buffer_.data(), std::min(op.buffer_.size(), ops::transfer_bytes_max),
                     op.flags_ | MSG_TRUNC);
}
constinit const operation_kind receiving_bytes::opcode{"receive", &receiving_bytes::prepare, runs_in::ring,
                                                       &describe_fd<&receiving_bytes::socket_>};

void waiting_for_error::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_poll_add(3)
  auto& op = static_cast<waiting_for_error&>(self);
  io_uring_prep_poll_add(&sqe, op.socket_.in(sqe), POLLERR);
}
constinit const operation_kind waiting_for_error::opcode{"receive_error", &waiting_for_error::prepare, runs_in::ring,
                                                         &describe_fd<&waiting_for_error::socket_>};

}  // namespace gyre::net::detail
