// SPDX-License-Identifier: MIT
// Buffers on their way round: into the ring, to the kernel, on loan, and back.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/buffer_group.hpp>
#include <gyre/runtime/detail/lent_memory.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>

#include <liburing.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

namespace gyre::detail {
namespace {

std::uint16_t id_in(std::uint32_t flags) noexcept {
  return static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
}

}  // namespace

// ----------------------------------------------------------------------------------------------------------- numbers

buffer_groups::~buffer_groups() {
  GYRE_ASSERT(taken_count_ == free_numbers_.size() + others_count_ || loop_.ring().is_parents(),
              "an executor was destroyed while a buffer_pool of it, or a stream over one, is still there");
}

std::uint16_t buffer_groups::take_number() {
  if (!free_numbers_.empty()) {
    const std::uint16_t number = free_numbers_.back();
    free_numbers_.pop_back();
    return number;
  }
  constexpr std::uint32_t numbers_count = 65'536;
  if (taken_count_ == numbers_count) throw_errno(ENFILE, "buffer_pool");
  free_numbers_.reserve(std::bit_ceil(taken_count_ + 1));  // so that none is refused when it comes back
  return static_cast<std::uint16_t>(numbers_count - ++taken_count_);
}

void buffer_groups::give_back_number(std::uint16_t number) noexcept { free_numbers_.push_back(number); }

// ----------------------------------------------------------------------------------------------------- open and closed

buffer_group& buffer_group::open(executor& loop, unsigned count, std::size_t bytes, bool incremental) {
  GYRE_ASSERT(loop.belongs_to_this_thread(), "a buffer_pool is made on the thread of its executor");
  constexpr std::size_t bytes_max = INT32_MAX;  // what a completion can tell
  const bool fits = count > 0 && count <= buffers_max && bytes > 0 && bytes <= bytes_max;
  if (!fits) throw_errno(EINVAL, "buffer_pool");
  return *new buffer_group{loop, std::bit_ceil(count), bytes, incremental};
}

buffer_group::buffer_group(executor& loop, unsigned count, std::size_t bytes, bool incremental)
    : loop_{loop},
      home_{&current_executor},
      numbers_{loop.local<buffer_groups>()},
      buffer_bytes_{bytes},
      mask_{static_cast<std::uint16_t>(count - 1)},
      following_{std::make_unique<std::uint16_t[]>(count)},
      pieces_{incremental && loop.ring().is_trusted_with(buffer_use::incremental) ? std::make_unique<pieces[]>(count)
                                                                                  : nullptr},
      messages_{std::make_unique<message[]>(count)} {
  for (unsigned id = 0; id < count; ++id) messages_[id].group = this;
  map_memory();
  for (unsigned id = 0; id < count; ++id) add(static_cast<std::uint16_t>(id));
  tell_tail();
  try {
    register_ring(is_incremental());
  } catch (...) {
    unmap_memory();
    throw;
  }
}

buffer_group::~buffer_group() { unmap_memory(); }

void buffer_group::unmap_memory() noexcept {
  take_from_kernel(memory_, buffers_count() * buffer_bytes_);  // somebody else may map something there
  ::munmap(entries_, mapped_bytes_);
}

// One mapping for both: the kernel wants the ring at the beginning of a page. What is never used is never there.
void buffer_group::map_memory() {
  const std::size_t ring_bytes = whole_pages(buffers_count() * sizeof(io_uring_buf));
  mapped_bytes_ = ring_bytes + whole_pages(buffers_count() * buffer_bytes_);
  void* const mapped = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw_errno(errno, "buffer_pool");
  entries_ = static_cast<io_uring_buf_ring*>(mapped);
  memory_ = static_cast<std::byte*>(mapped) + ring_bytes;
}

// A number that somebody has provided buffers under by hand (ops::provide_buffers) is passed over.
void buffer_group::register_ring(bool incremental) {
  for (;;) {
    number_ = numbers_.take_number();
    const buffer_ring_request asked{
        .entries = entries_, .count = buffers_count(), .group = number_, .incremental = incremental};
    const int error = loop_.ring().register_buffer_ring(asked);
    if (error == 0) return;
    if (error == EEXIST) {
      numbers_.keep_away_from_number();
      continue;
    }
    numbers_.give_back_number(number_);
    throw_errno(error, "buffer_pool");
  }
}

// Nobody takes a buffer any more. In the child of a fork the ring is the parent's.
void buffer_group::close() noexcept {
  GYRE_ASSERT(is_home(), "a buffer_pool, and the streams over it, are destroyed on the thread of their executor");
  GYRE_ASSERT(hungry_.empty(), "who waits for a buffer is a user of the group");
  if (!loop_.ring().is_parents()) loop_.ring().unregister_buffer_ring(number_);
  numbers_.give_back_number(number_);
  std::unique_lock holding{lock_};
  for (unsigned id = 0; is_incremental() && id < buffers_count(); ++id) {
    const bool had_leases = pieces_[id].in_ring && pieces_[id].owners_count.fetch_sub(1, std::memory_order_acq_rel) > 1;
    if (had_leases) ++on_loan_count_;
  }
  is_open_ = false;
  const bool is_gone = on_loan_count_ == 0;
  holding.unlock();
  if (is_gone) delete this;
}

// ------------------------------------------------------------------------------------------------------ completions

void buffer_group::select_in(io_uring_sqe& sqe) const noexcept {
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = number_;
}

filled_buffers buffer_group::take(std::int32_t res, std::uint32_t flags) noexcept {
  GYRE_ASSERT((flags & IORING_CQE_F_BUFFER) != 0, "bytes come in a buffer");
  if (res > 0) ++counted_.fillings;
  const std::uint16_t id = id_in(flags);
  const auto bytes = static_cast<std::uint32_t>(res);
  if (!is_incremental()) {
    leave_ring(id);
    take_from_kernel(begin_of(id), std::min<std::size_t>(bytes, buffer_bytes_));
    return {.data = begin_of(id), .bytes = bytes, .first = id, .count = 1};
  }
  pieces& its_pieces = pieces_[id];
  std::byte* const data = begin_of(id) + its_pieces.used_bytes;
  its_pieces.used_bytes += bytes;
  take_from_kernel(data, bytes);
  if ((flags & IORING_CQE_F_BUF_MORE) != 0) its_pieces.owners_count.fetch_add(1, std::memory_order_relaxed);
  else leave_ring(id);  // the lease takes the ring's place among its owners
  return {.data = data, .bytes = bytes, .first = id, .count = 1};
}

// The kernel fills each buffer to its end before it takes the next. Of an incremental group none is asked for.
filled_buffers buffer_group::take_bundle(std::int32_t res, std::uint32_t flags) noexcept {
  const unsigned count = buffers_for(res);
  filled_buffers filled = take(res, flags);
  filled.count = static_cast<std::uint16_t>(count);
  std::uint16_t id = filled.first;
  for (unsigned left = count - 1; left > 0; --left) {
    leave_ring(id = after(id));
    take_from_kernel(begin_of(id), buffer_bytes_);
  }
  return filled;
}

void buffer_group::drop(std::int32_t res, std::uint32_t flags, bool is_bundle) noexcept {
  if ((flags & IORING_CQE_F_BUFFER) == 0) return;
  const std::int32_t bytes = res > 0 ? res : 0;
  give_back(is_bundle && bytes > 0 ? take_bundle(bytes, flags) : take(bytes, flags));
}

void buffer_group::leave_ring(std::uint16_t id) noexcept {
  --in_ring_count_;
  ++on_loan_count_;
  if (is_incremental()) pieces_[id].in_ring = false;
}

result<std::size_t> buffer_group::ask_kernel() const noexcept {
  std::uint16_t head = 0;
  if (const int error = loop_.ring().look_at_buffer_ring(number_, head); error != 0) return errno_code(error);
  return static_cast<std::uint16_t>(tail_ - head);
}

void buffer_group::count_shortage() noexcept {
  ++counted_.shortages;
  numbers_.count_shortage();
}

void buffer_group::single_begins() noexcept {
  ++singles_count_;
  use();
}

void buffer_group::single_ends() noexcept {
  --singles_count_;
  if (!hungry_.empty()) look_again_soon();  // it may have left its buffer where it was
  leave();
}

// ------------------------------------------------------------------------------------------------------ the way back

bool buffer_group::is_home() const noexcept { return home_ == &current_executor; }

void buffer_group::give_back(std::uint16_t first, std::uint16_t count) noexcept {
  if (is_incremental() && pieces_[first].owners_count.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  return_loan(first, count);
}

void buffer_group::return_loan(std::uint16_t first, std::uint16_t count) noexcept {
  if (is_home() && is_open_) [[likely]]
    return put_back(first, count);
  std::unique_lock holding{lock_};
  if (is_open_) {  // it stays open as long as the lock is held, and so does its executor
    messages_[first].count = count;
    return loop_.post(messages_[first]);
  }
  on_loan_count_ -= count;
  const bool is_gone = on_loan_count_ == 0;
  holding.unlock();
  if (is_gone) delete this;
}

void buffer_group::begin_anew(pieces& of_one) noexcept {
  of_one.owners_count.store(1, std::memory_order_relaxed);
  of_one.used_bytes = 0;
  of_one.in_ring = true;
}

void buffer_group::put_back(std::uint16_t first, std::uint16_t count) noexcept {
  on_loan_count_ -= count;
  if (is_incremental()) begin_anew(pieces_[first]);  // no bundle
  std::uint16_t id = first;
  for (unsigned left = count; left > 1; --left) {
    const std::uint16_t next = after(id);  // add() says anew what follows
    add(id);
    id = next;
  }
  add(id);
  tell_tail();
  if (!hungry_.empty()) [[unlikely]]
    serve(count);
}

// Not all members of an entry: the tail lies in what the first one does not use.
void buffer_group::add(std::uint16_t id) noexcept {
  io_uring_buf& entry = entries_->bufs[tail_++ & mask_];
  entry.addr = reinterpret_cast<std::uint64_t>(begin_of(id));
  entry.len = static_cast<std::uint32_t>(buffer_bytes_);
  entry.bid = id;
  give_to_kernel(begin_of(id), buffer_bytes_);
  following_[newest_] = id;
  newest_ = id;
  ++in_ring_count_;
}

void buffer_group::tell_tail() noexcept { std::atomic_ref{entries_->tail}.store(tail_, std::memory_order_release); }

// ----------------------------------------------------------------------------------------------------- who wants one

unsigned buffer_group::sure_count() const noexcept {
  if (in_ring_count_ > singles_count_) return in_ring_count_ - singles_count_;
  if (in_ring_count_ == 0) return 0;
  const auto left = ask_kernel();
  return left ? static_cast<unsigned>(*left) : 0;
}

void buffer_group::wait(buffer_waiter& hungry) noexcept {
  hungry_.push_back(hungry);
  if (has_one()) look_again_soon();
}

void buffer_group::serve(unsigned buffers_count) noexcept {
  for (unsigned left = buffers_count; left > 0 && !hungry_.empty(); --left) {
    buffer_waiter& first = *hungry_.front();
    first.unlink();
    first.buffer_is_back();
  }
  if (!hungry_.empty()) look_again_soon();
}

void buffer_group::look_again_soon() noexcept {
  if (second_look_.turns_left > 0) return;
  second_look_.turns_left = 2;
  use();
  loop_.make_ready(second_look_);
}

constinit const runnable_kind buffer_group::second_look::kind_of_look{&second_look::run_look};

buffer_group::second_look::second_look(buffer_group& of) noexcept : runnable{kind_of_look}, group{of} {}

void buffer_group::second_look::run_look(runnable& self) noexcept {
  auto& look = static_cast<second_look&>(self);
  buffer_group& group = look.group;
  if (--look.turns_left > 0) return group.loop_.make_ready_next_turn(look);
  if (const unsigned count = group.sure_count(); count > 0 && !group.hungry_.empty()) group.serve(count);
  group.leave();
}

constinit const runnable_kind buffer_group::message::kind_of_message{&message::arrived};

buffer_group::message::message() noexcept : runnable{kind_of_message} {}

void buffer_group::message::arrived(runnable& self) noexcept {
  auto& mine = static_cast<message&>(self);
  const auto first = static_cast<std::uint16_t>(&mine - mine.group->messages_.get());
  mine.group->return_loan(first, mine.count);
}

}  // namespace gyre::detail
