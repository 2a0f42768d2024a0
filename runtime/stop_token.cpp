// SPDX-License-Identifier: MIT
// The message from a stop token to a scope: sent from any thread, received or dropped on the executor's.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/stop_token.hpp>

#include <string_view>

namespace gyre::detail {
namespace {

constexpr std::string_view reason = "its stop token asked for it";

}  // namespace

constinit const runnable_kind stop_message::kind_of_message{&stop_message::run};

stop_message::stop_message(cancel_scope& scope) noexcept
    : runnable{kind_of_message}, loop_{scope.executor()}, scope_{&scope} {}

void stop_message::post() noexcept {
  posted_ = true;
  loop_.post(*this);  // from here on it may be gone
}

void stop_message::release(stop_message* message) noexcept {
  const bool under_way = message->posted_ && !message->arrived_;
  if (under_way) message->scope_ = nullptr;
  else delete message;
}

void stop_message::run(runnable& self) noexcept {
  auto& message = static_cast<stop_message&>(self);
  if (message.scope_ == nullptr) return delete &message;
  message.arrived_ = true;
  message.scope_->cancel(reason);
}

void stop_binding::bind(const std::stop_token& token, cancel_scope& scope) {
  if (token.stop_requested()) return scope.cancel(reason);
  if (!token.stop_possible()) return;
  message_ = new stop_message{scope};
  callback_.emplace(token, posts{message_});
}

void stop_binding::release() noexcept {
  if (message_ == nullptr) return;
  callback_.reset();  // waits for one that runs
  stop_message::release(message_);
}

}  // namespace gyre::detail
