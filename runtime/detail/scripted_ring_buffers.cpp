// SPDX-License-Identifier: MIT
// Memory that the script has from a program, to fill as it likes: rings of buffers, and a device's area.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/scripted_ring.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>

#include <liburing.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>

namespace gyre::detail {
namespace {

using request = scripted_ring::request;

// Into what is the kernel's, and nobody else's: AddressSanitizer is not to look.
[[gnu::no_sanitize_address]] void copy_as_kernel(std::uint64_t address, std::string_view bytes) noexcept {
  auto* const to = reinterpret_cast<volatile char*>(address);
  for (std::size_t i = 0; i < bytes.size(); ++i) to[i] = bytes[i];
}

}  // namespace

// ------------------------------------------------------------------------------------------------- rings of buffers

scripted_ring::buffer_ring* scripted_ring::buffer_ring_or_null(std::uint16_t group) noexcept {
  for (buffer_ring& each : buffer_rings_)
    if (each.given.group == group) return &each;
  return nullptr;
}

scripted_ring::buffer_ring& scripted_ring::ring_selected_by(const request& selecting) noexcept {
  GYRE_ASSERT((selecting.flags & IOSQE_BUFFER_SELECT) != 0, "the script gives a buffer to a request that selects one");
  buffer_ring* const found = buffer_ring_or_null(selecting.group);
  GYRE_ASSERT(found != nullptr, "a request selects from a group that is registered");
  return *found;
}

int scripted_ring::register_buffer_ring(const buffer_ring_request& asked) noexcept {
  if (options_.buffer_ring_error != 0) return options_.buffer_ring_error;
  if (buffer_ring_or_null(asked.group) != nullptr) return EEXIST;
  try {
    buffer_rings_.push_back({asked});
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  return 0;
}

// The kernel would let a request that selects from the group live on, and take from the next group of that number.
void scripted_ring::unregister_buffer_ring(std::uint16_t group) noexcept {
  for (const request& each : in_flight_) {
    const bool selects = (each.flags & IOSQE_BUFFER_SELECT) != 0 && each.group == group;
    GYRE_ASSERT(!selects, "a ring of buffers is given back when no request is in flight that selects from it");
  }
  std::erase_if(buffer_rings_, [&](const buffer_ring& each) { return each.given.group == group; });
}

int scripted_ring::look_at_buffer_ring(std::uint16_t group, std::uint16_t& head) noexcept {
  const buffer_ring* const found = buffer_ring_or_null(group);
  if (found == nullptr) return ENOENT;
  head = found->head;
  return 0;
}

std::size_t scripted_ring::buffers_in(std::uint16_t group) {
  const buffer_ring* const found = buffer_ring_or_null(group);
  if (found == nullptr) return 0;
  auto& tail = static_cast<io_uring_buf_ring*>(found->given.entries)->tail;
  return static_cast<std::uint16_t>(std::atomic_ref{tail}.load(std::memory_order_acquire) - found->head);
}

std::vector<std::uint16_t> scripted_ring::buffer_groups() const {
  std::vector<std::uint16_t> numbers;
  for (const buffer_ring& each : buffer_rings_) numbers.push_back(each.given.group);
  return numbers;
}

void scripted_ring::deliver_selected(const request& done, std::string_view bytes, bool more) {
  const request selecting = find(done.id);
  buffer_ring& from = ring_selected_by(selecting);
  auto& entries = *static_cast<io_uring_buf_ring*>(from.given.entries);
  const bool is_bundle = selecting.opcode == IORING_OP_RECV && (selecting.ioprio & IORING_RECVSEND_BUNDLE) != 0;
  if (buffers_in(selecting.group) == 0) return complete(selecting, -ENOBUFS);

  std::uint32_t flags = IORING_CQE_F_BUFFER | (more ? IORING_CQE_F_MORE : 0U);
  flags |= static_cast<std::uint32_t>(entries.bufs[from.head & (from.given.count - 1)].bid) << IORING_CQE_BUFFER_SHIFT;
  std::size_t moved = 0;
  do {
    io_uring_buf& filled = entries.bufs[from.head & (from.given.count - 1)];
    const auto count = static_cast<unsigned>(std::min<std::size_t>(bytes.size() - moved, filled.len));
    copy_as_kernel(filled.addr, bytes.substr(moved, count));
    moved += count;
    if (from.given.incremental && count < filled.len) {
      filled.addr += count;
      filled.len -= count;
      flags |= IORING_CQE_F_BUF_MORE;
    } else {
      ++from.head;
    }
  } while (is_bundle && moved < bytes.size() && buffers_in(selecting.group) > 0);
  complete(selecting, static_cast<std::int32_t>(moved), flags);
}

std::uint32_t scripted_ring::take_buffer_for(const request& selecting) {
  buffer_ring& from = ring_selected_by(find(selecting.id));
  GYRE_ASSERT(buffers_in(selecting.group) > 0, "the script takes a buffer where there is one");
  const auto& entries = *static_cast<const io_uring_buf_ring*>(from.given.entries);
  const auto id = static_cast<std::uint32_t>(entries.bufs[from.head++ & (from.given.count - 1)].bid);
  return IORING_CQE_F_BUFFER | id << IORING_CQE_BUFFER_SHIFT;
}

void scripted_ring::complete_with_buffer(const request& done, std::int32_t res) {
  complete(done, res, take_buffer_for(done));
}

// --------------------------------------------------------------------------------------------------- a device's area

// As io_uring/zcrx.c lays it out: head and tail in lines of their own, entries behind them.
int scripted_ring::register_zero_copy_queue(const zero_copy_request& asked, zero_copy_grant& granted) noexcept {
  if (options_.zero_copy_error != 0) return options_.zero_copy_error;
  constexpr std::size_t line = 64;
  std::byte* const shared = asked.refill_ring.data();
  granted = {.number = zero_copy_granted_.refills_or_null == nullptr ? 0 : zero_copy_granted_.number + 1,
             .area_token = std::uint64_t{1} << zero_copy_area_shift,
             .refill_entries = asked.refill_entries,
             .refills_read = reinterpret_cast<std::uint32_t*>(shared),
             .refills_written = reinterpret_cast<std::uint32_t*>(shared + line),
             .refills_or_null = reinterpret_cast<zero_copy_refill*>(shared + 2 * line)};
  zero_copy_asked_ = asked;
  zero_copy_granted_ = granted;
  return 0;
}

// As the kernel, which tells of no bytes where the queue has no room: they stay in the socket.
void scripted_ring::deliver_zero_copy(const request& done, std::uint64_t offset, std::string_view bytes, bool more) {
  const request receiving = find(done.id);
  GYRE_ASSERT(receiving.opcode == op_recv_zc, "a device tells a request that receives without a copy");
  if (!has_room() || !overflowed_.empty()) return complete(receiving, -ENOSPC);
  copy_as_kernel(reinterpret_cast<std::uint64_t>(zero_copy_asked_.area.data()) + offset, bytes);
  completion& rest = posted_[(cq_tail_of_script_ & (cq_entries_ - 1)) * 2 + 1];
  rest = {.user_data = zero_copy_granted_.area_token | offset, .res = 0, .flags = 0};
  complete(receiving, static_cast<std::int32_t>(bytes.size()), more ? IORING_CQE_F_MORE : 0U);
}

std::vector<zero_copy_refill> scripted_ring::refills() const {
  const zero_copy_grant& given = zero_copy_granted_;
  const std::uint32_t written = std::atomic_ref{*given.refills_written}.load(std::memory_order_acquire);
  std::vector<zero_copy_refill> unread;
  for (std::uint32_t at = *given.refills_read; at != written; ++at)
    unread.push_back(given.refills_or_null[at & (given.refill_entries - 1)]);
  return unread;
}

void scripted_ring::take_refills(std::uint32_t count) {
  GYRE_ASSERT(count <= refills().size(), "the script reads what was written");
  std::uint32_t& head = *zero_copy_granted_.refills_read;
  std::atomic_ref{head}.store(head + count, std::memory_order_release);
}

}  // namespace gyre::detail
