// SPDX-License-Identifier: MIT
// Prints the paths below directories, as find does.
//
//   find_files [-0] [-d DEPTH] [-n PATTERN] [-t KIND] [-s SIZE] DIRECTORY...
//
//   -0          a NUL behind each path instead of a newline
//   -d DEPTH    no deeper than that
//   -n PATTERN  names that match, as a shell's: *.hpp
//   -t KIND     f: files, d: directories, l: links, p: FIFOs, s: sockets
//   -s SIZE     files of at least so many bytes
//
// Up to 32 directories are read at a time, so that the order is none in particular, but for a directory before what is
// in it. What may not be read is named, and left out. Exits with 0, or with 1 where something was left out.
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/run.hpp>

#include <fnmatch.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using gyre::fs::file_kind;

struct question {
  char behind = '\n';
  std::size_t depth_max = SIZE_MAX;
  const char* pattern = nullptr;
  std::optional<file_kind> kind;
  std::optional<std::uint64_t> bytes_min;
};

std::optional<file_kind> kind_of(std::string_view letter) {
  if (letter == "f") return file_kind::regular;
  if (letter == "d") return file_kind::directory;
  if (letter == "l") return file_kind::symbolic_link;
  if (letter == "p") return file_kind::fifo;
  if (letter == "s") return file_kind::socket;
  return std::nullopt;
}

class search {
 public:
  explicit search(const question& asked) : asked_{asked} {}

  gyre::task<> below(std::string root) {
    const auto about = co_await gyre::fs::metadata_of(root, gyre::fs::links::keep);
    const auto name = root.substr(root.find_last_of('/') + 1);
    if (fits(name, about.kind) && is_large_enough(about)) print(root);
    if (!about.is_directory() || asked_.depth_max == 0) co_return;
    const gyre::fs::walk_options options{.depth_max = asked_.depth_max, .on_unreadable = gyre::fs::unreadable::report};
    const std::string front = root.ends_with('/') ? root : root + '/';
    co_await gyre::fs::walk_side_by_side(std::move(root), options, /*side_by_side=*/32,
                                         [&](const gyre::fs::walk_entry& entry) { return look_at(entry, front); });
  }

  [[nodiscard]] bool all_read() const noexcept { return all_read_; }

 private:
  // What a directory says of its names answers most questions; only a size takes another one.
  gyre::task<> look_at(const gyre::fs::walk_entry& entry, const std::string& front) {
    if (entry.error) co_return complain(front + entry.path, entry.error);
    if (!fits(std::string{entry.name()}, entry.kind)) co_return;
    if (asked_.bytes_min) {
      const auto about = co_await gyre::as_result(gyre::fs::metadata_of(entry.place(), gyre::fs::links::keep));
      if (!about && about.error() != std::errc::no_such_file_or_directory)
        co_return complain(front + entry.path, about.error());
      if (!about || !is_large_enough(*about)) co_return;
    }
    print(front + entry.path);
  }

  [[nodiscard]] bool fits(const std::string& name, file_kind kind) const {
    if (asked_.kind && *asked_.kind != kind) return false;
    return asked_.pattern == nullptr || ::fnmatch(asked_.pattern, name.c_str(), 0) == 0;
  }

  [[nodiscard]] bool is_large_enough(const gyre::fs::metadata& about) const {
    return !asked_.bytes_min || (about.is_regular() && about.size_bytes >= *asked_.bytes_min);
  }

  void print(const std::string& path) const {
    std::fwrite(path.data(), 1, path.size(), stdout);
    std::fputc(asked_.behind, stdout);
  }

  void complain(const std::string& path, std::error_code error) {
    std::fprintf(stderr, "find_files %s: %s\n", path.c_str(), error.message().c_str());
    all_read_ = false;
  }

  const question& asked_;
  bool all_read_ = true;
};

gyre::task<int> search_all(question asked, std::vector<std::string> roots) {
  search searching{asked};
  bool all_there = true;
  for (const auto& root : roots) {
    try {
      co_await searching.below(root);
    } catch (const std::system_error& error) {
      std::fprintf(stderr, "find_files: %s\n", error.what());
      all_there = false;
    }
  }
  const bool printed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!printed) std::perror("find_files");
  co_return all_there&& printed&& searching.all_read() ? EXIT_SUCCESS : EXIT_FAILURE;
}

int usage() {
  std::fputs("usage: find_files [-0] [-d DEPTH] [-n PATTERN] [-t f|d|l|p|s] [-s SIZE] DIRECTORY...\n", stderr);
  return 2;
}

// A number, and nothing else.
std::optional<std::uint64_t> number_in(const char* text) {
  if (*text < '0' || *text > '9') return std::nullopt;
  char* end = nullptr;
  const auto number = std::strtoull(text, &end, 10);
  if (*end != '\0') return std::nullopt;
  return number;
}

}  // namespace

int main(int argc, char** argv) {
  question asked;
  for (int option = 0; (option = ::getopt(argc, argv, "0d:n:t:s:")) != -1;) {
    if (option == '0') {
      asked.behind = '\0';
    } else if (option == 'd') {
      const auto depth = number_in(optarg);
      if (!depth) return usage();
      asked.depth_max = *depth;
    } else if (option == 'n') {
      asked.pattern = optarg;
    } else if (option == 't') {
      if (!(asked.kind = kind_of(optarg))) return usage();
    } else if (option == 's') {
      if (!(asked.bytes_min = number_in(optarg))) return usage();
    } else {
      return usage();
    }
  }
  if (optind == argc) return usage();
  return gyre::run(search_all(asked, {argv + optind, argv + argc}));
}
