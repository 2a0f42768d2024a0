// SPDX-License-Identifier: MIT
// A pipe: what is written into its one end is read from the other, in order, within one machine.
//
// Each end is a byte stream (byte_stream.hpp), so that a buffered_reader or a buffered_writer goes on top. Pipes that
// have a name: fifo.hpp. From files and sockets into pipes without a copy: ops::splice.
//
// A reader comes to the end when the last writer is closed, in every process that has it. Who writes when the last
// reader is closed gets broken_pipe. Before Linux 6.18 that takes SIGPIPE being blocked on the thread that writes: the
// first write does that, unless the process ignores the signal, as gyre::run() does.
#pragma once

#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstddef>
#include <utility>

namespace gyre::fs {

/// What both ends have in common, and no type to be had by itself.
class pipe_end {
 public:
  /// How many bytes the pipe holds at most: F_GETPIPE_SZ of fcntl(2).
  ///
  /// @errors  bad_file_descriptor: this is no pipe, or has been closed.
  [[nodiscard]] result<std::size_t> try_capacity() const noexcept;

  /// Makes it hold at least so many bytes. What is in it stays.
  ///
  /// @return  How many it holds now: pages, and a power of two of them.
  /// @errors  operation_not_permitted   more than /proc/sys/fs/pipe-max-size without CAP_SYS_RESOURCE, or the user's
  ///                                    pipes have too many pages
  ///          device_or_resource_busy   more is in it than would fit
  ///          invalid_argument          more than 2 GiB
  ///          not_enough_memory, bad_file_descriptor
  /// @source  fcntl(2), F_SETPIPE_SZ.
  [[nodiscard]] result<std::size_t> try_set_capacity(std::size_t bytes) const noexcept;

  /// Closes this end. Nothing may be in flight on it then. An end that is destroyed closes by itself.
  [[nodiscard]] ops::close close() noexcept { return ops::close{std::move(fd_)}; }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the descriptor away, as to a child process.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 protected:
  explicit pipe_end(unique_fd opened) noexcept : fd_{std::move(opened)} {}
  pipe_end(pipe_end&&) noexcept = default;
  pipe_end& operator=(pipe_end&&) noexcept = default;
  ~pipe_end() = default;

  unique_fd fd_;
};

/// The end that is read from. One read at a time, where the order of bytes matters.
class pipe_reader : public pipe_end {
 public:
  /// Takes over a descriptor, which must not be O_NONBLOCK: a read would fail where it is to wait.
  explicit pipe_reader(unique_fd opened) noexcept : pipe_end{std::move(opened)} {}

  /// Reads what is there, or waits until something comes.
  ///
  /// @return        Bytes read, at most buffer.size(). 0: all writers are closed, or the buffer is empty.
  /// @errors        bad_file_descriptor
  /// @cancellation  Safe: bytes are delivered, or stay in the pipe.
  /// @source        pipe(7), read(2).
  [[nodiscard]] ops::read read(buffer_ref buffer) const noexcept { return ops::read{fd_, buffer}; }

  /// Fills the buffer.
  ///
  /// @errors        transfer_error, whose bytes() lie in the buffer: errc::end_of_stream, or as read().
  /// @cancellation  Bytes that were read already are lost to the pipe.
  [[nodiscard]] task<> read_exactly(buffer_ref buffer) const;
};

/// The end that is written to.
class pipe_writer : public pipe_end {
 public:
  /// Takes over a descriptor, which must not be O_NONBLOCK: a write would fail where it is to wait.
  explicit pipe_writer(unique_fd opened) noexcept : pipe_end{std::move(opened)} {}

  /// Writes what there is room for, or waits until there is some.
  ///
  /// @return        Bytes written, at most bytes.size(). Fewer is normal for more than PIPE_BUF (4096) bytes; up to
  ///                that all are written at one blow, and mix with nobody else's.
  /// @errors        broken_pipe: all readers are closed. Never SIGPIPE: see the top of this file.
  /// @cancellation  What was written is reported; what was not is not in the pipe.
  /// @source        pipe(7), write(2), RWF_NOSIGNAL. Linux 5.19, 6.18.
  [[nodiscard]] ops::write write(const_buffer_ref bytes) const noexcept { return ops::write{fd_, bytes}; }

  /// Writes all of the bytes.
  ///
  /// @errors        transfer_error, whose bytes() are written: as write().
  /// @cancellation  Any part of the bytes may have been written.
  [[nodiscard]] task<> write_all(const_buffer_ref bytes) const;
};

struct pipe_options {
  /// Bytes that it is to hold, as try_set_capacity() has it. 0: what the system gives, 64 KiB; less to a user who has
  /// very many.
  std::size_t capacity_bytes = 0;
};

/// Both ends of a pipe that has no name.
///
///   auto [reader, writer] = fs::pipe::make();
struct pipe {
  pipe_reader reader;
  pipe_writer writer;

  /// Makes a pipe, close-on-exec, at once: nothing of it blocks.
  ///
  /// @errors  std::system_error: too_many_files_open, too_many_files_open_in_system; as try_set_capacity()
  /// @source  pipe2(2).
  [[nodiscard]] static pipe make(const pipe_options& options = {});
};

}  // namespace gyre::fs
