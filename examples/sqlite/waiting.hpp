// SPDX-License-Identifier: MIT
// How a callback of a C library waits on a fiber: for io_uring or a thread of the pool, and never for a stop.
//
// Between this and the fiber's own code lie frames of C. An exception that went through them would skip whatever they
// have to undo: locks stay taken, memory stays allocated, a cache stays half changed. So:
//
//   nobody has stopped the fiber   it awaits, in a shield: a stop that comes meanwhile is held back, until the library
//                                  has returned to code that knows of it
//   it was stopped, and unwinds    destructors call the library, to roll back and to close, and nothing can be awaited
//                                  any more: the same is done by plain system calls, and the thread waits
#pragma once

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/scope.hpp>

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

namespace sqlite {

/// What the system call `call()` returned, or its errno.
template <class Call>
gyre::result<std::size_t> plainly(Call call) {
  for (;;) {
    const auto returned = call();
    if (returned >= 0) return static_cast<std::size_t>(returned);
    if (errno != EINTR) return std::error_code{errno, std::system_category()};
  }
}

/// Waits for the operation that `make()` returns; or does what it would, by `plain()`, which returns the same result.
///
/// @threads  On a fiber; else an assertion says so.
template <class Make, class Plain>
auto wait_for(Make make, Plain plain) {
  using given = decltype(gyre::fiber::await(gyre::shield(gyre::as_result(make()))));
  if (gyre::fiber::is_stopped()) return given{plain()};
  return gyre::fiber::await(gyre::shield(gyre::as_result(make())));
}

/// Runs what may wait, and what io_uring has no operation for, on a thread of the pool; or here.
template <class Call>
auto wait_elsewhere(Call call) {
  if (gyre::fiber::is_stopped()) return call();
  return gyre::fiber::await(gyre::shield(gyre::offload(std::move(call))));
}

}  // namespace sqlite
