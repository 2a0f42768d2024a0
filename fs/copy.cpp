// SPDX-License-Identifier: MIT
// How contents come over, and what else there is of a file. Trees are further down.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/copy.hpp>
#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/detail/announcement.hpp>
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/detail/replacement.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/remove_all.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/auto_event.hpp>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

constexpr std::uint64_t kernel_piece_bytes = std::uint64_t{8} << 20U;
constexpr std::size_t program_piece_bytes = std::size_t{1} << 20U;

// The contents of one file on their way into another, which is empty.
class contents_copy {
 public:
  contents_copy(const file& from, const file& to, const copy_watcher& progress)
      : from_{from}, to_{to}, progress_{progress} {}

  task<copy_result> run(const metadata& about, bool reflink) {
    told_.bytes_total = about.size_bytes;
    const bool has_size = about.is_regular() && about.size_bytes > 0;
    // copy_file_range(2) shares as well, where it can.
    by_kernel_ = reflink;
    const bool is_shared = has_size && reflink && co_await share();
    if (is_shared) co_return finished(about.size_bytes, copy_method::reflink);
    if (!has_size) co_return co_await in_order();
    co_await pieces(about.size_bytes);
    co_return finished(position_, by_kernel_ ? copy_method::kernel : copy_method::program);
  }

 private:
  task<bool> share() {
    const int to = to_.fd().get();
    const int from = from_.fd().get();
    co_return co_await offload([to, from] { return ::ioctl(to, FICLONE, from) == 0; });
  }

  // What has no size, or no positions.
  task<copy_result> in_order() {
    std::vector<std::byte> buffer(program_piece_bytes);
    while (const std::size_t count = co_await from_.read(buffer)) {
      co_await to_.write_all_at(std::span<const std::byte>{buffer}.first(count), position_);
      advance(count);
    }
    co_return finished(position_, copy_method::program);
  }

  // Data only: what is passed over reads as zeros, and takes no room.
  task<> pieces(std::uint64_t size) {
    bool seeks = true;
    while (position_ < size) {
      std::uint64_t end = size;
      if (seeks) {
        const auto data = co_await as_result(from_.seek_data(position_));
        if (data && !*data) break;  // a hole up to the end
        seeks = data.has_value();
        if (data) advance(std::min(**data, size) - position_);
        if (data) end = std::min(size, (co_await from_.seek_hole(position_)).value_or(size));
      }
      if (!co_await piece(end)) break;  // the file has become shorter
    }
    co_await end_with_a_hole(size);
  }

  // What is a hole at the end has to be made; unless the file has become shorter.
  task<> end_with_a_hole(std::uint64_t size) {
    if (position_ == size) co_return co_await to_.truncate(size);
    const std::uint64_t now = std::max(co_await from_.size(), position_);
    co_await to_.truncate(std::min(size, now));
    advance(std::min(size, now) - position_);
  }

  // From the position to `end`. Whether there was so much.
  task<bool> piece(std::uint64_t end) {
    while (position_ < end) {
      std::uint64_t count = 0;
      if (by_kernel_) count = co_await kernel_piece(end);
      // Some file systems say 0 where there is something; then this copies it.
      if (count == 0) count = co_await program_piece(end);
      if (count == 0) co_return false;
      advance(count);
    }
    co_return true;
  }

  task<std::uint64_t> kernel_piece(std::uint64_t end) {
    const auto wanted = static_cast<std::size_t>(std::min(end - position_, kernel_piece_bytes));
    auto at_source = static_cast<::off_t>(position_);
    auto at_target = at_source;
    int failure = 0;
    const ::ssize_t count = co_await offload([&] {
      const auto copied =
          ::copy_file_range(from_.fd().get(), &at_source, to_.fd().get(), &at_target, wanted, /*flags=*/0);
      failure = errno;
      return copied;
    });
    if (count >= 0) co_return static_cast<std::uint64_t>(count);
    if (is_of_the_disk(failure)) throw std::system_error{failure, std::system_category(), "copy"};
    by_kernel_ = false;
    co_return 0;
  }

  // What the other way would say, too.
  static bool is_of_the_disk(int error) noexcept {
    return error == ENOSPC || error == EDQUOT || error == EFBIG || error == EIO;
  }

