// SPDX-License-Identifier: MIT
// The life of a multishot request, from its first arm to its last completion.
#include <gyre/runtime/detail/multishot.hpp>
#include <gyre/runtime/executor.hpp>

#include <liburing.h>

namespace gyre::detail {

void multishot::wait(multishot_reader& reader) noexcept {
  GYRE_ASSERT(reader_ == nullptr, "one coroutine at a time waits for the next of a stream");
  reader_ = &reader;
  loop_ = &executor::current();
  if (!armed_) wanted();
}

void multishot::leave() noexcept {
  reader_ = nullptr;
  unwanted();
}

void multishot::arm() noexcept {
  armed_ = true;
  loop_->submit(*this);
}

void multishot::end() noexcept {
  if (std::exchange(has_ended_, true)) return;
  ended();
  unwanted();
  if (armed_) pause();
  else tell_reader();
}

void multishot::orphan() noexcept {
  GYRE_ASSERT(reader_ == nullptr, "a stream was destroyed while a coroutine waits in it");
  leave_list();
  clear();  // whoever is concerned hears of it now, not when the kernel is done with the request
  if (!armed_) return delete this;
  orphaned_ = true;
  cancel();
}

void multishot::completed(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept {
  auto& mine = static_cast<multishot&>(self);
  mine.armed_ = (flags & IORING_CQE_F_MORE) != 0;
  if (!mine.orphaned_) return mine.take_in(res, flags);
  mine.discard(res, flags);
  if (!mine.armed_) delete &mine;
}

void multishot::take_in(std::int32_t res, std::uint32_t flags) noexcept {
  const bool end_of_pause = res == -ECANCELED && pausing_;
  if (!armed_) pausing_ = false;
  const bool concerns_reader = !end_of_pause && store(res, flags);
  if (concerns_reader) tell_reader();
  if (armed_ && is_full() && !reader_is_ready_) pause();
  else if (!armed_ && has_ended_) tell_reader();
  else if (!armed_ && reader_ != nullptr) wanted();
}

void multishot::tell_reader() noexcept {
  if (reader_ == nullptr) return;
  reader_is_ready_ = true;
  std::exchange(reader_, nullptr)->settle(/*as_stopped=*/false);
}

void multishot::pause() noexcept {
  if (std::exchange(pausing_, true)) return;
  cancel();
}

void multishot::cancel() noexcept { loop_->submit_cancel(*this); }

void multishot::leave_list() noexcept {
  if (known_at_ == nullptr) return;
  *known_at_ = next_known_;
  if (next_known_ != nullptr) next_known_->known_at_ = known_at_;
  next_known_ = nullptr;
  known_at_ = nullptr;
}

void multishot_list::add(multishot& request) noexcept {
  request.leave_list();
  request.next_known_ = first_;
  request.known_at_ = &first_;
  if (first_ != nullptr) first_->known_at_ = &request.next_known_;
  first_ = &request;
}

void multishot_list::end_first() noexcept {
  multishot& first = *first_;
  first.leave_list();
  first.end();
}

void multishot_list::take(multishot_list& other) noexcept {
  first_ = std::exchange(other.first_, nullptr);
  if (first_ != nullptr) first_->known_at_ = &first_;
}

void multishot_reader::cancel_waiting(waiter& self) noexcept {
  auto& reader = static_cast<multishot_reader&>(self);
  reader.from().leave();
  reader.settle(/*as_stopped=*/true);
}

void multishot_reader::describe(const waiter& self, wait_details& told) noexcept {
  static_cast<const multishot_reader&>(self).from().describe(told);
}

}  // namespace gyre::detail
