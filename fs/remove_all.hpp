// SPDX-License-Identifier: MIT
// A whole tree removed, and directories that go by themselves.
//
// Each name is removed below the open directory that it was found in, and a directory is entered only as one: a name
// that somebody replaces by a symbolic link meanwhile is removed as a link, and what it leads to is left alone.
#pragma once

#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/directory.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/task.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace gyre::fs {

/// Removes a name, and all that is below it when it is a directory's.
///
/// @param path    A symbolic link is removed itself, also with a slash behind it. Not "/", "." or "..": that is
///                invalid_argument.
/// @return        How many names were removed; 0 when there was none.
/// @errors        permission_denied, device_or_resource_busy (something is mounted there), io_error, …; the text names
///                what it was about. directory_not_empty: somebody goes on making names there.
///                resource_unavailable_try_again: somebody has moved a directory that is being removed elsewhere.
///                What was removed before that stays so.
/// @cancellation  Between two names; what was removed stays so.
/// @limits        Opens at most 64 directories at a time, however deep the tree.
/// @source        getdents64(2), unlinkat(2), openat(2) with O_NOFOLLOW. Linux 5.11.
[[nodiscard]] task<std::uint64_t> remove_all(path_at path);

/// A directory that with_temp_directory() has made.
struct temp_directory {
  std::string path;
  directory opened;
};

namespace detail {

/// TMPDIR, or /tmp.
[[nodiscard]] std::string default_temp_directory();

/// Makes one, readable by nobody else, and gives its path. What is made is told, also when a stop comes meanwhile.
[[nodiscard]] task<std::string> make_temp_directory(const std::string& parent);

task<> remove_temp_directory(std::string path);

template <class Fn>
auto use_temp_directory(std::string path, Fn& fn) -> std::invoke_result_t<Fn&, const temp_directory&> {
  const temp_directory made{path, co_await directory::open(path)};
  co_return co_await fn(made);
}

template <class T>
task<T> and_remove(task<T> body, std::string path) {
  if constexpr (std::is_void_v<T>) {
    co_await or_undo(std::move(body), remove_temp_directory(path));
    co_await shield(remove_temp_directory(path));
  } else {
    auto value = co_await or_undo(std::move(body), remove_temp_directory(path));
    co_await shield(remove_temp_directory(path));
    co_return value;
  }
}

}  // namespace detail

/// Runs `fn(made)` with a temporary directory, which is removed afterwards with all that is in it: also when that ends
/// with an exception, or is stopped.
///
///   co_await fs::with_temp_directory([&](const fs::temp_directory& made) -> task<> { … });
///
/// @param fn      Returns a task. Called when the directory is there.
/// @param parent  Where it is made; TMPDIR, or /tmp, when it is empty.
/// @return        What the task gives.
/// @errors        What it throws. As make_directory(). As remove_all(), when the task gave a value.
/// @cancellation  Stops the task, removes the directory, and goes on outwards.
/// @limits        A process that is killed leaves it behind.
template <class Fn>
[[nodiscard]] auto with_temp_directory(Fn fn, std::string parent = {})
    -> std::invoke_result_t<Fn&, const temp_directory&> {
  if (parent.empty()) parent = detail::default_temp_directory();
  auto path = co_await detail::make_temp_directory(parent);
  co_return co_await detail::and_remove(detail::use_temp_directory(path, fn), path);
}

}  // namespace gyre::fs
