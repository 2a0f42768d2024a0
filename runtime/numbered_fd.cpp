// SPDX-License-Identifier: MIT
// Direct descriptors at places of the program's choice: the registrations behind them.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/live_executor.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/numbered_fd.hpp>

#include <fcntl.h>

#include <cerrno>

namespace gyre {
namespace {

constexpr int nothing = -1;

void check_thread(const executor& loop) noexcept {
  GYRE_ASSERT(loop.belongs_to_this_thread(), "a numbered descriptor stays on the thread of its executor");
}

// The kernel empties the place before it looks at what is to come there; and -1 would have it do that alone.
[[nodiscard]] int put(executor& loop, unsigned slot, fd_ref plain) noexcept {
  if (::fcntl(plain.get(), F_GETFD) < 0) return EBADF;
  return loop.ring().set_direct(slot, plain.get());
}

}  // namespace

fd_ref::fd_ref(const numbered_fd& owner) noexcept
    : number_{owner ? first_slot + static_cast<int>(owner.slot()) : nothing} {
  GYRE_ASSERT(!owner || detail::current_executor == &owner.owner(),
              "a numbered descriptor is used in a turn of the executor whose it is");
}

numbered_fd::numbered_fd(executor& loop, unsigned slot, fd_ref plain) {
  check_thread(loop);
  detail::refuse_child(loop.ring());
  detail::direct_table* const table = loop.direct_table_or_null();
  if (table == nullptr || slot >= loop.options().numbered_descriptors)
    detail::throw_errno(EINVAL, "numbered_fd: executor_options::numbered_descriptors has no such place");
  if (!table->take_number(slot)) detail::throw_errno(EBUSY, "numbered_fd: the place is somebody's");
  if (const int error = put(loop, slot, plain); error != 0) {
    table->give_number_back(slot);
    detail::throw_errno(error, "numbered_fd");
  }
  loop_ = &loop;
  slot_ = slot;
}

void numbered_fd::reassign(fd_ref plain) {
  if (loop_ == nullptr) detail::throw_errno(EBADF, "numbered_fd: it owns no place");
  check_thread(*loop_);
  if (const int error = put(*loop_, slot_, plain); error != 0) detail::throw_errno(error, "numbered_fd");
}

void numbered_fd::give_back() noexcept {
  if (loop_->ring().is_parents()) return;  // in the child of a fork: it is the parent's
  check_thread(*loop_);
  const int error = loop_->ring().set_direct(slot_, nothing);
  GYRE_ASSERT(error == 0, "the kernel lets go of what it was given");
  loop_->direct_table_or_null()->give_number_back(slot_);
}

}  // namespace gyre
