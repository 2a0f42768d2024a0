// SPDX-License-Identifier: MIT
// A line for each answer, in the common log format, through the ring: for those who count visitors.
#pragma once

#include "message.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>

#include <memory>
#include <string>
#include <string_view>

namespace http {

/// Says nothing until it is opened.
class access_log {
 public:
  /// @param where  Takes the lines; kept until close().
  void open(std::shared_ptr<spdlog::sinks::sink> where);
  void close() noexcept { out_.reset(); }

  [[nodiscard]] bool is_open() const noexcept { return out_ != nullptr; }

  /// Adds a line. What a client has sent cannot end it, nor the quotes that it stands in.
  void add(std::string_view client, const request& asked, const answer& reply);

 private:
  std::shared_ptr<spdlog::logger> out_;
};

}  // namespace http
