// SPDX-License-Identifier: MIT
// The library's logger: what it writes, that it can be replaced, and that it takes nobody down.
#include <gyre/runtime/log.hpp>

#include "../support/child.hpp"

#include <doctest/doctest.h>
#include <spdlog/cfg/env.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace gyre {
namespace {

using namespace test;

class replaced_logger {
 public:
  explicit replaced_logger(std::shared_ptr<spdlog::sinks::sink> sink) : before_{log::logger()} {
    auto made = std::make_shared<spdlog::logger>("gyre", std::move(sink));
    made->set_pattern("%l %v");
    log::set_logger(std::move(made));
  }
  replaced_logger(const replaced_logger&) = delete;
  replaced_logger& operator=(const replaced_logger&) = delete;
  ~replaced_logger() { log::set_logger(before_); }

 private:
  std::shared_ptr<spdlog::logger> before_;
};

class sink_that_throws final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg&) override { throw std::runtime_error{"no room"}; }
  void flush_() override {}
};

}  // namespace

// The first: none has asked for the library's own yet.
TEST_CASE("where the program has a logger of that name, that one stays the registry's") {
  const auto end = child{[] {
                     const auto theirs = std::make_shared<spdlog::logger>("gyre");
                     spdlog::register_logger(theirs);
                     return spdlog::get("gyre") == theirs && log::logger() != theirs ? 0 : 1;
                   }}.wait();
  CHECK(end.exit_status == 0);
}

TEST_CASE("there is a logger by default, and its name is gyre") {
  CHECK(log::logger() != nullptr);
  CHECK(log::logger()->name() == "gyre");
}

TEST_CASE("the default logger is in spdlog's registry, where levels for all and by the environment reach it") {
  const auto mine = log::logger();
  REQUIRE(spdlog::get("gyre") == mine);
  CHECK(mine->should_log(spdlog::level::warn));

  ::setenv("SPDLOG_LEVEL", "gyre=off", 1);
  spdlog::cfg::load_env_levels();
  CHECK(!mine->should_log(spdlog::level::critical));

  ::unsetenv("SPDLOG_LEVEL");
  spdlog::set_level(spdlog::level::err);
  CHECK(mine->should_log(spdlog::level::err));
  CHECK(!mine->should_log(spdlog::level::warn));
  spdlog::set_level(spdlog::level::info);
}

TEST_CASE("warnings, errors and exceptions are written with their level and text") {
  std::ostringstream text;
  const replaced_logger replaced{std::make_shared<spdlog::sinks::ostream_sink_st>(text)};

  log::warning("a warning with {} braces");
  log::error("an error");
  log::exception("it failed", std::make_exception_ptr(std::runtime_error{"for a reason"}));
  log::exception("it failed too", std::make_exception_ptr(42));

  CHECK(text.str() ==
        "warning a warning with {} braces\n"
        "error an error\n"
        "error it failed: for a reason\n"
        "error it failed too: an exception that is no std::exception\n");
}

TEST_CASE("a logger that throws does not take the program down") {
  const replaced_logger replaced{std::make_shared<sink_that_throws>()};
  log::logger()->set_error_handler([](const std::string& what) { throw std::runtime_error{what}; });

  CHECK_NOTHROW(log::warning("a line"));
}

}  // namespace gyre
