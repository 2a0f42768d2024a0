// SPDX-License-Identifier: MIT
// Waiting on a word of memory until somebody wakes those who wait on it: the kernel's half of a lock.
//
// A lock changes its word in user space, and comes here only where somebody has to sleep. Any mix of coroutines,
// threads in futex(2) and other processes that map the word can wait on it and wake each other. For locks that are
// there already: sync/mutex.hpp, sync/condition_variable.hpp.
//
// A wait ends by a wake, or spuriously: whoever waits looks at the word again. A wait that was woken when a cancel
// crossed it gives `true` like any other, and its coroutine then owns a wake that no other waiter will get: it has to
// act on it, or pass it on. So a coroutine of gyre's that is stopped has never taken a wake with it.
#pragma once

#include <gyre/runtime/operation.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gyre::ops {

/// Who can meet on a word. Waits and wakes of different kinds do not find each other.
enum class futex_kind : std::uint8_t {
  process_private,  ///< Coroutines and threads of one process. The kernel finds a waiter by the address alone.
  process_shared    ///< Also other processes that map the same memory.
};

/// A word, what it has to hold, and who can meet on it: one of those that futex_wait_any waits on.
class futex_expectation {
 public:
  futex_expectation(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                    futex_kind kind = futex_kind::process_private) noexcept;

  /// Whether it is process_private.
  [[nodiscard]] bool is_within_process() const noexcept;

 private:  // struct futex_waitv
  std::uint64_t expected_;
  std::uint64_t address_;
  std::uint32_t flags_;
  std::uint32_t reserved_ = 0;
};

/// Waits until somebody wakes those who wait on a word, provided that it holds `expected` when the kernel begins to
/// wait.
///
/// @param word      Outlives the wait.
/// @param expected  What it has to hold. Where it does not, there is nothing to wait for.
/// @return          true: it was woken, perhaps spuriously. false: the word held something else; or the process may
///                  have no thread, nor ask for what a first one brings (Linux 6.16, seccomp): a wake from a later one
///                  would not find a wait that is process_private, so that it does not begin.
/// @errors          invalid_argument   before Linux 6.7
///                  bad_address        the word is no memory of this process
/// @cancellation    Safe: a wait that was stopped has taken no wake. See the top of this file for one that was woken.
/// @limits          The kernel takes the request at the end of the executor's turn. Cancelling looks for the wait among
///                  all of this executor, newest first: 0.7 us for the newest, 140 us for the oldest of 10,000.
/// @source          io_uring_prep_futex_wait(3); futex(2). Linux 6.7.
class [[nodiscard]] futex_wait final : public operation_of<futex_wait, bool> {
 public:
  futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
             futex_kind its_kind = futex_kind::process_private) noexcept
      : operation_of{opcode}, word_{word}, expected_{expected}, kind_{its_kind} {}

  bool await_resume() {
    take_changed();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<bool> await_result() {
    take_changed();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] bool value() const noexcept { return res() == 0; }
  void take_changed() noexcept;  // which the kernel calls an error

  const std::atomic<std::uint32_t>& word_;
  std::uint32_t expected_;
  futex_kind kind_;
};

/// Wakes those who wait on a word, who came first to wait first.
///
/// @param count   How many at most; 0 wakes nobody.
/// @return        How many were woken. A wait that was being cancelled is not among them, unless it still gives `true`.
/// @errors        invalid_argument   before Linux 6.7
/// @cancellation  Safe; it completes at once, so a cancel finds it done.
/// @limits        The kernel takes the request at the end of the executor's turn: sync::futex_wake() wakes at once.
/// @source        io_uring_prep_futex_wake(3); futex(2). Linux 6.7.
class [[nodiscard]] futex_wake final : public operation_of<futex_wake, std::size_t> {
 public:
  futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count,
             futex_kind its_kind = futex_kind::process_private) noexcept
      : operation_of{opcode}, word_{word}, count_{count}, kind_{its_kind} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;

  const std::atomic<std::uint32_t>& word_;
  std::uint32_t count_;
  futex_kind kind_;
};

/// Waits on several words at once, provided that each holds what is expected of it: until one of them is woken.
///
/// @param waited_on  At least one, at most 128. They stay until the wait has ended.
/// @return           The index of one that was woken; nothing, when one of them held something else.
/// @errors           invalid_argument   none, or more than 128; before Linux 6.7
///                   bad_address        a word is no memory of this process
/// @cancellation     As futex_wait.
/// @source           io_uring_prep_futex_waitv(3); futex_waitv(2). Linux 6.7.
class [[nodiscard]] futex_wait_any final : public operation_of<futex_wait_any, std::optional<std::size_t>> {
 public:
  explicit futex_wait_any(std::span<const futex_expectation> waited_on) noexcept
      : operation_of{opcode}, waited_on_{waited_on} {}

  std::optional<std::size_t> await_resume() {
    take_changed();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<std::optional<std::size_t>> await_result() {
    take_changed();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  [[nodiscard]] std::optional<std::size_t> value() const noexcept;
  void take_changed() noexcept;

  std::span<const futex_expectation> waited_on_;
};

/// Describes such a wait in an entry that is zero but for its user_data: for requests that no coroutine awaits.
void prepare_futex_wait(io_uring_sqe& sqe, const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                        futex_kind kind) noexcept;

}  // namespace gyre::ops
