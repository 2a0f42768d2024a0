// SPDX-License-Identifier: MIT
// An epoll set of somebody else's, served by coroutines: for a library that brings its own.
//
// What is gyre's own waits by its operation, or by ops::poll.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <sys/epoll.h>

#include <cstddef>
#include <span>
#include <system_error>

namespace gyre::ops {

/// Adds a descriptor to an epoll set, changes what is waited for, or takes it out.
///
/// @param set     The epoll set. Both descriptors are plain: a direct one is operation_not_supported.
/// @param change  EPOLL_CTL_ADD, _MOD or _DEL: epoll_ctl(2).
/// @param fd      What is added, changed or taken out.
/// @param events  What is waited for, and what a wait tells of it. Of no use for EPOLL_CTL_DEL.
/// @errors        file_exists (added twice), no_such_file_or_directory (not in the set), operation_not_permitted (a
///                file that is always ready), too_many_symbolic_link_levels (sets in a circle), invalid_argument,
///                bad_file_descriptor, no_space_on_device, …: epoll_ctl(2)
/// @cancellation  Safe; it nearly always completes at once, so a cancel finds it done.
/// @source        io_uring_prep_epoll_ctl(3); epoll_ctl(2). Linux 5.6.
class [[nodiscard]] epoll_ctl final : public operation_of<epoll_ctl, void> {
 public:
  epoll_ctl(fd_ref set, int change, fd_ref fd, ::epoll_event events = {}) noexcept
      : operation_of{opcode}, set_{set}, change_{change}, fd_{fd}, events_{events} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept {
    return gyre::detail::failure_at(set_.is_direct() ? set_ : fd_, error());
  }
  [[noreturn]] void fail() const;

  fd_ref set_;
  int change_;
  fd_ref fd_;
  ::epoll_event events_;
};

/// Waits until something in an epoll set is ready.
///
/// @param set     The epoll set, plain or direct. Others may wait for it, and change it, meanwhile.
/// @param events  Where they land; not empty.
/// @return        How many there are, at least one. They are told again as long as they hold, but for EPOLLET and
///                EPOLLONESHOT.
/// @errors        invalid_argument          no epoll set, or no place for events
///                bad_file_descriptor
///                operation_not_supported   before Linux 6.15
/// @cancellation  Safe: an event of an EPOLLET or EPOLLONESHOT descriptor is told, or left for the next wait.
/// @limits        Tells at most as many as there is place for. In older kernels: ops::poll of the set, and
///                epoll_wait(2) that does not wait.
/// @source        io_uring_prep_epoll_wait(3); epoll_wait(2). Linux 6.15.
class [[nodiscard]] epoll_wait final : public operation_of<epoll_wait, std::size_t> {
 public:
  epoll_wait(fd_ref set, std::span<::epoll_event> events) noexcept : operation_of{opcode}, set_{set}, events_{events} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref set_;
  std::span<::epoll_event> events_;
};

}  // namespace gyre::ops
