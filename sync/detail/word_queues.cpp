// SPDX-License-Identifier: MIT
// The wait of a queue, as the kernel is asked for it.
#include <gyre/sync/detail/word_queues.hpp>

#include <liburing.h>

#include <cerrno>

namespace gyre::sync::detail {
namespace {

constexpr __kernel_timespec a_millisecond{.tv_sec = 0, .tv_nsec = 1'000'000};

}  // namespace

void word_queues::describe_wait(io_uring_sqe& sqe, const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                ops::futex_kind kind) const noexcept {
  if (kernel_waits_on_words_) ops::prepare_futex_wait(sqe, word, expected, kind);
  else describe_pause(sqe);
}

void word_queues::describe_pause(io_uring_sqe& sqe) const noexcept {
  io_uring_prep_timeout(&sqe, const_cast<__kernel_timespec*>(&a_millisecond), 0, 0);
}

// 0 is a wake. Before Linux 6.7 it is -EINVAL; from then on timeouts are asked for, which never end with 0.
bool word_queues::was_woken(std::int32_t res) noexcept {
  if (res == -EINVAL) kernel_waits_on_words_ = false;
  return res == 0;
}

}  // namespace gyre::sync::detail
