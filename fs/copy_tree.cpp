// SPDX-License-Identifier: MIT
// A directory copied with all that is below it, several side by side, by pairs of open directories.
#include <gyre/fs/copy.hpp>
#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/detail/announcement.hpp>
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/file_copy.hpp>
#include <gyre/fs/detail/names.hpp>
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
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
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
    const auto about = co_await detail::look_at(from.fd());
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
    const auto about = co_await detail::look_at(from.fd());
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
    const auto about = co_await detail::look_at(source->fd());
    if (!S_ISREG(about.stx_mode)) fail_at(detail::join(where.path, name), changed());
    const copy_options each{
        .reflink = options_.reflink, .metadata = options_.metadata, .durability = options_.durability};
    const copy_watcher nobody;
    detail::file_copy copying{.from = *source, .about = about, .options = each, .progress = nobody};
    const open_options making{.access = file_access::write,
                              .create = file_creation::must_be_new,
                              .permissions = detail::permissions_at_first(about, each.metadata)};
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
      return ::utimensat(directory, name.c_str(), detail::times_of(about).data(), AT_SYMLINK_NOFOLLOW) != 0 ? errno : 0;
    });
    if (failure != 0) throw std::system_error{failure, std::system_category(), "copy_tree"};
  }

  // One less is unfinished in it. The last of them finishes it, and is one less in the one above.
  task<> leave(shared_directory where) {
    while (where && --where->unfinished_count == 0) {
      co_await detail::give_metadata(where->from, where->to, where->about, options_.metadata);
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
    const auto found = metadata::from_kernel(co_await detail::look_at(*here));
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
