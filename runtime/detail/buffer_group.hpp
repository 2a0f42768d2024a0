// SPDX-License-Identifier: MIT
// The buffers of one provided ring: who owns each of them, and when. What a program has of it is a buffer_pool, leases
// and streams.
//
//   in the ring    the kernel may fill it for any request that names the group
//   on its way     the kernel has filled it, and nobody has looked at the completion
//   on loan        a lease has it, or what a stream has in store
//
//   in the ring -> on its way    the kernel
//   on its way -> on loan        take(): a completion with IORING_CQE_F_BUFFER
//   on its way -> in the ring    drop(): the same, for nobody
//   on loan -> in the ring       give_back(). On another thread that is a message home first
//   on loan -> nobody's          the same, when the group is closed
//
// An incremental buffer is on loan while it is in the ring, too: several leases have pieces of it, and the kernel has
// the rest until a completion comes without IORING_CQE_F_BUF_MORE. It goes back when the last of them lets go.
//
// The group itself:
//
//   open -> closed   its last user goes: the pool, a stream, a request that may still take a buffer; all of them on the
//                    executor's thread. The ring is given back to the kernel, and its number is free. Not earlier, as a
//                    request that is in flight would then take buffers of the next group of that number
//   closed -> gone   no buffer is on loan
//
// What ends first, in all orders: a stream is dropped, its request is in flight until its last completion; the pool is
// dropped before or after that; leases are dropped before or after both, here or on another thread; the executor goes
// after the pool and the streams, before or after leases.
//
// A request that finds no buffer ends with -ENOBUFS, and nothing is lost: the bytes stay where they are. Who wants to
// try again waits in a queue for a buffer that comes back: the first of them gets it. As that one may find that it has
// no bytes to put there after all, the queue is looked at once more a turn later, as long as there are buffers.
#pragma once

#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/result.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

struct io_uring_buf_ring;
struct io_uring_sqe;

namespace gyre {
class executor;
}

namespace gyre::detail {

/// Somebody who wants a buffer.
class buffer_waiter : public ring_links {
 public:
  /// There is one, and it is this one's turn. It has left the queue.
  virtual void buffer_is_back() noexcept = 0;

 protected:
  ~buffer_waiter() = default;
};

/// The numbers of the groups of one executor, and what it counts of them: executor::local().
class buffer_groups {
 public:
  explicit buffer_groups(executor& loop) noexcept : loop_{loop} {}
  ~buffer_groups();
  buffer_groups(const buffer_groups&) = delete;
  buffer_groups& operator=(const buffer_groups&) = delete;

  /// A number that no group has: from the highest down, as people who choose their own begin below.
  [[nodiscard]] std::uint16_t take_number();
  void give_back_number(std::uint16_t number) noexcept;

  /// One that was taken is somebody else's, and stays so.
  void keep_away_from_number() noexcept { ++others_count_; }

  void count_shortage() noexcept { ++shortages_; }
  [[nodiscard]] std::uint64_t shortages() const noexcept { return shortages_; }

 private:
  executor& loop_;
  std::vector<std::uint16_t> free_numbers_;
  std::uint32_t taken_count_ = 0;
  std::uint32_t others_count_ = 0;
  std::uint64_t shortages_ = 0;
};

/// What a completion has put into buffers.
struct filled_buffers {
  std::byte* data = nullptr;
  std::uint32_t bytes = 0;
  std::uint16_t first = 0;  // the others follow it: buffer_group::after()
  std::uint16_t count = 0;
};

class buffer_group {
 public:
  struct counts {
    std::uint64_t fillings = 0;   // completions with bytes
    std::uint64_t shortages = 0;  // requests that found no buffer
  };

  static constexpr unsigned buffers_max = 32'768;  // io_uring/kbuf.c: the ring's head and tail have 16 bits

  /// Registers `count` buffers of `bytes` each. Its first user is the caller.
  static buffer_group& open(executor& loop, unsigned count, std::size_t bytes, bool incremental);

  buffer_group(const buffer_group&) = delete;
  buffer_group& operator=(const buffer_group&) = delete;

  // On the executor's thread.

  void use() noexcept { ++users_count_; }
  void leave() noexcept {
    if (--users_count_ == 0) close();
  }

  /// Has an entry select a buffer. After all else that changes the entry's flags.
  void select_in(io_uring_sqe& sqe) const noexcept;

  /// What a completion with `res` > 0 has brought: in one buffer; in as many as that takes, of a bundle.
  [[nodiscard]] filled_buffers take(std::int32_t res, std::uint32_t flags) noexcept;
  [[nodiscard]] filled_buffers take_bundle(std::int32_t res, std::uint32_t flags) noexcept;

  /// Nobody wants what a completion has brought, if it has brought a buffer at all.
  void drop(std::int32_t res, std::uint32_t flags, bool is_bundle = false) noexcept;

  /// A request has ended with -ENOBUFS.
  void count_shortage() noexcept;

  /// A request takes a buffer when it is submitted, and tells when it completes: until it has ended, a buffer less may
  /// be in the ring than there seem to be.
  void single_begins() noexcept;
  void single_ends() noexcept;

