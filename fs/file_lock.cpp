// SPDX-License-Identifier: MIT
// Trying to lock, sleeping, and letting go.
#include <gyre/fs/file_lock.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/timer.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <system_error>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds first_pause = 1ms;
constexpr std::chrono::nanoseconds longest_pause = 50ms;

// Returns 0 or an errno.
int set_lock(int fd, short type, lock_range range) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<::off_t>::max());
  if (range.offset > most || range.length > most - range.offset) return EINVAL;
  struct ::flock wanted{};
  wanted.l_type = type;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = static_cast<::off_t>(range.offset);
  wanted.l_len = static_cast<::off_t>(range.length);
  return ::fcntl(fd, F_OFD_SETLK, &wanted) == 0 ? 0 : errno;
}

}  // namespace

void file_lock::release() noexcept {
  if (!opened_) return;
  set_lock(opened_.get(), F_UNLCK, range_);
  opened_.reset();
}

task<> file_lock::unlock() {
  const int failure = co_await offload([this] {
    const int refused = set_lock(opened_.get(), F_UNLCK, range_);
    opened_.reset();  // here, as a network's file system may flush
    return refused;
  });
  if (failure != 0) throw std::system_error{failure, std::system_category(), "unlock"};
}

task<std::optional<file_lock>> lock_if_free(const file& opened, lock_mode mode, lock_range range) {
  unique_fd mine{::fcntl(opened.fd().get(), F_DUPFD_CLOEXEC, 0)};
  if (!mine) throw std::system_error{errno, std::system_category(), "lock"};
  const short type = mode == lock_mode::exclusive ? F_WRLCK : F_RDLCK;
  const int failure = co_await offload([fd = mine.get(), type, range] { return set_lock(fd, type, range); });
  if (failure == 0) co_return file_lock{std::move(mine), range};
  if (failure == EAGAIN || failure == EACCES) co_return std::nullopt;
  throw std::system_error{failure, std::system_category(), "lock"};
}

task<file_lock> lock(const file& opened, lock_mode mode, lock_range range) {
  for (auto pause = first_pause;; pause = std::min(2 * pause, longest_pause)) {
    auto locked = co_await lock_if_free(opened, mode, range);
    if (locked) co_return std::move(*locked);
    co_await sleep_for(pause);
  }
}

}  // namespace gyre::fs
