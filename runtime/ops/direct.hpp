// SPDX-License-Identifier: MIT
// Operations that make direct descriptors, close them, and take them elsewhere.
//
// All other operations take direct descriptors as they take plain ones, but for the names of paths: direct_fd.hpp.
#pragma once

#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdint>
#include <system_error>
#include <utility>

namespace gyre {

class executor;

namespace detail {

/// What the kernel has put into a slot of the executor's table.
[[nodiscard]] direct_fd own_direct(executor& loop, std::int32_t slot) noexcept;

/// Throws, with the cure, when `why` says that a table has no slot.
void throw_if_no_slot(std::error_code why, const char* operation);

}  // namespace detail

namespace ops {

/// Takes the next connection of a listening socket as a direct descriptor.
///
/// @param listener         Plain or direct.
/// @param peer, peer_size  As for accept.
/// @return        The connection's direct descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open_in_system   no slot is free: **the connection is dropped**, unlike by accept
///                connection_aborted, invalid_argument   as for accept
/// @cancellation  Safe: a connection is delivered, or stays in the backlog.
/// @limits        As many at a time as executor_options::direct_descriptors says.
/// @source        io_uring_prep_accept_direct(3), IORING_FILE_INDEX_ALLOC. Linux 5.19.
class [[nodiscard]] accept_direct final : public operation_of<accept_direct, direct_fd> {
 public:
  explicit accept_direct(fd_ref listener, ::sockaddr* peer = nullptr, ::socklen_t* peer_size = nullptr) noexcept
      : operation_of{opcode}, listener_{listener}, peer_{peer}, peer_size_{peer_size} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_fd value() noexcept { return gyre::detail::own_direct(loop(), res()); }
  [[noreturn]] void fail() const;

  fd_ref listener_;
  ::sockaddr* peer_;
  ::socklen_t* peer_size_;
};

/// Opens a file as a direct descriptor.
///
/// @param directory, path, flags, mode  As for openat; O_CLOEXEC is left out, as no other program has the table.
/// @return        The direct descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open_in_system   no slot is free; a file may have been created
///                no_such_file_or_directory, …    as for openat
/// @cancellation  Safe: nothing is leaked. A file may have been created.
/// @limits        As many at a time as executor_options::direct_descriptors says.
/// @source        io_uring_prep_openat_direct(3), IORING_FILE_INDEX_ALLOC. Linux 5.19.
class [[nodiscard]] openat_direct final : public operation_of<openat_direct, direct_fd> {
 public:
  openat_direct(fd_ref directory, const char* path, int flags, ::mode_t mode = 0) noexcept
      : operation_of{opcode}, directory_{directory}, path_{path}, flags_{flags}, mode_{mode} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_fd value() noexcept { return gyre::detail::own_direct(loop(), res()); }
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;

  fd_ref directory_;
  const char* path_;
  int flags_;
  ::mode_t mode_;
};

/// Opens a file as a direct descriptor, with limits on how its path may lead.
///
/// @param directory, path, flags, resolve, mode  As for openat2; O_CLOEXEC is left out, as no other program has the
///                                               table.
/// @return        The direct descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open_in_system     no slot is free; a file may have been created
///                cross_device_link, …              as for openat2
/// @cancellation  Safe: nothing is leaked. A file may have been created.
/// @limits        As many at a time as executor_options::direct_descriptors says.
/// @source        io_uring_prep_openat2_direct(3), IORING_FILE_INDEX_ALLOC. Linux 5.19.
class [[nodiscard]] openat2_direct final : public operation_of<openat2_direct, direct_fd> {
 public:
  openat2_direct(fd_ref directory, const char* path, int flags, std::uint64_t resolve, ::mode_t mode = 0) noexcept;

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_fd value() noexcept { return gyre::detail::own_direct(loop(), res()); }
  [[nodiscard]] std::error_code failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
  [[noreturn]] void fail() const;

