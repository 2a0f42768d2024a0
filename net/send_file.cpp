// SPDX-License-Identifier: MIT
// A part of a file over a connection: stream_socket::send_file().
//
// Two ways, neither of which can make the executor's thread wait, whether or not the file is in the page cache:
//
//   up to 64 KiB     read into a buffer, and sent: a copy of so little is cheaper than what follows
//   more             1 MiB at a time: a worker of the kernel's splices pages of the file into a pipe, and waits for the
//                    disk where it must; from there they are spliced into the socket on this thread, as long as it has
//                    room. Where it has none, the wait for room is an operation like others.
//
// A splice by a worker costs a switch of threads, which is little beside 1 MiB and much beside the 64 KiB that a pipe
// has by itself: where the kernel grants no large pipe, everything is read and sent. Measured on loopback, 256 MiB that
// are in the page cache: 48 ms by a large pipe, 100 by a small one, 58 by reading and sending. sendfile(2) on this
// thread takes 32, and waits for the disk where it must; what would tell beforehand whether it must, a look at each
// page, costs as much as to read them.
#include <gyre/net/detail/end_socket.hpp>
#include <gyre/net/detail/pipe_cache.hpp>
#include <gyre/net/detail/splice_now.hpp>
#include <gyre/net/stream_socket.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/pipe.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <system_error>

namespace gyre::net {
namespace {

constexpr std::size_t small_bytes = std::size_t{64} << 10;
constexpr std::size_t buffer_bytes_max = std::size_t{256} << 10;
constexpr int pipe_bytes = 1 << 20;  // the most that a user without rights may have: /proc/sys/fs/pipe-max-size

// One call of send_file(). The connection is asked for its descriptor each time: it may have been closed meanwhile.
struct part_of_file {
  stream_socket& to;
  fd_ref file;
  std::uint64_t offset;
  std::size_t count;
  std::size_t sent = 0;

  [[nodiscard]] std::size_t rest() const noexcept { return count - sent; }
  [[nodiscard]] std::uint64_t position() const noexcept { return offset + sent; }
};

// Nothing, where descriptors have run out, or the user has so many large pipes that another one would be small.
detail::splice_pipe make_large_pipe() noexcept {
  detail::splice_pipe made = detail::make_splice_pipe(pipe_bytes);
  if (made.capacity < static_cast<std::size_t>(pipe_bytes)) return {};
  return made;
}

task<> send_copies(part_of_file& part) {
  const std::size_t bytes_max = std::min(part.rest(), buffer_bytes_max);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(bytes_max);
  while (part.rest() > 0) {
    const std::span<std::byte> room{buffer.get(), std::min(part.rest(), bytes_max)};
    const std::size_t read = co_await ops::read{part.file, room, part.position()};
    if (read == 0) co_return;
    co_await ops::send_all{part.to.fd(), room.first(read)};
    part.sent += read;
  }
}

// What lies in the pipe, all of it.
task<> empty_into_socket(part_of_file& part, const detail::splice_pipe& pipe, std::size_t in_pipe) {
  for (bool was_told_of_room = false; in_pipe > 0;) {
    const auto moved = detail::splice_now(pipe.reading, part.to.fd(), in_pipe);
    if (moved.error() == std::errc::resource_unavailable_try_again) {
      constexpr std::span<const std::byte> nothing;  // only the wait for room
      if (was_told_of_room) co_await detail::wait_for_room(part.to.fd());
      else co_await ops::send_poll_first{part.to.fd(), nothing};
      was_told_of_room = true;
      continue;
    }
    was_told_of_room = false;
    if (moved.value() == 0) throw std::system_error{errc::no_progress};
    part.sent += *moved;
    in_pipe -= *moved;
  }
}

// Returns whether the file can be spliced. If not, nothing has happened.
task<bool> send_pages(part_of_file& part, const detail::splice_pipe& pipe) {
  while (part.rest() > 0) {
    const std::size_t bytes_max = std::min<std::size_t>(part.rest(), pipe_bytes);
    const auto filled =
        co_await as_result(ops::splice{part.file, part.position(), pipe.writing, ops::current_position, bytes_max});
    if (part.sent == 0 && filled.error() == std::errc::invalid_argument) co_return false;
    if (filled.value() == 0) break;
    co_await empty_into_socket(part, pipe, *filled);
  }
  co_return true;
}

task<> send_part(part_of_file& part) {
  if (part.rest() > small_bytes) {
    const auto pipe = make_large_pipe();
    if (pipe && co_await send_pages(part, pipe)) co_return;
  }
  co_await send_copies(part);
}

}  // namespace

task<std::size_t> stream_socket::send_file(fd_ref file, std::uint64_t offset, std::size_t count) {
  part_of_file part{.to = *this, .file = file, .offset = offset, .count = count};
  try {
    co_await send_part(part);
  } catch (const transfer_error& failed) {  // of one buffer, a part of which has gone
    throw transfer_error{failed.code(), part.sent + failed.bytes(), "send_file"};
  } catch (const std::system_error& failed) {
    throw transfer_error{failed.code(), part.sent, "send_file"};
  }
  co_return part.sent;
}

}  // namespace gyre::net
