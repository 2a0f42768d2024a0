// SPDX-License-Identifier: MIT
// The server as a whole: what its connections share, and the task that accepts them.
#pragma once

#include "access_log.hpp"
#include "buffer_stock.hpp"
#include "graceful_stop.hpp"
#include "http_date.hpp"
#include "site.hpp"

#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace http {

/// How long clients may take, and how much of them fits in.
struct settings {
  std::chrono::seconds idle_timeout{30};    ///< From one request to the next; for a client to take 64 KiB.
  std::chrono::seconds header_timeout{30};  ///< From the first byte of a request to its last.
  std::chrono::seconds grace_period{5};     ///< For responses under way, after a stop.
  std::size_t connections_max = 1000;       ///< More wait in the listener's backlog.
};

/// What the server has done since it began.
struct counters {
  std::uint64_t connections = 0;
  std::uint64_t requests = 0;  ///< Answered, whatever the answer.
  std::uint64_t files = 0;     ///< Answers that sent a file, or a part of one.
  std::uint64_t sent_bytes = 0;
};

class server {
 public:
  /// @param root  The folder to serve.
  server(gyre::unique_fd root, const settings& chosen)
      : limits{chosen}, files{std::move(root)}, stop{chosen.grace_period} {}

  /// Serves until it is stopped; then returns when the last connection has ended.
  gyre::task<> serve(gyre::net::tcp_listener listener);

  // For connections: all on one executor, so that nothing here needs a lock.
  const settings limits;
  site files;
  graceful_stop stop;
  buffer_stock buffers;
  date_field date;
  counters counted;
  access_log accesses;
};

}  // namespace http
