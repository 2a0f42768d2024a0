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
///
/// @errors         None by itself: what the stream throws becomes badbit in whatever reads or writes here, and error()
///                 keeps it. Who has asked for exceptions (std::ios::exceptions()) gets what the stream has thrown.
///                 After an error the next call tries the stream again; what was to be written then is lost.
/// @cancellation   A stop comes where the stream is awaited. Functions of the standard library catch it, as everything,
///                 and set badbit; the next fiber::await() unwinds the fiber, and until then nothing is read or written
///                 here. Bytes that were read and not taken go with the buffer; of those that were to be written, any
///                 part may have been.
/// @threads        From one fiber at a time; whatever waits asserts that it is on one.
/// @limits         No positions (seekoff() fails), and nothing is put back beyond what the buffer holds.
template <class Stream>
  requires async_reader<Stream> || async_writer<Stream>
class fiber_streambuf : public std::streambuf {
 public:
  static constexpr std::size_t default_bytes = 4096;

  /// @param over          The stream. It outlives the buffer, and nobody else reads or writes it meanwhile.
  /// @param buffer_bytes  How much is read and written at a time, at least 1: memory for each direction that it has.
  /// @errors              std::bad_alloc.
  /// @threads             Any place: it awaits nothing.
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
  ///
  /// @cancellation  A stop that comes meanwhile is caught, as every error: the code hears of it at its next await.
  /// @threads       On a fiber; elsewhere, and on one that was stopped, nothing is written.
  ~fiber_streambuf() override {
    if (pptr() == pbase() || std::uncaught_exceptions() > 0 || !fiber::is_current()) return;
    try {
      flush();
    } catch (...) {  // also a stop, of which the code hears at its next await
    }
  }

  /// What the stream has failed with last; none while it has not. A std::system_error's code: exceptions of other
  /// types leave badbit, and nothing here.
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
