// SPDX-License-Identifier: MIT
// Into the thread's list and out of it, so that the kernel finds the lock at each instruction in between.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/robust_lock.hpp>
#include <gyre/sync/futex.hpp>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

namespace gyre::sync::detail {
namespace {

constexpr long word_from_next = -static_cast<long>(offsetof(robust_lock, next));
static_assert(word_from_next == -32, "where glibc's mutexes have theirs, on every machine of 64 bits");

// struct robust_list_head, with the pointers as what they are here.
struct list_head {
  void* first;
  long word_from_next;
  void* pending;
};
static_assert(sizeof(list_head) == sizeof(robust_list_head));

thread_local constinit list_head* known_list = nullptr;
thread_local constinit list_head list_of_no_library{};
thread_local constinit std::uint32_t known_id = 0;

// A child process has this thread under another id, and perhaps no list.
void forget_thread() noexcept {
  known_list = nullptr;
  known_id = 0;
}

// What the kernel reads when this thread ends has to be written in this order.
void in_this_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

robust_lock& lock_of(mutex_word& word) noexcept { return reinterpret_cast<robust_lock&>(word); }

// The lowest bit of a pointer in the list says something of the C library's own mutexes.
void** next_at(void* pointer) noexcept {
  return reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(pointer) & ~std::uintptr_t{1});
}
void*& previous_of(void** next) noexcept { return next[-1]; }

list_head* registered_list() noexcept {
  list_head* head = nullptr;
  std::size_t size = 0;
  if (::syscall(SYS_get_robust_list, 0, &head, &size) != 0 || size != sizeof(list_head)) return nullptr;
  return head;
}

list_head* make_list() noexcept {
  list_of_no_library = {&list_of_no_library.first, word_from_next, nullptr};
  const bool made = ::syscall(SYS_set_robust_list, &list_of_no_library, sizeof(list_head)) == 0;
  return made ? &list_of_no_library : nullptr;
}

void enter(list_head& list, robust_lock& entering) noexcept {
  void** const own_next = &entering.next;
  entering.previous = &list.first;
  entering.next = list.first;
  if (next_at(list.first) != &list.first) previous_of(next_at(list.first)) = own_next;
  in_this_order();
  list.first = own_next;
}

void leave(list_head& list, robust_lock& leaving) noexcept {
  *next_at(leaving.previous) = leaving.next;
  if (next_at(leaving.next) != &list.first) previous_of(next_at(leaving.next)) = leaving.previous;
}

// Of who has claimed it with `died` in the word, or after somebody who did.
claimed condition_after_claim(robust_lock& lock, bool owner_died) noexcept {
  using condition = robust_lock::condition;
  if (owner_died && lock.state == condition::consistent) lock.state = condition::inconsistent;
  if (lock.state == condition::consistent) return claimed::cleanly;
  return lock.state == condition::inconsistent ? claimed::after_a_death : claimed::but_given_up_on;
}

}  // namespace

void require_robust_list() {
  if (known_list != nullptr) return;
  static const int children_begin_anew [[maybe_unused]] = ::pthread_atfork(nullptr, nullptr, &forget_thread);
  list_head* const registered = registered_list();
  list_head* const list = registered != nullptr ? registered : make_list();
  if (list == nullptr || list->word_from_next != word_from_next)
    throw std::system_error{std::make_error_code(std::errc::not_supported),
                            "robust_mutex: the C library keeps another list of robust mutexes than glibc"};
  known_list = list;
}

std::uint32_t this_thread_id() noexcept {
  if (known_id == 0) known_id = static_cast<std::uint32_t>(::gettid());
  return known_id;
}

bool try_claim_robust(mutex_word& word, std::uint32_t& seen, std::uint32_t desired, claimed& how) noexcept {
  robust_lock& lock = lock_of(word);
  list_head& list = *known_list;
  list.pending = &lock.next;
  in_this_order();
  const std::uint32_t before = seen;
  const bool is_claimed =
      word.value.compare_exchange_strong(seen, desired, std::memory_order_acquire, std::memory_order_relaxed);
  if (is_claimed) enter(list, lock);
  in_this_order();
  list.pending = nullptr;
  if (!is_claimed) return false;
  how = condition_after_claim(lock, (before & mutex_word::died) != 0);
  if (how == claimed::but_given_up_on) give_up_robust_and_wake(word);
  return true;
}

void give_up_robust_and_wake(mutex_word& word) noexcept {
  robust_lock& lock = lock_of(word);
  list_head& list = *known_list;
  if (lock.state == robust_lock::condition::inconsistent) lock.state = robust_lock::condition::given_up_on;
  // Nobody can have it any more where it is given up on: everybody is to hear so.
  const std::uint32_t count = lock.state == robust_lock::condition::given_up_on ? every_waiter : 1;
  list.pending = &lock.next;
  in_this_order();
  leave(list, lock);
  in_this_order();
  if ((word.value.exchange(0, std::memory_order_release) & mutex_word::waits) != 0)
    futex_wake(word.value, count, ops::futex_kind::process_shared);
  in_this_order();
  list.pending = nullptr;
}

bool is_inconsistent(const mutex_word& word) noexcept {
  return reinterpret_cast<const robust_lock&>(word).state == robust_lock::condition::inconsistent;
}

}  // namespace gyre::sync::detail
