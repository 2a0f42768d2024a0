// SPDX-License-Identifier: MIT
// A descriptor that somebody else owns: how operations are told which file they are about.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <climits>
#include <cstddef>

struct io_uring_sqe;

namespace gyre {

class direct_fd;
class numbered_fd;

/// Refers to an open descriptor, a plain one or a direct one (direct_fd.hpp). Its owner keeps it open until the
/// operation has ended: closing a descriptor ends no operation, but frees its number for somebody else's file.
class fd_ref {
 public:
  fd_ref(int fd) noexcept : number_{fd} {}
  fd_ref(const unique_fd& owner) noexcept : number_{owner.get()} {}

  /// To be used on the executor whose it is: made in a turn of another one, it stops the program.
  fd_ref(const direct_fd& owner) noexcept;  // direct_fd.cpp

  fd_ref(const numbered_fd& owner) noexcept;  // numbered_fd.cpp

  /// Whether it is a direct one.
  [[nodiscard]] bool is_direct() const noexcept { return number_ < plain_min; }

  /// The number, for system calls and for operations to which the kernel lets no direct one; -1 for those.
  [[nodiscard]] int get() const noexcept { return is_direct() ? -1 : number_; }

  /// The place of a direct one in its table.
  [[nodiscard]] int slot() const noexcept { return number_ - first_slot; }

  /// The number for the `fd` of an entry, in which a direct one is marked as such: IOSQE_FIXED_FILE. Called once for
  /// each entry, before anything else is added to its flags.
  [[nodiscard]] int in(io_uring_sqe& entry) const noexcept {
    if (!is_direct()) [[likely]]
      return number_;
    reinterpret_cast<std::byte*>(&entry)[flags_offset] = fixed_file;
    return slot();
  }

 private:
  // One number for both: slots count from the least int on. No plain one lies there, nor AT_FDCWD, nor a -errno.
  static constexpr int first_slot = INT_MIN;
  static constexpr int plain_min = INT_MIN / 2;

  // io_uring.h; direct_fd.cpp asserts that they agree.
  static constexpr std::size_t flags_offset = 1;
  static constexpr std::byte fixed_file{1};

  int number_;
};

}  // namespace gyre
