// SPDX-License-Identifier: MIT
// A folder that goes with its test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace gyre::test {

class temp_folder {
 public:
  temp_folder() : path_{(std::filesystem::temp_directory_path() / "gyre-test-XXXXXX").string()} {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error{"no temporary folder is to be had"};
  }
  temp_folder(const temp_folder&) = delete;
  temp_folder& operator=(const temp_folder&) = delete;
  ~temp_folder() {
    let_owner_write();
    std::filesystem::remove_all(path_);
  }

  const std::string& path() const noexcept { return path_; }

  /// The path of a file in it; makes the file when `content` is given.
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream{file(name)} << content;
    return file(name);
  }

 private:
  // A test may leave directories in which nobody but root may remove anything.
  void let_owner_write() const {
    namespace files = std::filesystem;
    for (const auto& each :
         files::recursive_directory_iterator{path_, files::directory_options::skip_permission_denied})
      if (!each.is_symlink() && each.is_directory())
        files::permissions(each.path(), files::perms::owner_all, files::perm_options::add);
  }

  std::string path_;
};

/// What is in a file.
inline std::string content_of(const std::string& path) {
  std::ifstream in{path};
  return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

}  // namespace gyre::test
