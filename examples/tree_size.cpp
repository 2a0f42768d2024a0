// SPDX-License-Identifier: MIT
// How much room trees take on their devices, as du -s -B1 tells it.
//
//   tree_size DIRECTORY...
//
// Up to 32 directories are read at a time, each name asked for below the directory that it was found in. A file of
// several names is counted once. What may not be read is named, and left out.
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/run.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

class tree_size {
 public:
  gyre::task<> measure(std::string root) {
    const auto about = co_await gyre::fs::metadata_of(root);
    std::uint64_t bytes = count(about);
    const gyre::fs::walk_options options{.on_unreadable = gyre::fs::unreadable::report};
    if (about.is_directory())
      co_await gyre::fs::walk_side_by_side(root, options, /*side_by_side=*/32,
                                           [&](const gyre::fs::walk_entry& entry) { return add(entry, root, bytes); });
    std::printf("%" PRIu64 "\t%s\n", bytes, root.c_str());
  }

  [[nodiscard]] bool all_read() const noexcept { return all_read_; }

 private:
  gyre::task<> add(const gyre::fs::walk_entry& entry, const std::string& root, std::uint64_t& bytes) {
    if (entry.error) co_return complain(root + "/" + entry.path, entry.error);
    const auto about = co_await gyre::as_result(gyre::fs::metadata_of(entry.place(), gyre::fs::links::keep));
    if (about) bytes += count(*about);
    else if (about.error() != std::errc::no_such_file_or_directory) complain(root + "/" + entry.path, about.error());
  }

  // Nothing for a further name of a file that was counted.
  std::uint64_t count(const gyre::fs::metadata& about) {
    const bool has_names = about.links_count > 1 && !about.is_directory();
    if (has_names && !counted_.insert({about.device, about.inode}).second) return 0;
    return about.allocated_bytes;
  }

  void complain(const std::string& path, std::error_code error) {
    std::fprintf(stderr, "tree_size %s: %s\n", path.c_str(), error.message().c_str());
    all_read_ = false;
  }

  std::set<std::pair<std::uint64_t, std::uint64_t>> counted_;
  bool all_read_ = true;
};

gyre::task<int> measure_all(std::vector<std::string> roots) {
  tree_size sizes;
  try {
    for (const auto& root : roots) co_await sizes.measure(root);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "tree_size: %s\n", error.what());
    co_return EXIT_FAILURE;
  }
  co_return sizes.all_read() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fputs("usage: tree_size DIRECTORY...\n", stderr), 2;
  return gyre::run(measure_all({argv + 1, argv + argc}));
}
