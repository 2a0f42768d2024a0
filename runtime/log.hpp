// SPDX-License-Identifier: MIT
// What the library itself has to say: through one spdlog logger, named "gyre", that a program can replace.
#pragma once

#include <exception>
#include <memory>
#include <string_view>

namespace spdlog {
class logger;
}

namespace gyre::log {

/// The library's logger; by default one to standard error. What the library says are warnings and errors. Include
/// <spdlog/logger.h> to use it.
///
/// The default one is in spdlog's registry when it is first asked for, unless there is another of that name. So what
/// spdlog's functions say of all loggers holds for it as well, spdlog::set_level(), set_pattern(), set_error_handler(),
/// and spdlog::cfg::load_env_levels() gives it the level that the environment names: SPDLOG_LEVEL=gyre=off.
///
/// @threads  Any.
[[nodiscard]] std::shared_ptr<spdlog::logger> logger();

/// Replaces the library's logger. Not null.
///
/// @threads  Any; best before the first executor is made.
void set_logger(std::shared_ptr<spdlog::logger> logger);

/// Logs an exception at error level: `what_happened`, and the exception's own text.
void exception(std::string_view what_happened, const std::exception_ptr& error) noexcept;

/// Logs a line at warning or error level.
void warning(std::string_view text) noexcept;
void error(std::string_view text) noexcept;

}  // namespace gyre::log
