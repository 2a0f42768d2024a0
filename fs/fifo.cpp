// SPDX-License-Identifier: MIT
// Opening FIFOs without waiting in the kernel, and looking whether somebody is at the other end.
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/fifo.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/timer.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds first_pause = 1ms;
constexpr std::chrono::nanoseconds longest_pause = 50ms;

std::chrono::nanoseconds longer(std::chrono::nanoseconds pause) { return std::min(2 * pause, longest_pause); }

// Neither for reading nor for writing: so that what is no FIFO is not opened, as some devices would begin to do
// something, and so that each look is at the same one.
task<unique_fd> find(path_at path) {
  detail::refuse_nul(path, "open");
  unique_fd found{co_await ops::openat{path.directory(), path.c_str(), O_PATH}};
  struct ::statx about;
  if (::statx(found.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &about) != 0)
    throw std::system_error{errno, std::system_category(), "open"};
  if (!S_ISFIFO(about.stx_mode)) throw std::system_error{EINVAL, std::system_category(), "open: this is no FIFO"};
  co_return found;
}

std::string path_of(const unique_fd& found) { return "/proc/self/fd/" + std::to_string(found.get()); }

// From here on reads and writes wait, by a poll of the ring's.
void let_wait(const unique_fd& opened) {
  const int flags = ::fcntl(opened.get(), F_GETFL);
  if (flags < 0 || ::fcntl(opened.get(), F_SETFL, flags & ~O_NONBLOCK) != 0)
    throw std::system_error{errno, std::system_category(), "open"};
}

// A pipe that is empty and has no writer is at its end; with one there is nothing yet. tee(2) tells them apart, and
// takes no bytes. A poll does not: it finds a writer only when that is gone.
bool has_writer_or_bytes(const unique_fd& opened, const pipe& scratch) noexcept {
  return ::tee(opened.get(), scratch.writer.fd().get(), 1, SPLICE_F_NONBLOCK) != 0;
}

}  // namespace

task<> make_fifo(path_at path, ::mode_t permissions) {
  detail::refuse_nul(path, "make_fifo");
  co_await offload([&path, permissions] {
    if (::mknodat(path.directory().get(), path.c_str(), S_IFIFO | (permissions & 07777U), 0) != 0)
      throw std::system_error{errno, std::system_category(), "make_fifo"};
  });
}

task<pipe_reader> open_fifo_reader(path_at path) {
  const unique_fd found = co_await find(std::move(path));
  const std::string itself = path_of(found);
  unique_fd opened{co_await ops::openat{AT_FDCWD, itself.c_str(), O_RDONLY | O_NONBLOCK}};
  const pipe scratch = pipe::make();
  for (auto pause = first_pause; !has_writer_or_bytes(opened, scratch); pause = longer(pause)) {
    const auto came = co_await as_result(with_timeout(pause, ops::poll{opened, POLLIN}));
    if (came) break;
    if (came.error() != std::errc::timed_out) throw std::system_error{came.error(), "open"};
  }
  let_wait(opened);
  co_return pipe_reader{std::move(opened)};
}

task<pipe_writer> open_fifo_writer(path_at path) {
  const unique_fd found = co_await find(std::move(path));
  const std::string itself = path_of(found);
  for (auto pause = first_pause;; pause = longer(pause)) {
    auto opened = co_await as_result(ops::openat{AT_FDCWD, itself.c_str(), O_WRONLY | O_NONBLOCK});
    if (opened) {
      let_wait(*opened);
      co_return pipe_writer{std::move(*opened)};
    }
    if (opened.error() != std::errc::no_such_device_or_address) throw std::system_error{opened.error(), "open"};
    co_await sleep_for(pause);
  }
}

}  // namespace gyre::fs
