// SPDX-License-Identifier: MIT
// Rights of another time or user, by which the kernel checks single operations: for a server that gives up its rights
// and keeps some for a few files, or opens files in the name of its clients.
//
//   none -> registered   a personality is made: the ring keeps the calling thread's rights as they are at that moment,
//                        user, groups, capabilities and what security modules add
//   registered -> none   it goes. Operations that the kernel has begun go on under it
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/operation.hpp>

#include <concepts>
#include <cstdint>
#include <utility>

namespace gyre {

/// Owns rights that are registered with one executor, or none.
///
/// @threads  Made, used and destroyed on its executor's thread, which it does not outlive: anything else stops the
///           program.
class [[nodiscard]] personality {
 public:
  personality() noexcept = default;

  /// Has the executor's ring keep the rights that the calling thread has now.
  ///
  /// @errors  permission_denied        the executor was made with executor_options::only_opcodes
  ///          operation_not_supported  the ring is none of the kernel's
  ///          not_enough_memory        65535 of them are registered, or the kernel has no memory
  /// @source  io_uring_register_personality(3). Linux 5.6.
  explicit personality(executor& loop);

  personality(personality&& other) noexcept
      : loop_{std::exchange(other.loop_, nullptr)}, number_{std::exchange(other.number_, 0)} {}
  personality& operator=(personality&& other) noexcept {
    personality taken{std::move(other)};
    std::swap(loop_, taken.loop_);
    std::swap(number_, taken.number_);
    return *this;
  }
  ~personality() {
    if (loop_ != nullptr) give_back();
  }

  [[nodiscard]] explicit operator bool() const noexcept { return loop_ != nullptr; }

  /// What the ring calls it: io_uring_sqe's `personality`. 0, the thread's own rights, of one that owns nothing.
  [[nodiscard]] std::uint16_t number() const noexcept { return number_; }

  /// Whose it is. Of one that owns something.
  [[nodiscard]] executor& owner() const noexcept { return *loop_; }

 private:
  void give_back() noexcept;

  executor* loop_ = nullptr;
  std::uint16_t number_ = 0;
};

/// `op`, for which the kernel checks the rights of `taken_on` instead of the thread's.
///
///     const unique_fd log = co_await with_personality(as_root, ops::openat{AT_FDCWD, "/var/log/it", O_WRONLY});
///
/// @param taken_on  Of the executor in whose turn it is called; stays registered until the operation has begun in the
///                  kernel, that is until it has ended, to be sure. One that owns nothing changes nothing.
/// @param op        Any operation of gyre::ops, or of your own; not awaited yet. Of one that makes several requests all
///                  are made so.
/// @errors          Those of `op`; invalid_argument also when the personality has gone.
/// @cancellation    As that of `op`.
/// @source          io_uring_enter(2), personality. Linux 5.6.
template <std::derived_from<operation> Op>
[[nodiscard]] Op with_personality(const personality& taken_on, Op op) {
  if (!taken_on) return op;
  GYRE_ASSERT(&taken_on.owner() == detail::current_executor,
              "a personality is used in a turn of the executor whose it is");
  op.take_rights_of(taken_on.number());
  return op;
}

}  // namespace gyre
