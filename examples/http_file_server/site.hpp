// SPDX-License-Identifier: MIT
// The served folder: turns requests into answers. Knows files and HTTP's conditions; knows nothing of connections.
#pragma once

#include "message.hpp"

#include <gyre/fs/file.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <string>

namespace http {

class site {
 public:
  /// @param root  The folder, opened with O_PATH or for reading. Nothing outside of it is ever opened.
  explicit site(gyre::unique_fd root) noexcept : root_{std::move(root)} {}

  /// What to answer. Failures of the file system become answers too.
  gyre::task<answer> answer_to(const request& asked);

 private:
  gyre::task<answer> answer_or_throw(const request& asked);
  gyre::task<answer> file_or_folder(const request& asked, std::string path, bool names_directory);
  gyre::task<answer> folder(const request& asked, std::string path, gyre::fs::file opened);
  gyre::task<gyre::fs::file> open(std::string path) const;

  gyre::unique_fd root_;
  gyre::offload_pool directory_reader_{{.threads_max = 1, .thread_name = "directories"}};
};

}  // namespace http
