// SPDX-License-Identifier: MIT
// Files that go by themselves: without a name, or with one as long as a task uses it.
//
//                    open_unnamed()                        with_temp_file()
//   name             none                                  has a path, for other programs too
//   goes             when it is closed                     when the task has ended: a value, an exception, a stop
//   is kept by       file::link()                          temp_file::persist(), keep()
//   SIGKILL leaves   nothing (see there)                   the name, and what was written
//
// A directory that goes: remove_all.hpp. A file replaced whole at one blow: write_atomically() in whole_file.hpp.
#pragma once

#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/remove_all.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/types.h>

#include <string>
#include <type_traits>
#include <utility>

namespace gyre::fs {

struct temp_file_options {
  /// Where it is made. Empty: TMPDIR, or /tmp.
  std::string directory = {};

  /// How its name begins, where it has one; twelve letters by chance follow. No slash.
  std::string prefix = "gyre-";

  /// Less the umask.
  ::mode_t permissions = 0600;
};

/// Opens a new file without a name, for reading and writing. It goes when it is closed, however the process ends.
/// file::link() gives it a name.
///
/// @errors        As file::open(), for the directory.
/// @cancellation  Safe: nothing is left.
/// @limits        Where the file system has no such files (some on a network, some in FUSE) it is made with a name,
///                which is removed at once: a SIGKILL between the two leaves the name of an empty file, and
///                file::link() is no_such_file_or_directory.
/// @source        open(2), O_TMPFILE. Linux 3.11.
[[nodiscard]] task<file> open_unnamed(temp_file_options options = {});

namespace detail {
struct temp_file_access;
}

/// How a temporary file becomes one that stays.
struct persist_options {
  /// rename_how::no_replace fails with file_exists. After rename_how::exchange what was there before is the temporary
  /// one.
  rename_how how = rename_how::replace;

  /// full: contents and name are on the device when persist() has ended.
  fs::durability durability = durability::none;
};

/// A file that with_temp_file() has made: empty, for reading and writing.
class temp_file {
 public:
  file opened;

  /// Its name, until persist() has given it another.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Gives it the name under which it stays.
  ///
  /// @param to      On the same file system: cross_device_link otherwise.
  /// @errors        As rename(); with durability::full io_error and the like, as file::sync(). It is as it was then;
  ///                but where only the directory could not be synced, it has the name, and stays.
  /// @cancellation  It stays under the new name, or is temporary as before.
  /// @source        renameat2(2).
  [[nodiscard]] task<> persist(path_at to, persist_options options = {});

  /// Lets it stay under the name that it has.
  void keep() noexcept { is_kept_ = true; }

 private:
  friend detail::temp_file_access;
  temp_file(file made, std::string path) noexcept : opened{std::move(made)}, path_{std::move(path)} {}

  std::string path_;
  bool is_kept_ = false;
};

namespace detail {

struct temp_file_access {
  /// Makes one. What is made is told, also when a stop comes meanwhile.
  [[nodiscard]] static task<temp_file> make(temp_file_options options);

  /// Removes its name, unless it is kept; one that somebody else has removed is no error.
  static task<> remove(const temp_file& made);
};

/// What open_unnamed() does where the file system has no files without a name.
[[nodiscard]] task<file> make_and_unlink(temp_file_options options);

template <class Fn>
auto use_temp_file(Fn& fn, temp_file& made) -> std::invoke_result_t<Fn&, temp_file&> {
  co_return co_await fn(made);
}

template <class T>
task<T> and_remove(task<T> body, const temp_file& made) {
  if constexpr (std::is_void_v<T>) {
    co_await or_undo(std::move(body), temp_file_access::remove(made));
    co_await shield(temp_file_access::remove(made));
  } else {
    auto value = co_await or_undo(std::move(body), temp_file_access::remove(made));
    co_await shield(temp_file_access::remove(made));
    co_return value;
  }
}

}  // namespace detail

/// Runs `fn(made)` with a temporary file. Its name is removed afterwards, unless it was kept: also when that ends with
/// an exception, or is stopped.
///
///   co_await fs::with_temp_file([&](fs::temp_file& made) -> task<> { … });
///
/// @param fn      Takes a temp_file&, and returns a task. Called when the file is there.
/// @return        What the task gives.
/// @errors        What it throws. As file::open(), for the directory. As unlink(), when the task gave a value.
/// @cancellation  Stops the task, removes the name, and goes on outwards.
/// @limits        A process that is killed leaves the file behind, under a name that begins with `prefix`.
template <class Fn>
[[nodiscard]] auto with_temp_file(Fn fn, temp_file_options options = {}) -> std::invoke_result_t<Fn&, temp_file&> {
  auto made = co_await detail::temp_file_access::make(std::move(options));
  co_return co_await detail::and_remove(detail::use_temp_file(fn, made), made);
}

}  // namespace gyre::fs
