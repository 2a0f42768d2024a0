// SPDX-License-Identifier: MIT
// Advisory locks on files: between processes, and between whoever has opened a file on its own.
//
// They are open-file-description locks (F_OFD_SETLK): a lock belongs to one open() of the file, and not, as the older
// ones of POSIX do, to the process, which would lose it at any close() of any descriptor of that file. So two opens in
// one process lock each other out as two processes do.
//
// How somebody waits for one. F_OFD_SETLKW blocks a thread until the lock is free, and can be ended by a signal only: a
// thread of the pool for each who waits, as many as wait, and those that hold the lock may need one to go on. So who
// waits here tries, and sleeps, and tries again: at first after 1 ms, then twice as long each time, at most 50 ms. That
// holds no thread, and a stop or a deadline ends it at once. It costs up to 50 ms after the lock has become free, and
// there is no order among those who wait.
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace gyre::fs {

enum class lock_mode : std::uint8_t {
  shared,    ///< With others who share it. The file is open for reading.
  exclusive  ///< Alone. The file is open for writing.
};

/// What part of the file: all of it, unless told.
struct lock_range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  ///< 0 for all that follows, however long the file becomes.
};

/// Owns a lock, or none. Lets go of it when it is destroyed.
///
/// It keeps the open file that it belongs to open, also when the `file` is closed first.
class [[nodiscard]] file_lock {
 public:
  file_lock() noexcept = default;
  file_lock(file_lock&&) noexcept = default;
  file_lock& operator=(file_lock&& other) noexcept {
    release();
    opened_ = std::move(other.opened_);
    range_ = other.range_;
    return *this;
  }
  ~file_lock() { release(); }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(opened_); }

  /// Lets go of it, on a thread of the offload pool: for a file system on a network, which is asked. The destructor
  /// does the same where it stands.
  ///
  /// @errors        bad_file_descriptor when it owns none; no_lock_available, io_error: fcntl(2)
  /// @cancellation  One that comes before it has begun leaves it to the destructor.
  [[nodiscard]] task<> unlock();

 private:
  friend task<std::optional<file_lock>> lock_if_free(const file& opened, lock_mode mode, lock_range range);
  file_lock(unique_fd opened, lock_range range) noexcept : opened_{std::move(opened)}, range_{range} {}
  void release() noexcept;

  unique_fd opened_;  // one more descriptor of the same open file
  lock_range range_;
};

/// Waits until the lock is to be had. With a deadline: with_timeout(5s, fs::lock(opened, fs::lock_mode::exclusive)).
///
/// One open file has one lock on each byte: a second lock of the same file object replaces the first where they
/// overlap, and whichever goes first frees it.
///
/// @param opened  Stays open until the task has ended.
/// @errors        bad_file_descriptor (not open for what the mode wants), no_lock_available (ENOLCK),
///                invalid_argument (a range beyond all files): fcntl(2)
/// @cancellation  Safe: nothing is locked. At once while it sleeps; an attempt that has begun is waited for, and a lock
///                that it got is let go of, or delivered.
/// @limits        See the top of this file. An attempt is a call on the offload pool, as a file system on a network
///                asks its server.
/// @source        fcntl(2), F_OFD_SETLK. Linux 3.15.
[[nodiscard]] task<file_lock> lock(const file& opened, lock_mode mode, lock_range range = {});

/// The lock, if it is to be had now: one attempt. Otherwise as lock().
///
/// @return  Nothing when somebody else has it, or a lock that shuts this one out.
[[nodiscard]] task<std::optional<file_lock>> lock_if_free(const file& opened, lock_mode mode, lock_range range = {});

}  // namespace gyre::fs
