// SPDX-License-Identifier: MIT
// The memory into which a network device puts packets: who owns each part of it, and until when. What a program has of
// it is a zero_copy_queue, leases and streams.
//
//   the device's   it may write there; or bytes have come, and no request has told of them
//   on loan        a lease has it, or what a stream has in store
//   on its way     it is in the refill ring, and the kernel has not read that; or it waits for a place there
//
//   the device's -> on loan        take(): a completion of a receive
//   on loan -> on its way          give_back(), a refill for each completion: the kernel counts the parts of a page
//   on its way -> the device's     the kernel, when the device wants pages
//   on loan -> nobody's            give_back(), when the area is closed
//
// The refill ring has two places for each page, as far as the kernel lets it be so large, and the kernel empties it
// when the device needs pages, not when we write. So it can be full, if a page comes in many small parts: what finds no
// place is counted at its page, and is written when there is one. That is looked for at each loan that begins or ends,
// and by a timer, since the device may be waiting for just these pages. So may a stream that found no page to copy to:
// it tries again when a part has come back, and when the timer finds that the kernel has read some.
//
// The area itself:
//
//   open -> closed   the executor is being destroyed: all requests have ended, and the ring is about to be closed. The
//                    kernel knows no earlier end of a registration; the device has the memory until then
//   closed -> gone   nobody has it any more: queue, streams, leases
//
// The memory is the ring's as well (ring::keep()), and so is given back after the ring was closed, at the earliest. The
// kernel then takes the ring down in the background, and pins the pages until it is done with them: the device writes
// to what is no longer mapped here.
//
// Leases may stay behind. While a ring is taken down, its kernel first takes back all that is on loan, and only then
// ends the device's queue: in between a packet may be put where a lease is. So an area that is closed with loans puts a
// copy of the pages on loan where the device's were, and leases find their bytes at the address at which they were.
#pragma once

#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/timer_heap.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gyre {
class executor;
}

namespace gyre::detail {

class zero_copy_area;

/// A stream that found no page, and waits until somebody gives one back.
class page_waiter : public ring_links {
 public:
  virtual void page_is_back() noexcept = 0;

 protected:
  ~page_waiter() = default;
};

/// The areas of one executor: executor::local(). Closes them when it goes.
class zero_copy_areas {
 public:
  explicit zero_copy_areas(executor& /*loop*/) noexcept {}
  ~zero_copy_areas();
  zero_copy_areas(const zero_copy_areas&) = delete;
  zero_copy_areas& operator=(const zero_copy_areas&) = delete;

  /// There must be room.
  void add(zero_copy_area& opened) noexcept { all_.push_back(&opened); }
  void make_room() { all_.reserve(all_.size() + 1); }

 private:
  std::vector<zero_copy_area*> all_;
};

/// Pages, mapped side by side: the refill ring's, and behind them the area's.
class zero_copy_memory {
 public:
  zero_copy_memory(std::size_t ring_bytes, std::size_t area_bytes);
  ~zero_copy_memory();
  zero_copy_memory(const zero_copy_memory&) = delete;
  zero_copy_memory& operator=(const zero_copy_memory&) = delete;

  [[nodiscard]] std::span<std::byte> refill_ring() const noexcept { return {begin_, ring_bytes_}; }
  [[nodiscard]] std::span<std::byte> area() const noexcept { return {begin_ + ring_bytes_, area_bytes_}; }

  /// Puts other pages in the area's place, with what lay in those that `keeps` says; the device keeps the old ones.
  template <class Keeps>
  void part_from_device(Keeps keeps) noexcept;

 private:
  const std::size_t ring_bytes_;
  const std::size_t area_bytes_;
  std::byte* const begin_;
};

/// All of it on the executor's thread; also when the executor is gone.
class zero_copy_area {
 public:
  struct counts {
    std::uint64_t fillings = 0;      // completions with bytes
    std::uint64_t shortages = 0;     // receives that found no page to copy to
    std::uint64_t full_queues = 0;   // receives that found no room for a completion
    std::uint64_t late_refills = 0;  // what found the refill ring full
  };

  /// Has a device's receive queue fill `bytes` of new memory. Its first user is the caller.
  static zero_copy_area& open(executor& loop, const std::string& interface, unsigned rx_queue, std::size_t bytes);

