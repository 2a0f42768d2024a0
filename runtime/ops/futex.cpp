// SPDX-License-Identifier: MIT
// How waiting on a word and waking is described to the kernel.
#include <gyre/runtime/ops/futex.hpp>

#include <liburing.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>

namespace gyre::ops {
namespace {

// linux/futex.h, FUTEX2_SIZE_U32 and FUTEX2_PRIVATE, which older headers lack.
constexpr std::uint32_t word_of_four_bytes = 0x02;
constexpr std::uint32_t of_this_process = 0x80;

// linux/prctl.h, PR_FUTEX_HASH and what can be asked of it. Linux 6.16.
constexpr int futex_table = 78;
constexpr unsigned long set_its_size = 1;
constexpr unsigned long ask_its_size = 2;
constexpr unsigned long smallest_table = 16;  // which is what the kernel makes for a few threads

constexpr std::uint64_t any_waker = 0xffff'ffff;  // linux/futex.h, FUTEX_BITSET_MATCH_ANY

// An answer that no kernel gives, which lies above those that are indexes: the word had changed.
constexpr std::int32_t changed = INT32_MAX;

std::uint32_t flags_of(futex_kind kind) noexcept {
  return kind == futex_kind::process_private ? word_of_four_bytes | of_this_process : word_of_four_bytes;
}

// What liburing's functions take is no const pointer. The kernel only reads a word that it waits on.
std::uint32_t* kernels(const std::atomic<std::uint32_t>& word) noexcept {
  static_assert(sizeof(word) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);
  return reinterpret_cast<std::uint32_t*>(const_cast<std::atomic<std::uint32_t>*>(&word));
}

// From 6.16 on the kernel keeps a process's private waiters in a table of the process, which it makes with the first
// thread. A wait that a ring began before that stands in another table, where no wake looks for it (seen on 6.18). So
// the table is made first: once in a process, and again in one that was forked. A wait that could miss its wake all the
// same is not begun, and ends as one whose word has changed.
std::atomic<bool> waits_are_found = false;

void* do_nothing(void*) { return nullptr; }

bool make_table() noexcept {
  const int size = ::prctl(futex_table, ask_its_size, 0, 0, 0);
  if (size > 0 || (size < 0 && errno == EINVAL)) return true;  // it is there; this kernel has none
  ::pthread_t thread{};
  if (::pthread_create(&thread, nullptr, &do_nothing, nullptr) == 0) return ::pthread_join(thread, nullptr) == 0;
  // No thread is to be had. A table that was asked for is as good, but does not grow when there are many.
  return ::prctl(futex_table, set_its_size, smallest_table, 0, 0) == 0;
}

bool will_find_private_waits() noexcept {
  if (waits_are_found.load(std::memory_order_acquire)) [[likely]]
    return true;
  static const int forked_processes_begin_anew [[maybe_unused]] =
      ::pthread_atfork(nullptr, nullptr, [] { waits_are_found.store(false, std::memory_order_relaxed); });
  if (!make_table()) return false;  // the next wait tries again
  waits_are_found.store(true, std::memory_order_release);
  return true;
}

// What is waited on instead, as if it held 1: the kernel answers at once that it does not.
constinit const std::atomic<std::uint32_t> always_zero = 0;
constexpr std::uint32_t never_there = 1;

}  // namespace

void prepare_futex_wait(io_uring_sqe& sqe, const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                        futex_kind kind) noexcept {  // io_uring_prep_futex_wait(3)
  const bool is_found = kind == futex_kind::process_shared || will_find_private_waits();
  io_uring_prep_futex_wait(&sqe, kernels(is_found ? word : always_zero), is_found ? expected : never_there, any_waker,
                           flags_of(kind), 0);
}

// -------------------------------------------------------------------------------------------------- futex_wait

void futex_wait::take_changed() noexcept {
  if (res() == -EAGAIN) set_res(changed);
}

void futex_wait::prepare(operation& self, io_uring_sqe& sqe) noexcept {
  auto& op = static_cast<futex_wait&>(self);
  prepare_futex_wait(sqe, op.word_, op.expected_, op.kind_);
  op.require_opcode(sqe);
}
constinit const operation_kind futex_wait::opcode{"futex_wait", &futex_wait::prepare, runs_in::ring, nullptr, nullptr,
                                                  "6.7"};

// -------------------------------------------------------------------------------------------------- futex_wake

void futex_wake::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_futex_wake(3)
  auto& op = static_cast<futex_wake&>(self);
  io_uring_prep_futex_wake(&sqe, kernels(op.word_), op.count_, any_waker, flags_of(op.kind_), 0);
  op.require_opcode(sqe);
}
constinit const operation_kind futex_wake::opcode{"futex_wake", &futex_wake::prepare, runs_in::ring, nullptr, nullptr,
                                                  "6.7"};

// ---------------------------------------------------------------------------------------------- futex_wait_any

futex_expectation::futex_expectation(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                     futex_kind kind) noexcept
    : expected_{expected}, address_{reinterpret_cast<std::uint64_t>(&word)}, flags_{flags_of(kind)} {}

bool futex_expectation::is_within_process() const noexcept { return (flags_ & of_this_process) != 0; }

void futex_wait_any::take_changed() noexcept {
  if (res() == -EAGAIN) set_res(changed);
}

std::optional<std::size_t> futex_wait_any::value() const noexcept {
  if (res() == changed) return std::nullopt;
  return static_cast<std::size_t>(res());
}

void futex_wait_any::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_futex_waitv(3)
  auto& op = static_cast<futex_wait_any&>(self);
  static const futex_expectation ends_at_once{always_zero, never_there};
  const bool is_private = std::any_of(op.waited_on_.begin(), op.waited_on_.end(),
                                      [](const futex_expectation& each) { return each.is_within_process(); });
  const bool is_found = !is_private || will_find_private_waits();
  const auto waited_on = is_found ? op.waited_on_ : std::span{&ends_at_once, 1};
  static_assert(sizeof(futex_expectation) == sizeof(struct futex_waitv));
  auto* const first = reinterpret_cast<struct futex_waitv*>(const_cast<futex_expectation*>(waited_on.data()));
  io_uring_prep_futex_waitv(&sqe, first, static_cast<std::uint32_t>(waited_on.size()), 0);
  op.require_opcode(sqe);
}
constinit const operation_kind futex_wait_any::opcode{
    "futex_wait_any", &futex_wait_any::prepare, runs_in::ring, nullptr, nullptr, "6.7"};

}  // namespace gyre::ops
