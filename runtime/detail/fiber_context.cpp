// SPDX-License-Identifier: MIT
// The jumps between a coroutine and its fiber, with what each sanitizer has to be told of them.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/fiber_context.hpp>
#include <gyre/runtime/detail/fiber_overflow.hpp>
#include <gyre/runtime/detail/sanitizers.hpp>

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <exception>
#include <utility>

#if GYRE_DETAIL_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#elif GYRE_DETAIL_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace gyre::detail {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// As a plain access, so that a signal handler may look.
[[gnu::tls_model("initial-exec")]] thread_local constinit fiber_context* running_fiber = nullptr;

}  // namespace

// Inlined into who is entered and left on one line of execution, and calls jump_fcontext itself: ThreadSanitizer keeps
// a stack of calls for each line.
struct fiber_context::lines {
  [[gnu::always_inline]] static void jump_to_fiber(fiber_context& self) noexcept {
#if GYRE_DETAIL_ADDRESS_SANITIZER
    void* own_fake_stack = nullptr;
    __sanitizer_start_switch_fiber(&own_fake_stack, self.stack_->bottom(), self.stack_->bytes());
#elif GYRE_DETAIL_THREAD_SANITIZER
    self.tsan_host_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(self.tsan_fiber_, 0);
#endif
    self.other_side_ = jump_fcontext(self.other_side_, &self).fctx;
#if GYRE_DETAIL_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(own_fake_stack, nullptr, nullptr);
#endif
  }

  [[gnu::always_inline]] static void arrive_on_fiber(fiber_context& self, void* came_from) noexcept {
    self.other_side_ = came_from;
#if GYRE_DETAIL_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(self.fake_stack_, &self.host_bottom_, &self.host_bytes_);
#endif
  }

  [[gnu::always_inline]] static void* jump_back(fiber_context& self, [[maybe_unused]] bool for_good) noexcept {
#if GYRE_DETAIL_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(for_good ? nullptr : &self.fake_stack_, self.host_bottom_, self.host_bytes_);
#elif GYRE_DETAIL_THREAD_SANITIZER
    __tsan_switch_to_fiber(self.tsan_host_, 0);
#endif
    return jump_fcontext(self.other_side_, nullptr).fctx;
  }

  // The fiber's first function, which is never left.
  static void enter(transfer_t from) noexcept {
    auto& self = *static_cast<fiber_context*>(from.data);
    arrive_on_fiber(self, from.fctx);
    self.body_(self);
    self.state_ = state::ended;
    jump_back(self, /*for_good=*/true);
    GYRE_ASSERT(false, "a fiber that has ended is not resumed");
  }
};

fiber_context* fiber_context::current() noexcept { return running_fiber; }

fiber_context::~fiber_context() {
  GYRE_ASSERT(state_ == state::idle || state_ == state::ended, "a fiber is unwound before its context goes");
}

void fiber_context::begin() {
  stack_.emplace(stack_bytes_);
  watch_for_fiber_overflow();
  other_side_ = make_fcontext(stack_->top(), stack_->bytes(), &lines::enter);
#if GYRE_DETAIL_THREAD_SANITIZER
  tsan_fiber_ = __tsan_create_fiber(0);
#endif
}

task<void>* fiber_context::run_on() {
  GYRE_ASSERT(state_ == state::idle || state_ == state::waiting, "a fiber is resumed by its coroutine, which waits");
  if (state_ == state::idle) begin();
  state_ = state::running;
  fiber_context* const below = std::exchange(running_fiber, this);
  swap_exceptions();
  lines::jump_to_fiber(*this);
  swap_exceptions();
  running_fiber = below;
  if (state_ == state::waiting) return wanted_;
#if GYRE_DETAIL_THREAD_SANITIZER
  __tsan_destroy_fiber(tsan_fiber_);
#endif
  stack_.reset();
  return nullptr;
}

void fiber_context::wait_for(task<void>& wanted) {
  throw_if_unwinding();
  wanted_ = &wanted;
  state_ = state::waiting;
  lines::arrive_on_fiber(*this, lines::jump_back(*this, /*for_good=*/false));
  throw_if_unwinding();
}

void fiber_context::throw_if_unwinding() const {
  if (!is_unwinding_) return;
  GYRE_ASSERT(std::uncaught_exceptions() == 0, "the destructors of a fiber that is stopped await nothing");
  throw fiber_stopped{};
}

void fiber_context::unwind() noexcept {
  GYRE_ASSERT(state_ != state::running, "the code of a fiber does not destroy the task that it runs in");
  if (state_ != state::waiting) return;
  is_unwinding_ = true;
  static_cast<void>(run_on());
  GYRE_ASSERT(state_ == state::ended, "a fiber that is unwound ends");
}

// The C++ ABI names the two, and their order: https://itanium-cxx-abi.github.io/cxx-abi/abi-eh.html, 2.2.2.
void fiber_context::swap_exceptions() noexcept {
  void* const here = abi::__cxa_get_globals();
  handled_exceptions own;
  std::memcpy(&own, here, sizeof own);
  std::memcpy(here, &other_exceptions_, sizeof other_exceptions_);
  other_exceptions_ = own;
}

}  // namespace gyre::detail
