// SPDX-License-Identifier: MIT
// What an executor can run: the element of its ready queue.
#pragma once

namespace gyre::detail {

class runnable;

/// What the runnables of one kind share. One constant object a kind stands in for a virtual table, so that
/// the objects themselves stay small and the kind can carry data.
struct runnable_kind {
  /// Runs it, on the executor's thread, once for each time it was queued. It is presumed gone afterwards.
  void (*run)(runnable& self) noexcept;
};

class runnable {
 public:
  explicit runnable(const runnable_kind& its_kind) noexcept : kind{&its_kind} {}
  runnable(const runnable&) = delete;
  runnable& operator=(const runnable&) = delete;

  const runnable_kind* kind;
  runnable* next = nullptr;  // link in the one queue that it is in

 protected:
  ~runnable() = default;
};

}  // namespace gyre::detail
