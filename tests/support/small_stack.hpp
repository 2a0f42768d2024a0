// SPDX-License-Identifier: MIT
// A thread with little stack, so that what recurses where it must not overflows it.
#pragma once

#include <pthread.h>

#include <exception>
#include <stdexcept>
#include <utility>

namespace gyre::test {

/// Calls `fn()` on a thread whose stack has 256 KiB, and waits.
template <class Fn>
void on_a_small_stack(Fn fn) {
  struct call {
    Fn fn;
    std::exception_ptr error;
  } called{std::move(fn), nullptr};

  const auto run = [](void* argument) -> void* {
    auto& mine = *static_cast<call*>(argument);
    try {
      mine.fn();
    } catch (...) {
      mine.error = std::current_exception();
    }
    return nullptr;
  };

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread{};
  const int error = pthread_create(&thread, &attributes, run, &called);
  pthread_attr_destroy(&attributes);
  if (error != 0) throw std::runtime_error{"a thread with a small stack is not to be had"};
  pthread_join(thread, nullptr);
  if (called.error) std::rethrow_exception(called.error);
}

}  // namespace gyre::test
