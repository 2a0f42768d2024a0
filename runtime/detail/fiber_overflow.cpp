// SPDX-License-Identifier: MIT
// The handler of SIGSEGV, and the stack that it runs on.
#include <gyre/runtime/detail/fiber_context.hpp>
#include <gyre/runtime/detail/fiber_overflow.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <string_view>

namespace gyre::detail {
namespace {

// A fault comes again when this returns, and is not handled any more: a core file shows the fiber's stack. A signal
// that somebody has sent is sent once more, and comes when this returns.
void tell_and_die(int, siginfo_t* told, void*) {
  const fiber_context* const running = fiber_context::current();
  if (running != nullptr && running->stack().guards(told->si_addr)) {
    constexpr std::string_view text =
        "gyre: a fiber has come to the end of its stack. Give on_fiber() a larger fiber_options::stack_bytes, or "
        "recurse "
        "less.\n";
    static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
  }
  struct ::sigaction by_default{};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(SIGSEGV, &by_default, nullptr);
  if (told->si_code <= 0) ::raise(SIGSEGV);
}

// Returns whether it is there.
bool install_handler() noexcept {
  struct ::sigaction before{};
  if (::sigaction(SIGSEGV, nullptr, &before) != 0) return false;
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction == &tell_and_die;
  if (before.sa_handler != SIG_DFL) return false;
  struct ::sigaction handled{};
  handled.sa_sigaction = &tell_and_die;
  handled.sa_flags = SA_SIGINFO | SA_ONSTACK;
  return ::sigaction(SIGSEGV, &handled, nullptr) == 0;
}

// Where this thread handles signals while its own stack is at its end.
class signal_stack {
 public:
  signal_stack() noexcept {
    ::stack_t before{};
    if (::sigaltstack(nullptr, &before) != 0 || (before.ss_flags & SS_DISABLE) == 0) return;
    void* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return;  // then the program ends without the sentence
    ::stack_t here{};
    here.ss_sp = mapped;
    here.ss_size = bytes;
    if (::sigaltstack(&here, nullptr) == 0) mapped_ = mapped;
    else ::munmap(mapped, bytes);
  }
  signal_stack(const signal_stack&) = delete;
  signal_stack& operator=(const signal_stack&) = delete;
  ~signal_stack() {
    if (mapped_ == nullptr) return;
    ::stack_t now{};
    ::stack_t none{};
    none.ss_flags = SS_DISABLE;
    const bool is_still_mine = ::sigaltstack(nullptr, &now) == 0 && now.ss_sp == mapped_;
    if (is_still_mine) ::sigaltstack(&none, nullptr);
    ::munmap(mapped_, bytes);
  }

 private:
  static constexpr std::size_t bytes = std::size_t{64} << 10U;  // AVX-512 and AMX states alone are 11 KiB
  void* mapped_ = nullptr;
};

}  // namespace

void watch_for_fiber_overflow() noexcept {
  static thread_local const bool is_installed = install_handler();
  if (!is_installed) return;
  static thread_local const signal_stack mine;
}

}  // namespace gyre::detail
