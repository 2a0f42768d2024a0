// SPDX-License-Identifier: MIT
// Buffers that the kernel chooses from when bytes have come: one pool for thousands of connections, on loan.
//
// A connection that waits needs no buffer. What was received comes as a buffer_lease, which keeps its buffer until it
// is destroyed. Who asks for leases: ops/leased.hpp, one at a time, and ops/pool_streams.hpp. Who owns a buffer when:
// detail/buffer_group.hpp. docs/buffer-pools.md
#pragma once

#include <gyre/runtime/detail/buffer_group.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/result.hpp>

#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>

namespace gyre {

/// Bytes that were received, and the buffer of a pool in which they lie. Empty: neither.
///
/// A contiguous range of bytes, so that it is given to whatever takes a span of them: `co_await ops::send(fd, lease)`.
///
/// @threads  May be moved and destroyed on any thread. The buffer goes back to its pool when the lease is destroyed: on
///           another thread that is a message to the executor, where there is still one. May outlive pool and executor.
class [[nodiscard]] buffer_lease {
 public:
  buffer_lease() noexcept = default;
  buffer_lease(buffer_lease&& other) noexcept
      : group_{std::exchange(other.group_, nullptr)}, filled_{std::exchange(other.filled_, {})} {}
  buffer_lease& operator=(buffer_lease&& other) noexcept {
    buffer_lease taken{std::move(other)};
    std::swap(group_, taken.group_);
    std::swap(filled_, taken.filled_);
    return *this;
  }
  ~buffer_lease() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return group_ != nullptr; }

  /// The bytes that were received. Yours until the lease goes: they may be written to.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data(), size()}; }
  [[nodiscard]] std::byte* data() const noexcept { return filled_.data; }
  [[nodiscard]] std::size_t size() const noexcept { return filled_.bytes; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] std::byte* begin() const noexcept { return data(); }
  [[nodiscard]] std::byte* end() const noexcept { return data() + size(); }

  /// Gives the buffer back now.
  void reset() noexcept {
    if (group_ != nullptr) std::exchange(group_, nullptr)->give_back(std::exchange(filled_, {}));
  }

  /// For who writes operations: what a completion has brought, from here on on loan.
  buffer_lease(detail::buffer_group& group, const detail::filled_buffers& filled) noexcept
      : group_{&group}, filled_{filled} {}

 private:
  detail::buffer_group* group_ = nullptr;
  detail::filled_buffers filled_;
};

/// The same with bytes in several buffers, one behind the other: a bundle.
class [[nodiscard]] buffer_chain {
 public:
  /// The parts in their order.
  class iterator {
   public:
    using iterator_concept = std::forward_iterator_tag;
    using value_type = std::span<std::byte>;
    using difference_type = std::ptrdiff_t;

    iterator() noexcept = default;
    [[nodiscard]] value_type operator*() const noexcept;
    iterator& operator++() noexcept;
    iterator operator++(int) noexcept {
      const iterator before = *this;
      ++*this;
      return before;
    }
    [[nodiscard]] bool operator==(const iterator& other) const noexcept { return left_bytes_ == other.left_bytes_; }

   private:
    friend buffer_chain;
    iterator(const detail::buffer_group& group, const detail::filled_buffers& filled) noexcept
        : group_{&group}, id_{filled.first}, left_bytes_{filled.bytes}, data_{filled.data} {}

    const detail::buffer_group* group_ = nullptr;
    std::uint16_t id_ = 0;
    std::size_t left_bytes_ = 0;
    std::byte* data_ = nullptr;
  };

  buffer_chain() noexcept = default;
  buffer_chain(buffer_chain&& other) noexcept
      : group_{std::exchange(other.group_, nullptr)}, filled_{std::exchange(other.filled_, {})} {}
  buffer_chain& operator=(buffer_chain&& other) noexcept {
    buffer_chain taken{std::move(other)};
    std::swap(group_, taken.group_);
    std::swap(filled_, taken.filled_);
    return *this;
  }
  ~buffer_chain() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return group_ != nullptr; }
  [[nodiscard]] std::size_t bytes_count() const noexcept { return filled_.bytes; }
  [[nodiscard]] std::size_t parts_count() const noexcept { return filled_.count; }
  [[nodiscard]] iterator begin() const noexcept { return group_ != nullptr ? iterator{*group_, filled_} : iterator{}; }
  [[nodiscard]] iterator end() const noexcept { return {}; }

  /// Describes the parts for ops::writev and its like: as many as there is room for. Returns how many that are.
  std::size_t describe_in(std::span<::iovec> parts) const noexcept;

  /// Gives the buffers back now.
  void reset() noexcept {
    if (group_ != nullptr) std::exchange(group_, nullptr)->give_back(std::exchange(filled_, {}));
  }

  /// As of buffer_lease.
  buffer_chain(detail::buffer_group& group, const detail::filled_buffers& filled) noexcept
      : group_{&group}, filled_{filled} {}

 private:
  detail::buffer_group* group_ = nullptr;
  detail::filled_buffers filled_;
};

