// SPDX-License-Identifier: MIT
// How waiting on a word and waking is described to the kernel.
#include <gyre/runtime/ops/futex.hpp>

#include <liburing.h>
#include <linux/futex.h>
#include <pthread.h>

#include <cerrno>

namespace gyre::ops {
namespace {

// linux/futex.h, FUTEX2_SIZE_U32 and FUTEX2_PRIVATE, which older headers lack.
constexpr std::uint32_t word_of_four_bytes = 0x02;
constexpr std::uint32_t of_this_process = 0x80;

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

void* do_nothing(void*) { return nullptr; }

std::atomic<bool> had_a_thread = false;

// From 6.16 on the kernel keeps a process's private waiters in a table of the process, which it makes with the first
// thread. A wait that a ring began before that stands in another table, where no wake looks for it (seen on 6.18). So
// the table is made first: once in a process, and again in one that was forked.
void have_table_of_private_waiters() noexcept {
  if (had_a_thread.load(std::memory_order_acquire)) [[likely]]
    return;
  static const int forked_processes_begin_anew [[maybe_unused]] =
      ::pthread_atfork(nullptr, nullptr, [] { had_a_thread.store(false, std::memory_order_relaxed); });
  ::pthread_t thread{};
  if (::pthread_create(&thread, nullptr, &do_nothing, nullptr) != 0) return;  // the next wait tries again
  ::pthread_join(thread, nullptr);
  had_a_thread.store(true, std::memory_order_release);
}

}  // namespace

void prepare_futex_wait(io_uring_sqe& sqe, const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                        futex_kind kind) noexcept {  // io_uring_prep_futex_wait(3)
  if (kind == futex_kind::process_private) have_table_of_private_waiters();
  io_uring_prep_futex_wait(&sqe, kernels(word), expected, any_waker, flags_of(kind), 0);
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
    : expected_{expected}, address_{reinterpret_cast<std::uint64_t>(&word)}, flags_{flags_of(kind)} {
  if (kind == futex_kind::process_private) have_table_of_private_waiters();
}

void futex_wait_any::take_changed() noexcept {
  if (res() == -EAGAIN) set_res(changed);
}

std::optional<std::size_t> futex_wait_any::value() const noexcept {
  if (res() == changed) return std::nullopt;
  return static_cast<std::size_t>(res());
}

void futex_wait_any::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_futex_waitv(3)
  auto& op = static_cast<futex_wait_any&>(self);
  static_assert(sizeof(futex_expectation) == sizeof(struct futex_waitv));
  auto* const waited_on = reinterpret_cast<struct futex_waitv*>(const_cast<futex_expectation*>(op.waited_on_.data()));
  io_uring_prep_futex_waitv(&sqe, waited_on, static_cast<std::uint32_t>(op.waited_on_.size()), 0);
  op.require_opcode(sqe);
}
constinit const operation_kind futex_wait_any::opcode{
    "futex_wait_any", &futex_wait_any::prepare, runs_in::ring, nullptr, nullptr, "6.7"};

}  // namespace gyre::ops
