// SPDX-License-Identifier: MIT
// Who is at the other end of a Unix socket, as the kernel says it.
#pragma once

#include <sys/types.h>

namespace gyre::net {

/// A process as it was when it connected, listened, or sent. Its number may be another process's by now: where that
/// matters, unix_stream::peer_process().
struct unix_credentials {
  ::pid_t process = 0;  ///< 0: one that this process does not see, of another PID namespace.
  ::uid_t user = 0;     ///< The effective one.
  ::gid_t group = 0;

  friend bool operator==(const unix_credentials&, const unix_credentials&) noexcept = default;
};

}  // namespace gyre::net
