// SPDX-License-Identifier: MIT
// Tasks to run side by side in tests: they give a number, fail with one, or note how they ended.
#pragma once

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/timer.hpp>

#include "outcome.hpp"

#include <chrono>
#include <coroutine>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::test {

struct failure : std::runtime_error {
  explicit failure(int its_number) : runtime_error{"failure " + std::to_string(its_number)}, number{its_number} {}
  int number;
};

inline task<int> value_after(int value, std::chrono::nanoseconds duration = {}) {
  if (duration.count() > 0) co_await sleep_for(duration);
  co_return value;
}

inline task<std::unique_ptr<int>> moves_only(int value, std::chrono::nanoseconds duration = {}) {
  if (duration.count() > 0) co_await sleep_for(duration);
  co_return std::make_unique<int>(value);
}

inline task<std::string&> refers_to(std::string& text) { co_return text; }

/// Sleeps for an hour, unless it is stopped.
inline task<> notes_its_end(outcome& noted, std::shared_ptr<int> = nullptr) {
  const stop_watch watch{noted};
  co_await sleep_for(std::chrono::hours{1});
  noted.how = ended::with_value;
}

inline task<> fails_after(int number, std::chrono::nanoseconds duration) {
  co_await sleep_for(duration);
  throw failure{number};
}

inline task<> fails_at_once(int number) {
  throw failure{number};
  co_return;
}

/// Hears of a stop, and fails with a number of its own then.
inline task<> fails_when_stopped(int number) {
  const auto slept = co_await as_result(stopped_as_error(sleep_for(std::chrono::hours{1})));
  if (!slept) throw failure{number};
}

/// Number of the failure that left the task; 0 when it ended well, -1 when it was stopped.
template <class T>
int failure_of(root_task<T>& root) {
  if (root.stopped()) return -1;
  try {
    root.get();
  } catch (const failure& error) {
    return error.number;
  }
  return 0;
}

/// co_await gives the scope of who awaits it, at once.
class scope_of_awaiter {
 public:
  using gyre_awaitable = void;

  scope_of_awaiter() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <detail::gyre_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    scope_ = awaiting.promise().bound->scope;
    return false;
  }
  cancel_scope& await_resume() const noexcept { return *scope_; }

 private:
  cancel_scope* scope_ = nullptr;
};

}  // namespace gyre::test