  /// How many buffers there are for sure. Single requests may be waiting and have none, for ever: where there are as
  /// many as buffers, the kernel is asked. One before Linux 6.8 cannot say, and then there are none for sure.
  [[nodiscard]] unsigned sure_count() const noexcept;
  [[nodiscard]] bool has_one() const noexcept { return sure_count() > 0; }

  /// Whether a request is worth trying: there seems to be a buffer, and nobody waits for one.
  [[nodiscard]] bool may_try() noexcept { return in_ring_count_ > 0 && hungry_.empty(); }

  /// Queues who wants one. It may leave by unlink().
  void wait(buffer_waiter& hungry) noexcept;

  [[nodiscard]] executor& loop() const noexcept { return loop_; }
  [[nodiscard]] std::uint16_t number() const noexcept { return number_; }
  [[nodiscard]] unsigned buffers_count() const noexcept { return mask_ + 1U; }
  [[nodiscard]] std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }
  [[nodiscard]] bool is_incremental() const noexcept { return pieces_ != nullptr; }
  [[nodiscard]] unsigned in_ring_count() const noexcept { return in_ring_count_; }
  [[nodiscard]] unsigned on_loan_count() const noexcept { return on_loan_count_; }
  [[nodiscard]] result<std::size_t> ask_kernel() const noexcept;
  [[nodiscard]] const counts& counted() const noexcept { return counted_; }

  // On any thread.

  /// Ends the loan of what was taken.
  void give_back(const filled_buffers& filled) noexcept { give_back(filled.first, filled.count); }
  void give_back(std::uint16_t first, std::uint16_t count) noexcept;

  /// The buffer behind `id` in the bundle that both are part of; where a buffer begins.
  [[nodiscard]] std::uint16_t after(std::uint16_t id) const noexcept { return following_[id]; }
  [[nodiscard]] std::byte* begin_of(std::uint16_t id) const noexcept { return memory_ + id * buffer_bytes_; }

 private:
  // What there is more of an incremental buffer.
  struct pieces {
    std::atomic<std::uint32_t> owners_count = 1;  // leases, and the ring
    std::uint32_t used_bytes = 0;                 // up to where the kernel has filled it
    bool in_ring = true;
  };

  // What takes buffers home that were given back on another thread.
  class message final : public runnable {
   public:
    message() noexcept;
    buffer_group* group = nullptr;  // set once, constant ever after
    std::uint16_t count = 0;

   private:
    static void arrived(runnable& self) noexcept;
    static const runnable_kind kind_of_message;
  };

  // Looks at the queue when the kernel has seen the requests of those that were served: what is ready may run in the
  // turn that is to submit them, so that the look is in the next one.
  class second_look final : public runnable {
   public:
    explicit second_look(buffer_group& of) noexcept;
    buffer_group& group;
    unsigned turns_left = 0;  // 0: it is not queued

   private:
    static void run_look(runnable& self) noexcept;
    static const runnable_kind kind_of_look;
  };

  buffer_group(executor& loop, unsigned count, std::size_t bytes, bool incremental);
  ~buffer_group();

  void map_memory();
  void unmap_memory() noexcept;
  void register_ring(bool incremental);
  void close() noexcept;
  void leave_ring(std::uint16_t id) noexcept;
  static void begin_anew(pieces& of_one) noexcept;
  void put_back(std::uint16_t first, std::uint16_t count) noexcept;
  void add(std::uint16_t id) noexcept;
  void tell_tail() noexcept;
  void serve(unsigned buffers_count) noexcept;
  void look_again_soon() noexcept;
  void return_loan(std::uint16_t first, std::uint16_t count) noexcept;
  [[nodiscard]] unsigned buffers_for(std::int32_t bytes) const noexcept {
    return static_cast<unsigned>((static_cast<std::size_t>(bytes) + buffer_bytes_ - 1) / buffer_bytes_);
  }
  [[nodiscard]] bool is_home() const noexcept;

  // Set by the constructor, constant ever after.
  executor& loop_;  // gone, perhaps, when the group is closed
  executor* const* const home_;
  buffer_groups& numbers_;
  const std::size_t buffer_bytes_;
  const std::uint16_t mask_;
  std::uint16_t number_ = 0;
  std::size_t mapped_bytes_ = 0;
  io_uring_buf_ring* entries_ = nullptr;
  std::byte* memory_ = nullptr;
  const std::unique_ptr<std::uint16_t[]> following_;  // by buffer: which was put into the ring behind it
  const std::unique_ptr<pieces[]> pieces_;            // by buffer, of an incremental group
  const std::unique_ptr<message[]> messages_;         // by buffer

  // Touched on the executor's thread.
  std::uint16_t tail_ = 0;
  std::uint16_t newest_ = 0;  // the buffer that was put into the ring last
  std::uint32_t users_count_ = 1;
  std::uint32_t in_ring_count_ = 0;
  std::uint32_t singles_count_ = 0;
  intrusive_ring<buffer_waiter> hungry_;
  second_look second_look_{*this};
  counts counted_;

  // Touched on the executor's thread while it is open, and then with the lock by whoever gives back. What is_open_ says
  // changes there with the lock.
  std::uint32_t on_loan_count_ = 0;
  bool is_open_ = true;
  std::mutex lock_;
};

}  // namespace gyre::detail
