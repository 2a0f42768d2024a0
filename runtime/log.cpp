// SPDX-License-Identifier: MIT
// The library's logger, and the lines that it writes.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/log.hpp>

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <mutex>
#include <utility>

namespace gyre::log {
namespace {

// In spdlog's registry, so that what a program says of all loggers holds for this one, and what SPDLOG_LEVEL says of it
// by name. Not where the program has a logger of that name already: which of them spdlog::get() gives is its business.
std::shared_ptr<spdlog::logger> make_default() {
  auto made = std::make_shared<spdlog::logger>("gyre", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  try {
    spdlog::initialize_logger(made);
  } catch (const spdlog::spdlog_ex&) {
    made->set_level(spdlog::level::warn);
  }
  return made;
}

std::mutex& guard() {
  static std::mutex instance;
  return instance;
}

std::shared_ptr<spdlog::logger>& current() {
  static std::shared_ptr<spdlog::logger> instance = make_default();
  return instance;
}

// A logger that throws must not take the program down with it.
template <class Fn>
void write(Fn fn) noexcept {
  try {
    fn(*logger());
  } catch (...) {
    std::fputs("gyre: the logger threw an exception; a line is lost\n", stderr);
  }
}

}  // namespace

std::shared_ptr<spdlog::logger> logger() {
  const std::lock_guard lock{guard()};
  return current();
}

void set_logger(std::shared_ptr<spdlog::logger> logger) {
  GYRE_ASSERT(logger != nullptr, "the library needs a logger; one with level off says nothing");
  const std::lock_guard lock{guard()};
  current() = std::move(logger);
}

void exception(std::string_view what_happened, const std::exception_ptr& error) noexcept {
  write([&](spdlog::logger& out) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& thrown) {
      out.error("{}: {}", what_happened, thrown.what());
    } catch (...) {
      out.error("{}: an exception that is no std::exception", what_happened);
    }
  });
}

void warning(std::string_view text) noexcept {
  write([&](spdlog::logger& out) { out.warn("{}", text); });
}

void error(std::string_view text) noexcept {
  write([&](spdlog::logger& out) { out.error("{}", text); });
}

}  // namespace gyre::log
