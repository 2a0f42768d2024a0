// SPDX-License-Identifier: MIT
// What an executor can run: the element of its ready queue.
#pragma once

#include <coroutine>
#include <cstdint>

namespace gyre::detail {

class runnable;
class task_tree;

/// What the runnables of one kind share. One constant object a kind stands in for a virtual table, so that
/// the objects themselves stay small and the kind can carry data.
struct runnable_kind {
  /// Runs it, on the executor's thread, once for each time it was queued. It is presumed gone afterwards.
  void (*run)(runnable& self) noexcept;
};

class runnable {
 public:
  explicit runnable(const runnable_kind& its_kind) noexcept : runnable{its_kind, through_kind} {}
  runnable(const runnable&) = delete;
  runnable& operator=(const runnable&) = delete;

  /// Runs it: resumes the coroutine that it stands for, or does what its kind says.
  void run() noexcept {
    if (is_coroutine()) [[likely]]
      coroutine().resume();
    else kind->run(*this);
  }

  /// Whether to run it is to resume a coroutine, and nothing besides.
  [[nodiscard]] bool is_coroutine() const noexcept { return (resumed_ & through_kind) == 0; }

  const runnable_kind* kind;
  runnable* next;  // link in the one queue that it is in

 protected:
  struct uninitialised {};

  /// For those who set resumed_ before they are queued.
  runnable(const runnable_kind& its_kind, uninitialised) noexcept : kind{&its_kind} {}
  ~runnable() = default;

  [[nodiscard]] std::coroutine_handle<> coroutine() const noexcept {
    return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(resumed_ & ~through_kind));
  }
  void set_coroutine(std::coroutine_handle<> coroutine) noexcept {
    resumed_ = reinterpret_cast<std::uintptr_t>(coroutine.address());
  }
  /// The same, and resume(), where it is known to stand for a coroutine.
  [[nodiscard]] std::coroutine_handle<> known_coroutine() const noexcept {
    return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(resumed_));
  }
  void resume() const noexcept { known_coroutine().resume(); }
  void run_through_kind() noexcept { resumed_ |= through_kind; }

 private:
  friend class task_tree;
  static constexpr std::uintptr_t through_kind = 1;

  runnable(const runnable_kind& its_kind, std::uintptr_t resumed) noexcept : kind{&its_kind}, resumed_{resumed} {}

  std::uintptr_t resumed_;  // a coroutine's address, nearly always; with this bit its kind says what to do
};

}  // namespace gyre::detail
