// SPDX-License-Identifier: MIT
// All that is below a directory: one name after the other, or many directories side by side.
//
// walk() is a stream: a directory comes before what is in it. walk_side_by_side() calls a function for each name, from
// several directories at a time: that is for many small files, as most of such a walk is waiting.
//
// Both open each directory below the open one that it was found in, so that no rename above leads them elsewhere. What
// is removed, or made, while they walk is given or not. A name that is no directory any more when it is to be entered
// is passed over.
#pragma once

#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>

namespace gyre::fs {

/// A name that a walk has come to.
struct walk_entry {
  std::string path;  ///< Below the root, which is not in it.
  file_kind kind = file_kind::other;
  std::uint64_t inode = 0;
  std::size_t depth = 0;  ///< 1 right below the root.

  /// Why a directory could not be read, where the options want that reported. It has been given once without.
  std::error_code error;

  /// The directory that it is in. Open until the walk goes on.
  fd_ref parent = -1;

  [[nodiscard]] std::string_view name() const noexcept {
    return std::string_view{path}.substr(path.rfind('/') + 1);  // npos + 1 is 0
  }

  /// A path to it that no rename above changes, for operations on names. As long as `parent` is open.
  [[nodiscard]] path_at place() const { return path_at{parent, std::string{name()}}; }
};

/// What a walk does about a directory that it may not, or cannot, read.
enum class unreadable : std::uint8_t {
  fail,   ///< Ends with that error, which names the directory.
  report  ///< Gives it a second time, with its error, and goes on.
};

struct walk_options {
  /// Names deeper than that are not given. 1: what is right below the root.
  std::size_t depth_max = SIZE_MAX;

  /// With links::follow a link is given as what it leads to, and entered when that is a directory; but one that leads
  /// to a directory that it is in is given as a link, and not entered: so there is no round trip. A link that leads
  /// nowhere is a link.
  links at_links = links::keep;

  unreadable on_unreadable = unreadable::fail;

  /// Asked for each directory whether it is entered. Empty: all are.
  std::function<bool(const walk_entry&)> enter = {};
};

/// Everything below `root`, in no particular order but that a directory comes before what is in it.
///
/// @param root    A directory; a link to one is followed.
/// @errors        As directory::open(), for the root. For others as the options say.
/// @cancellation  Safe.
/// @limits        Has a directory open for each level that it is in.
[[nodiscard]] stream<walk_entry> walk(path_at root, walk_options options = {});

/// The same, with up to `side_by_side` directories read at a time.
///
/// @param visit   Called for each name, in the order in which each directory gives them; several at a time, of
///                different directories. A directory is entered when its call has ended. The entry stays until then.
/// @errors        As walk(). What a call throws stops the others, and is thrown here when all have ended.
/// @cancellation  Stops the calls under way, and waits for them.
/// @limits        Has `side_by_side` directories open, and those above them.
[[nodiscard]] task<> walk_side_by_side(path_at root, walk_options options, std::size_t side_by_side,
                                       std::function<task<>(const walk_entry&)> visit);

}  // namespace gyre::fs