  zero_copy_area(const zero_copy_area&) = delete;
  zero_copy_area& operator=(const zero_copy_area&) = delete;

  void use() noexcept { ++users_count_; }
  void leave() noexcept {
    if (--users_count_ == 0) delete this;
  }

  /// What the completion that is the ring's oldest has brought. Its lease is a user.
  [[nodiscard]] std::span<std::byte> take(std::int32_t res) noexcept;
  void give_back(std::span<std::byte> bytes) noexcept;

  /// No request is in flight, and the ring will be closed.
  void close() noexcept;

  /// Whether pages are on loan, or on their way back to the device: then one comes that a receive will find.
  [[nodiscard]] bool awaits_pages() const noexcept { return on_loan_count_ > 0 || on_its_way_count() > 0; }

  /// Queues who found no page, while awaits_pages(). It may leave by unlink().
  void wait(page_waiter& hungry) noexcept {
    hungry_.push_back(hungry);
    if (on_its_way_count() > 0) watch_refills();
  }

  /// How many refills the kernel has read: counts on, and wraps.
  [[nodiscard]] std::uint32_t read_count() const noexcept;

  void count_shortage() noexcept { ++counted_.shortages; }
  void count_full_queue() noexcept { ++counted_.full_queues; }

  [[nodiscard]] executor& loop() const noexcept { return loop_; }
  [[nodiscard]] std::uint32_t number() const noexcept { return granted_.number; }
  [[nodiscard]] std::size_t area_bytes() const noexcept { return memory_->area().size(); }
  [[nodiscard]] unsigned refill_entries() const noexcept { return granted_.refill_entries; }
  [[nodiscard]] std::uint32_t on_loan_count() const noexcept { return on_loan_count_; }
  [[nodiscard]] std::uint32_t on_its_way_count() const noexcept { return late_count_ + unread_count(); }
  [[nodiscard]] const counts& counted() const noexcept { return counted_; }

 private:
  // Of each page.
  struct page {
    std::uint32_t on_loan_count = 0;  // parts of it
    std::uint32_t late_count = 0;     // parts that wait for a place in the refill ring
    std::uint32_t next_late = 0;      // of the pages with such parts
  };

  // Looks whether the kernel has read the refill ring: for places in it, and for who is hungry.
  class look final : public timer {
   public:
    explicit look(zero_copy_area& of) noexcept : timer{kind_of_look}, area_{of} {}

   private:
    static void expired(timer& self) noexcept;
    static const timer_kind kind_of_look;
    zero_copy_area& area_;
  };

  zero_copy_area(executor& loop, std::size_t bytes);
  ~zero_copy_area();
  [[nodiscard]] bool is_home() const noexcept;
  [[nodiscard]] page& page_of(std::uint64_t offset) noexcept { return pages_[offset >> page_shift_]; }
  [[nodiscard]] std::uint32_t unread_count() const noexcept { return written_count_ - read_count(); }
  [[nodiscard]] bool has_place() const noexcept { return unread_count() < granted_.refill_entries; }
  void return_to_device(std::uint64_t offset, std::span<std::byte> bytes) noexcept;
  void write_refill(std::uint64_t offset, std::size_t bytes) noexcept;
  void be_late(std::uint64_t offset) noexcept;
  void catch_up() noexcept;
  void serve() noexcept;
  void watch_refills() noexcept;

  static constexpr std::uint32_t no_page = UINT32_MAX;

  executor& loop_;
  const void* const home_;
  const std::shared_ptr<zero_copy_memory> memory_;
  const unsigned page_shift_;
  zero_copy_grant granted_;
  std::vector<page> pages_;
  std::uint32_t written_count_ = 0;      // refills; counts on, and wraps
  std::uint32_t read_at_last_look_ = 0;  // the same of read_count()
  std::uint32_t first_late_ = no_page;
  std::uint32_t late_count_ = 0;
  std::uint32_t on_loan_count_ = 0;
  std::uint32_t users_count_ = 1;
  bool is_open_ = true;
  counts counted_;
  intrusive_ring<page_waiter> hungry_;
  look look_{*this};
};

}  // namespace gyre::detail
