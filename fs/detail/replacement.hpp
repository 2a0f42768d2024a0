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

namespace gyre::fs::detail {

/// What writes the new file. The path leads to it as long as it is unfinished.
using fill_function = std::function<task<>(const file& unfinished, const path_at& its_path)>;

struct replacement {
  fs::durability durability = durability::none;
  rename_how how = rename_how::replace;
  ::mode_t permissions_at_first = 0666;         // less the umask
  std::optional<::mode_t> permissions_at_last;  // exactly
};

/// Makes a file beside `target`, has it filled, and gives it the name.
[[nodiscard]] task<> replace_file(path_at target, replacement how, fill_function fill);

}  // namespace gyre::fs::detail
