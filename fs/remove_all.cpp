// SPDX-License-Identifier: MIT
// A tree removed from below: a directory is a level, which is entered, emptied, left, and removed from the one above.
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/remove_all.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string_view>
#include <system_error>

namespace gyre::fs {
namespace {

constexpr std::size_t open_levels_max = 64;
constexpr int flags_to_enter = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

struct file_id {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend bool operator==(const file_id&, const file_id&) = default;
};

task<file_id> id_of(fd_ref opened) {
  const auto found = metadata::from_kernel(co_await ops::statx{opened, "", AT_EMPTY_PATH, STATX_INO});
  co_return file_id{found.device, found.inode};
}

class removal {
 public:
  explicit removal(const path_at& path) : where_{path}, parts_{detail::split(path.path())} {
    if (parts_.name.empty() || parts_.name == "." || parts_.name == "..") fail(EINVAL);
  }

  task<std::uint64_t> run() {
    const auto parent =
        co_await as_result(ops::openat{where_.directory(), parts_.directory.c_str(), O_PATH | O_DIRECTORY});
    if (!parent && parent.error() == std::errc::no_such_file_or_directory) co_return 0;
    if (!parent) fail(parent.error().value());
    co_await remove_name(parent->get(), parts_.name, /*may_be_directory=*/true);
    while (!levels_.empty()) co_await remove_next(parent->get());
    co_return removed_count_;
  }

 private:
  // A directory that has been entered and not removed yet. The one above it is the one before it.
  //
  //   open      its names are being removed
  //   closed    more than open_levels_max are below it. It is opened again from below, and read from the beginning
  struct level {
    std::string name;  // in the one above
    unique_fd opened;
    std::optional<file_id> id;  // while it is closed
    detail::entry_batch names;
    std::uint64_t count_at_beginning = 0;  // of what was removed when it was read from the beginning
  };

  // Removes the next name of the innermost level, or enters it; or the level itself, when it is empty.
  task<> remove_next(int outside) {
    level& inner = levels_.back();
    auto entry = co_await inner.names.next(inner.opened.get());
    if (entry) co_await remove_name(inner.opened.get(), entry->name, entry->kind == file_kind::directory);
    else co_await leave(outside);
  }

  task<> remove_name(int directory, const std::string& name, bool may_be_directory) {
    if (may_be_directory) {
      auto opened = co_await as_result(ops::openat{directory, name.c_str(), flags_to_enter});
      if (opened) co_return co_await enter(std::move(*opened), name);
      if (!is_gone(opened.error())) fail(opened.error().value(), name);
      // It is none; or somebody has put something else in its place: a link goes as a link.
    }
    const auto removed = co_await as_result(ops::unlinkat{directory, name.c_str()});
    if (removed) ++removed_count_;
    // A directory by now: who reads the one above again will see.
    const bool has_changed =
        removed.error() == std::errc::no_such_file_or_directory || removed.error() == std::errc::is_a_directory;
    if (!removed && !has_changed) fail(removed.error().value(), name);
  }

  static bool is_gone(std::error_code error) noexcept {
    return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory ||
           error == std::errc::too_many_symbolic_link_levels;
  }

  task<> enter(unique_fd opened, const std::string& name) {
    if (levels_.size() >= open_levels_max) {
      level& outermost = levels_[levels_.size() - open_levels_max];
      if (outermost.opened) outermost.id = co_await id_of(outermost.opened);
      outermost.opened.reset();
    }
    levels_.push_back(
        {.name = name, .opened = std::move(opened), .id = {}, .names = {}, .count_at_beginning = removed_count_});
  }

  // The innermost level has been read to its end.
  task<> leave(int outside) {
    level& inner = levels_.back();
    const int above = co_await opened_above(outside);
    const auto removed = co_await as_result(ops::unlinkat{above, inner.name.c_str(), AT_REMOVEDIR});
    // Not all file systems give all names while some are removed; and somebody may be making more.
    const bool has_more = removed.error() == std::errc::directory_not_empty;
    if (has_more && removed_count_ != inner.count_at_beginning) co_return read_again(inner);
    if (!removed && !is_gone(removed.error())) fail(removed.error().value());
    if (removed) ++removed_count_;
    levels_.pop_back();
  }

  void read_again(level& emptied) {
    if (::lseek(emptied.opened.get(), 0, SEEK_SET) < 0) fail(errno);
    emptied.names.clear();
    emptied.count_at_beginning = removed_count_;
  }

  task<int> opened_above(int outside) {
    if (levels_.size() == 1) co_return outside;
    level& above = levels_[levels_.size() - 2];
    if (!above.opened) {
      above.opened = co_await ops::openat{levels_.back().opened, "..", flags_to_enter};
      const file_id found = co_await id_of(above.opened);
      if (found != above.id) fail(EAGAIN);
      above.names.clear();
      above.count_at_beginning = removed_count_;
    }
    co_return above.opened.get();
  }

  [[noreturn]] void fail(int error, std::string_view name = {}) const {
    std::string path = where_.path();
    for (std::size_t depth = 1; depth < levels_.size(); ++depth) path = detail::join(path, levels_[depth].name);
    if (!name.empty() && !levels_.empty()) path = detail::join(path, name);
    throw std::system_error{error, std::system_category(), "remove_all " + path};
  }

  const path_at& where_;
  const detail::split_path parts_;
  std::deque<level> levels_;
  std::uint64_t removed_count_ = 0;
};

}  // namespace

task<std::uint64_t> remove_all(path_at path) {
  detail::refuse_nul(path, "remove_all");
  removal all{path};
  co_return co_await all.run();
}

namespace detail {

std::string default_temp_directory() {
  const char* const told = std::getenv("TMPDIR");
  return told != nullptr && *told != '\0' ? told : "/tmp";
}

task<std::string> make_temp_directory(const std::string& parent) {
  refuse_nul(parent, "with_temp_directory");
  for (;;) {
    std::string path = join(parent, unique_name("gyre-"));
    const auto made = co_await as_result(ops::mkdirat{AT_FDCWD, path.c_str(), 0700});
    if (made) co_return path;
    if (made.error() != std::errc::file_exists) throw std::system_error{made.error(), "with_temp_directory"};
  }
}

task<> remove_temp_directory(std::string path) { co_await remove_all(std::move(path)); }

}  // namespace detail
}  // namespace gyre::fs
