// SPDX-License-Identifier: MIT
// A folder of small files that goes with its benchmark: 10,000, or as many as are asked for.
#pragma once

#include "die.hpp"
#include "size.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace bench {

class file_folder {
 public:
  static constexpr std::size_t bytes_each = 1024;

  explicit file_folder(std::size_t count = size_of_run(10'000, 500)) {
    if (::mkdtemp(path_.data()) == nullptr) die("mkdtemp", errno);
    const std::array<char, bytes_each> bytes{};
    for (std::size_t each = 0; each < count; ++each) {
      names_.push_back(path_ + "/" + std::to_string(each));
      const int fd = ::open(names_.back().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      if (fd < 0 || ::write(fd, bytes.data(), bytes.size()) != bytes_each || ::close(fd) != 0) die("a file", errno);
    }
  }
  file_folder(const file_folder&) = delete;
  file_folder& operator=(const file_folder&) = delete;
  ~file_folder() { std::filesystem::remove_all(path_); }

  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }

 private:
  std::string path_ = "/var/tmp/gyre-bench-XXXXXX";
  std::vector<std::string> names_;
};

}  // namespace bench
