// SPDX-License-Identifier: MIT
// The list of last words, and the terminate handler that has them said.
//
// The list's lock is a word that says which thread has it: one that dies while it changes the list, or while it speaks,
// must find out that it waits for itself.
#include <gyre/runtime/last_words.hpp>

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <exception>

namespace gyre {
namespace {

constexpr ::pid_t nobody = 0;
constexpr int milliseconds_max = 1000;  // how long one that dies waits for another that speaks

constinit std::atomic<::pid_t> holder = nobody;
constinit last_words* youngest = nullptr;  // guarded by `holder`
constinit std::atomic<std::terminate_handler> terminate_before = nullptr;

void pause_for_a_millisecond() noexcept {
  const ::timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
  ::nanosleep(&pause, nullptr);
}

bool take_list(int attempts_max) noexcept {
  const ::pid_t self = ::gettid();
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    ::pid_t found = nobody;
    if (holder.compare_exchange_strong(found, self, std::memory_order_acquire)) return true;
    if (found == self) return false;
    pause_for_a_millisecond();
  }
  return false;
}

void wait_for_list() noexcept {
  while (!take_list(milliseconds_max)) {
  }
}

void give_list_back() noexcept { holder.store(nobody, std::memory_order_release); }

[[noreturn]] void say_and_terminate() {
  last_words::say_all();
  if (const auto before = terminate_before.load()) before();
  std::abort();
}

void take_terminate() noexcept {
  static const bool once = [] {
    terminate_before = std::set_terminate(&say_and_terminate);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

last_words::last_words(speak_fn speak, void* what) noexcept : speak_{speak}, what_{what}, its_process_{::getpid()} {
  take_terminate();
  wait_for_list();
  older_ = youngest;
  if (older_ != nullptr) older_->younger_ = this;
  youngest = this;
  give_list_back();
}

last_words::~last_words() {
  wait_for_list();
  (younger_ != nullptr ? younger_->older_ : youngest) = older_;
  if (older_ != nullptr) older_->younger_ = younger_;
  give_list_back();
}

void last_words::say_all() noexcept {
  if (!take_list(milliseconds_max)) return;
  const ::pid_t this_process = ::getpid();
  for (const last_words* each = youngest; each != nullptr; each = each->older_)
    if (each->its_process_ == this_process) each->speak_(each->what_);
  give_list_back();
}

bool last_words::being_said_here() noexcept { return holder.load(std::memory_order_relaxed) == ::gettid(); }

}  // namespace gyre
