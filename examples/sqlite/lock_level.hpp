// SPDX-License-Identifier: MIT
// The five levels of SQLite's lock on a database file, as locks of bytes that its own unix VFS understands.
//
//   none → shared → reserved → (pending) → exclusive, and from any of them back to shared or none
//
//   shared      a read lock on a range of 510 bytes, taken under a read lock of the pending byte
//   reserved    and a write lock on the reserved byte: one writes into its cache, the others read on
//   pending     and a write lock on the pending byte: nobody new comes to read
//   exclusive   and a write lock on the range: nobody reads
//
// They are locks of the open file (F_OFD_SETLK), and belong to one connection. SQLite's own VFS takes locks of the
// process (F_SETLK), and has a list of the process's connections, as those do not lock each other out. The kernel holds
// one sort against the other, in other processes and in this one, so that both work on one file.
//
// But one thing: whoever closes a file frees all locks of the process on it, also those of SQLite's own VFS. A process
// that has one file open by both loses them without a word. fcntl(2), "Record locks".
#pragma once

namespace sqlite {

class lock_level {
 public:
  /// SQLITE_LOCK_NONE, _SHARED, _RESERVED, _PENDING or _EXCLUSIVE.
  [[nodiscard]] int level() const noexcept { return level_; }

  /// Locks more. Returns SQLITE_OK, SQLITE_BUSY, or another error; the level is then what it was, or pending on the way
  /// to exclusive.
  int raise(int fd, int wanted) noexcept;

  /// Locks less: shared, or nothing.
  int lower(int fd, int wanted) noexcept;

  /// Whether anybody has reserved the file. Returns SQLITE_OK or an error.
  int look_for_reserved(int fd, bool& is_reserved) const noexcept;

  /// What the last fcntl(2) that failed said.
  [[nodiscard]] int last_errno() const noexcept { return last_errno_; }

 private:
  int take_shared(int fd) noexcept;
  int take_exclusive(int fd) noexcept;
  int failed(int error, int otherwise) noexcept;

  int level_ = 0;
  int last_errno_ = 0;
};

}  // namespace sqlite
