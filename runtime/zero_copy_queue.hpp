// SPDX-License-Identifier: MIT
// A receive queue of a network device that puts packets into this program's memory: bytes that nobody copies, on loan.
//
// What was received comes as a zero_copy_lease, of ops::recv_zc_stream (ops/recv_zc.hpp). Who owns which memory when:
// detail/zero_copy_area.hpp. docs/buffer-pools.md
#pragma once

#include <gyre/runtime/detail/zero_copy_area.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace gyre {

/// Bytes that were received, where the device has put them. Empty: none.
///
/// A contiguous range of bytes, as a buffer_lease is. What has come another way than by the device's queue the kernel
/// has copied into the same memory, and nothing tells the two apart.
///
/// @threads  The thread of its executor, which it may outlive: then that executor's end has copied its bytes, to where
///           they were.
class [[nodiscard]] zero_copy_lease {
 public:
  zero_copy_lease() noexcept = default;
  zero_copy_lease(zero_copy_lease&& other) noexcept
      : area_{std::exchange(other.area_, nullptr)}, bytes_{std::exchange(other.bytes_, {})} {}
  zero_copy_lease& operator=(zero_copy_lease&& other) noexcept {
    zero_copy_lease taken{std::move(other)};
    std::swap(area_, taken.area_);
    std::swap(bytes_, taken.bytes_);
    return *this;
  }
  ~zero_copy_lease() { reset(); }

  [[nodiscard]] explicit operator bool() const noexcept { return area_ != nullptr; }

  /// The bytes that were received. Yours until the lease goes: they may be written to.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::byte* begin() const noexcept { return data(); }
  [[nodiscard]] std::byte* end() const noexcept { return data() + size(); }

  /// Gives the memory back now.
  void reset() noexcept {
    if (area_ != nullptr) std::exchange(area_, nullptr)->give_back(std::exchange(bytes_, {}));
  }

  /// For who writes operations: what a completion has brought, from here on on loan.
  zero_copy_lease(detail::zero_copy_area& area, std::span<std::byte> bytes) noexcept : area_{&area}, bytes_{bytes} {}

 private:
  detail::zero_copy_area* area_ = nullptr;
  std::span<std::byte> bytes_;
};

struct zero_copy_queue_options {
  /// The memory for packets, in whole pages; at most 4 GiB. All of it is pinned: it is there from the beginning, and
  /// counts against RLIMIT_MEMLOCK. Must hold what the device keeps in its own ring, a page a packet, and what leases
  /// have: a small lease keeps its page.
  std::size_t area_bytes = std::size_t{64} << 20;
};

/// What a queue has, and has counted.
struct zero_copy_queue_statistics {
  std::uint64_t fillings = 0;     ///< Completions that have brought bytes.
  std::uint64_t shortages = 0;    ///< Receives that had to copy, and found no free page.
  std::uint64_t full_queues = 0;  ///< Receives that found the completion queue full: executor_options::cq_entries.
  std::uint64_t late_refills =
      0;                         ///< Leases that found no place in the ring by which they go back, and waited for one.
  std::uint32_t on_loan = 0;     ///< What leases have, and what streams have in store.
  std::uint32_t on_its_way = 0;  ///< What has come back, and the kernel has not fetched.
};

/// Has a receive queue of a network device put what it receives into memory of this process, for streams of
/// ops::recv_zc_stream on one executor.
///
/// To have connections come by that queue, and by no other, is the machine's configuration: flow steering, and header
/// split. See docs/buffer-pools.md.
///
/// @threads  Made, used and destroyed on the thread of its executor.
class zero_copy_queue {
 public:
  /// @param loop       Outlives the queue. Made with executor_options::big_entries, and without sqpoll and iopoll.
  /// @param interface  The device's name, such as "eth0".
  /// @param rx_queue   Which of its receive queues, from 0.
  /// @errors      The text has cause and cure, those of capabilities::zero_copy_receive_refusal() among them.
  ///              operation_not_supported  the device's driver cannot, or the executor is not so made
  ///              no_such_device           there is none of that name
  ///              operation_not_permitted  it takes CAP_NET_ADMIN
  ///              invalid_argument         no area, or one that is too large; headers are not split from data; before
  ///                                       Linux 6.15
  ///              file_exists, device_or_resource_busy   the queue is somebody else's, an earlier zero_copy_queue's of
  ///                                       the same executor for one
  ///              not_enough_memory        also for what may be locked: RLIMIT_MEMLOCK
  /// @limits      The kernel has no end of it but the ring's: device queue and memory are free when the executor is
  ///              gone, a little later. One queue for each device queue, and each executor, is what it is made for.
  /// @source      io_uring_register(2), IORING_REGISTER_ZCRX_IFQ; Documentation/networking/iou-zcrx.rst. Linux 6.15.
  explicit zero_copy_queue(executor& loop, const std::string& interface, unsigned rx_queue = 0,
                           const zero_copy_queue_options& options = {});

  zero_copy_queue(zero_copy_queue&& other) noexcept : area_{std::exchange(other.area_, nullptr)} {}
  zero_copy_queue& operator=(zero_copy_queue&&) = delete;

  /// Leases and streams may be left. The device queue stays the executor's.
  ~zero_copy_queue() {
    if (area_ != nullptr) area_->leave();
  }

  [[nodiscard]] zero_copy_queue_statistics statistics() const noexcept;

  [[nodiscard]] std::size_t area_bytes() const noexcept { return area_->area_bytes(); }

  /// For who writes operations: its memory, and the number by which an entry names it.
  [[nodiscard]] detail::zero_copy_area& area() const noexcept { return *area_; }

 private:
  detail::zero_copy_area* area_;
};

}  // namespace gyre
