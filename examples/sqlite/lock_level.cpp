// SPDX-License-Identifier: MIT
// The steps between levels, each a lock of bytes, in the order that SQLite's own unix VFS takes them in.
#include "lock_level.hpp"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>

namespace sqlite {
namespace {

// Of SQLite's file format: https://www.sqlite.org/fileformat2.html, "The Lock-Byte Page".
constexpr ::off_t pending_byte = 0x4000'0000;
constexpr ::off_t reserved_byte = pending_byte + 1;
constexpr ::off_t shared_first = pending_byte + 2;
constexpr ::off_t shared_size = 510;

struct ::flock lock_of(short type, ::off_t first, ::off_t size) noexcept {
  struct ::flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = first;
  lock.l_len = size;
  return lock;
}

// Returns 0 or an errno.
int set_lock(int fd, short type, ::off_t first, ::off_t size) noexcept {
  auto wanted = lock_of(type, first, size);
  return ::fcntl(fd, F_OFD_SETLK, &wanted) == 0 ? 0 : errno;
}

// Somebody else has it, or it may go better next time.
bool is_busy(int error) noexcept {
  return error == EAGAIN || error == EACCES || error == EBUSY || error == EINTR || error == ETIMEDOUT ||
         error == ENOLCK;
}

}  // namespace

int lock_level::failed(int error, int otherwise) noexcept {
  last_errno_ = error;
  return is_busy(error) ? SQLITE_BUSY : otherwise;
}

int lock_level::take_shared(int fd) noexcept {
  if (const int error = set_lock(fd, F_RDLCK, pending_byte, 1)) return failed(error, SQLITE_IOERR_LOCK);
  const int not_shared = set_lock(fd, F_RDLCK, shared_first, shared_size);
  const int not_freed = set_lock(fd, F_UNLCK, pending_byte, 1);
  if (not_shared != 0) return failed(not_shared, SQLITE_IOERR_LOCK);
  if (not_freed != 0) {
    last_errno_ = not_freed;
    set_lock(fd, F_UNLCK, shared_first, shared_size);
    return SQLITE_IOERR_UNLOCK;
  }
  level_ = SQLITE_LOCK_SHARED;
  return SQLITE_OK;
}

int lock_level::take_exclusive(int fd) noexcept {
  if (level_ < SQLITE_LOCK_PENDING) {
    if (const int error = set_lock(fd, F_WRLCK, pending_byte, 1)) return failed(error, SQLITE_IOERR_LOCK);
    level_ = SQLITE_LOCK_PENDING;
  }
  if (const int error = set_lock(fd, F_WRLCK, shared_first, shared_size)) return failed(error, SQLITE_IOERR_LOCK);
  level_ = SQLITE_LOCK_EXCLUSIVE;
  return SQLITE_OK;
}

int lock_level::raise(int fd, int wanted) noexcept {
  if (level_ >= wanted) return SQLITE_OK;
  if (wanted == SQLITE_LOCK_SHARED) return take_shared(fd);
  if (wanted == SQLITE_LOCK_EXCLUSIVE) return take_exclusive(fd);
  if (const int error = set_lock(fd, F_WRLCK, reserved_byte, 1)) return failed(error, SQLITE_IOERR_LOCK);
  level_ = SQLITE_LOCK_RESERVED;
  return SQLITE_OK;
}

int lock_level::lower(int fd, int wanted) noexcept {
  if (level_ <= wanted) return SQLITE_OK;
  if (wanted == SQLITE_LOCK_SHARED) {
    if (const int error = set_lock(fd, F_RDLCK, shared_first, shared_size)) return failed(error, SQLITE_IOERR_RDLOCK);
    if (const int error = set_lock(fd, F_UNLCK, pending_byte, 2)) return failed(error, SQLITE_IOERR_UNLOCK);
  } else if (const int error = set_lock(fd, F_UNLCK, 0, 0)) {
    return failed(error, SQLITE_IOERR_UNLOCK);
  }
  level_ = wanted;
  return SQLITE_OK;
}

int lock_level::look_for_reserved(int fd, bool& is_reserved) const noexcept {
  is_reserved = level_ >= SQLITE_LOCK_RESERVED;
  if (is_reserved) return SQLITE_OK;
  auto other = lock_of(F_WRLCK, reserved_byte, 1);
  if (::fcntl(fd, F_OFD_GETLK, &other) != 0) return SQLITE_IOERR_CHECKRESERVEDLOCK;
  is_reserved = other.l_type != F_UNLCK;
  return SQLITE_OK;
}

}  // namespace sqlite
