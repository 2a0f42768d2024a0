// SPDX-License-Identifier: MIT
// Writing small pieces to anything that writes bytes, in few large writes.
//
// A buffer of fixed size lies between. What has been written is in the buffer or in the stream: a flush that fails, or
// that a deadline or a stop ends, keeps what the stream has not taken, and the next one goes on there.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/detail/byte_buffer.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>

namespace gyre {

/// Writes to `Stream` through a buffer. For one coroutine at a time. What is left in the buffer when it is destroyed is
/// lost: flush() is the last thing that is done with it.
///
/// @threads  As those of the stream.
template <async_writer Stream>
class buffered_writer {
 public:
  static constexpr std::size_t default_capacity = std::size_t{16} << 10U;

  /// @param to        What is written to. Stays as long as the writer; nobody else writes to it meanwhile.
  /// @param capacity  The buffer's size in bytes.
  explicit buffered_writer(Stream& to, std::size_t capacity = default_capacity) : to_{to}, buffer_{capacity} {}
  buffered_writer(const buffered_writer&) = delete;
  buffered_writer& operator=(const buffered_writer&) = delete;

  [[nodiscard]] std::size_t capacity() const noexcept { return buffer_.capacity(); }

  /// How many bytes wait in the buffer.
  [[nodiscard]] std::size_t unflushed() const noexcept { return buffer_.held().size(); }

  /// Writes all of the bytes, to the buffer as long as it has room; what is as large as the buffer goes past it.
  ///
  /// @param bytes   Stay until it has ended.
  /// @errors        transfer_error, with the count of these bytes that are in the buffer or in the stream: as the
  ///                stream's write(), or errc::no_progress when that took nothing without an error.
  /// @cancellation  Some of the bytes may have been written.
  [[nodiscard]] task<> write(std::span<const std::byte> bytes) {
    const detail::single_use::holding in_use{writing_};
    std::size_t written = 0;
    while (written < bytes.size()) {
      const auto rest = bytes.subspan(written);
      if (buffer_.held().empty() && rest.size() >= capacity()) {
        written += co_await give(rest, written, "write");
      } else if (const std::size_t taken = buffer_.put(rest); taken > 0) {
        written += taken;
      } else {
        buffer_.consume(co_await give(buffer_.held(), written, "write"));
      }
    }
  }
  [[nodiscard]] task<> write(std::string_view text) { return write(std::as_bytes(std::span{text})); }

  /// Has the stream take all that is in the buffer.
  ///
  /// @errors        transfer_error, with the count of bytes that this call has moved: as for write(). The rest stays.
  /// @cancellation  Safe: what the stream has not taken stays, and the next flush() goes on there.
  [[nodiscard]] task<> flush() {
    const detail::single_use::holding in_use{writing_};
    for (std::size_t flushed = 0; !buffer_.held().empty();) {
      const std::size_t taken = co_await give(buffer_.held(), flushed, "flush");
      buffer_.consume(taken);
      flushed += taken;
    }
  }

 private:
  task<std::size_t> give(std::span<const std::byte> bytes, std::size_t moved, const char* operation) {
    std::error_code why = errc::no_progress;
    try {
      if (const std::size_t taken = co_await to_.write(bytes); taken > 0) co_return taken;
    } catch (const std::system_error& failed) {
      why = failed.code();
    }
    throw transfer_error{why, moved, operation};
  }

  Stream& to_;
  detail::byte_buffer buffer_;
  detail::single_use writing_{"a buffered_writer is written to by one coroutine at a time"};
};

}  // namespace gyre
