// SPDX-License-Identifier: MIT
// A TCP connection.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/stream_socket.hpp>
#include <gyre/net/zero_copy_habit.hpp>
#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <utility>

namespace gyre::net {

/// What it does with bytes: stream_socket.hpp.
class tcp_stream : public stream_socket {
 public:
  /// Takes over a connected socket.
  explicit tcp_stream(unique_fd connected) noexcept : stream_socket{std::move(connected)} {}

  /// Connects to an address.
  ///
  /// @errors        connection_refused, timed_out, network_unreachable, …: connect(2). what() names the address.
  ///                too_many_files_open, …: socket(2)
  /// @cancellation  Safe: the socket is closed.
  [[nodiscard]] static task<tcp_stream> connect(address peer);

  /// Writes all of the bytes, without a copy where that pays: the network device reads them where they lie. What is
  /// small goes with a copy, and so does what the kernel copies after all, as it does within this machine: it says so
  /// of each, and the connection learns from it (zero_copy_habit).
  ///
  /// @param bytes   A span, or registered memory. Untouched until it is over, which may be long after the connection
  ///                took them: until the peer has acknowledged them. Then they are the caller's again.
  /// @return        bytes.size(), and whether any of them were copied.
  /// @errors        As write_all().
  /// @cancellation  Some of the bytes may have gone: the stream is then broken. Once something was taken, only the
  ///                network ends the wait; reset() does, too.
  [[nodiscard]] task<ops::zero_copy_sent> send_zero_copy(const_buffer_ref bytes);

  /// Ends the connection at once, by a reset: what lies in it either way is thrown away, and the peer hears
  /// connection_reset, and no end that it could take for a good one. What is in flight here ends with connection_reset,
  /// broken_pipe or operation_canceled; the count of a transfer_error says what was moved before. The stream is empty
  /// from then on, as after close().
  ///
  /// @cancellation  Safe: nothing is leaked, and the reset is done before the first wait.
  [[nodiscard]] task<> reset();

  /// The addresses of the two ends. system_error when the connection is gone.
  [[nodiscard]] address local_address() const;
  [[nodiscard]] address peer_address() const;

  /// Whether small writes go out at once instead of being gathered (TCP_NODELAY).
  void set_no_delay(bool on);

 private:
  zero_copy_habit zero_copy_;
};

}  // namespace gyre::net