  fd_ref directory_;
  const char* path_;
  openat2::how how_;
};

/// Makes a socket as a direct descriptor.
///
/// @param domain, type, protocol  socket(2)'s.
/// @return        The direct descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open_in_system       no slot is free
///                address_family_not_supported, …     as for socket
/// @cancellation  Safe: nothing is leaked.
/// @limits        As many at a time as executor_options::direct_descriptors says. bind(2) and listen(2) know plain
///                descriptors only; ops::bind and ops::listen take direct ones.
/// @source        io_uring_prep_socket_direct_alloc(3). Linux 5.19.
class [[nodiscard]] socket_direct final : public operation_of<socket_direct, direct_fd> {
 public:
  socket_direct(int domain, int type, int protocol = 0) noexcept
      : operation_of{opcode}, domain_{domain}, type_{type}, protocol_{protocol} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_fd value() noexcept { return gyre::detail::own_direct(loop(), res()); }
  [[noreturn]] void fail() const;

  int domain_;
  int type_;
  int protocol_;
};

/// Makes a direct descriptor of the same open file.
///
/// @param fd      A plain one, of anything but a ring. Stays as it is, and its owner's: closed or not, the direct one
///                goes on.
/// @return        The direct descriptor. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open_in_system   no slot is free
///                bad_file_descriptor             not open, a ring's, or a direct one
/// @cancellation  Safe: nothing is leaked.
/// @limits        As many at a time as executor_options::direct_descriptors says.
/// @source        io_uring_prep_files_update(3), IORING_FILE_INDEX_ALLOC. Linux 5.19.
class [[nodiscard]] to_direct final : public operation_of<to_direct, direct_fd> {
 public:
  explicit to_direct(fd_ref fd) noexcept : operation_of{opcode}, fd_{fd} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_fd value() noexcept { return gyre::detail::own_direct(loop(), number_); }
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;

  fd_ref fd_;
  std::int32_t number_ = -1;  // the kernel takes the plain one from here, and puts the slot here
};

/// Makes a plain descriptor of the same open file.
///
/// @param fd      Stays as it is, and its owner's.
/// @return        The plain descriptor, close-on-exec. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open   RLIMIT_NOFILE
///                bad_file_descriptor   nothing is owned
///                operation_not_supported   before Linux 6.8
/// @cancellation  Safe: nothing is leaked.
/// @source        io_uring_prep_fixed_fd_install(3). Linux 6.8.
class [[nodiscard]] to_plain final : public operation_of<to_plain, unique_fd> {
 public:
  explicit to_plain(const direct_fd& fd) noexcept : operation_of{opcode}, fd_{fd} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
};

/// Closes a direct descriptor, and waits until its slot is free. A direct_fd that goes does the same with nobody to
/// wait; what is in flight on it goes on in either case.
///
/// @param fd      Taken over: it is closed in every case, also when the operation is stopped before it began.
/// @errors        bad_file_descriptor   nothing is owned
///                The file's own errors are not told: who must know whether written data arrived awaits ops::fsync.
/// @cancellation  Safe: nothing is leaked.
/// @source        io_uring_prep_close_direct(3). Linux 5.15.
class [[nodiscard]] close_direct final : public operation_of<close_direct, void> {
 public:
  explicit close_direct(direct_fd fd) noexcept : operation_of{opcode}, fd_{std::move(fd)} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  direct_fd fd_;  // owned until the kernel is told
};

/// Puts the open file behind a direct descriptor into the table of another executor as well. For handing one over, with
/// the task that uses it from then on: send_to().
///
/// @param there   Another executor than this one; exists until the operation, and what it gives, are over.
/// @param fd      Stays as it is, and its owner's.
/// @return        The direct descriptor over there: to be used in turns of that executor. It may be moved and destroyed
///                here. If the coroutine ends before it takes it, it is closed.
/// @errors        too_many_files_open_in_system   no slot is free over there, or it has no table
///                bad_file_descriptor             nothing is owned
///                invalid_argument                `there` is this executor; before Linux 6.0
/// @cancellation  Safe: nothing is leaked. What the kernel was given runs to its end, which is soon: a thread that
///                sleeps is woken for it.
/// @source        io_uring_prep_msg_ring_fd_alloc(3), IORING_MSG_RING_CQE_SKIP. Linux 6.0.
class [[nodiscard]] msg_ring_fd final : public operation_of<msg_ring_fd, direct_fd> {
 public:
  msg_ring_fd(executor& there, const direct_fd& fd) noexcept : operation_of{opcode}, there_{&there}, fd_{fd} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_fd value() noexcept { return gyre::detail::own_direct(*there_, res()); }
  [[noreturn]] void fail() const;

  executor* there_;
  fd_ref fd_;
};

}  // namespace ops
}  // namespace gyre
