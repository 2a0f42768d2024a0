// SPDX-License-Identifier: MIT
// Reading by lines, by delimiters and by counts, from anything that reads bytes as they come.
//
// A buffer of fixed size lies between: it is filled by as few reads as can be, and what a call gives is a view of it,
// so that nothing is copied. So no peer has a reader take more memory than it was made with: what does not fit is an
// error, and stays where it is.
//
//   [ free | begin_ … what came and nobody has taken … end_ | free ]
//
// A view is good until the next call. A call that ends with an error, by a deadline or a stop, has taken nothing,
// unless it says so: the next one finds all that came.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/detail/byte_buffer.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

namespace gyre {

/// Reads from `Stream` through a buffer. For one coroutine at a time.
///
/// @threads  As those of the stream.
template <async_reader Stream>
class buffered_reader {
 public:
  static constexpr std::size_t default_capacity = std::size_t{16} << 10U;

  /// @param from      What is read. Stays as long as the reader; nobody else reads from it meanwhile.
  /// @param capacity  The buffer's size in bytes, and so the longest line, and the most that can be peeked at.
  explicit buffered_reader(Stream& from, std::size_t capacity = default_capacity) : from_{from}, buffer_{capacity} {}
  buffered_reader(const buffered_reader&) = delete;
  buffered_reader& operator=(const buffered_reader&) = delete;

  [[nodiscard]] std::size_t capacity() const noexcept { return buffer_.capacity(); }

  /// What came and was not taken yet; asks nothing of the stream.
  [[nodiscard]] std::span<const std::byte> buffered() const noexcept { return buffer_.held(); }

  /// Takes the first `count` bytes of buffered(): what peek() has shown.
  void consume(std::size_t count) noexcept { buffer_.consume(count); }

  /// Waits until there are `count` bytes, without taking them.
  ///
  /// @return        All of buffered(): `count` bytes or more; fewer when the stream has ended.
  /// @errors        message_size: more than capacity(); as the stream's read()
  /// @cancellation  Safe: nothing is taken.
  [[nodiscard]] task<std::span<const std::byte>> peek(std::size_t count) {
    const detail::single_use::holding in_use{reading_};
    refuse_beyond(capacity(), count, "peek");
    while (buffer_.held().size() < count) {
      if (!co_await fill()) break;
    }
    co_return buffer_.held();
  }

  /// Reads what is there, or waits until something comes. Into a span as large as the buffer it reads past it.
  ///
  /// @return        Bytes read, at most into.size(); 0 at the end of the stream, and for an empty span.
  /// @errors        As the stream's read().
  /// @cancellation  Safe: bytes are delivered, or stay.
  [[nodiscard]] task<std::size_t> read(std::span<std::byte> into) {
    const detail::single_use::holding in_use{reading_};
    if (into.empty()) co_return 0;
    if (buffer_.held().empty()) {
      if (into.size() >= capacity()) co_return co_await from_.read(into);
      co_await fill();
    }
    co_return buffer_.take(into);
  }

  /// Fills the span.
  ///
  /// @errors        transfer_error, with the count of bytes that lie in the span: errc::end_of_stream, or as the
  ///                stream's read().
  /// @cancellation  Bytes that lie in the span already are lost to the stream.
  [[nodiscard]] task<> read_exactly(std::span<std::byte> into) {
    const detail::single_use::holding in_use{reading_};
    std::size_t filled = buffer_.take(into);
    while (filled < into.size()) {
      const std::span<std::byte> rest = into.subspan(filled);
      filled += co_await read_some(rest, filled);
    }
  }

  /// Reads up to and with the next delimiter.
  ///
  /// @param delimiter  Not empty.
  /// @param limit      Of bytes, the delimiter's among them; no more than capacity() count.
  /// @return           The bytes, the delimiter's last.
  /// @errors           message_size: there is none within the limit. errc::end_of_stream: none before the end. As the
  ///                   stream's read(). In each case nothing is taken: buffered() shows what came.
  /// @cancellation     Safe: nothing is taken.
  [[nodiscard]] task<std::span<const std::byte>> read_until(std::string_view delimiter, std::size_t limit = SIZE_MAX) {
    const detail::single_use::holding in_use{reading_};
    const auto found = co_await find(delimiter, limit, "read_until");
    if (!found) throw std::system_error{errc::end_of_stream, "read_until"};
    co_return buffer_.pass(*found);
  }

