// SPDX-License-Identifier: MIT
// The walk through the scopes of an executor that finds everything that waits.
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>

#include <spdlog/fmt/fmt.h>

#include <iterator>

namespace gyre {
namespace {

constexpr int callers_shown_max = 8;

// Whether a stop was asked for: of the scope itself, or of one around it that a shield keeps away.
void describe_stop(std::string& out, const cancel_scope& scope) {
  const cancel_scope* stopped = &scope;
  while (stopped != nullptr && !stopped->stop_requested()) stopped = stopped->parent();
  if (stopped == nullptr) return;
  out += stopped == &scope ? "; asked to stop" : "; shielded from a stop";
  if (!stopped->stop_reason().empty()) fmt::format_to(std::back_inserter(out), ": {}", stopped->stop_reason());
}

void describe(std::string& out, const detail::waiter& waiting, std::uint32_t now_ms) {
  fmt::format_to(std::back_inserter(out), "{} for {:.1f} s", waiting.name(), (now_ms - waiting.since_ms()) / 1000.0);
  const detail::promise_base* promise = waiting.promise();
  if (promise == nullptr) out += " in a coroutine of another library";
  const char* how = "at";
  for (int shown = 0; promise != nullptr && shown < callers_shown_max; ++shown) {
    fmt::format_to(std::back_inserter(out), " {} {}:{}", how, promise->location.file_name(), promise->location.line());
    how = ", awaited at";
    promise = promise->continuation ? &detail::promise_of(promise->continuation) : nullptr;
  }
  describe_stop(out, waiting.scope());
  out += '\n';
}

}  // namespace

std::string describe_waits(executor& loop) {
  std::string out;
  const auto now_ms = static_cast<std::uint32_t>(loop.now() / 1'000'000);
  loop.root_scope().for_each_waiter([&](const detail::waiter& waiting) { describe(out, waiting, now_ms); });
  return out;
}

}  // namespace gyre
