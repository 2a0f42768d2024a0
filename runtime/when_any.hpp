// SPDX-License-Identifier: MIT
// Waiting for the first of several things: when_any(), race() and first_success().
//
// All three stop the losers and wait for them, as nothing runs unowned. What they have in common with when_all(), and
// the ways in which such a wait can end: detail/branches.hpp. They differ in what decides, and in what is told:
//
//                     decided by                 tells
//   when_any()        the first value or error   that value
//   race()            the first value or error   every value that there is: the winner's, and those of losers that were
//                                                stopped too late
//   first_success()   the first value            that value; if all fail, the error of the first in the list
//
// The first is who ends first on the executor. When several have completed in the same turn of it, that is the one
// whose completion the kernel posted first; the others hear of the stop at their next wait. A loser that needs no other
// wait still ends with its value: an operation that has completed is such a loser, and the bytes that it read or the
// descriptor that it opened are there. when_any() and first_success() destroy that value, so that a descriptor is
// closed; race() hands it over. So where a loser's bytes matter, use race().
//
//   order                                        when_any()            race()
//   A completes, B completes, in one turn        A's value             both values, index of A: of operations. An item
//                                                                      of a stream that comes second stays in store
//   A completes, stop from outside               A's value             A's value
//   stop from outside, A's completion wins       A's value             A's value
//   stop from outside, all end by it             stopped               stopped
//   A fails, B completes                         A's error             A's error
//   A completes, B fails                         A's value; B logged   A's value; B logged
#pragma once

#include <gyre/runtime/detail/branches.hpp>
#include <gyre/runtime/task.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace gyre {

/// What when_any() and first_success() give for several types: the value of the one that was first.
template <class... Ts>
struct any_result {
  std::size_t index;                          ///< Whose it is, from 0; value.index() is the same.
  std::variant<detail::kept_t<Ts>...> value;  ///< std::monostate for void, std::reference_wrapper for a reference.
};

/// The same for a list of one type.
template <class T>
struct any_result_of {
  std::size_t index;        ///< Whose it is, from 0.
  detail::kept_t<T> value;  ///< std::monostate for void, std::reference_wrapper for a reference.
};

/// What race() gives for several types: who was first, and every value that there is.
template <class... Ts>
struct race_result {
  std::size_t index;                                        ///< Who was first, from 0.
  std::tuple<std::optional<detail::kept_t<Ts>>...> values;  ///< Empty for those that were stopped, or failed.
};

/// The same for a list of one type.
template <class T>
struct race_result_of {
  std::size_t index;                                     ///< Who was first, from 0.
  std::vector<std::optional<detail::kept_t<T>>> values;  ///< Empty for those that were stopped, or failed.
};