  /// Reads a line, which ends with "\n", with "\r\n", or with the stream.
  ///
  /// @param limit   Of bytes, the end of the line among them, and counted as one where the stream ends it; no more than
  ///                capacity() count.
  /// @return        The line without its end; nothing at the end of the stream.
  /// @errors        message_size: the line is longer. As the stream's read(). In each case nothing is taken.
  /// @cancellation  Safe: nothing is taken.
  [[nodiscard]] task<std::optional<std::string_view>> read_line(std::size_t limit = SIZE_MAX) {
    const detail::single_use::holding in_use{reading_};
    const auto found = co_await find("\n", limit, "read_line");
    if (!found && buffer_.held().empty()) co_return std::nullopt;
    const std::span<const std::byte> bytes = buffer_.pass(found.value_or(buffer_.held().size()));
    std::string_view line{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    if (found) line.remove_suffix(1);
    if (found && line.ends_with('\r')) line.remove_suffix(1);
    co_return line;
  }

  /// Takes `count` bytes and forgets them. They need no room: `count` may be more than capacity().
  ///
  /// @errors        transfer_error, with the count of bytes that were skipped: errc::end_of_stream, or as the stream's
  ///                read().
  /// @cancellation  Some may have been skipped.
  [[nodiscard]] task<> skip(std::size_t count) {
    const detail::single_use::holding in_use{reading_};
    for (std::size_t skipped = 0;;) {
      const std::size_t here = std::min(count - skipped, buffer_.held().size());
      buffer_.consume(here);
      skipped += here;
      if (skipped == count) co_return;
      co_await fill_or_throw(skipped, "skip");
    }
  }

 private:
  static void refuse_beyond(std::size_t most, std::size_t asked, const char* operation) {
    if (asked > most) throw std::system_error{std::make_error_code(std::errc::message_size), operation};
  }

  // One read into what room there is; false at the end of the stream.
  task<bool> fill() {
    const std::size_t count = co_await from_.read(buffer_.room());
    buffer_.add(count);
    co_return count > 0;
  }

  task<> fill_or_throw(std::size_t moved, const char* operation) {
    std::error_code why = errc::end_of_stream;
    try {
      if (co_await fill()) co_return;
    } catch (const std::system_error& failed) {
      why = failed.code();
    }
    throw transfer_error{why, moved, operation};
  }

  // What the buffer has, or as much as one read gives: past the buffer, where that saves a copy.
  task<std::size_t> read_some(std::span<std::byte> into, std::size_t moved) {
    if (into.size() < capacity()) {
      co_await fill_or_throw(moved, "read_exactly");
      co_return buffer_.take(into);
    }
    std::error_code why = errc::end_of_stream;
    try {
      if (const std::size_t count = co_await from_.read(into); count > 0) co_return count;
    } catch (const std::system_error& failed) {
      why = failed.code();
    }
    throw transfer_error{why, moved, "read_exactly"};
  }

  // How many bytes there are up to and with the delimiter; nothing when the stream ends before. No byte is looked at
  // twice, but for those that may be the beginning of a delimiter.
  task<std::optional<std::size_t>> find(std::string_view delimiter, std::size_t limit, const char* operation) {
    GYRE_ASSERT(!delimiter.empty(), "a delimiter has a character");
    const std::size_t most = std::min(limit, capacity());
    for (std::size_t looked_at = 0;;) {
      const std::size_t end = detail::find_bytes(buffer_.held(), delimiter, looked_at);
      if (end != detail::not_found) {
        refuse_beyond(most, end, operation);
        co_return end;
      }
      const std::size_t held = buffer_.held().size();
      if (held >= most) refuse_beyond(most, held + 1, operation);
      looked_at = held - std::min(held, delimiter.size() - 1);
      if (!co_await fill()) co_return std::nullopt;
    }
  }

  Stream& from_;
  detail::byte_buffer buffer_;
  detail::single_use reading_{"a buffered_reader is read by one coroutine at a time"};
};

}  // namespace gyre
