// SPDX-License-Identifier: MIT
// One client: its requests one after the other, from the first byte to the close.
#pragma once

#include "server.hpp"

#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/task.hpp>

namespace http {

/// Serves a client until it leaves, has nothing to ask for too long, or the server stops.
///
/// @errors  Failures of the connection are the client's business and end it quietly; anything else is thrown.
gyre::task<> serve_connection(server& shared, gyre::net::tcp_stream client);

}  // namespace http
