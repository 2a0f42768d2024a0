// SPDX-License-Identifier: MIT
// Accepting connections: one task each, in one group.
#include "server.hpp"

#include "connection.hpp"

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include <spdlog/spdlog.h>

#include <optional>
#include <system_error>
#include <utility>

namespace http {
namespace {

using namespace std::chrono_literals;

// Short of descriptors or memory: connections wait in the backlog, and some may end meanwhile.
constexpr auto pause_when_short = 100ms;

// The listener is closed as soon as this is stopped: while responses are finished, nobody new is let in.
gyre::task<> accept_all(server& shared, gyre::net::tcp_listener listener, gyre::task_group& clients) {
  for (;;) {
    auto client = co_await gyre::as_result(listener.accept());
    if (!client) {
      spdlog::warn("accept: {}", client.error().message());
      co_await gyre::sleep_for(pause_when_short);
      continue;
    }
    ++shared.counted.connections;
    clients.start(serve_connection(shared, std::move(*client)));
    while (clients.size() > shared.limits.connections_max) co_await gyre::sleep_for(pause_when_short);
  }
}

}  // namespace

gyre::task<> server::serve(gyre::net::tcp_listener listener) {
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& clients) {
    clients.start(stop.watch());
    return accept_all(*this, std::move(listener), clients);
  });
}

}  // namespace http
