// SPDX-License-Identifier: MIT
// What the library logs, caught by a test.
#pragma once

#include <gyre/runtime/log.hpp>

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <memory>
#include <sstream>
#include <string>

namespace gyre::test {

// What the library logs while this lives.
class captured_log {
 public:
  captured_log() : before_{log::logger()} {
    log::set_logger(std::make_shared<spdlog::logger>("gyre", std::make_shared<spdlog::sinks::ostream_sink_st>(text_)));
  }
  captured_log(const captured_log&) = delete;
  captured_log& operator=(const captured_log&) = delete;
  ~captured_log() { log::set_logger(before_); }

  std::string text() const { return text_.str(); }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

}  // namespace gyre::test
