// SPDX-License-Identifier: MIT
// Walking: a directory that is open knows the one above it, and stays open as long as somebody is below.
#include <gyre/fs/detail/announcement.hpp>
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/directory.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/auto_event.hpp>

#include <fcntl.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

// A directory on the way from the root to where the walk is.
struct level {
  std::shared_ptr<const level> above;  // null above the root
  unique_fd opened;
  std::string path;  // below the root
  std::size_t depth = 0;
  metadata about;  // only where links are followed: to see round trips
};
using shared_level = std::shared_ptr<const level>;

// Whether the walk is in that directory already.
bool is_within(const level& where, const metadata& found) noexcept {
  for (const level* each = &where; each != nullptr; each = each->above.get()) {
    if (each->about.is_same_file(found)) return true;
  }
  return false;
}

bool is_gone(std::error_code error) noexcept {
  return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory ||
         error == std::errc::too_many_symbolic_link_levels;
}

class walker {
 public:
  explicit walker(walk_options options) : options_{std::move(options)} {}

  task<shared_level> open_root(const path_at& root) const {
    auto opened = co_await directory::open(root);
    level made{.above = nullptr, .opened = opened.release(), .path = {}, .depth = 0, .about = {}};
    if (follows()) made.about = co_await about(made.opened);
    co_return std::make_shared<const level>(std::move(made));
  }

  // What is to be given for a name: a link that is followed as what it leads to.
  task<walk_entry> entry_of(const shared_level& where, directory_entry found) const {
    walk_entry entry{.path = detail::join(where->path, found.name),
                     .kind = found.kind,
                     .inode = found.inode,
                     .depth = where->depth + 1,
                     .error = {},
                     .parent = where->opened};
    if (!follows() || found.kind != file_kind::symbolic_link) co_return entry;
    const auto target = co_await as_result(ops::statx{where->opened, found.name.c_str()});
    if (!target) co_return entry;
    const auto leads_to = metadata::from_kernel(*target);
    if (leads_to.is_directory() && is_within(*where, leads_to)) co_return entry;
    entry.kind = leads_to.kind;
    entry.inode = leads_to.inode;
    co_return entry;
  }

  [[nodiscard]] bool is_to_enter(const walk_entry& entry) const {
    return entry.kind == file_kind::directory && entry.depth < options_.depth_max &&
           (!options_.enter || options_.enter(entry));
  }

  // The directory of that name; nothing when there is none any more, or with the error noted in the entry.
  task<shared_level> open_below(const shared_level& where, walk_entry& entry) const {
    const int flags = O_RDONLY | O_DIRECTORY | (follows() ? 0 : O_NOFOLLOW);
    const std::string name{entry.name()};
    auto opened = co_await as_result(ops::openat{where->opened, name.c_str(), flags});
    if (!opened) {
      if (!is_gone(opened.error())) note(entry, opened.error());
      co_return nullptr;
    }
    level made{.above = where, .opened = std::move(*opened), .path = entry.path, .depth = entry.depth, .about = {}};
    if (follows()) made.about = co_await about(made.opened);
    co_return std::make_shared<const level>(std::move(made));
  }

  // What keeps a directory from being read: thrown, or reported.
  void note(walk_entry& entry, std::error_code error) const {
    if (options_.on_unreadable == unreadable::fail) throw std::system_error{error, "walk " + entry.path};
    entry.error = error;
  }

 private:
  [[nodiscard]] bool follows() const noexcept { return options_.at_links == links::follow; }

  static task<metadata> about(fd_ref opened) {
    co_return metadata::from_kernel(co_await ops::statx{opened, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO});
  }

  const walk_options options_;
};

// A directory that could not be read any further, as it is given the second time.
walk_entry as_unreadable(const level& where, fd_ref parent) {
  return {.path = where.path,
          .kind = file_kind::directory,
          .inode = 0,
          .depth = where.depth,
          .error = {},
          .parent = parent};
}

