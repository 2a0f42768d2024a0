// SPDX-License-Identifier: MIT
// A file that takes another's place when it is finished, and goes when it is not.
//
//   unfinished -> finished    filled, synced and closed: it is given the name, at one blow
//   unfinished -> gone        a failure or a stop, anywhere before: its name is removed, where no stop reaches that
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

namespace gyre::fs::detail {

/// What writes the new file.
using fill_function = std::function<task<>(const file& unfinished)>;

/// Leads to what is open there, whatever has its name by now: proc(5).
[[nodiscard]] inline path_at path_of_open(const file& opened) {
  return path_at{"/proc/self/fd/" + std::to_string(opened.fd().get())};
}

struct replacement {
  fs::durability durability = durability::none;
  rename_how how = rename_how::replace;
  ::mode_t permissions_at_first = 0666;         // less the umask
  std::optional<::mode_t> permissions_at_last;  // exactly
};

/// Makes a file beside `target`, has it filled, and gives it the name.
[[nodiscard]] task<> replace_file(path_at target, replacement how, fill_function fill);

/// Waits until the name is on the device, whoever made it: syncs the directory that it is in. That must be one that may
/// be read. A link in the path's last place is not followed.
[[nodiscard]] task<> sync_parent(path_at of);

}  // namespace gyre::fs::detail
