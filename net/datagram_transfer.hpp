// SPDX-License-Identifier: MIT
// The operations that a udp_socket's members give: one datagram out, or one in.
//
// Each has all that the kernel reads or writes beside the bytes, the address and the control data, in itself: in the
// awaiting frame.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/datagram.hpp>
#include <gyre/net/detail/reach.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gyre::net {

/// How one datagram is to be sent. What is empty, or 0, is as the socket has it.
struct send_options {
  /// An address of this machine that it comes from; the port is the socket's in any case.
  std::optional<address> from{};

  /// The interface that it goes out by.
  unsigned interface_index = 0;

  /// DSCP and ECN.
  std::optional<std::uint8_t> type_of_service{};

  /// How many routers it may pass.
  std::optional<std::uint8_t> hop_limit{};

  /// Not 0: the bytes are cut into datagrams of that size, and a last one of what is left: see
  /// udp_socket::send_segmented().
  std::uint16_t segment_bytes = 0;
};

/// How many datagrams one send makes, by send_options::segment_bytes, on any kernel that can. Since Linux 6.9 it takes
/// 128.
inline constexpr std::size_t segments_max = 64;

/// How many bytes one send takes to cut them into datagrams of so many: as many whole ones as there may be at a time.
[[nodiscard]] constexpr std::size_t segmented_bytes_max(std::uint16_t segment_bytes) noexcept {
  constexpr std::size_t datagram_bytes_max = 65'507;  // of IPv4, its header and UDP's taken off
  const std::size_t whole_ones = segment_bytes != 0 ? datagram_bytes_max / segment_bytes : 1;
  return (whole_ones < segments_max ? whole_ones : segments_max) * segment_bytes;
}

namespace detail {

/// The socket that a datagram goes out by.
struct way_out {
  fd_ref socket;
  detail::reach reach = detail::reach::v4;
  bool peer_is_v6 = false;  // where it is connected
};

/// What is sent, or received into: one piece, or several in a row.
struct pieces {
  pieces(std::span<const std::byte> bytes) noexcept
      : one{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()} {}
  pieces(std::span<std::byte> buffer) noexcept : pieces{std::span<const std::byte>{buffer}} {}
  pieces(std::span<const ::iovec> parts) noexcept : several{parts}, are_several{true} {}

  [[nodiscard]] std::span<const ::iovec> all() const noexcept {
    return are_several ? several : std::span<const ::iovec>{&one, 1};
  }

  ::iovec one{};
  std::span<const ::iovec> several{};
  bool are_several = false;
};

/// A datagram on its way out.
class [[nodiscard]] sending final : public operation_of<sending, std::size_t> {
 public:
  sending(const way_out& way, const pieces& bytes, const std::optional<address>& to, const send_options& how) noexcept;
  sending(sending&& other) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void describe() noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;

  // An address, an int each for service and hops, the size of segments.
  static constexpr std::size_t control_bytes_max =
      CMSG_SPACE(sizeof(::in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(std::uint16_t));

  fd_ref socket_;
  bool goes_by_v6_;
  bool is_refused_;  // for an address that the socket does not reach
  pieces bytes_;
  std::optional<address> to_;
  send_options how_;

  // Written when it begins, for the kernel to read.
  ::msghdr header_;
  alignas(::cmsghdr) std::array<std::byte, control_bytes_max> control_;
};

/// A datagram on its way in, with all that is told of it.
class [[nodiscard]] receiving final : public operation_of<receiving, received_datagram> {
 public:
  receiving(fd_ref socket, const pieces& into, int flags) noexcept;
  receiving(receiving&& other) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] received_datagram value() const noexcept;

  static constexpr std::size_t control_bytes_max = 256;  // for all of datagram_facts

  fd_ref socket_;
  int flags_;
  pieces into_;

  // Set when it begins, for the kernel to write to.
  ::msghdr header_;
  ::sockaddr_in6 source_;
  alignas(::cmsghdr) std::array<std::byte, control_bytes_max> control_;
};

/// The same of a sender that is known: bytes alone.
class [[nodiscard]] receiving_bytes final : public operation_of<receiving_bytes, received_bytes> {
 public:
  receiving_bytes(fd_ref socket, std::span<std::byte> buffer, int flags) noexcept
      : operation_of{opcode}, socket_{socket}, flags_{flags}, buffer_{buffer} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] received_bytes value() const noexcept {
    const auto told = static_cast<std::size_t>(res());
    return {.bytes = told < buffer_.size() ? told : buffer_.size(), .datagram_bytes = told};
  }

  fd_ref socket_;
  int flags_;
  std::span<std::byte> buffer_;
};

/// A wait for something in the queue of errors. Gives what poll(2) does.
class [[nodiscard]] waiting_for_error final : public operation_of<waiting_for_error, int> {
 public:
  explicit waiting_for_error(fd_ref socket) noexcept : operation_of{opcode}, socket_{socket} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref socket_;
};

}  // namespace detail
}  // namespace gyre::net
