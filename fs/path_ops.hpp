// SPDX-License-Identifier: MIT
// What is done with names: asking, renaming, linking, making and removing, permissions, owner, times.
//
// Each takes a path_at: a string, or a directory that is open and a string. Those that need several steps say so. What
// the ring has an operation for goes there, which is a kernel worker each time; the others run on the offload pool.
// Directories and what is in them: directory.hpp, walk.hpp. Attributes: attributes.hpp.
//
// All of them, where nothing else is said:
//   @errors        no_such_file_or_directory, not_a_directory, permission_denied, too_many_symbolic_link_levels,
//                  filename_too_long, io_error, …: as the system call; invalid_argument when a path has a NUL in it
//   @cancellation  Once a worker has begun it, it is done, and reported; before, nothing has happened.
#pragma once

#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace gyre::fs {

/// Tells what is there.
///
/// @source  statx(2).
[[nodiscard]] task<metadata> metadata_of(path_at path, links last = links::follow);

/// Whether there is anything. A symbolic link that leads nowhere is nothing, unless it is asked for itself.
///
/// @errors  What keeps it from finding out: permission_denied, too_many_symbolic_link_levels, …
[[nodiscard]] task<bool> exists(path_at path, links last = links::follow);

/// Whether two paths lead to one file: two names of it, or through a link.
///
/// @errors  no_such_file_or_directory also when there is only one of them.
[[nodiscard]] task<bool> equivalent(path_at one, path_at other);

/// The path without links, "." and "..", from the root on. Everything on it is there.
///
/// @source  realpath(3).
[[nodiscard]] task<std::string> canonical(path_at path);

/// What a symbolic link says.
///
/// @errors  invalid_argument also when it is none.
/// @source  readlinkat(2).
[[nodiscard]] task<std::string> read_link(path_at path);

/// What happens to a file that has the new name already.
enum class rename_how : std::uint8_t {
  replace,     ///< It is replaced, at one blow: whoever opens the name finds the one or the other.
  no_replace,  ///< file_exists, and nothing has happened.
  exchange     ///< It gets the old name. Both are there.
};

/// Gives a file another name, in the same file system.
///
/// @errors  cross_device_link; file_exists; directory_not_empty, is_a_directory (they do not fit); invalid_argument
///          (a directory into itself; or the file system does not know `how`); operation_not_supported (no_replace of a
///          file, where the file system knows neither that nor second names)
/// @limits  Some file systems, NFS among them, know no no_replace. There a file gets the new name as a second one, and
///          loses the old one then: nothing is replaced, but for a moment it has both, and keeps both when the machine
///          fails, or the process is killed, in between.
/// @source  renameat2(2); linkat(2) and unlinkat(2).
[[nodiscard]] task<> rename(path_at from, path_at to, rename_how how = rename_how::replace);

/// Gives a file one more name, in the same file system.
///
/// @param last  A symbolic link gets one more name itself, unless told to be followed.
/// @errors      file_exists, cross_device_link, operation_not_permitted (a directory), too_many_links
/// @source      linkat(2).
[[nodiscard]] task<> link(path_at existing, path_at name, links last = links::keep);

/// Makes a symbolic link.
///
/// @param target  What it says, whether there is such a file or not. A relative one begins where the link is.
/// @errors        file_exists
/// @source        symlinkat(2).
[[nodiscard]] task<> symlink(std::string target, path_at path);

/// Removes a name that is no directory's; the file goes with its last name, and when nobody has it open.
///
/// @errors  is_a_directory
/// @source  unlinkat(2).
[[nodiscard]] task<> unlink(path_at path);

/// Removes an empty directory. One that is not: remove_all(), directory.hpp.
///
/// @errors  directory_not_empty, device_or_resource_busy (something is mounted there)
/// @source  unlinkat(2), AT_REMOVEDIR.
[[nodiscard]] task<> remove_directory(path_at path);

struct make_directory_options {
  /// Makes what is missing above, too, and takes a directory that is there already for made.
  bool parents = false;

  /// Less the umask. Those above have 0777, less the umask.
  ::mode_t permissions = 0777;
};

/// Makes a directory.
///
/// @return        Whether it is new: false only with `parents`.
/// @errors        file_exists; with `parents` only when what is there is no directory
/// @cancellation  With `parents`, some of those above may have been made.
/// @source        mkdirat(2).
[[nodiscard]] task<bool> make_directory(path_at path, make_directory_options options = {});

/// Says who may read, write and run a file: the lower twelve bits of a mode, such as 0644.
///
/// @errors  operation_not_permitted
/// @source  fchmodat(2).
[[nodiscard]] task<> set_permissions(path_at path, ::mode_t permissions);

/// What is left out stays.
struct owner_change {
  std::optional<::uid_t> owner;
  std::optional<::gid_t> group;
};

/// Gives a file to somebody else.
///
/// @errors  operation_not_permitted
/// @source  fchownat(2).
[[nodiscard]] task<> set_owner(path_at path, owner_change change, links last = links::follow);

/// What is left out stays. Where both are, nothing is looked at.
struct times_change {
  std::optional<metadata::time_point> accessed;
  std::optional<metadata::time_point> modified;
};

/// Says when a file was read and written last.
///
/// @errors  operation_not_permitted
/// @source  utimensat(2).
[[nodiscard]] task<> set_times(path_at path, times_change change, links last = links::follow);

/// Room in a file system.
struct space_info {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t available_bytes = 0;  ///< Of those, for who is not root.
  std::uint64_t files_count = 0;      ///< That there can be; 0 where there is no such limit.
  std::uint64_t free_files_count = 0;
};

/// How much room there is in the file system of a path.
///
/// @source  statvfs(3).
[[nodiscard]] task<space_info> space(path_at path);

}  // namespace gyre::fs