  task<std::uint64_t> program_piece(std::uint64_t end) {
    if (buffer_.empty()) buffer_.resize(program_piece_bytes);
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(end - position_, buffer_.size()));
    const std::size_t count = co_await from_.read_at(std::span{buffer_}.first(wanted), position_);
    co_await to_.write_all_at(std::span<const std::byte>{buffer_}.first(count), position_);
    co_return count;
  }

  void advance(std::uint64_t count) {
    position_ += count;
    told_.bytes_done = position_;
    if (progress_ && count > 0 && position_ != told_.bytes_total) progress_(told_);
  }

  copy_result finished(std::uint64_t size, copy_method method) {
    told_.bytes_done = size;
    if (progress_) progress_(told_);
    return {.bytes = size, .method = method};
  }

  const file& from_;
  const file& to_;
  const copy_watcher& progress_;
  copy_progress told_;
  std::uint64_t position_ = 0;
  bool by_kernel_ = true;
  std::vector<std::byte> buffer_;
};

// Attributes that a file system does not take, or the caller may not set, are left out, as cp(1) does.
task<> copy_attributes(const file& from, const file& to) {
  const auto names = co_await as_result(list_attributes(from));
  if (!names) co_return;
  for (const auto& name : *names) {
    const auto value = co_await as_result(get_attribute(from, name));
    if (value && *value) (void)co_await as_result(set_attribute(to, name, **value));
  }
}

// What is copied of, as the kernel tells it: with times that a metadata cannot tell.
task<struct ::statx> look_at(fd_ref opened) {
  co_return co_await ops::statx{opened, "", AT_EMPTY_PATH, metadata::mask};
}

std::array<::timespec, 2> times_of(const struct ::statx& about) noexcept {
  return {{{.tv_sec = about.stx_atime.tv_sec, .tv_nsec = about.stx_atime.tv_nsec},
           {.tv_sec = about.stx_mtime.tv_sec, .tv_nsec = about.stx_mtime.tv_nsec}}};
}

// Owner first, which takes the bits away that let a program run as somebody else. They come back only where the owner
// is the same by now. Times last.
task<> give_metadata(const file& from, const file& to, const struct ::statx& about, copied_metadata what) {
  if (what == copied_metadata::none) co_return;
  const bool all = what == copied_metadata::all;
  if (all) co_await copy_attributes(from, to);
  const int failure = co_await offload([&about, all, to = to.fd().get()] {
    const bool is_same_owner = all && ::fchown(to, about.stx_uid, about.stx_gid) == 0;
    if (::fchmod(to, about.stx_mode & (is_same_owner ? 07777U : 0777U)) != 0) return errno;
    return all && ::futimens(to, times_of(about).data()) != 0 ? errno : 0;
  });
  if (failure != 0) throw std::system_error{failure, std::system_category(), "copy"};
}

// As long as it is being written: never more open than it is to be.
::mode_t permissions_at_first(const struct ::statx& about, copied_metadata what) noexcept {
  return what == copied_metadata::none ? 0666U : about.stx_mode & 0777U;
}

// From the moment that both are open.
struct file_copy {
  const file& from;
  const struct ::statx& about;
  const copy_options& options;
  const copy_watcher& progress;
  copy_result result = {};

  task<> fill(const file& to) {
    contents_copy contents{from, to, progress};
    result = co_await contents.run(metadata::from_kernel(about), options.reflink);
    co_await give_metadata(from, to, about, options.metadata);
  }

  task<> fill_and_close(file to) {
    co_await fill(to);
    if (options.durability == durability::full) co_await to.sync();
    co_await to.close();
  }
};

// Emptied when it is open, and known to be another file: a name may lead to the source a moment after it did not.
task<> copy_in_place(file_copy& copying, const path_at& to) {
  const auto& options = copying.options;
  const open_options writing{.access = file_access::write,
                             .create = options.replace ? file_creation::if_missing : file_creation::must_be_new,
                             .permissions = permissions_at_first(copying.about, options.metadata)};
  auto target = co_await file::open(to, writing);
  const auto there = co_await target.metadata();
  if (there.is_same_file(metadata::from_kernel(copying.about)))
    throw std::system_error{EINVAL, std::system_category(), "copy: both are one file"};
  if (there.is_regular() && there.size_bytes > 0) co_await target.truncate(0);
  co_await copying.fill_and_close(std::move(target));
  if (options.durability == durability::full) co_await detail::sync_parent(to);
}

