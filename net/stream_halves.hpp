// SPDX-License-Identifier: MIT
// A connection in two halves, one that reads and one that writes, for two tasks of which nobody knows which ends first.
//
//   auto [reading, writing] = net::split(std::move(peer));
//   group.start(take_answers(std::move(reading)));
//   group.start(send_questions(std::move(writing)));
//
//   both halves are there     as the connection was
//   the writing half is gone  the peer reads an end, as after shutdown_write(); the reading half reads on
//   the reading half is gone  nothing that the peer would notice; the writing half writes on
//   both are gone             the descriptor is closed
//
// Where the connection outlives both tasks, a reference to it for each does the same: it has room for one reader and
// one writer. Both halves are used on the connection's executor.
#pragma once

#include <gyre/net/stream_socket.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/fd_ref.hpp>

#include <sys/socket.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace gyre::net {

template <std::derived_from<stream_socket> Stream>
class writing_half;

/// The half that reads.
template <std::derived_from<stream_socket> Stream>
class reading_half {
 public:
  explicit reading_half(std::shared_ptr<Stream> whole) noexcept : whole_{std::move(whole)} {}
  reading_half(reading_half&&) noexcept = default;
  reading_half& operator=(reading_half&&) noexcept = default;
  ~reading_half() = default;

  /// Each as the connection's: stream_socket.
  [[nodiscard]] auto read(std::span<std::byte> buffer) noexcept { return whole_->read(buffer); }
  [[nodiscard]] auto read(std::span<const ::iovec> buffers) noexcept { return whole_->read(buffers); }
  [[nodiscard]] auto read_exactly(std::span<std::byte> buffer) noexcept { return whole_->read_exactly(buffer); }
  [[nodiscard]] auto receive(const buffer_pool& pool) noexcept { return whole_->receive(pool); }
  [[nodiscard]] auto chunks(const buffer_pool& pool, const ops::pool_stream_options& options = {}) {
    return whole_->chunks(pool, options);
  }
  [[nodiscard]] auto bundles(const buffer_pool& pool, const ops::pool_stream_options& options = {}) {
    return whole_->bundles(pool, options);
  }

  /// The connection, for its addresses and options, and to end it for both: close().
  [[nodiscard]] Stream& whole() const noexcept { return *whole_; }

 private:
  template <std::derived_from<stream_socket> S>
  friend S reunite(reading_half<S> reading, writing_half<S> writing) noexcept;

  std::shared_ptr<Stream> whole_;
};

/// The half that writes. With it goes the connection's writing side: the peer reads an end. A half that was moved from
/// is none.
template <std::derived_from<stream_socket> Stream>
class writing_half {
 public:
  explicit writing_half(std::shared_ptr<Stream> whole) noexcept : whole_{std::move(whole)} {}
  writing_half(writing_half&&) noexcept = default;
  writing_half& operator=(writing_half&& other) noexcept {
    if (this == &other) return *this;
    end();
    whole_ = std::move(other.whole_);
    return *this;
  }
  ~writing_half() { end(); }

  /// Each as the connection's: stream_socket, and those that only a tcp_stream has.
  [[nodiscard]] auto write(std::span<const std::byte> bytes) noexcept { return whole_->write(bytes); }
  [[nodiscard]] auto write(std::span<const ::iovec> parts) noexcept { return whole_->write(parts); }
  [[nodiscard]] auto write_all(std::span<const std::byte> bytes) noexcept { return whole_->write_all(bytes); }
  [[nodiscard]] auto write_all(std::string_view text) noexcept { return whole_->write_all(text); }
  [[nodiscard]] auto write_all(std::span<const ::iovec> parts) noexcept { return whole_->write_all(parts); }
  [[nodiscard]] auto send_file(fd_ref file, std::uint64_t offset = 0, std::size_t count = SIZE_MAX) {
    return whole_->send_file(file, offset, count);
  }
  [[nodiscard]] auto send_zero_copy(const_buffer_ref bytes) { return whole_->send_zero_copy(bytes); }

  /// Tells the peer now that nothing more will be written.
  ///
  /// @errors  As stream_socket::shutdown_write().
  void shutdown_write() { whole_->shutdown_write(); }

  /// The connection, for its addresses and options, for what else can be done with it, and to end it for both: close().
  [[nodiscard]] Stream& whole() const noexcept { return *whole_; }

 private:
  template <std::derived_from<stream_socket> S>
  friend S reunite(reading_half<S> reading, writing_half<S> writing) noexcept;

  // By hand, as the errors of shutdown_write() are no matter here: the connection may have gone meanwhile.
  void end() noexcept {
    if (whole_) ::shutdown(whole_->fd().get(), SHUT_WR);
  }

  std::shared_ptr<Stream> whole_;
};

template <std::derived_from<stream_socket> Stream>
struct stream_halves {
  reading_half<Stream> reading;
  writing_half<Stream> writing;
};

/// Takes a connection apart. Nothing is in flight on it.
///
/// @errors  std::bad_alloc
template <std::derived_from<stream_socket> Stream>
[[nodiscard]] stream_halves<Stream> split(Stream connection) {
  auto whole = std::make_shared<Stream>(std::move(connection));
  return {reading_half<Stream>{whole}, writing_half<Stream>{whole}};
}

/// Makes one of two halves again, which belong together. Nothing is in flight on them.
template <std::derived_from<stream_socket> Stream>
[[nodiscard]] Stream reunite(reading_half<Stream> reading, writing_half<Stream> writing) noexcept {
  GYRE_ASSERT(reading.whole_ != nullptr && reading.whole_ == writing.whole_, "two halves are of one connection");
  writing.whole_.reset();
  return std::move(*reading.whole_);
}

}  // namespace gyre::net
