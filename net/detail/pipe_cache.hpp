// SPDX-License-Identifier: MIT
// Empty pipes that wait for their next use: what splice(2) needs between two sockets, for a moment each time.
//
// Making a pipe and closing it takes longer than what goes through it. An executor keeps a few, for all that is relayed
// on it: a pipe is taken when there are bytes to be moved, and comes back when they are out of it.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

#include <cstddef>
#include <vector>

namespace gyre {
class executor;
}

namespace gyre::net::detail {

/// A pipe whose ends do not block, or none.
struct splice_pipe {
  unique_fd reading;
  unique_fd writing;
  std::size_t capacity = 0;  // bytes that it takes, where each of its slots gets a whole page

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(reading); }
};

/// A new pipe that holds so many bytes, or what the user may have of it: capacity tells. None where there can be none.
[[nodiscard]] splice_pipe make_splice_pipe(int bytes) noexcept;

/// Those of an executor: loop.local<pipe_cache>().
class pipe_cache {
 public:
  /// How many it keeps at most, empty ones; what comes back beyond that is closed.
  static constexpr std::size_t kept_max = 8;

  /// What a pipe is made to hold; less where the user's pipes hold as much as fs.pipe-user-pages-soft says already.
  static constexpr int pipe_bytes = 1 << 18;

  explicit pipe_cache(executor&) { kept_.reserve(kept_max); }

  /// One of those that are kept, or a new one. None where there can be none: the descriptors or the memory are used up,
  /// or the machine does not let this process have any.
  [[nodiscard]] splice_pipe take() noexcept;

  /// Keeps a pipe. It is empty.
  void give_back(splice_pipe empty) noexcept;

  [[nodiscard]] std::size_t kept_count() const noexcept { return kept_.size(); }

 private:
  std::vector<splice_pipe> kept_;
};

}  // namespace gyre::net::detail