task<> refuse_existing(const path_at& to) {
  if (co_await exists(to, links::keep)) throw std::system_error{EEXIST, std::system_category(), "copy"};
}

}  // namespace

task<copy_result> copy(path_at from, path_at to, copy_options options, copy_watcher progress) {
  const auto source = co_await file::open(std::move(from));
  const auto about = co_await look_at(source.fd());
  if (S_ISDIR(about.stx_mode)) throw std::system_error{EISDIR, std::system_category(), "copy"};
  file_copy copying{.from = source, .about = about, .options = options, .progress = progress};
  if (options.keep_partial) {
    co_await copy_in_place(copying, to);
    co_return copying.result;
  }
  if (!options.replace) co_await refuse_existing(to);  // before anything is copied; the rename decides
  const detail::replacement how{.durability = options.durability,
                                .how = options.replace ? rename_how::replace : rename_how::no_replace,
                                .permissions_at_first = permissions_at_first(about, options.metadata),
                                .permissions_at_last = {}};
  co_await detail::replace_file(std::move(to), how,
                                [&copying](const file& unfinished) { return copying.fill(unfinished); });
  co_return copying.result;
}

namespace {

// Of a directory as long as it is being filled: never more open than it is to be.
::mode_t first_permissions(const copy_tree_options& options) noexcept {
  return options.metadata == copied_metadata::none ? 0777 : 0700;
}

std::system_error into_itself() { return {EINVAL, std::system_category(), "copy_tree: into itself"}; }

constexpr int flags_to_enter = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

// A directory on its way. It gets its permissions and times when all that is below it is there.
struct copied_directory {
  std::shared_ptr<copied_directory> above;  // null above the root
  std::string path;                         // below the root
  file from;
  file to;
  struct ::statx about;
  std::size_t unfinished_count = 1;  // itself, as long as its names are read, and those right below
};
using shared_directory = std::shared_ptr<copied_directory>;

// A tree on its way. Every name is looked up in the open directory that it was found in, and made in the open one that
// was made for that: no link, and no rename, that somebody puts on the way leads elsewhere. What is gone by the time
// that its turn comes is left out, as by a walk.
class tree_copy {
 public:
  explicit tree_copy(const copy_tree_options& options) : options_{options} {}

  task<copy_tree_result> run(file from, fd_ref parent, const std::string& name) {
    auto opened = co_await ops::openat{parent, name.c_str(), flags_to_enter};
    file to{std::move(opened)};
    const auto made = co_await to.metadata();
    target_ = made;
    const auto about = co_await look_at(from.fd());
    copied_directory root{.above = nullptr, .path = {}, .from = std::move(from), .to = std::move(to), .about = about};
    co_await copy_side_by_side(std::make_shared<copied_directory>(std::move(root)));
    co_return result_;
  }

 private:
  struct pending {
    shared_directory above;
    std::string name;
  };

  // The latest first, so that as few as can be are open.
  task<> copy_side_by_side(shared_directory root) {
    co_await with_task_group({.max_tasks = options_.side_by_side}, [&](task_group& copiers) -> task<> {
      copiers.start(copy_names_of(std::move(root)));
      while (copiers.size() > 0 || !waiting_.empty()) {
        while (!waiting_.empty()) {
          co_await copiers.room();
          pending next = std::move(waiting_.back());
          waiting_.pop_back();
          copiers.start(copy_directory(std::move(next)));
        }
        co_await changed_.wait();
      }
    });
  }

  task<> copy_directory(pending next) {
    const detail::announcement at_end{changed_};
    auto made = co_await make_directory_for(next);
    if (made) co_await copy_names(std::move(made));
    else co_await leave(std::move(next.above));
  }

  task<> copy_names_of(shared_directory where) {
    const detail::announcement at_end{changed_};
    co_await copy_names(std::move(where));
  }

