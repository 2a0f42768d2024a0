// SPDX-License-Identifier: MIT
// Waiting for several things at once, until all of them have ended: when_all().
//
// The first exception stops the others, and is rethrown when they have ended. How the branches run, and every order in
// which their ends, failures and stops can come: detail/branches.hpp. For tasks that come one by one, or that nobody
// takes a value from, use a task group: task_group.hpp.
#pragma once

#include <gyre/runtime/detail/branches.hpp>
#include <gyre/runtime/task.hpp>

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace gyre {
namespace detail {

template <class... Ts>
class all_of_pack final : public branch_pack<Ts...> {
  using result = std::tuple<std::conditional_t<std::is_void_v<Ts>, std::monostate, Ts>...>;

 public:
  explicit all_of_pack(task<Ts>&&... bodies) noexcept : branch_pack<Ts...>{decided_by::failure, std::move(bodies)...} {}

  result await_resume() {
    this->throw_unless_delivered();
    return std::apply([](auto&... each) { return result{each.take()...}; }, this->branches);
  }
};

template <class T>
class all_of_list final : public branch_list<T> {
 public:
  template <branchable Awaitable>
  explicit all_of_list(std::vector<Awaitable>&& awaitables)
      : branch_list<T>{decided_by::failure, std::move(awaitables)} {}

  auto await_resume() {
    this->throw_unless_delivered();
    if constexpr (!std::is_void_v<T>) {
      std::vector<kept_t<T>> values;
      values.reserve(this->branches.size());
      for (auto& each : this->branches) values.push_back(each.take());
      return values;
    }
  }
};

}  // namespace detail

/// Runs tasks and operations side by side, and waits until all of them have ended.
///
/// @param awaitables  Tasks, operations, sleeps, and anything else of gyre's that can be awaited; moved in. They begin
///                    soon, in this order, and not inside the co_await. What is no task yet takes a frame from the
///                    pool.
/// @return            co_await gives std::tuple of their values, in this order; std::monostate for void.
/// @errors            The first exception that leaves one of them: the others are stopped and waited for; what they
///                    throw is logged.
///                    operation_canceled   one of them cancelled the scope that they run in
/// @cancellation      Stops all that have not ended, and waits for them. When all of them end with a value all the
///                    same, the values are delivered; and a failure is rethrown.
template <detail::branchable... Awaitables>
  requires(sizeof...(Awaitables) > 0)
[[nodiscard]] auto when_all(Awaitables... awaitables) {
  return detail::all_of_pack<detail::awaited_t<Awaitables>...>{detail::to_task(std::move(awaitables))...};
}

/// The same for as many of one type as there are.
///
/// @param awaitables  May be empty: then there is nothing to wait for.
/// @return            co_await gives std::vector of their values, in this order, of std::reference_wrapper for
///                    references; nothing for void.
/// @errors            As above. std::bad_alloc from the call itself: then none of them has begun.
/// @limits            Takes two pieces of memory from the heap: for the branches, and for the values.
template <detail::branchable Awaitable>
[[nodiscard]] auto when_all(std::vector<Awaitable> awaitables) {
  return detail::all_of_list<detail::awaited_t<Awaitable>>{std::move(awaitables)};
}

}  // namespace gyre