namespace detail {

/// Rethrows `errors[0]`, and logs the others.
[[noreturn]] void throw_first_failure(const std::exception_ptr* errors, std::size_t count);

/// A branch's exception. There must be one.
template <class T>
std::exception_ptr error_of(branch<T>& failed) noexcept {
  try {
    static_cast<void>(failed.take());
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

template <class T>
std::optional<kept_t<T>> value_of(branch<T>& ended) {
  if (ended.has_value()) return ended.take();
  return std::nullopt;
}

template <class... Ts>
class first_of_pack final : public branch_pack<Ts...> {
 public:
  explicit first_of_pack(decided_by rule, task<Ts>&&... bodies) noexcept
      : branch_pack<Ts...>{rule, std::move(bodies)...} {}

  any_result<Ts...> await_resume() {
    this->throw_unless_delivered();
    if (!this->has_winner()) throw_failure();
    return take_winner<0>();
  }

 private:
  [[noreturn]] void throw_failure() {
    std::apply(
        [](auto&... each) {
          const std::exception_ptr errors[] = {error_of(each)...};
          throw_first_failure(errors, sizeof...(Ts));
        },
        this->branches);
    std::terminate();
  }

  template <std::size_t Index>
  any_result<Ts...> take_winner() {
    if constexpr (Index + 1 < sizeof...(Ts))
      if (this->winner() != Index) return take_winner<Index + 1>();
    using value = std::variant<kept_t<Ts>...>;
    return {Index, value{std::in_place_index<Index>, std::get<Index>(this->branches).take()}};
  }
};

template <class T>
class first_of_list final : public branch_list<T> {
 public:
  template <branchable Awaitable>
  first_of_list(decided_by rule, std::vector<Awaitable>&& awaitables) : branch_list<T>{rule, std::move(awaitables)} {}

  bool await_ready() const noexcept { return false; }

  any_result_of<T> await_resume() {
    this->throw_unless_delivered();
    if (!this->has_winner()) throw_failure();
    return {this->winner(), this->branches[this->winner()].take()};
  }

 private:
  [[noreturn]] void throw_failure() {
    std::vector<std::exception_ptr> errors;
    errors.reserve(this->branches.size());
    for (auto& each : this->branches) errors.push_back(error_of(each));
    throw_first_failure(errors.data(), errors.size());
  }
};

template <class... Ts>
class race_of_pack final : public branch_pack<Ts...> {
 public:
  explicit race_of_pack(task<Ts>&&... bodies) noexcept : branch_pack<Ts...>{decided_by::race, std::move(bodies)...} {}

  race_result<Ts...> await_resume() {
    using values = decltype(race_result<Ts...>::values);
    this->throw_unless_delivered();
    return std::apply([this](auto&... each) { return race_result<Ts...>{this->winner(), values{value_of(each)...}}; },
                      this->branches);
  }
};

template <class T>
class race_of_list final : public branch_list<T> {
 public:
  template <branchable Awaitable>
  explicit race_of_list(std::vector<Awaitable>&& awaitables)
      : branch_list<T>{decided_by::race, std::move(awaitables)} {}

  bool await_ready() const noexcept { return false; }

  race_result_of<T> await_resume() {
    this->throw_unless_delivered();
    race_result_of<T> ended{this->winner(), {}};
    ended.values.reserve(this->branches.size());
    for (auto& each : this->branches) ended.values.push_back(value_of(each));
    return ended;
  }
};

}  // namespace detail

/// Runs tasks and operations side by side until the first of them ends; the others are stopped and waited for.
///
/// @param awaitables  Tasks, operations, sleeps, and anything else of gyre's that can be awaited; moved in. They begin
///                    soon, in this order, and not inside the co_await.
/// @return            co_await gives any_result: the index of who was first, and its value. The value of a loser that
///                    ended with one before the stop reached it is destroyed; race() hands it over.
/// @errors            The exception of who was first. Those of losers are logged.
///                    operation_canceled   one of them cancelled the scope that they run in
/// @cancellation      Stops all, and waits for them. If one of them ended with a value or an exception all the same,
///                    that is the outcome.
template <detail::branchable... Awaitables>
  requires(sizeof...(Awaitables) > 0)
[[nodiscard]] auto when_any(Awaitables... awaitables) {
  return detail::first_of_pack<detail::awaited_t<Awaitables>...>{detail::decided_by::ending,
                                                                 detail::to_task(std::move(awaitables))...};
}

/// The same for as many of one type as there are.
///
/// @param awaitables  At least one.
/// @return            co_await gives any_result_of.
/// @errors            As above. std::bad_alloc from the call itself: then none of them has begun.
template <detail::branchable Awaitable>
[[nodiscard]] auto when_any(std::vector<Awaitable> awaitables) {
  return detail::first_of_list<detail::awaited_t<Awaitable>>{detail::decided_by::ending, std::move(awaitables)};
}

/// Like when_any(), and loses nothing: gives every value that there is when all of them have ended.
///
/// @return  co_await gives race_result: the index of who was first; and for each its value, or nothing when it was
///          stopped. The winner's is always there.
template <detail::branchable... Awaitables>
  requires(sizeof...(Awaitables) > 0)
[[nodiscard]] auto race(Awaitables... awaitables) {
  return detail::race_of_pack<detail::awaited_t<Awaitables>...>{detail::to_task(std::move(awaitables))...};
}

/// The same for as many of one type as there are: gives race_result_of.
///
/// @param awaitables  At least one.
template <detail::branchable Awaitable>
[[nodiscard]] auto race(std::vector<Awaitable> awaitables) {
  return detail::race_of_list<detail::awaited_t<Awaitable>>{std::move(awaitables)};
}

/// Like when_any(), but one that fails leaves the others a chance: the first that ends with a value decides.
///
/// @return        co_await gives any_result, as when_any().
/// @errors        When all of them failed: the exception of the first in the list, whichever failed first. The others'
///                are logged. When one succeeds, the exceptions of the others are dropped: that they may fail is what
///                this is for.
///                operation_canceled   one of them cancelled the scope that they run in
/// @cancellation  Stops all, and waits for them. If one of them ended with a value all the same, that is the outcome.
template <detail::branchable... Awaitables>
  requires(sizeof...(Awaitables) > 0)
[[nodiscard]] auto first_success(Awaitables... awaitables) {
  return detail::first_of_pack<detail::awaited_t<Awaitables>...>{detail::decided_by::value,
                                                                 detail::to_task(std::move(awaitables))...};
}

/// The same for as many of one type as there are: gives any_result_of.
///
/// @param awaitables  At least one.
template <detail::branchable Awaitable>
[[nodiscard]] auto first_success(std::vector<Awaitable> awaitables) {
  return detail::first_of_list<detail::awaited_t<Awaitable>>{detail::decided_by::value, std::move(awaitables)};
}

}  // namespace gyre
