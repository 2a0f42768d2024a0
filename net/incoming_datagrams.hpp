// SPDX-License-Identifier: MIT
// Datagrams as they come, each in a buffer of a pool, by one request that stays in the kernel.
//
//   while (auto each = co_await incoming.next()) use(each->payload());
//
// What lies behind it, and who owns a buffer when: runtime/ops/pool_streams.hpp.
#pragma once

#include <gyre/net/datagram.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/result.hpp>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>

namespace gyre::net {

/// A stream of datagrams: udp_socket::datagrams() makes it.
///
/// @limits  The socket, and its pool's executor, outlive it; close() of the socket ends it. A pool that has no buffer
///          loses nothing by itself: datagrams wait in the socket, as long as that has room (receive_buffer).
class incoming_datagrams {
 public:
  class next_datagram;

  /// @param messages  Of the socket, that ends it before its number may be another one's: messages_of().
  explicit incoming_datagrams(ops::recvmsg_stream messages) noexcept : messages_{std::move(messages)} {}

  /// What a stream of datagrams is made of.
  ///
  /// @param pause_at  So many in store that nobody has taken, and the kernel is asked for no more.
  /// @errors          As udp_socket::datagrams().
  [[nodiscard]] static ops::recvmsg_stream messages_of(fd_ref socket, const buffer_pool& pool,
                                                       std::size_t control_bytes, std::size_t pause_at);

  /// Waits for the next datagram. One coroutine at a time.
  ///
  /// @return        The datagram, which may have no bytes. Nothing: the socket was closed, and there is no more.
  /// @errors        connection_refused, message_size, host_unreachable, …   what the network told of something that was
  ///                                    sent before, where the socket is connected or asked to report_errors. Says
  ///                                    nothing of the socket: go on
  ///                not_enough_memory   at least one was lost, as there was no memory to keep account of it
  ///                invalid_argument    before Linux 6.0
  /// @cancellation  Safe: datagrams that have come stay in store. They are delivered without a wait, also in a scope
  ///                that is cancelled: only with none in store next() is stopped there.
  /// @threads       The thread of the pool's executor.
  /// @source        io_uring_prep_recvmsg_multishot(3). Linux 6.0.
  [[nodiscard]] next_datagram next() noexcept;

  /// How many bytes of a buffer are not for the datagram itself: what the kernel writes in front of it.
  [[nodiscard]] static std::size_t overhead_bytes(std::size_t control_bytes) noexcept;

 private:
  ops::recvmsg_stream messages_;
  bool has_ended_ = false;  // it was cancelled, by the socket or by somebody else
};

/// Awaits the next datagram.
class [[nodiscard]] incoming_datagrams::next_datagram {
 public:
  using gyre_awaitable = void;

  explicit next_datagram(incoming_datagrams& from) noexcept : from_{from}, held_{from.messages_.next()} {}

  [[nodiscard]] bool await_ready() const noexcept { return held_.await_ready() || from_.has_ended_; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    has_waited_ = true;
    held_.await_suspend(awaiter);
  }
  std::optional<datagram> await_resume() {
    auto got = await_result();
    if (!got) throw std::system_error{got.error(), "datagrams"};
    return std::move(*got);
  }
  [[nodiscard]] result<std::optional<datagram>> await_result() {
    if (!has_waited_ && !held_.await_ready()) return std::optional<datagram>{};  // it is over
    auto got = held_.await_result();
    if (got && *got) return std::optional<datagram>{datagram{std::move(**got)}};
    if (!got && (got.error() != std::errc::operation_canceled || was_stopped())) return got.error();
    from_.has_ended_ = true;
    return std::optional<datagram>{};
  }

 private:
  // Coroutines of somebody else's type are told of a stop by the code that a close() has as well.
  [[nodiscard]] bool was_stopped() const noexcept { return has_waited_ && held_.scope().stop_requested(); }

  incoming_datagrams& from_;
  ops::recvmsg_stream::next_operation held_;
  bool has_waited_ = false;
};

inline incoming_datagrams::next_datagram incoming_datagrams::next() noexcept { return next_datagram{*this}; }

}  // namespace gyre::net
