// SPDX-License-Identifier: MIT
// The lines of the common log format: who, when, what was asked for, status and bytes of the answer.
#include "access_log.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <ctime>
#include <utility>

namespace http {
namespace {

std::string quotable(std::string_view text) {
  std::string made;
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x20 || byte >= 0x7f || each == '"' || each == '\\') made += fmt::format("\\x{:02x}", byte);
    else made += each;
  }
  return made.empty() ? "-" : made;
}

// As "06/Nov/1994:08:49:37 +0000".
std::string now() {
  const std::time_t at = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&at, &parts);
  std::array<char, 40> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%d/%b/%Y:%H:%M:%S %z", &parts)};
}

}  // namespace

void access_log::open(std::shared_ptr<spdlog::sinks::sink> where) {
  where->set_pattern("%v");
  out_ = std::make_shared<spdlog::logger>("access", std::move(where));
}

void access_log::add(std::string_view client, const request& asked, const answer& reply) {
  out_->info("{} - - [{}] \"{} {} HTTP/1.{}\" {} {}", client, now(), quotable(asked.verb_text), quotable(asked.target),
             asked.is_http_1_1 ? 1 : 0, static_cast<int>(reply.code), reply.size_bytes);
}

}  // namespace http
