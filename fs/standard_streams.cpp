// SPDX-License-Identifier: MIT
// Reads and writes of descriptors that others have, too, whatever they have made of them.
#include <gyre/fs/detail/whole_transfer.hpp>
#include <gyre/fs/standard_streams.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include <poll.h>
#include <sys/ioctl.h>

#include <system_error>

namespace gyre::fs {
namespace {

// Awaits what `make_transfer()` makes until it moves something, or fails for good. The ring does not wait for a
// descriptor that is O_NONBLOCK. A process that reads its terminal from the background is interrupted, when it goes on.
template <class Fn>
task<std::size_t> transfer(fd_ref fd, std::uint32_t readiness, const char* name, Fn make_transfer) {
  for (;;) {
    const auto count = co_await as_result(make_transfer());
    if (count) co_return *count;
    if (count.error() == std::errc::resource_unavailable_try_again) (void)co_await ops::poll(fd, readiness);
    else if (count.error() != std::errc::interrupted) throw std::system_error{count.error(), name};
  }
}

}  // namespace

task<std::size_t> standard_input::read(buffer_ref buffer) const {
  return transfer(fd_, POLLIN, "read", [fd = fd_, buffer] { return ops::read{fd, buffer}; });
}

task<std::size_t> standard_output::write(const_buffer_ref bytes) const {
  return transfer(fd_, POLLOUT, "write", [fd = fd_, bytes] { return ops::write{fd, bytes}; });
}

task<> standard_output::write_all(const_buffer_ref bytes) const {
  return detail::whole_transfer(
      bytes.size(), [this, bytes](std::size_t done) { return write(bytes.subspan(done)); }, errc::no_progress,
      "write_all");
}

bool is_terminal(fd_ref descriptor) noexcept { return ::isatty(descriptor.get()) == 1; }

std::optional<terminal_size> try_terminal_size(fd_ref descriptor) noexcept {
  ::winsize told{};
  if (::ioctl(descriptor.get(), TIOCGWINSZ, &told) != 0 || told.ws_col == 0) return std::nullopt;
  return terminal_size{.columns = told.ws_col, .rows = told.ws_row};
}

}  // namespace gyre::fs
