// SPDX-License-Identifier: MIT
// The files that Unix sockets are bound to: how they come, with which permissions, and what removes them.
//
// A file of a socket stays when its socket is gone, and whoever would bind there again finds the name taken. It is told
// from one that is in use by connecting to it: the kernel refuses where no socket is behind the file. Between that and
// its removal another server may have done the same, and bound; so all of it happens under a lock of the folder
// (flock(2)), which leaves nothing behind, and lasts until the new socket listens:
//
//   the folder is locked -> what is at the path?
//     nothing                                   bind
//     no socket                                 file_exists; never removed
//     a socket that answers, in any way         bind fails: address_in_use
//     a socket that nobody has                  if it is still the same file: removed; bind
//   -> listen -> the folder is unlocked
//
// Servers that take no such lock can still meet each other; a file that changed in between is left alone. One that is
// bound and does not listen yet looks abandoned: whoever binds looks whether the file is still its own when it listens.
#pragma once

#include <gyre/net/unix_address.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace gyre::net::detail {

/// Which file a path led to: another one at the same path is not it.
struct file_identity {
  ::dev_t device = 0;
  ::ino_t number = 0;
  friend bool operator==(const file_identity&, const file_identity&) noexcept = default;
};

struct socket_binding {
  int type = 0;  ///< SOCK_STREAM, SOCK_DGRAM
  unix_address at{};
  std::optional<::mode_t> permissions{};
  bool replace_stale = false;
  std::optional<int> backlog{};  ///< Empty: it does not listen.
};

/// A socket that is bound, and the file that it has for it; none where its address is no path.
struct bound_socket {
  unique_fd socket;
  std::optional<file_identity> file;
};

/// Binds, on a thread of the common offload_pool where the address is a path.
[[nodiscard]] task<bound_socket> bind_unix_socket(socket_binding how);

/// Removes the file of a socket that is about to be closed, if it is still that one, on a thread of the pool.
///
/// @errors  std::system_error: permission_denied, …: unlink(2)
[[nodiscard]] task<> remove_socket_file(unix_address at, file_identity file);

}  // namespace gyre::net::detail