  // Nothing where it has gone.
  task<shared_directory> make_directory_for(const pending& next) {
    const auto path = detail::join(next.above->path, next.name);
    auto opened = co_await as_result(ops::openat{next.above->from.fd(), next.name.c_str(), flags_to_enter});
    if (opened.error() == std::errc::no_such_file_or_directory) co_return nullptr;
    if (!opened) fail_at(path, opened.error());
    file from{std::move(*opened)};
    const auto about = co_await look_at(from.fd());
    if (metadata::from_kernel(about).is_same_file(target_)) throw into_itself();
    co_await ops::mkdirat{next.above->to.fd(), next.name.c_str(), first_permissions(options_)};
    file to{co_await ops::openat{next.above->to.fd(), next.name.c_str(), flags_to_enter}};
    copied_directory made{
        .above = next.above, .path = path, .from = std::move(from), .to = std::move(to), .about = about};
    co_return std::make_shared<copied_directory>(std::move(made));
  }

  task<> copy_names(shared_directory where) {
    ++result_.directories_count;
    detail::entry_batch names;
    while (auto entry = co_await names.next(where->from.fd().get())) co_await copy_entry(where, std::move(*entry));
    co_await leave(std::move(where));
  }

  task<> copy_entry(const shared_directory& where, directory_entry entry) {
    switch (entry.kind) {
      case file_kind::directory:
        ++where->unfinished_count;
        waiting_.push_back({where, std::move(entry.name)});
        changed_.set();
        break;
      case file_kind::regular:
        co_await copy_file(*where, entry.name);
        break;
      case file_kind::symbolic_link:
        co_await copy_link(*where, entry.name);
        break;
      default:
        fail_at(detail::join(where->path, entry.name), std::make_error_code(std::errc::operation_not_supported));
    }
  }

  task<> copy_file(const copied_directory& where, const std::string& name) {
    const open_options reading{.no_follow = true, .no_wait = true};  // it may be a link by now, or a FIFO
    const auto source = co_await as_result(file::open(path_at{where.from.fd(), name}, reading));
    if (source.error() == std::errc::no_such_file_or_directory) co_return;
    if (!source) fail_at(detail::join(where.path, name), source.error());
    const auto about = co_await look_at(source->fd());
    if (!S_ISREG(about.stx_mode)) fail_at(detail::join(where.path, name), changed());
    const copy_options each{
        .reflink = options_.reflink, .metadata = options_.metadata, .durability = options_.durability};
    const copy_watcher nobody;
    file_copy copying{.from = *source, .about = about, .options = each, .progress = nobody};
    const open_options making{.access = file_access::write,
                              .create = file_creation::must_be_new,
                              .permissions = permissions_at_first(about, each.metadata)};
    auto target = co_await file::open(path_at{where.to.fd(), name}, making);
    co_await copying.fill_and_close(std::move(target));
    ++result_.files_count;
    result_.bytes += copying.result.bytes;
  }

  task<> copy_link(const copied_directory& where, const std::string& name) {
    const auto about =
        co_await as_result(ops::statx{where.from.fd(), name.c_str(), AT_SYMLINK_NOFOLLOW, metadata::mask});
    if (about.error() == std::errc::no_such_file_or_directory) co_return;
    auto leads_to = co_await as_result(read_link(path_at{where.from.fd(), name}));
    if (leads_to.error() == std::errc::no_such_file_or_directory) co_return;
    if (!leads_to) fail_at(detail::join(where.path, name), leads_to.error());
    co_await symlink(std::move(*leads_to), path_at{where.to.fd(), name});
    if (options_.metadata == copied_metadata::all)
      co_await give_link_metadata(where.to.fd().get(), name, about.value());
    ++result_.links_count;
  }

  // A link has no permissions, and hardly ever attributes. Its owner is changed where that is allowed.
  static task<> give_link_metadata(int directory, const std::string& name, const struct ::statx& about) {
    const int failure = co_await offload([&about, &name, directory] {
      (void)::fchownat(directory, name.c_str(), about.stx_uid, about.stx_gid, AT_SYMLINK_NOFOLLOW);
      return ::utimensat(directory, name.c_str(), times_of(about).data(), AT_SYMLINK_NOFOLLOW) != 0 ? errno : 0;
    });
    if (failure != 0) throw std::system_error{failure, std::system_category(), "copy_tree"};
  }

