// SPDX-License-Identifier: MIT
// What errors say, and assertions.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <ostream>
#include <string>
#include <system_error>

namespace gyre {

TEST_CASE("gyre's own errors have texts of their own, and a category that compares") {
  for (const auto code : {errc::no_progress, errc::end_of_stream, errc::invalid_address, errc::link_broken}) {
    const std::error_code made = code;
    CHECK(made == code);
    CHECK(made.category() == category());
    CHECK(made.message().size() > 8);
    CHECK(made.message() != std::error_code{999, category()}.message());
  }
  CHECK(std::string{category().name()} == "gyre");
}

TEST_CASE("an errno becomes a code that compares with std::errc") {
  CHECK(detail::errno_code(ECONNRESET) == std::errc::connection_reset);
  CHECK(detail::errno_code(ETIMEDOUT) == std::errc::timed_out);
  CHECK(detail::errno_code(ECANCELED) == std::errc::operation_canceled);
}

TEST_CASE("restart codes that the kernel leaks read as interrupted, their neighbours do not") {
  for (int code = 512; code <= 516; ++code) CHECK(detail::errno_code(code) == std::errc::interrupted);
  CHECK(detail::errno_code(511) != std::errc::interrupted);
  CHECK(detail::errno_code(517) != std::errc::interrupted);
}

TEST_CASE("an exception names what failed, and why") {
  try {
    detail::throw_errno(ENOENT, "openat");
  } catch (const std::system_error& error) {
    CHECK(std::string{error.what()} == "openat: No such file or directory");
    CHECK(error.code() == std::errc::no_such_file_or_directory);
  }
}

TEST_CASE("a transfer's error says how far it got") {
  const transfer_error error{make_error_code(errc::end_of_stream), 123, "recv_all"};

  CHECK(error.bytes() == 123);
  CHECK(error.code() == errc::end_of_stream);
  CHECK(std::string{error.what()}.find("recv_all") == 0);
}

TEST_CASE("an assertion that holds does nothing, and evaluates its condition once") {
  int evaluated = 0;
  GYRE_ASSERT(++evaluated == 1, "it is counted once");
  CHECK(evaluated == 1);
}

}  // namespace gyre
