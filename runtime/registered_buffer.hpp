// SPDX-License-Identifier: MIT
// Registered buffers: memory that the kernel has looked up and pinned once, instead of for each operation.
//
// They stand in a table of one executor's ring, which executor_options::registered_buffers makes. Operations take them
// where they take memory: buffer_ref.hpp. The memory itself is the caller's, and stays until its registration has gone.
//
//   free -> owned    a registered_buffer is made: the kernel pins the memory, and counts it
//   owned -> owned   reassign(): the slot is for other memory from here on
//   owned -> free    the registered_buffer goes: at once on the executor's thread; on another, that is a message to the
//                    executor first, which unpins the memory when it arrives
//
// An entry names the slot, and the address. The kernel looks both up when it begins the request, and keeps what it has
// found until that has ended. So, when an operation meets the end of its buffer, or a reassign():
//
//   the operation is                 what happens
//   described, or waits for a place  bad_address, unless the slot is for memory by then in which all of its bytes lie.
//                                    Never is other memory touched than what the operation was given
//   in the kernel                    it goes on, with the memory that it began with: this stays pinned until then
//   completed                        nothing
//
// Dropping one in use breaks lifetime rule 2 like dropping any other memory; this is what the kernel makes of it.
#pragma once

#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/detail/runnable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace gyre {

class executor;

namespace detail {

class ring;

/// The slots of one executor, as far as somebody owns them. On its thread, but for what says otherwise.
class buffer_table {
 public:
  /// The kernel's bounds: io_uring/rsrc.c, IORING_MAX_REG_BUFFERS and io_buffer_validate().
  static constexpr unsigned slots_max = 1U << 14;
  static constexpr std::size_t bytes_max = std::size_t{1} << 30;

  /// Registers a table of `count` slots, all free; none for 0. Throws setup_error.
  static std::unique_ptr<buffer_table> make(executor& loop, ring& its_ring, unsigned count);

  buffer_table(executor& loop, unsigned count);
  ~buffer_table();
  buffer_table(const buffer_table&) = delete;
  buffer_table& operator=(const buffer_table&) = delete;

  /// Constant ever after. From any thread.
  [[nodiscard]] executor& loop() const noexcept { return loop_; }

  /// A slot that is somebody's from here on, or a negative errno.
  [[nodiscard]] int take(std::span<std::byte> memory) noexcept;
  [[nodiscard]] int take_clone(const buffer_table& of_table, int of_slot) noexcept;

  /// Returns 0 or an errno: then the slot is as it was.
  [[nodiscard]] int reassign(int slot, std::span<std::byte> memory) noexcept;

  /// Nobody owns the slot any more. From any thread.
  void give_up(int slot) noexcept;

  [[nodiscard]] std::uint32_t owned_count() const noexcept { return owned_count_; }

 private:
  // Empties one slot whose owner has gone on another thread.
  class message final : public runnable {
   public:
    message() noexcept : runnable{kind_of_message} {}
    buffer_table* table = nullptr;  // set by its constructor, constant ever after

   private:
    static void arrived(runnable& self) noexcept;
    static const runnable_kind kind_of_message;
  };

  template <class Fill>
  [[nodiscard]] int take_by(Fill fill) noexcept;
  void empty(int slot) noexcept;

  executor& loop_;
  const std::unique_ptr<message[]> messages_;  // one a slot
  std::vector<std::uint16_t> free_;            // the last is taken first; never allocates
  std::uint32_t owned_count_ = 0;
};

}  // namespace detail

/// Owns a registration of memory with one executor, or none.
///
/// @threads  Made and used on its executor's thread: elsewhere that stops the program. It may be moved and destroyed on
///           other threads. Its executor outlives it.
class [[nodiscard]] registered_buffer {
 public:
  registered_buffer() noexcept = default;

  /// Registers memory: the kernel looks its pages up and pins them, some 0.1 us each the first time.
  ///
  /// @param loop    Has been made with executor_options::registered_buffers.
  /// @param memory  Readable and writable, and no shared mapping of a file; aligned or not. Stays the caller's, and
  ///                where it is, until the registration has gone: an munmap(2), or a madvise(2) that drops its pages,
  ///                would leave operations with pages that are nobody's. After a fork(2) pages that the parent writes
  ///                first are no longer those that the kernel has: see madvise(2), MADV_DONTFORK.
  /// @errors        no_buffer_space    no slot is free; the text names the option to raise
  ///                not_enough_memory  RLIMIT_MEMLOCK, which counts pinned memory of all processes of a user; the text
  ///                                   says how much that is, and how to raise it
  ///                bad_address        not all of it is there, or may be written, or a file is mapped there
  ///                invalid_argument   it is empty, or more than 1 GiB
  /// @source        io_uring_register_buffers_update_tag(3). Linux 5.13.
  registered_buffer(executor& loop, std::span<std::byte> memory);

  /// Registers the memory of another executor's buffer, or of this one's, once more: both are used independently.
  ///
  /// Where both executors are on one thread the kernel takes the pages over as they are pinned, and counts nothing
  /// (Linux 6.13). Where they are not, or it cannot, it looks them up, pins and counts them once more: on 6.18 no ring
  /// lets another thread look into its table.
  ///
  /// @param loop    As for the other constructor.
  /// @param source  Lives, and is not reassigned, during the call.
  /// @errors        As for the other constructor; invalid_argument also when `source` owns nothing.
  /// @source        io_uring_clone_buffers_offset(3), IORING_REGISTER_DST_REPLACE. Linux 6.13.
  registered_buffer(executor& loop, const registered_buffer& source);

  registered_buffer(registered_buffer&& other) noexcept
      : table_{std::exchange(other.table_, nullptr)}, slot_{other.slot_}, memory_{other.memory_} {}
  registered_buffer& operator=(registered_buffer&& other) noexcept {
    registered_buffer taken{std::move(other)};
    std::swap(table_, taken.table_);
    std::swap(slot_, taken.slot_);
    std::swap(memory_, taken.memory_);
    return *this;
  }

  /// On the executor's thread the memory is no longer pinned when it returns, if nothing uses it.
  ~registered_buffer() {
    if (table_ != nullptr) table_->give_up(slot_);
  }

  /// Has the registration be for other memory. Where that fails it is for the same as before.
  ///
  /// @param memory  As for the constructor. For a moment both are counted.
  /// @errors        As for the constructor; invalid_argument also when this owns nothing.
  /// @threads       The executor's thread.
  void reassign(std::span<std::byte> memory);

  [[nodiscard]] explicit operator bool() const noexcept { return table_ != nullptr; }

  /// What is registered; empty for one that owns nothing.
  [[nodiscard]] std::span<std::byte> memory() const noexcept {
    return table_ != nullptr ? memory_ : std::span<std::byte>{};
  }

  /// A part of it, for an operation. What is not there is left out.
  [[nodiscard]] buffer_ref first(std::size_t count) const noexcept { return buffer_ref{*this}.first(count); }
  [[nodiscard]] buffer_ref subspan(std::size_t offset, std::size_t count = SIZE_MAX) const noexcept {
    return buffer_ref{*this}.subspan(offset, count);
  }

  /// Its place in the executor's table. Of one that owns something.
  [[nodiscard]] int slot() const noexcept { return slot_; }

  /// Whose it is. Of one that owns something.
  [[nodiscard]] executor& owner() const noexcept { return table_->loop(); }

 private:
  detail::buffer_table* table_ = nullptr;
  int slot_ = 0;
  std::span<std::byte> memory_;
};

}  // namespace gyre
