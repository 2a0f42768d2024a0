// SPDX-License-Identifier: MIT
// A request that no coroutine awaits: a multishot one, or one of the executor's own.
//
// user_data tells whose a completion is:
//
//   an operation's address             an operation's
//   a handler's address | handler_tag  a handler's
//   nobody                             a cancel's, a linked timeout's: it is counted, and nobody looks at it
#pragma once

#include <cstdint>

struct io_uring_sqe;

namespace gyre::detail {

/// Takes the completions of its request, one or many. Lives until the one that has no IORING_CQE_F_MORE.
struct completion_handler {
  using complete_fn = void (*)(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;
  using prepare_fn = void (*)(completion_handler& self, io_uring_sqe& sqe) noexcept;

  completion_handler(complete_fn on_completion, prepare_fn on_submission) noexcept
      : complete{on_completion}, prepare{on_submission} {}
  completion_handler(const completion_handler&) = delete;
  completion_handler& operator=(const completion_handler&) = delete;

  enum class place : std::uint8_t { none, queued, in_kernel };

  complete_fn complete;
  prepare_fn prepare;                  // describes the request in an entry that is zero but for its user_data
  completion_handler* next = nullptr;  // link in the list of what has no entry yet, or in that of cancels
  place where = place::none;
  bool cancel_queued = false;
  bool is_apart = false;  // in the kernel, and no operation's: ops::drain() does not wait for it
};

/// The user_data of an entry: an operation's address, or a handler's with this bit.
inline constexpr std::uint64_t handler_tag = 1;
/// The user_data of an entry whose completion nobody waits for. No handler has this address.
inline constexpr std::uint64_t nobody = handler_tag;

[[nodiscard]] inline std::uint64_t tagged(completion_handler& handler) noexcept {
  return reinterpret_cast<std::uint64_t>(&handler) | handler_tag;
}
[[nodiscard]] inline completion_handler& untagged(std::uint64_t user_data) noexcept {
  return *reinterpret_cast<completion_handler*>(user_data & ~handler_tag);
}

}  // namespace gyre::detail
