// SPDX-License-Identifier: MIT
// What is done with names, by operations of the ring where it has one.
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/scope.hpp>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <vector>

namespace gyre::fs {
namespace {

using detail::refuse_nul;

[[noreturn]] void fail(int error, const char* who) { throw std::system_error{error, std::system_category(), who}; }

// On a thread of the pool: what `call` returns, unless that is -1.
template <class Call>
auto offloaded(const char* who, Call call) {
  return offload([who, call = std::move(call)] {
    const auto result = call();
    if (result == -1) fail(errno, who);
    return result;
  });
}

int flags_of(links last) noexcept { return last == links::keep ? AT_SYMLINK_NOFOLLOW : 0; }

unsigned flags_of(rename_how how) noexcept {
  switch (how) {
    case rename_how::no_replace:
      return RENAME_NOREPLACE;
    case rename_how::exchange:
      return RENAME_EXCHANGE;
    case rename_how::replace:
      break;
  }
  return 0;
}

bool is_absence(std::error_code error) noexcept {
  return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
}

::timespec stamp_of(const std::optional<metadata::time_point>& when) noexcept {
  if (!when) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  const auto second = std::chrono::floor<std::chrono::seconds>(*when);
  return {.tv_sec = second.time_since_epoch().count(), .tv_nsec = (*when - second).count()};
}

// A name that is there already is made only where it is a directory's.
task<> expect_directory(const path_at& path) {
  const auto found = co_await metadata_of(path);
  if (!found.is_directory()) fail(EEXIST, "make_directory");
}

// The path cut behind each of its names but the last: "a/b/c/" gives "a" and "a/b".
std::vector<std::string> ancestors(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  std::vector<std::string> all;
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (path[slash - 1] != '/') all.push_back(path.substr(0, slash));
  }
  return all;
}

// From below upwards, so that what is there already is asked about once; and then downwards.
task<> make_ancestors(const path_at& path) {
  const auto above = ancestors(path.path());
  std::size_t missing_from = above.size();
  while (missing_from > 0) {
    const auto made =
        co_await as_result(ops::mkdirat{path.directory(), above[missing_from - 1].c_str(), /*mode=*/0777});
    if (made || made.error() == std::errc::file_exists) break;
    if (made.error() != std::errc::no_such_file_or_directory) throw std::system_error{made.error(), "make_directory"};
    --missing_from;
  }
  for (; missing_from < above.size(); ++missing_from) {
    const auto made = co_await as_result(ops::mkdirat{path.directory(), above[missing_from].c_str(), /*mode=*/0777});
    if (!made && made.error() != std::errc::file_exists) throw std::system_error{made.error(), "make_directory"};
  }
}

// What does for no_replace where the file system has none: a second name is not given where there is one. A stop that
// comes in between does not leave both.
task<> link_and_unlink(const path_at& from, const path_at& to) {
  const auto linked = co_await as_result(ops::linkat{from.directory(), from.c_str(), to.directory(), to.c_str(), 0});
  if (linked.error() == std::errc::operation_not_permitted)
    fail(EOPNOTSUPP, "rename: the file system has neither a rename that replaces nothing, nor second names");
  if (!linked) throw std::system_error{linked.error(), "rename"};
  const auto unlinked = co_await as_result(shield(unlink(from)));
  if (unlinked) co_return;
  (void)co_await as_result(shield(unlink(to)));
  throw std::system_error{unlinked.error(), "rename"};
}

task<> rename_to_free_name(const path_at& from, const path_at& to) {
  const auto renamed =
      co_await as_result(ops::renameat{from.directory(), from.c_str(), to.directory(), to.c_str(), RENAME_NOREPLACE});
  if (renamed) co_return;
  if (renamed.error() == std::errc::invalid_argument) {
    // It may be about a directory that is to go into itself; about a file it is not.
    const auto found = co_await as_result(metadata_of(from, links::keep));
    if (found && !found->is_directory()) co_return co_await link_and_unlink(from, to);
  }
  throw std::system_error{renamed.error(), "rename"};
}

}  // namespace

task<metadata> metadata_of(path_at path, links last) {
  refuse_nul(path, "metadata_of");
  co_return metadata::from_kernel(co_await ops::statx{path.directory(), path.c_str(), flags_of(last), metadata::mask});
}

task<bool> exists(path_at path, links last) {
  refuse_nul(path, "exists");
  const auto found = co_await as_result(ops::statx{path.directory(), path.c_str(), flags_of(last), STATX_TYPE});
  if (!found && !is_absence(found.error())) throw std::system_error{found.error(), "exists"};
  co_return found.has_value();
}

