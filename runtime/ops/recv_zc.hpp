// SPDX-License-Identifier: MIT
// What comes in as a stream of packets that nobody has copied: a multishot request over a zero_copy_queue.
//
//   while (auto chunk = co_await incoming.next()) use(chunk->bytes());
//
// Who owns the request when: detail/multishot.hpp; who owns the memory when: detail/zero_copy_area.hpp. Beyond that:
//
//   armed -> hungry       the kernel had to copy, and found no page (-ENOMEM): those that it may copy to are on loan,
//                         or on their way back
//   hungry -> armed       somebody has given back a part of a page; the kernel has read such a part
//   hungry -> idle        the reader waits no more, or the stream was ended
//   armed -> armed        the completion queue was full (-ENOSPC): the request is made again
//
// In both cases the bytes stay in the socket. What has come is in store until the reader takes it; where he is slow the
// request pauses. A stream may outlive its queue, and is destroyed on the thread of its executor; what is in store goes
// back then.
#pragma once

#include <gyre/runtime/detail/multishot.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/zero_copy_queue.hpp>

#include <cstddef>
#include <memory>
#include <optional>

namespace gyre::ops {

struct recv_zc_options {
  /// So many in store, for a reader that is slow to take them, and the stream asks for no more until all are taken. No
  /// bound of the store: the kernel hears of the pause when the executor enters it next.
  std::size_t pause_at = 64;
};

/// Bytes from a TCP connection whose packets come by the device queue of a zero_copy_queue. The socket stays open until
/// the stream is destroyed and its request has ended: that is a turn later.
class recv_zc_stream {
 public:
  explicit recv_zc_stream(fd_ref socket, const zero_copy_queue& queue, const recv_zc_options& options = {});
  recv_zc_stream(recv_zc_stream&&) noexcept = default;
  recv_zc_stream& operator=(recv_zc_stream&&) = delete;
  ~recv_zc_stream() = default;

  using next_operation = detail::next_of_multishot<std::optional<zero_copy_lease>>;

  /// Waits for the next bytes. One coroutine at a time.
  ///
  /// @return        What lies side by side: of a packet, or of what was copied, a page at most. Nothing: the peer has
  ///                shut down its side.
  /// @errors        connection_reset, timed_out (keep-alive), not_connected, …: recv(2)
  ///                protocol_not_supported  no TCP socket
  ///                bad_address            the connection's packets come by another zero_copy_queue
  ///                no_buffer_space        the kernel had to copy, and every page is the device's, with none on loan
  ///                                       or on its way: the area is too small. Nothing is lost, and next() tries
  ///                                       again
  ///                not_enough_memory      bytes were lost, as there was no memory to keep account of them: close
  ///                operation_canceled     the request was ended by somebody else: cancel_fd, or a close
  /// @cancellation  Safe: bytes that have come stay in store. They are delivered without a wait, also in a scope that
  ///                is cancelled: only with none in store next() is stopped there.
  /// @threads       The thread of the queue's executor.
  /// @limits        Never run against a device by gyre's own tests: they play one.
  /// @source        io_uring_prep_recv_zc(3). Linux 6.15.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Ends the stream, whoever waits in it, also for a page: what it reads from is about to be closed. The kernel is
  /// asked for nothing more. What has come is still given; every next() after that is operation_canceled. A second
  /// end() does nothing.
  ///
  /// @threads  The thread of its executor.
  void end() noexcept { state_->end(); }

 private:
  friend class open_streams;
  std::unique_ptr<detail::multishot_of<std::optional<zero_copy_lease>>, detail::orphan_multishot> state_;
};

}  // namespace gyre::ops
