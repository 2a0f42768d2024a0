// SPDX-License-Identifier: MIT
// What all connections have in common, whatever they go over: bytes both ways, in order, until one side has sent all
// that it will.
//
// Reading and writing are operations: one recv, one send. A connection may have one reader and one writer at once; two
// of either would mix their bytes. None of this raises SIGPIPE.
#pragma once

#include <gyre/net/parts.hpp>
#include <gyre/net/socket_options.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/leased.hpp>
#include <gyre/runtime/ops/open_streams.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace gyre::net {

/// The base of tcp_stream and unix_stream, and no type to be had by itself.
class stream_socket {
 public:
  /// Reads what is there, or waits until something comes.
  ///
  /// @param buffer  Not empty.
  /// @return        Bytes read, at most buffer.size(). 0: the peer has sent all that it will.
  /// @errors        connection_reset, timed_out (keep-alive), …: recv(2)
  /// @cancellation  Safe: bytes are delivered, or stay in the connection.
  [[nodiscard]] ops::recv read(std::span<std::byte> buffer) noexcept { return ops::recv{fd_, buffer}; }

  /// The same into several buffers, which are filled one after another: net::room_of().
  ///
  /// @param buffers  Not all of them empty. What comes after the first parts_max (1024) is left alone.
  [[nodiscard]] recv_parts read(std::span<const ::iovec> buffers) noexcept { return recv_parts{fd_, buffers}; }

  /// The same for a connection that is known to have nothing yet, as one has whose last answer was just sent: the
  /// kernel waits before it tries.
  [[nodiscard]] ops::recv_poll_first read_poll_first(std::span<std::byte> buffer) noexcept {
    return ops::recv_poll_first{fd_, buffer};
  }

  /// Fills the buffer.
  ///
  /// @errors        transfer_error, with the count of bytes that lie in the buffer: errc::end_of_stream, or as read().
  /// @cancellation  Bytes that were read already are lost to the stream.
  [[nodiscard]] ops::recv_all read_exactly(std::span<std::byte> buffer) noexcept { return ops::recv_all{fd_, buffer}; }

  /// Reads what is there into a buffer that the kernel takes of a pool when something has come, so that a connection
  /// that waits holds none.
  ///
  /// @param pool    Of this executor.
  /// @return        The bytes, as many as were there and fit into one buffer. An empty lease: the peer has sent all
  ///                that it will.
  /// @errors        As read(); no_buffer_space: the pool has no buffer, and nothing was read: buffer_pool::until_free()
  /// @cancellation  Safe: bytes are delivered, or stay in the connection.
  [[nodiscard]] ops::recv_leased receive(const buffer_pool& pool) noexcept { return ops::recv_leased{fd_, pool}; }

  /// All that the peer sends, as a stream of buffers from one request that stays in the kernel:
  ///
  ///   auto incoming = peer.chunks(pool);
  ///   while (auto chunk = co_await incoming.next()) use(chunk->bytes());
  ///
  /// Nobody else reads meanwhile. close() and reset() end the stream.
  ///
  /// @param pool    Of this executor.
  /// @errors, @cancellation  As ops::recv_stream::next().
  [[nodiscard]] ops::recv_stream chunks(const buffer_pool& pool, const ops::pool_stream_options& options = {}) {
    return known(ops::recv_stream{fd_, pool, options});
  }

  /// The same with as many buffers at a time as the bytes that are there fill: where much more comes at a time than
  /// fits into one.
  [[nodiscard]] ops::recv_bundle_stream bundles(const buffer_pool& pool, const ops::pool_stream_options& options = {}) {
    return known(ops::recv_bundle_stream{fd_, pool, options});
  }

  /// Writes some of the bytes.
  ///
  /// @return        Bytes that the connection took, at least 1 unless `bytes` is empty.
  /// @errors        broken_pipe, connection_reset: the peer is gone
  /// @cancellation  What was taken is reported.
  [[nodiscard]] ops::send write(std::span<const std::byte> bytes) noexcept { return ops::send{fd_, bytes}; }

