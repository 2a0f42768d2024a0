// SPDX-License-Identifier: MIT
// The socket calls that never block, and so are made directly.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/runtime/fd_ref.hpp>

namespace gyre::net::detail {

/// Throws std::system_error for errno, with `call` in its text.
[[noreturn]] void throw_socket_error(const char* call);

[[nodiscard]] address local_address_of(fd_ref socket);
[[nodiscard]] address peer_address_of(fd_ref socket);

/// setsockopt(2) of an int. Throws std::system_error with `name` in its text.
void set_option(fd_ref socket, int level, int option, int value, const char* name);

}  // namespace gyre::net::detail
