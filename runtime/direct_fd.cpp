// SPDX-License-Identifier: MIT
// The table of an executor's direct descriptors, from its registration to the last close.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>

#include <liburing.h>

#include <cstddef>

namespace gyre {

fd_ref::fd_ref(const direct_fd& owner) noexcept : number_{owner ? first_slot + owner.slot() : -1} {
  static_assert(flags_offset == offsetof(io_uring_sqe, flags) && static_cast<unsigned>(fixed_file) == IOSQE_FIXED_FILE);
  static_assert(detail::direct_table::slots_max < static_cast<unsigned>(plain_min - first_slot));
  GYRE_ASSERT(!owner || detail::current_executor == &owner.owner(),
              "a direct descriptor is used in a turn of the executor whose it is: send_to() takes it to another");
}

namespace detail {

constinit const runnable_kind direct_table::closer::kind_of_message{&closer::arrived};

std::unique_ptr<direct_table> direct_table::make(executor& loop, ring& its_ring, unsigned count,
                                                 unsigned numbered_count) {
  if (count == 0) return nullptr;
  if (const int error = its_ring.register_direct_table(count, numbered_count); error != 0)
    throw setup_error{error, diagnose_direct_table(error, count, read_machine_facts())};
  return std::make_unique<direct_table>(loop, count, numbered_count);
}

direct_table::direct_table(executor& loop, unsigned count, unsigned numbered_count)
    : loop_{loop}, closers_{std::make_unique<closer[]>(count)}, numbers_taken_(numbered_count) {
  for (unsigned slot = 0; slot < count; ++slot) closers_[slot].table = this;
}

direct_table::~direct_table() {
  GYRE_ASSERT(owned_count() == 0 || loop_.ring().is_parents(),
              "an executor was destroyed while somebody owns a direct descriptor of it");
}

direct_fd direct_table::adopt(std::int32_t slot) noexcept {
  owned_count_.fetch_add(1, std::memory_order_acquire);
  return direct_fd{*this, slot};
}

bool direct_table::take_number(unsigned slot) noexcept {
  if (slot >= numbers_taken_.size() || numbers_taken_[slot]) return false;
  owned_count_.fetch_add(1, std::memory_order_relaxed);
  return numbers_taken_[slot] = true;
}

void direct_table::give_number_back(unsigned slot) noexcept {
  numbers_taken_[slot] = false;
  forget_one();
}

void direct_table::give_up(int slot) noexcept {
  closer& its_closer = closers_[static_cast<std::size_t>(slot)];
  if (loop_.belongs_to_this_thread()) its_closer.close_soon();
  else loop_.post(its_closer);
}

direct_table::closer::closer() noexcept : completion_handler{&completed, &describe}, runnable{kind_of_message} {}

void direct_table::closer::arrived(runnable& self) noexcept { static_cast<closer&>(self).close_soon(); }

// The kernel gives a slot anew only when it has been closed there. What was sent from another ring can be owned before
// the completion of that close was looked at.
void direct_table::closer::close_soon() noexcept {
  table->forget_one();
  if (where == place::none) table->loop().submit(*this);
  else closes_again_ = true;
}

void direct_table::closer::describe(completion_handler& self, io_uring_sqe& sqe) noexcept {
  auto& mine = static_cast<closer&>(self);
  const auto slot = static_cast<unsigned>(&mine - mine.table->closers_.get());
  io_uring_prep_close_direct(&sqe, slot);  // io_uring_prep_close_direct(3)
}

void direct_table::closer::completed(completion_handler& self, std::int32_t, std::uint32_t) noexcept {
  auto& mine = static_cast<closer&>(self);
  if (std::exchange(mine.closes_again_, false)) mine.table->loop().submit(mine);
}

}  // namespace detail
}  // namespace gyre