fd_ref parent_of(const level& where) noexcept {
  return where.above ? fd_ref{where.above->opened} : fd_ref{where.opened};
}

struct reading {
  shared_level where;
  detail::entry_batch names;
};

// A walk of several directories at a time. Directories that are to be entered wait, the latest first, so that as few as
// can be are open.
class side_by_side_walk {
 public:
  side_by_side_walk(walk_options options, std::function<task<>(const walk_entry&)> visit)
      : walker_{std::move(options)}, visit_{std::move(visit)} {}

  task<> run(path_at root, std::size_t readers_max) {
    auto first = co_await walker_.open_root(root);
    co_await with_task_group({.max_tasks = readers_max}, [&](task_group& readers) -> task<> {
      readers.start(read(std::move(first)));
      while (readers.size() > 0 || !waiting_.empty()) {
        while (!waiting_.empty()) {
          co_await readers.room();
          pending next = std::move(waiting_.back());
          waiting_.pop_back();
          readers.start(enter(std::move(next)));
        }
        co_await changed_.wait();
      }
    });
  }

 private:
  struct pending {
    shared_level above;
    walk_entry entry;
  };

  task<> enter(pending to_enter) {
    const detail::announcement at_end{changed_};
    auto where = co_await walker_.open_below(to_enter.above, to_enter.entry);
    if (where) co_await read_names(std::move(where));
    else if (to_enter.entry.error) co_await visit_(to_enter.entry);
  }

  task<> read(shared_level where) {
    const detail::announcement at_end{changed_};
    co_await read_names(std::move(where));
  }

  task<> read_names(shared_level where) {
    detail::entry_batch names;
    for (;;) {
      auto found = co_await as_result(names.next(where->opened.get()));
      if (!found) co_return co_await report(*where, found.error());
      if (!*found) co_return;
      walk_entry entry = co_await walker_.entry_of(where, std::move(**found));
      co_await visit_(entry);
      if (!walker_.is_to_enter(entry)) continue;
      waiting_.push_back({where, std::move(entry)});
      changed_.set();
    }
  }

  task<> report(const level& where, std::error_code error) {
    walk_entry again = as_unreadable(where, parent_of(where));
    if (is_gone(error)) co_return;
    walker_.note(again, error);
    co_await visit_(again);
  }

  const walker walker_;
  const std::function<task<>(const walk_entry&)> visit_;
  std::vector<pending> waiting_;
  sync::auto_event changed_;
};

}  // namespace

stream<walk_entry> walk(path_at root, walk_options options) {
  detail::refuse_nul(root, "walk");
  const walker walks{std::move(options)};
  std::vector<reading> levels;
  auto top = co_await walks.open_root(root);
  levels.push_back({std::move(top), {}});
  while (!levels.empty()) {
    const shared_level where = levels.back().where;
    auto found = co_await as_result(levels.back().names.next(where->opened.get()));
    if (!found || !*found) levels.pop_back();
    if (!found && !is_gone(found.error())) {
      walk_entry again = as_unreadable(*where, parent_of(*where));
      walks.note(again, found.error());
      co_yield again;
    }
    if (!found || !*found) continue;
    walk_entry entry = co_await walks.entry_of(where, std::move(**found));
    co_yield entry;
    if (!walks.is_to_enter(entry)) continue;
    auto below = co_await walks.open_below(where, entry);
    if (below) levels.push_back({std::move(below), {}});
    else if (entry.error) co_yield entry;
  }
}

task<> walk_side_by_side(path_at root, walk_options options, std::size_t side_by_side,
                         std::function<task<>(const walk_entry&)> visit) {
  GYRE_ASSERT(side_by_side > 0, "a walk reads at least one directory at a time");
  detail::refuse_nul(root, "walk");
  side_by_side_walk all{std::move(options), std::move(visit)};
  co_await all.run(std::move(root), side_by_side);
}

}  // namespace gyre::fs
