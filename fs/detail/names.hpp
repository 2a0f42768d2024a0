// SPDX-License-Identifier: MIT
// Names on their way to the kernel: what it would take for another name, or do half of, is refused before.
#pragma once

#include <gyre/fs/path_at.hpp>

#include <string>
#include <string_view>

namespace gyre::fs::detail {

/// Throws invalid_argument when there is a NUL in the path: the kernel would see what stands before it.
///
/// @param who  The text of the error.
void refuse_nul(const std::string& path, const char* who);
inline void refuse_nul(const path_at& where, const char* who) { refuse_nul(where.path(), who); }

/// A path in two: the directory, "." where the path names none, and the last name, without slashes behind it.
struct split_path {
  std::string directory;
  std::string name;  // "" of "/" and of an empty path
};
[[nodiscard]] split_path split(std::string_view path);

/// The path of `name` below `directory`.
[[nodiscard]] std::string join(std::string_view directory, std::string_view name);

/// A name that nobody else has thought of: `prefix`, and twelve letters by chance.
[[nodiscard]] std::string unique_name(std::string_view prefix);

/// As in a path for a system call that takes no directory: through /proc where it does not begin at the working one.
[[nodiscard]] std::string whole_path(const path_at& where);

}  // namespace gyre::fs::detail
