// SPDX-License-Identifier: MIT
// Connections as a stream: one multishot accept that stays in the kernel.
//
// Who owns the request when, and what ends it: detail/multishot.hpp. Connections that come for a stream that is gone
// are closed.
#pragma once

#include <gyre/runtime/detail/multishot.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstddef>
#include <memory>

namespace gyre::ops {

class accept_stream {
 public:
  /// So many connections in store, for a reader that is slow to take them, and the stream asks for no more: the
  /// backlog keeps the rest.
  ///
  /// No bound of the store: the kernel hears of the pause when the executor enters it next, and before that may have
  /// taken all that were in the backlog. So up to a backlog more are in store, the number that was given to listen(2).
  static constexpr std::size_t pause_at = 256;

  /// @param listener  A listening socket; stays open until the stream is destroyed, and its request has ended: that is
  ///                  a turn later, more if the kernel refuses submissions for want of room.
  explicit accept_stream(fd_ref listener);

  accept_stream(accept_stream&&) noexcept = default;
  accept_stream& operator=(accept_stream&&) = delete;

  /// Connections in store are closed.
  ~accept_stream() = default;

  using next_operation = detail::next_of_multishot<unique_fd>;

  /// Waits for the next connection. One coroutine at a time.
  ///
  /// @return        The connection's descriptor, close-on-exec; an empty one when the listener was shut down.
  /// @errors        too_many_files_open    the connection stays in the backlog: wait before the next next(), which
  ///                                       tries again
  ///                connection_aborted, …  that connection is gone: go on
  ///                not_enough_memory      the kernel's: as too_many_files_open. Or there was no memory to keep what
  ///                                       had come: it was closed, at least one connection; those kept come first
  ///                operation_canceled     the request was ended by somebody else: cancel_fd, or a close
  /// @cancellation  Safe: a connection that has come stays in store. One in store is delivered without a wait, also in
  ///                a scope that is cancelled: only with none in store next() is stopped there.
  /// @threads       The thread of the executor on which it is first called.
  /// @source        io_uring_prep_multishot_accept(3). Linux 5.19.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

  /// Ends the stream, whoever waits in it: the listener is about to be closed. The kernel is asked for no more
  /// connections, those in store are closed, and so are those that come nevertheless. Every next() is
  /// operation_canceled from then on. A second end() does nothing.
  ///
  /// @threads  The thread of its executor.
  void end() noexcept { state_->end(); }

 private:
  friend class open_streams;
  std::unique_ptr<detail::multishot_of<unique_fd>, detail::orphan_multishot> state_;
};

}  // namespace gyre::ops
