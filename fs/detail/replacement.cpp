// SPDX-License-Identifier: MIT
// How a file takes another's place.
#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/detail/replacement.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs::detail {
namespace {

// ".NAME." and letters by chance. As much of the name as leaves room for them: 255 bytes are the most.
std::string unfinished_name(const std::string& name) { return unique_name("." + name.substr(0, 200) + "."); }

task<> fill_and_rename(fd_ref directory, path_at unfinished, path_at finished, const replacement& how,
                       const fill_function& fill) {
  const open_options making{
      .access = file_access::read_write, .create = file_creation::must_be_new, .permissions = how.permissions_at_first};
  auto made = co_await file::open(unfinished, making);
  co_await fill(made);
  if (how.permissions_at_last) co_await set_permissions(path_of_open(made), *how.permissions_at_last);
  if (how.durability == durability::full) co_await made.sync();
  co_await made.close();
  co_await rename(unfinished, finished, how.how);
  if (how.durability == durability::full) co_await ops::fsync{directory};
}

}  // namespace

task<> replace_file(path_at target, replacement how, fill_function fill) {
  refuse_nul(target, "open");
  const auto [parent, name] = split(target.path());
  if (name.empty() || name == "." || name == ".." || target.path().ends_with('/'))
    throw std::system_error{EISDIR, std::system_category(), "open"};
  const int flags = (how.durability == durability::full ? O_RDONLY : O_PATH) | O_DIRECTORY;
  const unique_fd directory{co_await ops::openat{target.directory(), parent.c_str(), flags}};
  const path_at unfinished{directory, unfinished_name(name)};
  const path_at finished{directory, name};
  co_await or_undo(fill_and_rename(directory, unfinished, finished, how, fill), unlink(unfinished));
}

task<> sync_parent(path_at of) {
  const auto parent = split(of.path()).directory;
  const unique_fd directory{co_await ops::openat{of.directory(), parent.c_str(), O_RDONLY | O_DIRECTORY}};
  co_await ops::fsync{directory};
}

}  // namespace gyre::fs::detail
