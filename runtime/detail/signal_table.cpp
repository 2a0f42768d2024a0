// SPDX-License-Identifier: MIT
// The handler of all signals that gyre takes, and the list that it walks.
#include <gyre/runtime/detail/signal_table.hpp>
#include <gyre/runtime/error.hpp>

#include <pthread.h>
#include <sched.h>

#include <array>
#include <cerrno>
#include <mutex>

namespace gyre::detail {

// All of it is static: a handler may run until the process ends.
class signal_table {
 public:
  static result<void> add(signal_hearer& coming) noexcept;
  static void remove(signal_hearer& leaving) noexcept;

 private:
  struct one_signal {
    int hearers_count = 0;
    struct ::sigaction before{};
  };

  static void on_signal(int number, ::siginfo_t* about, void* context) noexcept;
  static bool tell(int number, const ::siginfo_t& about, signal_hearer::rank whom) noexcept;
  static void pass_on(int number) noexcept;
  static bool is_ours(int number) noexcept;
  static bool install(int number) noexcept;
  static void let_go(int number) noexcept;
  static void let_go_all(signal_mask wanted) noexcept;
  static bool take_out(const signal_hearer& leaving) noexcept;
  static void wait_for_handlers() noexcept;
  static void watch_forks() noexcept;

  // Touched by handlers as well. Sequentially consistent, all of it: a handler counts itself and then reads the list,
  // who leaves changes the list and then reads the count, and one of the two sees the other.
  static std::atomic<signal_hearer*> first_or_null;
  static std::atomic<int> handlers_running;

  // Guarded by the lock; `before` of a signal is read by handlers when nobody is there who would change it.
  static std::mutex guard;
  static std::array<one_signal, last_signal + 1> signals;
};

constinit std::atomic<signal_hearer*> signal_table::first_or_null = nullptr;
constinit std::atomic<int> signal_table::handlers_running = 0;
constinit std::mutex signal_table::guard;
constinit std::array<signal_table::one_signal, last_signal + 1> signal_table::signals{};

// Whom it interrupts may be about to look at errno: between a call that failed and its answer.
void signal_table::on_signal(int number, ::siginfo_t* about, void* /*context*/) noexcept {
  const int errno_before = errno;
  ++handlers_running;
  const bool is_heard =
      tell(number, *about, signal_hearer::rank::set) || tell(number, *about, signal_hearer::rank::last_resort);
  if (!is_heard) pass_on(number);
  --handlers_running;
  errno = errno_before;
}

bool signal_table::tell(int number, const ::siginfo_t& about, signal_hearer::rank whom) noexcept {
  bool is_heard = false;
  for (signal_hearer* each = first_or_null; each != nullptr; each = each->next_or_null_) {
    if (each->rank_ != whom || (each->wanted_ & bit_of_signal(number)) == 0) continue;
    each->heard(number, about);
    is_heard = true;
  }
  return is_heard;
}

// The signal is blocked until the handler returns: it comes again after that.
void signal_table::pass_on(int number) noexcept {
  if (is_ours(number)) ::sigaction(number, &signals[static_cast<std::size_t>(number)].before, nullptr);
  ::raise(number);
}

bool signal_table::is_ours(int number) noexcept {
  struct ::sigaction now{};
  return ::sigaction(number, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == &on_signal;
}

// No handler runs inside another: so what one writes into a set is not mixed with what another does on its thread.
bool signal_table::install(int number) noexcept {
  one_signal& its = signals[static_cast<std::size_t>(number)];
  if (its.hearers_count > 0 && is_ours(number)) return true;
  struct ::sigaction action{};
  struct ::sigaction before{};
  action.sa_sigaction = &on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  ::sigfillset(&action.sa_mask);
  const bool was_ours = is_ours(number);  // in the child of a fork: what was before the parent's is still right
  if (::sigaction(number, &action, &before) != 0) return false;
  if (!was_ours && its.hearers_count == 0) its.before = before;
  return true;
}

void signal_table::let_go(int number) noexcept {
  one_signal& its = signals[static_cast<std::size_t>(number)];
  if (--its.hearers_count == 0 && is_ours(number)) ::sigaction(number, &its.before, nullptr);
}

void signal_table::let_go_all(signal_mask wanted) noexcept {
  for (int number = 1; number <= last_signal; ++number)
    if ((wanted & bit_of_signal(number)) != 0) let_go(number);
}

// In the list first: a signal that finds the handler and nobody there would be passed on, and the handler be gone.
result<void> signal_table::add(signal_hearer& coming) noexcept {
  const std::scoped_lock lock{guard};
  watch_forks();
  coming.next_or_null_ = first_or_null.load();
  first_or_null = &coming;
  signal_mask installed = 0;
  for (int number = 1; number <= last_signal; ++number) {
    if ((coming.wanted_ & bit_of_signal(number)) == 0) continue;
    if (!install(number)) {
      const int refusal = errno;
      take_out(coming);
      let_go_all(installed);
      wait_for_handlers();
      return errno_code(refusal);
    }
    ++signals[static_cast<std::size_t>(number)].hearers_count;
    installed |= bit_of_signal(number);
  }
  coming.listens_ = true;
  return {};
}

void signal_table::remove(signal_hearer& leaving) noexcept {
  const std::scoped_lock lock{guard};
  if (!leaving.listens_) return;
  leaving.listens_ = false;
  if (!take_out(leaving)) return;  // in the child of a fork, of one that hears in the parent
  let_go_all(leaving.wanted_);
  wait_for_handlers();
}

// A handler that stands at the one who leaves finds its way on: its own link stays.
bool signal_table::take_out(const signal_hearer& leaving) noexcept {
  std::atomic<signal_hearer*>* link = &first_or_null;
  for (signal_hearer* each = *link; each != nullptr; each = *link) {
    if (each == &leaving) {
      *link = each->next_or_null_.load();
      return true;
    }
    link = &each->next_or_null_;
  }
  return false;
}

// A handler waits for nothing, and one that interrupts this thread is over before it goes on.
void signal_table::wait_for_handlers() noexcept {
  while (handlers_running > 0) ::sched_yield();
}

// A child has neither who hears in the parent nor the threads on which handlers ran as it was made.
void signal_table::watch_forks() noexcept {
  static const int watched = ::pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); },
                                              [] {
                                                first_or_null = nullptr;
                                                handlers_running = 0;
                                                for (one_signal& each : signals) each.hearers_count = 0;
                                                guard.unlock();
                                              });
  static_cast<void>(watched);
}

result<void> signal_hearer::listen() noexcept { return signal_table::add(*this); }
void signal_hearer::leave() noexcept { signal_table::remove(*this); }

}  // namespace gyre::detail
