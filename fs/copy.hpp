// SPDX-License-Identifier: MIT
// Files and trees copied: by reference where the file system can, in the kernel where it cannot, holes as holes.
//
//   what is tried          where                 goes on with the next when
//   a reflink              FICLONE, ioctl(2)     the file system knows none, or the two are in different ones
//   copy_file_range(2)     a piece at a time     this kernel, or one of the two, does not take it
//                                                (not tried where nothing is to be shared)
//   read and write         on the ring           never
//
// The first two run on the offload pool, as the ring has no operation for them. What is copied goes into a file of
// another name beside the target, which takes the target's name when it is whole: whole_file.hpp.
#pragma once

#include <gyre/fs/path_at.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/task.hpp>

#include <cstdint>
#include <functional>

namespace gyre::fs {

/// What of a file is copied besides its contents.
enum class copied_metadata : std::uint8_t {
  none,         ///< Permissions are 0666, less the umask.
  permissions,  ///< Permissions.
  all           ///< Permissions, times, attributes; owner and group, where that is allowed. Of links: times, and owner.
};

/// How the contents came over.
enum class copy_method : std::uint8_t {
  reflink,  ///< Both share what is on the device, until one of them is written.
  kernel,   ///< By copy_file_range(2).
  program   ///< By reads and writes.
};

struct copy_options {
  /// Replaces what has the name already. Otherwise: file_exists.
  bool replace = false;

  /// Lets both share what is on the device. Without: a copy that takes room, by reads and writes; copy_file_range(2)
  /// shares as well, where it can.
  bool reflink = true;

  copied_metadata metadata = copied_metadata::permissions;

  /// Writes under the target's name at once, and leaves there what has been copied when it fails or is stopped.
  bool keep_partial = false;

  /// durability::full: the copy is on the device when the task ends, and its name.
  fs::durability durability = durability::none;
};

/// How far a copy is.
struct copy_progress {
  std::uint64_t bytes_done = 0;   ///< Holes are passed over, and count.
  std::uint64_t bytes_total = 0;  ///< As the file said when it was opened; 0 where it did not know.
};

/// Called on the executor's thread, about every 8 MiB and at the end. What it throws ends the copy.
using copy_watcher = std::function<void(const copy_progress&)>;

struct copy_result {
  std::uint64_t bytes = 0;  ///< The size of the copy.
  copy_method method = copy_method::program;
};

/// Copies a file.
///
/// @param from    Links are followed. What tells no size, in /proc or a pipe, is read to its end.
/// @param to      A link is replaced, and not followed; with keep_partial it is followed.
/// @errors        As file::open(); file_exists; is_a_directory; no_space_on_device, io_error, …;
///                invalid_argument: with keep_partial, both are one file
/// @cancellation  Leaves nothing, unless keep_partial says so. A piece of 8 MiB that the kernel has begun is waited
///                for.
/// @limits        A file that changes meanwhile is copied as somebody would see it who reads it in order.
[[nodiscard]] task<copy_result> copy(path_at from, path_at to, copy_options options = {}, copy_watcher progress = {});

struct copy_tree_options {
  copied_metadata metadata = copied_metadata::permissions;
  bool reflink = true;

  /// Leaves what has been copied when it fails or is stopped.
  bool keep_partial = false;

  /// durability::full: all of the copy is on the device when the task ends.
  fs::durability durability = durability::none;

  /// How many directories are copied at a time, each one file after the other. More than zero.
  std::size_t side_by_side = 8;
};

struct copy_tree_result {
  std::uint64_t directories_count = 0;
  std::uint64_t files_count = 0;
  std::uint64_t links_count = 0;
  std::uint64_t bytes = 0;
};

/// Copies a directory and all that is below it: links as links. Names that are linked become files of their own.
///
/// Each name is looked up in the open directory that it was found in, and made in the open one that was made for it:
/// who puts a link, or another directory, in the place of one on the way does not lead the copy elsewhere.
///
/// @param from    A directory; a link to one is followed.
/// @param to      Must not be there.
/// @errors        As copy(), directory::open(), make_directory(). invalid_argument: `to` lies in `from`.
///                operation_not_supported: a FIFO, a socket, a device. resource_unavailable_try_again: a name has
///                become that of something else meanwhile. One that is gone is left out.
/// @cancellation  Removes what it has made, unless keep_partial says otherwise.
/// @limits        Has two directories open for each of `side_by_side`, and for each of those above them. With
///                durability::full the directory of `to` must be one that may be read.
[[nodiscard]] task<copy_tree_result> copy_tree(path_at from, path_at to, copy_tree_options options = {});

}  // namespace gyre::fs
