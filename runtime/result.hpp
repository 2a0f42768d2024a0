// SPDX-License-Identifier: MIT
// A value or an error code: what as_result() makes of an operation, for code where an error is ordinary.
#pragma once

#include <gyre/runtime/assert.hpp>

#include <concepts>
#include <functional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace gyre {

/// Either a T or a std::error_code. Throws nothing by itself; value() throws what the code says.
template <class T>
class [[nodiscard]] result {
  using stored = std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>, T>;

 public:
  using value_type = T;

  template <class U = T>
    requires(std::constructible_from<stored, U &&> && !std::same_as<std::remove_cvref_t<U>, result> &&
             !std::same_as<std::remove_cvref_t<U>, std::error_code>)
  result(U&& value) : state_{std::in_place_index<0>, std::forward<U>(value)} {}

  result(std::error_code error) noexcept : state_{std::in_place_index<1>, error} {
    GYRE_ASSERT(error, "a result without a value has an error");
  }

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }

  /// The error, or a code that is zero when there is a value.
  [[nodiscard]] std::error_code error() const noexcept {
    const auto* error = std::get_if<1>(&state_);
    return error ? *error : std::error_code{};
  }

  /// The value. Throws std::system_error when there is none.
  [[nodiscard]] decltype(auto) value() & { return checked(), **this; }
  [[nodiscard]] decltype(auto) value() const& { return checked(), **this; }
  [[nodiscard]] decltype(auto) value() && { return checked(), *std::move(*this); }

  /// The value. There must be one.
  [[nodiscard]] std::add_lvalue_reference_t<T> operator*() & noexcept { return get(); }
  [[nodiscard]] std::add_lvalue_reference_t<const T> operator*() const& noexcept { return get(); }
  [[nodiscard]] T&& operator*() && noexcept { return static_cast<T&&>(get()); }
  [[nodiscard]] auto* operator->() noexcept { return std::addressof(get()); }
  [[nodiscard]] const auto* operator->() const noexcept { return std::addressof(get()); }

  template <class U>
  [[nodiscard]] T value_or(U&& otherwise) && {
    return has_value() ? static_cast<T>(get()) : static_cast<T>(std::forward<U>(otherwise));
  }

 private:
  void checked() const {
    if (!has_value()) throw std::system_error{error()};
  }
  std::add_lvalue_reference_t<T> get() noexcept {
    GYRE_ASSERT(has_value(), "the result holds an error: look before you take");
    return *std::get_if<0>(&state_);
  }
  std::add_lvalue_reference_t<const T> get() const noexcept {
    GYRE_ASSERT(has_value(), "the result holds an error: look before you take");
    return *std::get_if<0>(&state_);
  }

  std::variant<stored, std::error_code> state_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;

  result() noexcept = default;
  result(std::error_code error) noexcept : error_{error} {}

  [[nodiscard]] bool has_value() const noexcept { return !error_; }
  [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  /// Throws std::system_error when there is an error.
  void value() const {
    if (error_) throw std::system_error{error_};
  }

 private:
  std::error_code error_;
};

}  // namespace gyre
