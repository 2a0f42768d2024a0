// SPDX-License-Identifier: MIT
// Making pipes, and transfers through them that take several operations.
#include <gyre/fs/detail/whole_transfer.hpp>
#include <gyre/fs/pipe.hpp>
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
  return detail::whole_transfer(
      buffer.size(), [this, buffer](std::size_t done) { return read(buffer.subspan(done)); }, errc::end_of_stream,
      "read_exactly");
}

task<> pipe_writer::write_all(const_buffer_ref bytes) const {
  return detail::whole_transfer(
      bytes.size(), [this, bytes](std::size_t done) { return write(bytes.subspan(done)); }, errc::no_progress,
      "write_all");
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
