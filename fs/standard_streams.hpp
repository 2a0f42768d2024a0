// SPDX-License-Identifier: MIT
// Standard input, output and error as byte streams: of a terminal, a pipe, a file, a socket, /dev/null.
//
//   fs::standard_input in;
//   buffered_reader reader{in};
//   while (const auto line = co_await reader.read_line()) use(*line);
//
// They own nothing: 0, 1 and 2 stay open. They change nothing either: other processes have the same open file, the
// shell for one, and O_NONBLOCK or the modes of a terminal are theirs as well. So a descriptor that somebody has made
// O_NONBLOCK is waited for by a poll, and one that is not by the read or the write itself.
//
// A read of a terminal gives a line at a time, as the terminal has it, and 0 for ^D on an empty line. It ends there,
// though the terminal does not: a later read gives what is typed then. A read that is stopped leaves the line that is
// typed next to whoever reads next.
#pragma once

#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/task.hpp>

#include <unistd.h>

#include <cstddef>
#include <optional>

namespace gyre::fs {

/// What is read from a descriptor that somebody else owns; standard input, unless told.
class standard_input {
 public:
  explicit standard_input(fd_ref from = STDIN_FILENO) noexcept : fd_{from} {}

  /// Reads what is there, or waits until something comes. One read at a time, where the order of bytes matters.
  ///
  /// @return        Bytes read, at most buffer.size(). 0 at the end, for ^D, and for an empty buffer.
  /// @errors        io_error: the terminal is gone, or is another job's, and this process ignores SIGTTIN. read(2)
  /// @cancellation  Safe: bytes are delivered, or stay for the next reader.
  /// @limits        A process in the background that reads its terminal is stopped by SIGTTIN, as by read(2).
  /// @source        read(2); with O_NONBLOCK poll(2) as well.
  [[nodiscard]] task<std::size_t> read(buffer_ref buffer) const;

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

 private:
  fd_ref fd_;
};

/// What is written to one; standard output, unless told. For standard error: standard_output{STDERR_FILENO}.
class standard_output {
 public:
  explicit standard_output(fd_ref to = STDOUT_FILENO) noexcept : fd_{to} {}

  /// Writes what there is room for, or waits until there is some: a pipe is full, or a terminal was stopped by ^S.
  ///
  /// @return        Bytes written, at most bytes.size(). Fewer is normal.
  /// @errors        broken_pipe: nobody reads any more. Without SIGPIPE, which gyre::run() ignores; in a program
  ///                without it, that is the program's to do. write(2)
  /// @cancellation  What was written is reported.
  /// @source        write(2); with O_NONBLOCK poll(2) as well.
  [[nodiscard]] task<std::size_t> write(const_buffer_ref bytes) const;

  /// Writes all of the bytes.
  ///
  /// @errors        transfer_error, whose bytes() are written: as write().
  /// @cancellation  Any part of the bytes may have been written.
  [[nodiscard]] task<> write_all(const_buffer_ref bytes) const;

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

 private:
  fd_ref fd_;
};

/// Whether it is a terminal.
///
/// @source  isatty(3).
[[nodiscard]] bool is_terminal(fd_ref descriptor) noexcept;

struct terminal_size {
  unsigned columns = 0;
  unsigned rows = 0;
};

/// How large the window of a terminal is now; nothing where it is none, or nobody knows. SIGWINCH tells of a change.
///
/// @source  ioctl_tty(2), TIOCGWINSZ.
[[nodiscard]] std::optional<terminal_size> try_terminal_size(fd_ref descriptor) noexcept;

}  // namespace gyre::fs
