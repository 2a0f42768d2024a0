// SPDX-License-Identifier: MIT
// Changes of a file, a directory or a tree, as they happen: inotify(7).
//
// How a tree is kept watched. inotify watches directories one by one. A directory that is new is watched as soon as its
// event is read, and what is in it by then is reported as created; so a name that was made in between may be told
// twice, and none is missed. A directory that is renamed within the tree keeps its watch, and changes its path. One
// that is renamed before it is watched is not found under its first name; then the rename leads to it.
//
// How the halves of a rename are paired. The kernel tells them one after the other, under one number, but a reader may
// see the first alone, and those of several renames may be mixed. Then the second is waited for, 10 ms; a name that has
// left the tree is reported as removed, and what is below is watched no more. When it comes back it is a new one.
#pragma once

#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/task.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

namespace gyre::fs {

enum class change : std::uint8_t {
  created,    ///< A name is new, or has come from outside the tree.
  removed,    ///< A name is gone, or has left the tree. With an empty path: what is watched itself, or its name.
  renamed,    ///< From old_path to path, both inside the tree.
  written,    ///< Contents, or size.
  closed,     ///< Closed by somebody who had it open for writing.
  described,  ///< Permissions, owner, times, attributes, the number of its names.
  overflow,   ///< Changes were too many to be kept, and some are lost: look at everything again.
  unwatched   ///< A directory of the tree cannot be watched, or not be read: error says why. What happens in it is not
              ///< told, until its permissions change.
};

struct watch_event {
  change what = change::overflow;
  std::string path;      ///< Below what is watched; empty for that itself.
  std::string old_path;  ///< Of what was renamed.
  bool is_directory = false;
  std::error_code error = {};  ///< Of change::unwatched.
};

struct watch_options {
  /// All that is below a directory, too, however deep. Links are not followed.
  bool recursive = false;
};

/// What watch() gives. Read like a stream: `while (auto event = co_await changes.next())`.
///
/// Linux takes 8 to 20 ms to close the queue of changes. So a watcher that goes leaves that to a thread, which ends
/// with it.
class watcher {
 public:
  watcher(watcher&&) noexcept;
  watcher& operator=(watcher&&) noexcept;
  ~watcher();

  /// The next change.
  ///
  /// @return        Nothing when what is watched has been removed, or its file system unmounted; after an overflow,
  ///                also when it is not found under its path any more.
  /// @errors        no_space_on_device: no more directories may be watched (fs.inotify.max_user_watches);
  ///                not_enough_memory, too_many_files_open: the next call tries again
  /// @cancellation  Safe: no change is lost.
  /// @threads       One coroutine at a time.
  [[nodiscard]] task<std::optional<watch_event>> next();

 private:
  class state;
  friend task<watcher> watch(path_at path, watch_options options);
  explicit watcher(std::unique_ptr<state> made) noexcept;
  std::unique_ptr<state> state_;
};

/// Begins to watch: what happens after this has returned is told.
///
/// @param path    A file or a directory; a link is followed. Where it begins at an open directory, that stays open as
///                long as the watcher. What is watched by now stays so when it is renamed, or what lies above; but
///                directories that are new then are not found any more.
/// @errors        no_such_file_or_directory, permission_denied, …: inotify_add_watch(2);
///                too_many_files_open: also fs.inotify.max_user_instances; those of next()
/// @cancellation  Safe.
/// @limits        Changes by other machines, on a network's file system, and in /proc and the like are not told. Writes
///                through mmap(2) are not. One inotify instance each.
/// @source        inotify_init1(2), inotify_add_watch(2) on the offload pool, reads when the ring's poll says so.
[[nodiscard]] task<watcher> watch(path_at path, watch_options options = {});

}  // namespace gyre::fs
