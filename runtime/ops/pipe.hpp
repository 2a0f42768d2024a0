// SPDX-License-Identifier: MIT
// Pipes: made, and used to bring bytes from one file to another without a copy in the program.
//
// splice and tee run in a worker thread of the kernel each time. That costs more than a copy of some pages: they pay
// where much is moved at a time, or where an executor must not wait.
#pragma once

#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace gyre::ops {

/// Moves bytes from one descriptor to another. One of the two is a pipe.
///
/// @param from, from_offset  Where they come from: a position in a file, or current_position; always that for a pipe.
/// @param to, to_offset      Where they go to, likewise.
/// @param bytes_count        How many at most. 0 moves nothing.
/// @param flags              SPLICE_F_* of splice(2), or'ed: SPLICE_F_NONBLOCK does not wait for the pipe.
/// @return                   How many were moved. 0 is the end of what is read. Fewer than asked for is normal.
/// @errors                   invalid_argument    neither is a pipe, both are the same, or one cannot be spliced
///                           invalid_seek        a pipe with an offset
///                           bad_file_descriptor
///                           resource_unavailable_try_again   SPLICE_F_NONBLOCK, and it would have to wait
///                           broken_pipe         nobody reads the pipe any more; SIGPIPE is raised nowhere
/// @cancellation             Ends the wait for a pipe. Bytes that were moved are reported, never lost.
/// @limits                   At most transfer_bytes_max bytes a call, and what the pipe holds: 64 KiB, F_SETPIPE_SZ.
/// @source                   io_uring_prep_splice(3), SPLICE_F_FD_IN_FIXED; splice(2). Linux 5.7.
class [[nodiscard]] splice final : public operation_of<splice, std::size_t> {
 public:
  splice(fd_ref from, std::uint64_t from_offset, fd_ref to, std::uint64_t to_offset, std::size_t bytes_count,
         unsigned flags = 0) noexcept
      : operation_of{opcode},
        from_{from},
        to_{to},
        from_offset_{from_offset},
        to_offset_{to_offset},
        bytes_count_{gyre::detail::one_transfer(bytes_count)},
        flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref from_;
  fd_ref to_;
  std::uint64_t from_offset_;
  std::uint64_t to_offset_;
  unsigned bytes_count_;
  unsigned flags_;
};

/// Copies bytes from one pipe to another, and leaves them in the first.
///
/// @param from, to     Pipes, and not the same.
/// @param bytes_count  How many at most. 0 copies nothing.
/// @param flags        SPLICE_F_NONBLOCK, or 0.
/// @return             How many were copied. 0: the pipe is empty and nobody writes to it any more.
/// @errors             As for splice; invalid_argument also for what is no pipe.
/// @cancellation       As for splice.
/// @limits             As for splice.
/// @source             io_uring_prep_tee(3), SPLICE_F_FD_IN_FIXED; tee(2). Linux 5.8.
class [[nodiscard]] tee final : public operation_of<tee, std::size_t> {
 public:
  tee(fd_ref from, fd_ref to, std::size_t bytes_count, unsigned flags = 0) noexcept
      : operation_of{opcode},
        from_{from},
        to_{to},
        bytes_count_{gyre::detail::one_transfer(bytes_count)},
        flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref from_;
  fd_ref to_;
  unsigned bytes_count_;
  unsigned flags_;
};

/// The two ends of a pipe: what is written to the one is read from the other.
struct pipe_ends {
  unique_fd reading;
  unique_fd writing;
};

/// Makes a pipe.
///
/// @param flags   O_NONBLOCK, O_DIRECT of pipe2(2), or'ed; O_CLOEXEC is added.
/// @return        Both ends. If the coroutine ends before it takes them, they are closed.
/// @errors        too_many_files_open       RLIMIT_NOFILE
///                invalid_argument          a flag that is none
///                operation_not_supported   before Linux 6.16
/// @cancellation  Safe: nothing is leaked. It completes at once, so a cancel finds it done.
/// @source        io_uring_prep_pipe(3); pipe2(2). Linux 6.16.
class [[nodiscard]] pipe final : public operation_of<pipe, pipe_ends> {
 public:
  explicit pipe(int flags = 0) noexcept : operation_of{opcode}, flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] pipe_ends value() noexcept { return {unique_fd{ends_[0]}, unique_fd{ends_[1]}}; }

  int flags_;
  std::array<int, 2> ends_{-1, -1};  // filled by the kernel
};

/// The same as direct descriptors.
struct direct_pipe_ends {
  direct_fd reading;
  direct_fd writing;
};

/// Makes a pipe of two direct descriptors.
///
/// @param flags   O_NONBLOCK, O_DIRECT of pipe2(2), or'ed; O_CLOEXEC is left out, as no other program has the table.
/// @return        Both ends. If the coroutine ends before it takes them, they are closed.
/// @errors        too_many_files_open_in_system   fewer than two slots are free; none is taken then
///                invalid_argument                a flag that is none
///                operation_not_supported         before Linux 6.16
/// @cancellation  Safe: nothing is leaked. It completes at once, so a cancel finds it done.
/// @limits        As many at a time as executor_options::direct_descriptors says, two for each pipe.
/// @source        io_uring_prep_pipe_direct(3), IORING_FILE_INDEX_ALLOC. Linux 6.16.
class [[nodiscard]] pipe_direct final : public operation_of<pipe_direct, direct_pipe_ends> {
 public:
  explicit pipe_direct(int flags = 0) noexcept : operation_of{opcode}, flags_{flags} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] direct_pipe_ends value() noexcept;
  [[noreturn]] void fail() const;

  int flags_;
  std::array<int, 2> ends_{-1, -1};  // filled by the kernel
};

}  // namespace gyre::ops
