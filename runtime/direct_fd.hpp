// SPDX-License-Identifier: MIT
// Direct descriptors: open files in a table of one executor's ring, instead of the process's.
//
// The kernel finds them without the process's table, which several threads share, and they count for no limit of it.
// They are made by operations (ops/direct.hpp), and every operation that takes a descriptor takes them.
//
//   free -> owned        an operation of this executor, or one that sends it from another, has succeeded: the kernel
//                        chose the slot
//   owned -> closing     its direct_fd goes. On another thread that is a message to the executor first
//   closing -> free      the kernel has the request. Its completion may still be under way when the slot is owned
//                        again, and even when that owner goes: then the next request waits for it
#pragma once

#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/fd_ref.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace gyre {

class executor;

namespace ops {
class close_direct;
}

namespace detail {

class ring;

/// The direct descriptors of one executor, as far as somebody owns them.
class direct_table {
 public:
  /// The kernel's bound: io_uring/filetable.h, IORING_MAX_FIXED_FILES.
  static constexpr unsigned slots_max = 1U << 20;

  /// Registers a table of `count` slots, all free; none for 0. The first `numbered_count` are given away by number
  /// only. Throws setup_error.
  static std::unique_ptr<direct_table> make(executor& loop, ring& its_ring, unsigned count, unsigned numbered_count);

  direct_table(executor& loop, unsigned count, unsigned numbered_count);
  ~direct_table();
  direct_table(const direct_table&) = delete;
  direct_table& operator=(const direct_table&) = delete;

  [[nodiscard]] executor& loop() const noexcept { return loop_; }

  /// What the kernel has put into a slot has an owner from here on. From any thread.
  [[nodiscard]] direct_fd adopt(std::int32_t slot) noexcept;

  /// How many are owned.
  [[nodiscard]] std::uint32_t owned_count() const noexcept { return owned_count_.load(std::memory_order_relaxed); }

  /// A numbered slot is somebody's from here on, or no longer. Returns whether it could be: not where there is no such
  /// slot, or it is somebody's. On the executor's thread.
  [[nodiscard]] bool take_number(unsigned slot) noexcept;
  void give_number_back(unsigned slot) noexcept;

 private:
  friend class gyre::direct_fd;

  // What closes one slot: a message, where its owner has gone on another thread, and the request.
  class closer final : public completion_handler, public runnable {
   public:
    closer() noexcept;
    void close_soon() noexcept;

    direct_table* table = nullptr;  // set by its constructor, constant ever after

   private:
    static void arrived(runnable& self) noexcept;
    static void describe(completion_handler& self, io_uring_sqe& sqe) noexcept;
    static void completed(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;
    static const runnable_kind kind_of_message;

    bool closes_again_ = false;  // the slot was owned anew, and given up, before the completion came
  };

  void give_up(int slot) noexcept;
  void forget_one() noexcept { owned_count_.fetch_sub(1, std::memory_order_release); }

  // Set by the constructor, constant ever after.
  executor& loop_;
  const std::unique_ptr<closer[]> closers_;  // one a slot

  // Touched by the executor's thread.
  std::vector<bool> numbers_taken_;

  // Touched by any thread. Whoever owns a slot anew sees what was done with its closer before: the kernel sees to that,
  // too, and this says it in C++.
  std::atomic<std::uint32_t> owned_count_ = 0;
};

}  // namespace detail

/// Owns a direct descriptor of one executor, or none. Closes it when it goes, by a request that nobody waits for:
/// whoever must know that it is closed awaits ops::close_direct.
///
/// @threads  Used in turns of its executor: in any other it stops the program. It may be moved and destroyed on other
///           threads, as on the way from one executor to another (send_to()). Its executor outlives it.
class [[nodiscard]] direct_fd {
 public:
  direct_fd() noexcept = default;
  direct_fd(direct_fd&& other) noexcept : table_{std::exchange(other.table_, nullptr)}, slot_{other.slot_} {}
  direct_fd& operator=(direct_fd&& other) noexcept {
    direct_fd taken{std::move(other)};
    std::swap(table_, taken.table_);
    std::swap(slot_, taken.slot_);
    return *this;
  }
  ~direct_fd() {
    if (table_ != nullptr) table_->give_up(slot_);
  }

  [[nodiscard]] explicit operator bool() const noexcept { return table_ != nullptr; }

  /// Its place in the executor's table. Of one that owns something.
  [[nodiscard]] int slot() const noexcept { return slot_; }

  /// Whose it is. Of one that owns something.
  [[nodiscard]] executor& owner() const noexcept { return table_->loop(); }

 private:
  friend class detail::direct_table;
  friend class ops::close_direct;
  direct_fd(detail::direct_table& table, int slot) noexcept : table_{&table}, slot_{slot} {}

  /// Gives the slot away without closing it.
  int release() noexcept {
    std::exchange(table_, nullptr)->forget_one();
    return slot_;
  }

  detail::direct_table* table_ = nullptr;
  int slot_ = 0;
};

}  // namespace gyre
