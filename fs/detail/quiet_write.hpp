// SPDX-License-Identifier: MIT
// A write into a pipe that raises no SIGPIPE where nobody reads any more: it is broken_pipe, and that is all.
//
//   by_flag     Linux 6.18 on: RWF_NOSIGNAL, for this write alone
//   by_thread   before: the thread that writes has SIGPIPE blocked from its first such write on, unless the process
//               ignores it, as gyre::run() does. The signal of a write that failed is taken off the thread again
//
// A worker thread of the kernel would do, as it takes no signals; but before Linux 6.3 a write that had to wait for
// room is tried again on the thread that asked for it.
#pragma once

#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <system_error>

namespace gyre::fs::detail {

enum class quiet : std::uint8_t { by_flag, by_thread };

/// What this kernel has: asked once.
[[nodiscard]] quiet quietest() noexcept;

class [[nodiscard]] quiet_write final : public operation_of<quiet_write, std::size_t> {
 public:
  quiet_write(fd_ref pipe, const_buffer_ref bytes, quiet how = quietest()) noexcept
      : operation_of{opcode}, pipe_{pipe}, how_{how}, bytes_{bytes} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::error_code failure() const noexcept;
  [[noreturn]] void fail() const;

  fd_ref pipe_;
  quiet how_;
  const_buffer_ref bytes_;
};

}  // namespace gyre::fs::detail
