// SPDX-License-Identifier: MIT
// result<T>: a value or a code, and no way to take the one for the other.
#include <gyre/runtime/result.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace gyre {
namespace {

const std::error_code broken = std::make_error_code(std::errc::broken_pipe);

}  // namespace

TEST_CASE("a result holds a value") {
  result<std::string> got{"text"};

  CHECK(got.has_value());
  CHECK(static_cast<bool>(got));
  CHECK(*got == "text");
  CHECK(got->size() == 4);
  CHECK(got.value() == "text");
  CHECK(!got.error());
}

TEST_CASE("a result holds an error, and value() throws it") {
  result<std::string> got{broken};

  CHECK(!got);
  CHECK(got.error() == broken);
  CHECK_THROWS_AS(static_cast<void>(got.value()), std::system_error);
  CHECK(std::move(got).value_or("otherwise") == "otherwise");
}

TEST_CASE("a result's value can be moved out") {
  result<std::unique_ptr<int>> got{std::make_unique<int>(7)};

  const std::unique_ptr<int> taken = *std::move(got);

  CHECK(*taken == 7);
}

TEST_CASE("a result of a reference refers to the object itself") {
  int value = 1;
  result<int&> got{value};

  *got = 2;

  CHECK(value == 2);
}

TEST_CASE("a result of nothing says whether it went well") {
  CHECK(result<void>{}.has_value());
  CHECK_NOTHROW(result<void>{}.value());
  CHECK(result<void>{broken}.error() == broken);
  CHECK_THROWS_AS(result<void>{broken}.value(), std::system_error);
}

TEST_CASE("a result can be copied, moved and assigned") {
  result<std::string> first{"one"};
  const result<std::string> copy = first;
  first = result<std::string>{broken};

  CHECK(*copy == "one");
  CHECK(first.error() == broken);
}

}  // namespace gyre