struct buffer_pool_options {
  /// Rounded up to a power of two, at most 32768. As many as may be filled and not yet given back, at a time; a
  /// connection that waits for bytes needs none.
  unsigned buffers_count = 256;

  /// How much fits into each. What a message brings lies in one buffer if it fits, so that as large as a usual message
  /// is best. A pool goes round through all of its memory: one that is much larger than the cache is slower.
  std::size_t buffer_bytes = 4096;

  /// Buffers are used bit by bit, by many receives: saves memory where messages are much smaller than buffers, which
  /// are then few and large. A buffer comes back when all leases of it have gone. Only for bytes that come as a stream,
  /// by recv and read streams and ops::recv_leased: others are refused with invalid_argument. IOU_PBUF_RING_INC, Linux
  /// 6.12; asked for from 6.16 on. Before that the pool is a plain one: is_incremental() says.
  bool incremental = false;
};

/// What a pool has, and has counted.
struct buffer_pool_statistics {
  std::uint64_t fillings = 0;      ///< Completions that have brought bytes.
  std::uint64_t shortages = 0;     ///< Requests that found no buffer: more, or faster leases, would have helped.
  std::uint32_t free_buffers = 0;  ///< Of which nobody but the kernel has any part, as far as completions tell.
  std::uint32_t on_loan = 0;       ///< Those that leases have, and what streams have in store.
};

/// Buffers for what is received on one executor.
///
/// @threads  Made, used and destroyed on the thread of its executor. Leases may go elsewhere.
class buffer_pool {
 public:
  /// @param loop  Outlives the pool, and the streams over it; not the leases.
  /// @errors      invalid_argument          no buffers, too many, or too large: 2 GiB and more
  ///              not_enough_memory         also for what the kernel locks: 16 bytes a buffer, RLIMIT_MEMLOCK
  ///              too_many_files_open_in_system   65536 groups are there already
  ///              operation_not_supported, invalid_argument   before Linux 5.19
  /// @limits      Memory is the process's only when the kernel has first filled it.
  /// @source      io_uring_register_buf_ring(3). Linux 5.19.
  explicit buffer_pool(executor& loop, const buffer_pool_options& options = {});

  buffer_pool(buffer_pool&& other) noexcept : group_{std::exchange(other.group_, nullptr)} {}
  buffer_pool& operator=(buffer_pool&&) = delete;

  /// Leases and streams may be left: buffers, and their place in the kernel, stay until the last of them has gone.
  ~buffer_pool() {
    if (group_ != nullptr) group_->leave();
  }

  /// Waits until there is a buffer, behind all who wait for one. For ops::recv_leased and its like, which end with
  /// no_buffer_space where there is none; somebody else may be faster.
  ///
  /// @cancellation  Safe.
  class [[nodiscard]] buffer_wait final : public detail::waiter, public detail::buffer_waiter {
   public:
    explicit buffer_wait(detail::buffer_group& group) noexcept : waiter{kind_of_wait}, group_{group} {}
    buffer_wait(buffer_wait&& other) noexcept : waiter{kind_of_wait, other}, buffer_waiter{}, group_{other.group_} {}

    [[nodiscard]] bool await_ready() const noexcept { return group_.has_one(); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      if (begin(awaiter)) group_.wait(*this);
    }
    void await_resume();
    [[nodiscard]] result<void> await_result() noexcept;

   private:
    void buffer_is_back() noexcept override { settle(/*as_stopped=*/false); }
    static void cancel_waiting(detail::waiter& self) noexcept;
    static const detail::waiter_kind kind_of_wait;

    detail::buffer_group& group_;
  };
  [[nodiscard]] buffer_wait until_free() const noexcept { return buffer_wait{*group_}; }

  [[nodiscard]] buffer_pool_statistics statistics() const noexcept;

  /// How many buffers the kernel has left, by its own account: the same as free_buffers, but for completions that are
  /// under way.
  ///
  /// @errors  invalid_argument   before Linux 6.8
  /// @source  io_uring_buf_ring_available(3), IORING_REGISTER_PBUF_STATUS. Linux 6.8.
  [[nodiscard]] result<std::size_t> ask_kernel() const noexcept;

  [[nodiscard]] std::size_t buffers_count() const noexcept { return group_->buffers_count(); }
  [[nodiscard]] std::size_t buffer_bytes() const noexcept { return group_->buffer_bytes(); }
  [[nodiscard]] bool is_incremental() const noexcept { return group_->is_incremental(); }

  /// For who writes operations: its buffers, and the number by which an entry selects from them.
  [[nodiscard]] detail::buffer_group& group() const noexcept { return *group_; }

 private:
  detail::buffer_group* group_;
};

}  // namespace gyre
