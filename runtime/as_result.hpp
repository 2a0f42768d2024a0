// SPDX-License-Identifier: MIT
// Two ways to take an outcome without unwinding: an error as a value, and a stop as an error.
//
// as_result() does not absorb a stop: a loop that ignores its errors must not spin through a shutdown.
// stopped_as_error() does, for the rare code that has to hear of it; the scope is then still cancelled, and every later
// wait inside ends at once.
#pragma once

#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <concepts>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre {
namespace detail {

/// Awaitables that can tell their outcome without an exception: operations, and what is built on them.
template <class Awaiter>
concept has_await_result = own_awaitable<Awaiter> && requires(Awaiter& awaiter) { awaiter.await_result(); };

/// Awaits what it holds and makes a result of it.
template <has_await_result Awaiter>
class result_awaiter {
 public:
  using gyre_awaitable = void;

  explicit result_awaiter(Awaiter&& held) noexcept : held_{std::move(held)} {}

  bool await_ready() { return held_.await_ready(); }
  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    return held_.await_suspend(awaiting);
  }
  auto await_resume() { return held_.await_result(); }

 private:
  Awaiter held_;
};

}  // namespace detail

/// Awaits an operation and gives its value or its error code.
///
/// @return        co_await gives result<T>. A stop still unwinds.
/// @cancellation  As the operation's.
template <detail::has_await_result Awaiter>
[[nodiscard]] detail::result_awaiter<Awaiter> as_result(Awaiter awaiter) noexcept {
  return detail::result_awaiter<Awaiter>{std::move(awaiter)};
}

/// Awaits anything else of gyre's and gives its value, or the code of the std::system_error that it threw. Other
/// exceptions pass.
template <class Awaitable>
  requires(!detail::has_await_result<Awaitable> && (detail::own_awaitable<Awaitable> || detail::is_task<Awaitable>))
[[nodiscard]] auto as_result(Awaitable awaitable) -> task<result<detail::awaited_t<Awaitable>>> {
  using T = detail::awaited_t<Awaitable>;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await detail::for_caller(std::move(awaitable));
      co_return result<void>{};
    } else {
      co_return result<T>{co_await detail::for_caller(std::move(awaitable))};
    }
  } catch (const std::system_error& error) {
    co_return result<T>{error.code()};
  }
}

/// Awaits an operation; when its scope is cancelled, throws system_error(operation_canceled) instead of unwinding.
template <std::derived_from<detail::waiter> Op>
[[nodiscard]] Op stopped_as_error(Op op) noexcept {
  op.deliver_stop_as_error();
  return op;
}

/// Awaits a task; when it is stopped, its frames are taken down as ever, and this throws
/// system_error(operation_canceled).
template <class T>
[[nodiscard]] detail::stop_catching_awaiter<T> stopped_as_error(task<T> body) noexcept {
  return detail::stop_catching_awaiter<T>{std::move(body)};
}

/// The same for anything else of gyre's: a deadline, a scope, a group.
template <detail::own_awaitable Awaitable>
  requires(!std::derived_from<Awaitable, detail::waiter>)
[[nodiscard]] auto stopped_as_error(Awaitable awaitable) {
  return stopped_as_error(detail::as_task(std::move(awaitable)));
}

}  // namespace gyre