  // One less is unfinished in it. The last of them finishes it, and is one less in the one above.
  task<> leave(shared_directory where) {
    while (where && --where->unfinished_count == 0) {
      co_await give_metadata(where->from, where->to, where->about, options_.metadata);
      if (options_.durability == durability::full) co_await where->to.sync();
      where = where->above;
    }
  }

  // A name that has become that of something else since it was read.
  static std::error_code changed() noexcept { return std::make_error_code(std::errc::resource_unavailable_try_again); }

  [[noreturn]] static void fail_at(const std::string& path, std::error_code error) {
    const bool is_something_else = error == std::errc::too_many_symbolic_link_levels ||
                                   error == std::errc::not_a_directory || error == std::errc::invalid_argument;
    throw std::system_error{is_something_else ? changed() : error, "copy_tree " + path};
  }

  const copy_tree_options& options_;
  metadata target_;  // the root of the copy
  std::vector<pending> waiting_;
  sync::auto_event changed_;
  copy_tree_result result_;
};

task<> let_in(path_at directory) {
  const auto opened =
      co_await as_result(ops::openat{directory.directory(), directory.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW});
  if (opened) (void)co_await as_result(set_permissions("/proc/self/fd/" + std::to_string(opened->get()), 0700));
}

task<> let_in_below(const walk_entry& entry) {
  if (entry.kind == file_kind::directory && !entry.error) co_await let_in(entry.place());
}

// Directories that have their permissions by now may be such that nobody but root can empty them.
task<> remove_copy(path_at made) {
  co_await let_in(made);
  const auto root = co_await as_result(ops::openat{made.directory(), made.c_str(), flags_to_enter});
  if (root) {
    const walk_options all{.on_unreadable = unreadable::report};
    (void)co_await as_result(walk_side_by_side(path_at{*root, "."}, all, /*side_by_side=*/1, let_in_below));
  }
  (void)co_await remove_all(std::move(made));
}

// Whether a directory is the tree, or lies in it. What cannot be found out is found by the copy, when it comes to its
// own beginning.
task<bool> lies_within(fd_ref directory, metadata tree) {
  auto here = co_await as_result(ops::openat{directory, ".", O_PATH | O_DIRECTORY});
  metadata below;
  while (here) {
    const auto found = metadata::from_kernel(co_await look_at(*here));
    if (found.is_same_file(tree)) co_return true;
    if (found.is_same_file(below)) break;  // above the root there is the root
    below = found;
    auto above = co_await as_result(ops::openat{*here, "..", O_PATH | O_DIRECTORY});
    here = std::move(above);
  }
  co_return false;
}

}  // namespace

task<copy_tree_result> copy_tree(path_at from, path_at to, copy_tree_options options) {
  GYRE_ASSERT(options.side_by_side > 0, "a tree is copied by at least one directory at a time");
  detail::refuse_nul(from, "copy_tree");
  detail::refuse_nul(to, "copy_tree");
  file source{co_await ops::openat{from.directory(), from.c_str(), O_RDONLY | O_DIRECTORY}};
  const auto about = co_await source.metadata();
  const auto [parent_path, name] = detail::split(to.path());
  const bool is_durable = options.durability == durability::full;
  const int flags = (is_durable ? O_RDONLY : O_PATH) | O_DIRECTORY;
  const unique_fd parent{co_await ops::openat{to.directory(), parent_path.c_str(), flags}};
  const bool is_within = co_await lies_within(parent, about);
  if (is_within) throw into_itself();
  co_await ops::mkdirat{parent, name.c_str(), first_permissions(options)};
  // From here on it is this copy's, to be removed.
  tree_copy copying{options};
  auto run = copying.run(std::move(source), parent, name);
  if (!options.keep_partial) run = detail::or_undo(std::move(run), remove_copy(path_at{parent, name}));
  const auto result = co_await std::move(run);
  if (is_durable) co_await ops::fsync{parent};
  co_return result;
}

}  // namespace gyre::fs
