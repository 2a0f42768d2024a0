// SPDX-License-Identifier: MIT
// What a datagram is when it has come: its bytes, whom it is from, and what the network told with it.
//
// A datagram in a buffer of a pool is a `datagram` (net/incoming_datagrams.hpp gives those), one in a buffer of the
// caller's is told by a `received_datagram`. What is told beside the source has to be asked for before it comes:
// net/datagram_options.hpp.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

namespace gyre::net {

/// What the network told with a datagram. Empty, or 0: nobody asked, or it did not say.
struct datagram_facts {
  /// The address in the header, which may be that of a multicast group, or a broadcast. Its port is 0: nothing tells
  /// it but the socket.
  std::optional<address> destination{};

  /// The address of this machine that stands for it: where an answer should come from. The same as `destination`, but
  /// for groups and broadcasts: there it is an address of the interface, or empty for IPv6.
  std::optional<address> local{};

  /// The interface that it came by.
  unsigned interface_index = 0;

  /// The byte that routers go by: DSCP in the upper six bits, ECN in the lower two.
  std::optional<std::uint8_t> type_of_service{};

  /// How many routers it could still have passed.
  std::optional<std::uint8_t> hop_limit{};

  /// When the kernel received it.
  std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> timestamp{};

  /// How many datagrams the socket has lost so far because its buffer was full.
  std::optional<std::uint32_t> dropped_count{};

  /// Not 0: several datagrams of one sender in one piece, of so many bytes each but for the last: receive_offload.
  std::uint16_t segment_bytes = 0;

  /// The two bits of congestion notification (RFC 3168): 0 not capable, 1 and 2 capable, 3 congestion was met.
  [[nodiscard]] std::optional<unsigned> ecn() const noexcept {
    if (!type_of_service) return std::nullopt;
    return *type_of_service & 3U;
  }
};

/// Several datagrams in one piece, one by one: a range of spans. At least one, which may be empty.
///
/// @tparam Byte  std::byte or const std::byte.
template <class Byte>
class segmented {
 public:
  class iterator {
   public:
    using iterator_concept = std::forward_iterator_tag;
    using value_type = std::span<Byte>;
    using difference_type = std::ptrdiff_t;

    iterator() noexcept = default;
    [[nodiscard]] value_type operator*() const noexcept {
      return all_.subspan(at_, std::min(segment_bytes_, all_.size() - at_));
    }
    iterator& operator++() noexcept {
      ++index_;
      at_ += std::min(segment_bytes_, all_.size() - at_);
      return *this;
    }
    iterator operator++(int) noexcept {
      const iterator before = *this;
      ++*this;
      return before;
    }
    [[nodiscard]] bool operator==(const iterator& other) const noexcept { return index_ == other.index_; }

   private:
    friend segmented;
    iterator(std::span<Byte> all, std::size_t segment_bytes, std::size_t index) noexcept
        : all_{all}, segment_bytes_{segment_bytes}, index_{index} {}

    std::span<Byte> all_;
    std::size_t segment_bytes_ = 0;
    std::size_t at_ = 0;
    std::size_t index_ = 0;
  };

  /// @param segment_bytes  0: all of it is one.
  segmented(std::span<Byte> all, std::size_t segment_bytes) noexcept
      : all_{all}, segment_bytes_{segment_bytes != 0 ? segment_bytes : std::max<std::size_t>(all.size(), 1)} {}

  [[nodiscard]] iterator begin() const noexcept { return {all_, segment_bytes_, 0}; }
  [[nodiscard]] iterator end() const noexcept { return {all_, segment_bytes_, size()}; }

  /// How many there are.
  [[nodiscard]] std::size_t size() const noexcept {
    return std::max<std::size_t>(1, (all_.size() + segment_bytes_ - 1) / segment_bytes_);
  }

 private:
  std::span<Byte> all_;
  std::size_t segment_bytes_;
};

template <class Byte, std::size_t Extent>
segmented(std::span<Byte, Extent>, std::size_t) -> segmented<Byte>;

/// What udp_socket::receive() tells of a datagram whose sender is known.
struct received_bytes {
  std::size_t bytes = 0;           ///< In the buffer.
  std::size_t datagram_bytes = 0;  ///< Of the datagram: more than that, where it did not fit.

  /// Whether there was more of it than fits into the buffer. The rest is lost.
  [[nodiscard]] bool is_truncated() const noexcept { return datagram_bytes > bytes; }
};

/// What udp_socket::receive_from() tells.
struct received_datagram : received_bytes {
  /// Whom it is from. An IPv4 sender is an IPv4 address, also on a socket of both families.
  address source{};

  datagram_facts facts{};

  /// What lies in the buffer that it was received into, datagram by datagram.
  [[nodiscard]] segmented<std::byte> segments_in(std::span<std::byte> buffer) const noexcept {
    return {buffer.first(bytes), facts.segment_bytes};
  }
};

/// A datagram in a buffer of a pool. The buffer goes back when it is destroyed.
///
/// @threads  As buffer_lease: may be moved to, read and destroyed on any thread.
class [[nodiscard]] datagram {
 public:
  /// For who reads an ops::recvmsg_stream of their own, made with MSG_TRUNC among its flags.
  explicit datagram(ops::leased_message message) noexcept : message_{std::move(message)} {}

  /// Its bytes: none is a datagram, too. Yours until it is destroyed: they may be written to.
  [[nodiscard]] std::span<std::byte> payload() const noexcept { return message_.payload(); }

  /// The same where several came in one piece (receive_offload), one by one. Otherwise all of it is one.
  [[nodiscard]] segmented<std::byte> segments() const noexcept { return {payload(), facts().segment_bytes}; }

  /// Whom it is from. An IPv4 sender is an IPv4 address, also on a socket of both families.
  [[nodiscard]] address source() const noexcept;

  /// How long it was, also where not all of that did fit into the buffer.
  [[nodiscard]] std::size_t datagram_bytes() const noexcept;

  /// Whether there was more of it than fits into a buffer of the pool. The rest is lost.
  [[nodiscard]] bool is_truncated() const noexcept { return message_.is_truncated(); }

  /// What the network told with it, as far as datagram_details was asked for before the stream was made. Read from the
  /// buffer at each call.
  [[nodiscard]] datagram_facts facts() const noexcept;

  /// Whether there was no room for some of that: it was asked for after the stream was made.
  [[nodiscard]] bool is_facts_truncated() const noexcept { return message_.is_control_truncated(); }

  /// What it was made of.
  [[nodiscard]] const ops::leased_message& message() const noexcept { return message_; }

 private:
  ops::leased_message message_;
};

}  // namespace gyre::net
