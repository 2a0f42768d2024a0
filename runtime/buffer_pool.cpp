// SPDX-License-Identifier: MIT
// The pool's own part: who waits for a buffer, and what is told of all of them.
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace gyre {

buffer_chain::iterator::value_type buffer_chain::iterator::operator*() const noexcept {
  return {data_, std::min(left_bytes_, group_->buffer_bytes())};
}

// The last part may be short, and nothing follows it.
buffer_chain::iterator& buffer_chain::iterator::operator++() noexcept {
  left_bytes_ -= std::min(left_bytes_, group_->buffer_bytes());
  if (left_bytes_ == 0) return *this;
  id_ = group_->after(id_);
  data_ = group_->begin_of(id_);
  return *this;
}

std::size_t buffer_chain::describe_in(std::span<::iovec> parts) const noexcept {
  std::size_t count = 0;
  for (const std::span<std::byte> part : *this) {
    if (count == parts.size()) break;
    parts[count++] = {.iov_base = part.data(), .iov_len = part.size()};
  }
  return count;
}

buffer_pool::buffer_pool(executor& loop, const buffer_pool_options& options)
    : group_{&detail::buffer_group::open(loop, options.buffers_count, options.buffer_bytes, options.incremental)} {}

constinit const detail::waiter_kind buffer_pool::buffer_wait::kind_of_wait{
    {&buffer_wait::run_slowly}, &buffer_wait::cancel_waiting, "buffer_pool"};

void buffer_pool::buffer_wait::cancel_waiting(detail::waiter& self) noexcept {
  auto& mine = static_cast<buffer_wait&>(self);
  mine.unlink();
  mine.settle(/*as_stopped=*/true);
}

void buffer_pool::buffer_wait::await_resume() {
  if (const auto waited = await_result(); !waited) throw std::system_error{waited.error(), "buffer_pool"};
}

result<void> buffer_pool::buffer_wait::await_result() noexcept {
  end_wait();
  if (was_stopped()) return detail::errno_code(ECANCELED);
  return {};
}

buffer_pool_statistics buffer_pool::statistics() const noexcept {
  return {.fillings = group_->counted().fillings,
          .shortages = group_->counted().shortages,
          .free_buffers = group_->in_ring_count(),
          .on_loan = group_->on_loan_count()};
}

result<std::size_t> buffer_pool::ask_kernel() const noexcept { return group_->ask_kernel(); }

}  // namespace gyre
