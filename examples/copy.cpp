// SPDX-License-Identifier: MIT
// Copies a file, and shows how far it is; or a directory with all that is in it.
//
//   copy FROM TO
//   copy -a FROM TO    with times, attributes and owner as well; FROM may be a directory
//
// TO must not exist. A file is on the device when copy returns, or it is not there at all: a copy that fails, or is
// stopped by Ctrl-C, leaves nothing. On a terminal a bar tells share, bytes and rate, and when it will be done.
#include "progress.hpp"

#include <gyre/fs/copy.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/run.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

gyre::task<std::uint64_t> copy_file(std::string from, std::string to, gyre::fs::copied_metadata kept) {
  example::progress bar;
  const gyre::fs::copy_options options{.metadata = kept, .durability = gyre::fs::durability::full};
  const auto copied = co_await gyre::fs::copy(
      from, to, options, [&](const gyre::fs::copy_progress& now) { bar.show(now.bytes_done, now.bytes_total); });
  co_return copied.bytes;
}

gyre::task<std::uint64_t> copy_all(std::string from, std::string to) {
  const auto about = co_await gyre::fs::metadata_of(from);
  if (!about.is_directory()) co_return co_await copy_file(from, to, gyre::fs::copied_metadata::all);
  const gyre::fs::copy_tree_options options{.metadata = gyre::fs::copied_metadata::all};
  const auto copied = co_await gyre::fs::copy_tree(from, to, options);
  co_return copied.bytes;
}

gyre::task<int> copy_or_complain(std::string from, std::string to, bool all) {
  try {
    auto copying = all ? copy_all(from, to) : copy_file(from, to, gyre::fs::copied_metadata::permissions);
    const std::uint64_t bytes = co_await std::move(copying);
    std::printf("%" PRIu64 " bytes\n", bytes);
    co_return EXIT_SUCCESS;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "copy %s %s: %s\n", from.c_str(), to.c_str(), error.what());
    co_return EXIT_FAILURE;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool all = argc == 4 && std::string_view{argv[1]} == "-a";
  if (argc != 3 && !all) return std::fputs("usage: copy [-a] FROM TO\n", stderr), 2;
  return gyre::run(copy_or_complain(argv[argc - 2], argv[argc - 1], all));
}
