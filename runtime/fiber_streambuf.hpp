// SPDX-License-Identifier: MIT
// A std::istream and a std::ostream over any byte stream of gyre's, for code that runs on a fiber.
//
//   fiber_streambuf buffer{connection};
//   std::iostream text{&buffer};
//   for (std::string line; std::getline(text, line);) …        // waits, and no thread does
//
// Bytes are read as many as there are, and written when the buffer is full, or flushed. What the stream throws ends the
// formatted function as any other failure does: badbit is set, and error() tells what it was. On a fiber that was
// stopped nothing is read or written any more, as by destructors that run then: that is a failure, too.
#pragma once

#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/fiber.hpp>

#include <cstddef>
#include <exception>
#include <span>
#include <streambuf>
#include <system_error>
#include <vector>

namespace gyre {

/// Of a reader, a writer, or both. It refers to the stream, which outlives it.
template <class Stream>
  requires async_reader<Stream> || async_writer<Stream>
class fiber_streambuf : public std::streambuf {
 public:
  static constexpr std::size_t default_bytes = 4096;

  /// @param buffer_bytes  How much is read and written at a time, at least 1: memory for each direction that it has.
  explicit fiber_streambuf(Stream& over, std::size_t buffer_bytes = default_bytes) : over_{over} {
    GYRE_ASSERT(buffer_bytes > 0, "a buffer has room for something");
    if constexpr (async_reader<Stream>) incoming_.resize(buffer_bytes);
    if constexpr (async_writer<Stream>) {
      outgoing_.resize(buffer_bytes);
      setp(outgoing_.data(), outgoing_.data() + outgoing_.size());
    }
  }

  /// Writes what was not flushed, as std::filebuf does, unless an exception is on its way. As there, nobody hears of an
  /// error: who wants to hear flushes before.
  ~fiber_streambuf() override {
    if (pptr() == pbase() || std::uncaught_exceptions() > 0 || !fiber::is_current()) return;
    try {
      flush();
    } catch (...) {  // also a stop, of which the code hears at its next await
    }
  }

  /// What the stream has failed with; none while it has not.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

 protected:
  int_type underflow() override {
    if constexpr (async_reader<Stream>) {
      if (fiber::is_stopped()) return traits_type::eof();
      const std::size_t count =
          noting([&] { return fiber::await(over_.read(std::as_writable_bytes(std::span{incoming_}))); });
      if (count == 0) return traits_type::eof();
      setg(incoming_.data(), incoming_.data(), incoming_.data() + count);
      return traits_type::to_int_type(*gptr());
    } else {
      return traits_type::eof();
    }
  }

  int_type overflow(int_type next) override {
    if constexpr (async_writer<Stream>) {
      if (fiber::is_stopped()) return traits_type::eof();
      flush();
      if (!traits_type::eq_int_type(next, traits_type::eof())) return sputc(traits_type::to_char_type(next));
      return traits_type::not_eof(next);
    } else {
      return traits_type::eof();
    }
  }

  int sync() override {
    if (fiber::is_stopped()) return -1;
    flush();
    return 0;
  }

 private:
  void flush() {
    if constexpr (async_writer<Stream>) {
      const char* at = pbase();
      const char* const end = pptr();
      setp(outgoing_.data(), outgoing_.data() + outgoing_.size());  // what fails is not tried again
      while (at != end) at += noting([&] { return fiber::await(over_.write(std::as_bytes(std::span{at, end}))); });
    }
  }

  template <class Transfer>
  std::size_t noting(Transfer transfer) {
    try {
      return transfer();
    } catch (const std::system_error& failed) {
      error_ = failed.code();
      throw;
    }
  }

  Stream& over_;
  std::vector<char> incoming_;
  std::vector<char> outgoing_;
  std::error_code error_;
};

}  // namespace gyre