task<bool> equivalent(path_at one, path_at other) {
  const auto first = co_await metadata_of(std::move(one));
  const auto second = co_await metadata_of(std::move(other));
  co_return first.is_same_file(second);
}

task<std::string> canonical(path_at path) {
  refuse_nul(path, "canonical");
  co_return co_await offload([whole = detail::whole_path(path)] {
    const std::unique_ptr<char, decltype(&std::free)> found{::realpath(whole.c_str(), nullptr), &std::free};
    if (!found) fail(errno, "canonical");
    return std::string{found.get()};
  });
}

task<std::string> read_link(path_at path) {
  refuse_nul(path, "read_link");
  std::array<char, PATH_MAX> target{};  // no link says more: symlink(2)
  const auto count = co_await offloaded(
      "read_link", [&] { return ::readlinkat(path.directory().get(), path.c_str(), target.data(), target.size()); });
  co_return std::string{target.data(), static_cast<std::size_t>(count)};
}

task<> rename(path_at from, path_at to, rename_how how) {
  refuse_nul(from, "rename");
  refuse_nul(to, "rename");
  if (how == rename_how::no_replace) co_return co_await rename_to_free_name(from, to);
  co_await ops::renameat{from.directory(), from.c_str(), to.directory(), to.c_str(), flags_of(how)};
}

task<> link(path_at existing, path_at name, links last) {
  refuse_nul(existing, "link");
  refuse_nul(name, "link");
  const int flags = last == links::follow ? AT_SYMLINK_FOLLOW : 0;
  co_await ops::linkat{existing.directory(), existing.c_str(), name.directory(), name.c_str(), flags};
}

task<> symlink(std::string target, path_at path) {
  refuse_nul(target, "symlink");
  refuse_nul(path, "symlink");
  co_await ops::symlinkat{target.c_str(), path.directory(), path.c_str()};
}

task<> unlink(path_at path) {
  refuse_nul(path, "unlink");
  co_await ops::unlinkat{path.directory(), path.c_str()};
}

task<> remove_directory(path_at path) {
  refuse_nul(path, "remove_directory");
  co_await ops::unlinkat{path.directory(), path.c_str(), AT_REMOVEDIR};
}

task<bool> make_directory(path_at path, make_directory_options options) {
  refuse_nul(path, "make_directory");
  for (bool tried_above = !options.parents;; tried_above = true) {
    const auto made = co_await as_result(ops::mkdirat{path.directory(), path.c_str(), options.permissions});
    if (made) co_return true;
    if (options.parents && made.error() == std::errc::file_exists) break;
    if (tried_above || made.error() != std::errc::no_such_file_or_directory)
      throw std::system_error{made.error(), "make_directory"};
    co_await make_ancestors(path);
  }
  co_await expect_directory(path);
  co_return false;
}

task<> set_permissions(path_at path, ::mode_t permissions) {
  refuse_nul(path, "set_permissions");
  co_await offloaded("set_permissions",
                     [&] { return ::fchmodat(path.directory().get(), path.c_str(), permissions, 0); });
}

task<> set_owner(path_at path, owner_change change, links last) {
  refuse_nul(path, "set_owner");
  constexpr auto as_it_is = static_cast<::uid_t>(-1);
  co_await offloaded("set_owner", [&] {
    return ::fchownat(path.directory().get(), path.c_str(), change.owner.value_or(as_it_is),
                      change.group.value_or(as_it_is), flags_of(last));
  });
}

task<> set_times(path_at path, times_change change, links last) {
  refuse_nul(path, "set_times");
  const std::array<::timespec, 2> stamps{stamp_of(change.accessed), stamp_of(change.modified)};
  co_await offloaded("set_times",
                     [&] { return ::utimensat(path.directory().get(), path.c_str(), stamps.data(), flags_of(last)); });
}

task<space_info> space(path_at path) {
  refuse_nul(path, "space");
  struct ::statvfs found{};
  co_await offloaded("space", [&, whole = detail::whole_path(path)] { return ::statvfs(whole.c_str(), &found); });
  co_return space_info{.capacity_bytes = found.f_blocks * found.f_frsize,
                       .free_bytes = found.f_bfree * found.f_frsize,
                       .available_bytes = found.f_bavail * found.f_frsize,
                       .files_count = found.f_files,
                       .free_files_count = found.f_ffree};
}

}  // namespace gyre::fs
