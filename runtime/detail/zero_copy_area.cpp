// SPDX-License-Identifier: MIT
// Pages on their way round: from the device to a lease, through the refill ring, and back to the device.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/lent_memory.hpp>
#include <gyre/runtime/detail/zero_copy_area.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

namespace gyre::detail {
namespace {

constexpr std::uint64_t offset_mask = (std::uint64_t{1} << zero_copy_area_shift) - 1;

// io_uring/zcrx.c, io_zcrx_queue_cqe(): offsets are counted in 32 bits before they get 64.
constexpr std::size_t area_bytes_max = std::size_t{1} << 32;

unsigned refill_entries_for(std::size_t area_bytes) noexcept {
  const std::size_t two_a_page = std::bit_ceil(2 * area_bytes / page_bytes());
  return static_cast<unsigned>(std::min<std::size_t>(two_a_page, zero_copy_refills_max));
}

// In front of the entries the kernel has head and tail: for these there is a page.
std::size_t refill_ring_bytes(unsigned entries) noexcept {
  return page_bytes() + whole_pages(entries * sizeof(zero_copy_refill));
}

void* map_pages(std::size_t bytes) noexcept {
  return ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

std::byte* mapped(std::size_t bytes) {
  void* const pages = map_pages(bytes);
  if (pages == MAP_FAILED) throw_errno(errno, "zero_copy_queue");
  return static_cast<std::byte*>(pages);
}

[[noreturn]] void refuse(int error, const setup_diagnosis& why) {
  throw std::system_error{errno_code(error), "zero_copy_queue: " + why.cause + ". " + why.cure};
}

// What a ring must have that is asked for nothing else.
void refuse_unfit(const ring_modes& modes) {
  if (!modes.big)
    refuse(EOPNOTSUPP, {"It is told of packets in completions of 32 bytes, which this executor's ring has not",
                        "Make the executor with executor_options::big_entries"});
  if (modes.sqpoll || modes.iopoll)
    refuse(EOPNOTSUPP, {"The executor takes packets in its own thread, as they come: a submission thread does not, nor "
                        "does who polls devices of files",
                        "Leave out executor_options::sqpoll and iopoll"});
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------ memory

zero_copy_memory::zero_copy_memory(std::size_t ring_bytes, std::size_t area_bytes)
    : ring_bytes_{ring_bytes}, area_bytes_{area_bytes}, begin_{mapped(ring_bytes + area_bytes)} {
  give_to_kernel(area().data(), area().size());
}

zero_copy_memory::~zero_copy_memory() {
  take_from_kernel(area().data(), area().size());  // somebody else may map something there
  ::munmap(begin_, ring_bytes_ + area_bytes_);
}

template <class Keeps>
void zero_copy_memory::part_from_device(Keeps keeps) noexcept {
  void* const copies = map_pages(area_bytes_);
  if (copies == MAP_FAILED)
    fatal_errno(errno, "zero_copy_queue: leases outlive their executor, and there is no memory to keep their bytes in");
  take_from_kernel(area().data(), area().size());
  const std::size_t page = page_bytes();
  for (std::size_t at = 0; at < area_bytes_; at += page)
    if (keeps(at)) std::memcpy(static_cast<std::byte*>(copies) + at, area().data() + at, page);
  if (::mremap(copies, area_bytes_, area_bytes_, MREMAP_MAYMOVE | MREMAP_FIXED, area().data()) == MAP_FAILED)
    fatal_errno(errno, "zero_copy_queue: leases outlive their executor, and their bytes cannot be put in their place");
}

// --------------------------------------------------------------------------------------------------- open and closed

zero_copy_areas::~zero_copy_areas() {
  for (zero_copy_area* const each : all_) {
    each->close();
    each->leave();
  }
}

zero_copy_area& zero_copy_area::open(executor& loop, const std::string& interface, unsigned rx_queue,
                                     std::size_t bytes) {
  GYRE_ASSERT(loop.belongs_to_this_thread(), "a zero_copy_queue is made on the thread of its executor");
  if (bytes == 0 || bytes > area_bytes_max) throw_errno(EINVAL, "zero_copy_queue");
  refuse_unfit(loop.ring().modes());

  const auto drop = [](zero_copy_area* refused) { refused->leave(); };
  std::unique_ptr<zero_copy_area, decltype(drop)> opened{new zero_copy_area{loop, whole_pages(bytes)}, drop};
  zero_copy_areas& areas = loop.local<zero_copy_areas>();
  areas.make_room();
  loop.ring().make_room_to_keep();

  const zero_copy_memory& memory = *opened->memory_;
  const zero_copy_request asked{.interface = interface.c_str(),
                                .rx_queue = rx_queue,
                                .area = memory.area(),
                                .refill_ring = memory.refill_ring(),
                                .refill_entries = refill_entries_for(memory.area().size())};
  if (const int error = loop.ring().register_zero_copy_queue(asked, opened->granted_); error != 0)
    refuse(error, diagnose_receive_queue(error, interface));

  loop.ring().keep(opened->memory_);
  opened->use();
  areas.add(*opened);
  return *opened.release();
}

zero_copy_area::zero_copy_area(executor& loop, std::size_t bytes)
    : loop_{loop},
      home_{&current_executor},
      memory_{std::make_shared<zero_copy_memory>(refill_ring_bytes(refill_entries_for(bytes)), bytes)},
      page_shift_{static_cast<unsigned>(std::countr_zero(page_bytes()))},
      pages_(bytes >> page_shift_) {}

zero_copy_area::~zero_copy_area() = default;

void zero_copy_area::close() noexcept {
  is_open_ = false;
  if (look_.armed()) loop_.disarm_on(clock_id::steady, look_);
  if (on_loan_count_ == 0 || loop_.ring().is_parents()) return;  // fork(2) has copied the pages of a device
  memory_->part_from_device([this](std::uint64_t offset) { return page_of(offset).on_loan_count > 0; });
}

bool zero_copy_area::is_home() const noexcept { return home_ == &current_executor; }

// ------------------------------------------------------------------------------------------------------ the way round

std::span<std::byte> zero_copy_area::take(std::int32_t res) noexcept {
  const std::uint64_t offset = loop_.ring().rest_of_oldest().front() & offset_mask;
  const auto bytes_count = static_cast<std::size_t>(res);
  GYRE_ASSERT(offset + bytes_count <= area_bytes(), "a device puts packets into its area");
  ++counted_.fillings;
  ++on_loan_count_;
  ++page_of(offset).on_loan_count;
  use();
  if (late_count_ > 0) [[unlikely]]
    catch_up();
  const std::span<std::byte> bytes = memory_->area().subspan(offset, bytes_count);
  take_from_kernel(bytes.data(), bytes.size());
  return bytes;
}

void zero_copy_area::give_back(std::span<std::byte> bytes) noexcept {
  GYRE_ASSERT(is_home(), "a zero_copy_lease is destroyed on the thread of its executor");
  const auto offset = static_cast<std::uint64_t>(bytes.data() - memory_->area().data());
  --on_loan_count_;
  --page_of(offset).on_loan_count;
  if (is_open_) return_to_device(offset, bytes);
  leave();
}

// What is late comes first: the ring is in the order in which leases went, as far as it can be.
void zero_copy_area::return_to_device(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
  give_to_kernel(bytes.data(), bytes.size());
  if (late_count_ > 0) [[unlikely]]
    catch_up();
  if (has_place()) [[likely]]
    write_refill(offset, bytes.size());
  else be_late(offset);
  serve();
}

std::uint32_t zero_copy_area::read_count() const noexcept {
  return std::atomic_ref{*granted_.refills_read}.load(std::memory_order_acquire);
}

void zero_copy_area::write_refill(std::uint64_t offset, std::size_t bytes) noexcept {
  granted_.refills_or_null[written_count_ & (granted_.refill_entries - 1)] = {
      .offset = granted_.area_token | offset, .bytes = static_cast<std::uint32_t>(bytes), .reserved = 0};
  ++written_count_;
  std::atomic_ref{*granted_.refills_written}.store(written_count_, std::memory_order_release);
}

// ------------------------------------------------------------------------------------------ a refill ring that is full

void zero_copy_area::be_late(std::uint64_t offset) noexcept {
  page& of_it = page_of(offset);
  ++counted_.late_refills;
  ++late_count_;
  if (of_it.late_count++ == 0)
    of_it.next_late = std::exchange(first_late_, static_cast<std::uint32_t>(offset >> page_shift_));
  watch_refills();
}

// The kernel looks at which page it is, and at nothing else.
void zero_copy_area::catch_up() noexcept {
  while (first_late_ != no_page && has_place()) {
    page& first = pages_[first_late_];
    write_refill(std::uint64_t{first_late_} << page_shift_, std::size_t{1} << page_shift_);
    --late_count_;
    if (--first.late_count == 0) first_late_ = first.next_late;
  }
}

void zero_copy_area::watch_refills() noexcept {
  constexpr std::chrono::milliseconds from_look_to_look{1};
  if (look_.armed()) return;
  read_at_last_look_ = read_count();
  loop_.arm_on({clock_id::steady, later(loop_.turn_time(), from_look_to_look)}, look_);
}

constinit const timer_kind zero_copy_area::look::kind_of_look{&look::expired};

void zero_copy_area::look::expired(timer& self) noexcept {
  zero_copy_area& area = static_cast<look&>(self).area_;
  const std::uint32_t read_count = area.read_count();
  if (std::exchange(area.read_at_last_look_, read_count) != read_count) {
    area.catch_up();
    area.serve();
  }
  if (area.late_count_ > 0 || (!area.hungry_.empty() && area.on_its_way_count() > 0)) area.watch_refills();
}

// ----------------------------------------------------------------------------------------------------- who wants one

// All of them: the kernel may hand the page to whom it likes, and who finds none waits again.
void zero_copy_area::serve() noexcept {
  while (!hungry_.empty()) {
    page_waiter& first = *hungry_.front();
    first.unlink();
    first.page_is_back();
  }
}

}  // namespace gyre::detail
