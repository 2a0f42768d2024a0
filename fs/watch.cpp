// SPDX-License-Identifier: MIT
// Reading what inotify tells, and keeping track of which directory is where.
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/detail/slow_close.hpp>
#include <gyre/fs/watch.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds other_half_within = 10ms;

constexpr std::uint32_t wanted_changes = IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO |
                                         IN_MOVE_SELF | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB;

bool is_gone(std::error_code error) noexcept {
  return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory ||
         error == std::errc::too_many_symbolic_link_levels;
}

// What may be better in a moment, and is not about one directory.
bool is_shortage(std::error_code error) noexcept {
  return error == std::errc::no_space_on_device || error == std::errc::not_enough_memory ||
         error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system;
}

bool is_at_or_below(std::string_view path, std::string_view directory) noexcept {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

class watcher::state {
 public:
  state(path_at root, watch_options options)
      : options_{options}, root_{std::move(root)}, queue_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)} {
    if (!queue_) throw std::system_error{errno, std::system_category(), "watch"};
  }
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() { detail::close_elsewhere(std::move(queue_)); }

  // Watches what is to be watched: each leaves the list when that is done, so that a stop in between loses none.
  task<> catch_up() {
    while (!unwatched_.empty() && !has_ended_) {
      co_await begin(unwatched_.front());
      unwatched_.pop_front();
    }
  }

  task<std::optional<watch_event>> next() {
    for (;;) {
      co_await catch_up();
      if (!ready_.empty()) {
        watch_event first = std::move(ready_.front());
        ready_.pop_front();
        co_return first;
      }
      if (has_ended_) co_return std::nullopt;
      co_await read();
    }
  }

 private:
  struct to_watch {
    std::string path;
    bool reports = false;   // what is in it: it is new
    bool is_again = false;  // another path led to the directory that was watched under this one
  };

  // One half of a rename.
  struct departure {
    std::uint32_t cookie = 0;
    std::string path;
    bool is_directory = false;
    bool has_waited = false;  // for the other half, through a batch of events
  };

  // By its path: a descriptor of the root would keep inotify from telling that it is removed.
  [[nodiscard]] std::string path_to(const std::string& below) const {
    const std::string root = detail::whole_path(root_);
    return below.empty() ? root : detail::join(root, below);
  }

  // Opened first, so that what is watched and what is looked at are one directory, whoever renames it meanwhile.
  task<> begin(const to_watch& wanted) {
    const bool is_root = wanted.path.empty();
    const auto path = path_to(wanted.path);
    const int flags = is_root ? O_PATH : O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const auto opened = co_await as_result(ops::openat{AT_FDCWD, path.c_str(), flags});
    if (!opened) co_return pass_over(wanted, opened.error());
    const auto watched = co_await as_result(add("/proc/self/fd/" + std::to_string(opened->get())));
    if (!watched) co_return pass_over(wanted, watched.error());
    note(*watched, wanted);
    if (is_root) root_watch_ = *watched;
    if (options_.recursive) co_await look_below(wanted, opened->get());
  }

  // One that is not there has gone, or its rename is still to be read. One that cannot be watched is told.
  void pass_over(const to_watch& wanted, std::error_code error) {
    const bool is_root = wanted.path.empty();
    const bool was_watched = root_watch_ >= 0;
    if (is_gone(error) && is_root && was_watched) return end_unseen();
    if (is_gone(error) && !is_root) return;
    if ((is_root && !was_watched) || is_shortage(error)) throw std::system_error{error, "watch " + wanted.path};
    unreadable_.insert(wanted.path);
    ready_.push_back({change::unwatched, wanted.path, {}, /*is_directory=*/true, error});
  }

  // What told of the root's end was lost in an overflow.
  void end_unseen() {
    tell(change::removed, {}, false);
    has_ended_ = true;
  }

  // The kernel has one number for a directory. Where that has another path here, it was renamed, and that is still to
  // be read; or something else has that path by now. What has it is looked for once more.
  void note(int watched, const to_watch& wanted) {
    const auto [where, is_new] = directories_.try_emplace(watched, wanted.path);
    if (is_new || where->second == wanted.path) return;
    std::string before = std::exchange(where->second, wanted.path);
    // Once: a directory that is mounted in two places has two paths for good.
    if (!wanted.is_again) unwatched_.push_back({std::move(before), /*reports=*/true, /*is_again=*/true});
  }

  task<int> add(std::string path) {
    const int queue = queue_.get();
    co_return co_await offload([queue, path = std::move(path)] {
      const int watched = ::inotify_add_watch(queue, path.c_str(), wanted_changes);
      if (watched < 0) throw std::system_error{errno, std::system_category(), "watch"};
      return watched;
    });
  }

  task<> look_below(const to_watch& wanted, int directory) {
    const auto opened = co_await as_result(ops::openat{directory, ".", O_RDONLY | O_DIRECTORY});
    if (!opened && is_gone(opened.error())) co_return;  // what is watched is a file, or the directory is removed
    if (!opened) co_return pass_over(wanted, opened.error());
    std::deque<watch_event> found;
    std::deque<to_watch> further;
    detail::entry_batch names;
    while (auto entry = co_await names.next(opened->get())) {
      const auto path = detail::join(wanted.path, entry->name);
      const bool is_directory = entry->kind == file_kind::directory;
      if (wanted.reports) found.push_back({change::created, path, {}, is_directory, {}});
      if (is_directory) further.push_back({path, wanted.reports, wanted.is_again});
    }
    ready_.insert(ready_.end(), found.begin(), found.end());
    unwatched_.insert(unwatched_.end(), further.begin(), further.end());
  }

  // Waits for changes, and takes what there is.
  task<> read() {
    for (auto& each : departed_) each.has_waited = true;
    alignas(::inotify_event) std::array<char, 4096> bytes;
    const auto count = ::read(queue_.get(), bytes.data(), bytes.size());  // does not block
    if (count < 0 && errno != EAGAIN) throw std::system_error{errno, std::system_category(), "watch"};
    if (count < 0 && departed_.empty()) {
      co_await ops::poll{queue_, POLLIN};
    } else if (count < 0) {
      const auto more = co_await as_result(with_timeout(other_half_within, ops::poll{queue_, POLLIN}));
      if (more) co_return;
      if (more.error() != std::errc::timed_out) throw std::system_error{more.error(), "watch"};
      settle_if([](const departure&) { return true; });
    } else {
      take_all(std::span{bytes}.first(static_cast<std::size_t>(count)));
      // The other half was not in the batch behind, either.
      settle_if([](const departure& each) { return each.has_waited; });
    }
  }

  void take_all(std::span<const char> bytes) {
    while (!bytes.empty()) {
      ::inotify_event told{};
      std::memcpy(&told, bytes.data(), sizeof told);
      const std::string_view name{bytes.data() + sizeof told, told.len};
      take(told, name.substr(0, name.find('\0')));
      bytes = bytes.subspan(sizeof told + told.len);
    }
  }

  void take(const ::inotify_event& told, std::string_view name) {
    if ((told.mask & IN_Q_OVERFLOW) != 0) return overflow();
    const auto where = directories_.find(told.wd);
    if (where == directories_.end()) return;
    if ((told.mask & IN_IGNORED) != 0) return forget(where->first);
    // The directory above tells the same of a directory in the tree.
    if (name.empty() && told.wd != root_watch_) return;
    const bool is_directory = (told.mask & IN_ISDIR) != 0;
    std::string path = name.empty() ? where->second : detail::join(where->second, name);
    if ((told.mask & IN_MOVED_FROM) != 0) departed_.push_back({told.cookie, std::move(path), is_directory});
    else if ((told.mask & IN_MOVED_TO) != 0) arrive(told.cookie, std::move(path), is_directory);
    else if ((told.mask & IN_CREATE) != 0) create(std::move(path), is_directory);
    else tell(kind_of(told.mask), std::move(path), is_directory);
  }

  static change kind_of(std::uint32_t mask) noexcept {
    if ((mask & (IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) return change::removed;
    if ((mask & IN_MODIFY) != 0) return change::written;
    if ((mask & IN_CLOSE_WRITE) != 0) return change::closed;
    return change::described;
  }

  void tell(change what, std::string path, bool is_directory, std::string old_path = {}) {
    // What could not be watched is removed; or it has other permissions, and perhaps it can.
    const bool tells_of_it = is_directory && (what == change::described || what == change::removed);
    const bool was_unreadable = tells_of_it && unreadable_.erase(path) > 0;
    if (was_unreadable && what == change::described) unwatched_.push_back({path, /*reports=*/true});
    ready_.push_back({what, std::move(path), std::move(old_path), is_directory, {}});
  }

  void create(std::string path, bool is_directory) {
    settle_if([&](const departure& each) { return each.path == path; });  // it is gone by now, whatever has come
    if (is_directory && options_.recursive) unwatched_.push_back({path, /*reports=*/true});
    tell(change::created, std::move(path), is_directory);
  }

  void arrive(std::uint32_t cookie, std::string to, bool is_directory) {
    const auto half = std::ranges::find(departed_, cookie, &departure::cookie);
    if (half == departed_.end()) return create(std::move(to), is_directory);
    const departure from = std::move(*half);
    departed_.erase(half);
    const bool is_to_be_found = is_directory && options_.recursive && !move_watches(from.path, to);
    if (is_to_be_found) unwatched_.push_back({to, /*reports=*/true});
    tell(change::renamed, std::move(to), is_directory, from.path);
  }

  // The other half of these does not come.
  template <class Predicate>
  void settle_if(Predicate is_over) {
    std::erase_if(departed_, [&](const departure& each) {
      if (!is_over(each)) return false;
      leave(each);
      return true;
    });
  }

  // What happens to it now happens elsewhere: what the kernel still tells of its watches is not looked at.
  void leave(const departure& gone) {
    std::erase_if(directories_, [&](const auto& each) {
      const auto& [watched, path] = each;
      if (!gone.is_directory || !is_at_or_below(path, gone.path)) return false;
      ::inotify_rm_watch(queue_.get(), watched);
      return true;
    });
    tell(change::removed, gone.path, gone.is_directory);
  }

  // Whether the directory itself was among those that are watched, or are to be.
  bool move_watches(const std::string& from, const std::string& to) {
    bool is_known = false;
    const auto moved = [&](const std::string& path) {
      is_known = is_known || path == from;
      return is_at_or_below(path, from) ? to + path.substr(from.size()) : path;
    };
    for (auto& [watched, path] : directories_) path = moved(path);
    for (auto& each : unwatched_) each.path = moved(each.path);
    std::set<std::string> unreadable;
    for (const auto& path : unreadable_) unreadable.insert(moved(path));
    unreadable_ = std::move(unreadable);
    return is_known;
  }

  // Directories may have come unseen, and the root may have gone.
  void overflow() {
    settle_if([](const departure&) { return true; });
    tell(change::overflow, {}, false);
    unwatched_.push_back({"", /*reports=*/false});
  }

  void forget(int watched) {
    directories_.erase(watched);
    if (watched == root_watch_) has_ended_ = true;
  }

  const watch_options options_;
  const path_at root_;
  unique_fd queue_;
  std::map<int, std::string> directories_;  // those that are watched, by the kernel's number
  std::deque<to_watch> unwatched_{{"", false}};
  std::set<std::string> unreadable_;  // that could not be watched
  std::deque<watch_event> ready_;
  std::vector<departure> departed_;
  int root_watch_ = -1;
  bool has_ended_ = false;
};

watcher::watcher(std::unique_ptr<state> made) noexcept : state_{std::move(made)} {}
watcher::watcher(watcher&&) noexcept = default;
watcher& watcher::operator=(watcher&&) noexcept = default;
watcher::~watcher() = default;

task<std::optional<watch_event>> watcher::next() { return state_->next(); }

task<watcher> watch(path_at path, watch_options options) {
  detail::refuse_nul(path, "watch");
  auto made = std::make_unique<watcher::state>(std::move(path), options);
  co_await made->catch_up();
  co_return watcher{std::move(made)};
}

}  // namespace gyre::fs
