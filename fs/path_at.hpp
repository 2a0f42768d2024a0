// SPDX-License-Identifier: MIT
// A path, and where it begins: the working directory, or a directory that is open.
//
// A path that begins at an open directory goes on to mean the same when somebody renames what lies above. Bytes in a
// path are what the file system has them for, all but NUL and the slash: nothing here takes them for text.
#pragma once

#include <gyre/runtime/fd_ref.hpp>

#include <fcntl.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <utility>

namespace gyre::fs {

/// Names a file. Whatever makes a std::string makes one of these.
///
///   fs::file::open("settings")
///   fs::file::open(fs::path_at{folder.fd(), "settings"})
class path_at {
 public:
  /// @param path  From the working directory on when it is relative.
  template <class Path>
    requires std::convertible_to<Path, std::string>
  path_at(Path&& path) : path_{std::forward<Path>(path)} {}

  /// @param directory  Open, O_PATH is enough; stays open until whatever is given this has ended. No direct descriptor.
  /// @param path       From there on when it is relative; when it is absolute the directory is not looked at.
  path_at(fd_ref directory, std::string path) : directory_{directory}, path_{std::move(path)} {}

  [[nodiscard]] fd_ref directory() const noexcept { return directory_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// As the kernel takes it, which ends at the first NUL: who opens or changes something refuses one that has any.
  [[nodiscard]] const char* c_str() const noexcept { return path_.c_str(); }

 private:
  fd_ref directory_ = AT_FDCWD;
  std::string path_;
};

/// What a name that is a symbolic link stands for. Links further up in a path are always followed.
enum class links : std::uint8_t {
  follow,  ///< What the link leads to.
  keep     ///< The link itself.
};

}  // namespace gyre::fs