  /// Writes some of several parts, one after another: net::parts_of().
  ///
  /// @return        Bytes that the connection took, at most those of the first parts_max (1024) parts.
  [[nodiscard]] send_parts write(std::span<const ::iovec> parts) noexcept { return send_parts{fd_, parts}; }

  /// Writes all of the bytes.
  ///
  /// @errors        transfer_error, with the count of bytes that were taken: broken_pipe, connection_reset.
  /// @cancellation  Some of the bytes may have gone: the stream is then broken.
  [[nodiscard]] ops::send_all write_all(std::span<const std::byte> bytes) noexcept { return ops::send_all{fd_, bytes}; }

  /// The same for text.
  [[nodiscard]] ops::send_all write_all(std::string_view text) noexcept {
    return ops::send_all{fd_, std::as_bytes(std::span{text})};
  }

  /// Writes all of several parts, however many, one after another: net::parts_of(). Nothing lies between them that
  /// another write could get into, and nothing is copied together.
  ///
  /// @errors        As of bytes: the count is that of all parts.
  /// @cancellation  As of bytes.
  [[nodiscard]] send_all_parts write_all(std::span<const ::iovec> parts) noexcept { return send_all_parts{fd_, parts}; }

  /// Sends a part of a file, of a larger one without a copy in the program.
  ///
  /// @param file    A regular file, open to read. Stays open until then.
  /// @param offset  Where in the file it begins.
  /// @param count   How many bytes; without one all to the end of the file.
  /// @return        Bytes that were sent: `count`, or fewer where the file ends before.
  /// @errors        transfer_error, with the count of bytes that were sent: as write_all(), or of the file: io_error,
  ///                is_a_directory, … std::bad_alloc
  /// @cancellation  Some of the bytes may have gone: the stream is then broken.
  /// @limits        No other thread or process uses the same socket meanwhile without waiting for it: it has O_NONBLOCK
  ///                at times.
  /// @source        io_uring_prep_splice(3); splice(2), pipe(7).
  [[nodiscard]] task<std::size_t> send_file(fd_ref file, std::uint64_t offset = 0, std::size_t count = SIZE_MAX);

  /// Tells the peer that nothing more will be written. Reading goes on. Never blocks.
  ///
  /// @errors  std::system_error: not_connected.
  void shutdown_write();

  /// Ends whatever is in flight on the connection, then closes it. What is ended throws operation_canceled, also a
  /// read_exactly() that was half done, with its count; a write_all() that was half done throws broken_pipe, with its
  /// count. What chunks() and bundles() have in store is given, and then operation_canceled. The stream is empty from
  /// then on: what is asked of it is bad_file_descriptor.
  ///
  /// A stream that is destroyed closes by itself; nothing may be in flight on it then.
  ///
  /// @cancellation  None: once begun it closes, which takes no longer than a turn or two.
  [[nodiscard]] task<> close();

  /// Sets an option of socket_options.hpp: `peer.set(net::keep_alive{.idle = 60s})`. Never blocks.
  ///
  /// @errors  std::system_error that names the option: invalid_argument, permission_denied, …: setsockopt(2)
  template <socket_option Option>
  void set(const Option& option) {
    Option::apply(fd_, option);
  }

  /// What an option is: `peer.get<net::no_delay>().on`.
  template <socket_option Option>
  [[nodiscard]] Option get() const {
    return Option::ask(fd_);
  }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the socket away, with nothing in flight on it. A stream of chunks() or bundles() ends with this object.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 protected:
  explicit stream_socket(unique_fd connected) noexcept : fd_{std::move(connected)} {}
  stream_socket(stream_socket&&) noexcept = default;
  stream_socket& operator=(stream_socket&&) noexcept = default;
  ~stream_socket() = default;

  /// Ends chunks() and bundles(): the socket is about to be closed.
  void end_streams() noexcept { streams_.end_all(); }

 private:
  template <class Stream>
  [[nodiscard]] Stream known(Stream made) noexcept {
    streams_.add(made);
    return made;
  }

  unique_fd fd_;
  ops::open_streams streams_;
};

}  // namespace gyre::net
