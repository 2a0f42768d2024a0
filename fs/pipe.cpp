// SPDX-License-Identifier: MIT
// Making pipes, and transfers through them that take several operations.
#include <gyre/fs/pipe.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>
#include <system_error>

namespace gyre::fs {
namespace {

result<std::size_t> size_or_error(int answer) noexcept {
  if (answer < 0) return std::error_code{errno, std::system_category()};
  return static_cast<std::size_t>(answer);
}

}  // namespace

result<std::size_t> pipe_end::try_capacity() const noexcept { return size_or_error(::fcntl(fd_.get(), F_GETPIPE_SZ)); }

result<std::size_t> pipe_end::try_set_capacity(std::size_t bytes) const noexcept {
  // The kernel takes the number modulo 2^32.
  if (bytes > std::numeric_limits<int>::max()) return std::error_code{EINVAL, std::system_category()};
  return size_or_error(::fcntl(fd_.get(), F_SETPIPE_SZ, static_cast<int>(bytes)));
}

task<> pipe_reader::read_exactly(buffer_ref buffer) const {
  std::size_t bytes_read = 0;
  while (bytes_read < buffer.size()) {
    const auto count = co_await as_result(read(buffer.subspan(bytes_read)));
    if (!count) throw transfer_error{count.error(), bytes_read, "read_exactly"};
    if (*count == 0) throw transfer_error{errc::end_of_stream, bytes_read, "read_exactly"};
    bytes_read += *count;
  }
  GYRE_ASSERT(bytes_read == buffer.size(), "a loop that ends without an error has filled the buffer");
}

task<> pipe_writer::write_all(const_buffer_ref bytes) const {
  std::size_t bytes_written = 0;
  while (bytes_written < bytes.size()) {
    const auto count = co_await as_result(write(bytes.subspan(bytes_written)));
    if (!count) throw transfer_error{count.error(), bytes_written, "write_all"};
    if (*count == 0) throw transfer_error{errc::no_progress, bytes_written, "write_all"};
    bytes_written += *count;
  }
  GYRE_ASSERT(bytes_written == bytes.size(), "a loop that ends without an error has written everything");
}

pipe pipe::make(const pipe_options& options) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error{errno, std::system_category(), "pipe"};
  pipe made{pipe_reader{unique_fd{ends[0]}}, pipe_writer{unique_fd{ends[1]}}};
  if (options.capacity_bytes == 0) return made;
  const auto capacity = made.writer.try_set_capacity(options.capacity_bytes);
  if (!capacity) throw std::system_error{capacity.error(), "pipe: its capacity"};
  return made;
}

}  // namespace gyre::fs
