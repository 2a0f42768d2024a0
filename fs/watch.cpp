// SPDX-License-Identifier: MIT
// Reading what inotify tells, and keeping track of which directory is where.
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/directory.hpp>
#include <gyre/fs/watch.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::nanoseconds other_half_within = 10ms;

constexpr std::uint32_t wanted_changes = IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO |
                                         IN_MOVE_SELF | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB;

bool is_gone(std::error_code error) noexcept {
  return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
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

  // Watches what is to be watched: each leaves the list when that is done, so that a stop in between loses none.
  task<> catch_up() {
    while (!unwatched_.empty()) {
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
    bool reports = false;  // what is in it: it is new
  };

  // One half of a rename.
  struct departure {
    std::uint32_t cookie = 0;
    std::string path;
    bool is_directory = false;
  };

  // By its path: a descriptor of the root would keep inotify from telling that it is removed.
  [[nodiscard]] std::string path_to(const std::string& below) const {
    const std::string root = detail::whole_path(root_);
    return below.empty() ? root : detail::join(root, below);
  }

  task<> begin(const to_watch& wanted) {
    const bool is_root = wanted.path.empty();
    const std::uint32_t mask = is_root ? wanted_changes : wanted_changes | IN_ONLYDIR | IN_DONT_FOLLOW;
    const auto watched = co_await as_result(add(path_to(wanted.path), mask));
    if (!watched && !is_root && is_gone(watched.error())) co_return;
    if (!watched) throw std::system_error{watched.error(), "watch " + wanted.path};
    directories_[*watched] = wanted.path;
    if (is_root) root_watch_ = *watched;
    if (options_.recursive) co_await look_below(wanted);
  }

  task<int> add(std::string path, std::uint32_t mask) {
    const int queue = queue_.get();
    co_return co_await offload([queue, path = std::move(path), mask] {
      const int watched = ::inotify_add_watch(queue, path.c_str(), mask);
      if (watched < 0) throw std::system_error{errno, std::system_category(), "watch"};
      return watched;
    });
  }

  task<> look_below(const to_watch& wanted) {
    const auto opened = co_await as_result(directory::open(path_to(wanted.path)));
    if (!opened && is_gone(opened.error())) co_return;  // what is watched is a file, or it has gone
    if (!opened) throw std::system_error{opened.error(), "watch " + wanted.path};
    std::deque<watch_event> found;
    std::deque<to_watch> further;
    detail::entry_batch names;
    while (auto entry = co_await names.next(opened->fd().get())) {
      const auto path = detail::join(wanted.path, entry->name);
      const bool is_directory = entry->kind == file_kind::directory;
      if (wanted.reports) found.push_back({change::created, path, {}, is_directory});
      if (is_directory) further.push_back({path, wanted.reports});
    }
    ready_.insert(ready_.end(), found.begin(), found.end());
    unwatched_.insert(unwatched_.end(), further.begin(), further.end());
  }

  // Waits for changes, and takes what there is.
  task<> read() {
    const bool waits_for_half = departed_.has_value();
    alignas(::inotify_event) std::array<char, 4096> bytes;
    const auto count = ::read(queue_.get(), bytes.data(), bytes.size());  // does not block
    if (count < 0 && errno != EAGAIN) throw std::system_error{errno, std::system_category(), "watch"};
    if (count < 0 && !waits_for_half) {
      co_await ops::poll{queue_, POLLIN};
    } else if (count < 0) {
      const auto more = co_await as_result(with_timeout(other_half_within, ops::poll{queue_, POLLIN}));
      if (more) co_return;
      if (more.error() != std::errc::timed_out) throw std::system_error{more.error(), "watch"};
      settle();
    } else {
      const auto cookie = waits_for_half ? departed_->cookie : 0;
      take_all(std::span{bytes}.first(static_cast<std::size_t>(count)));
      if (departed_ && departed_->cookie == cookie) settle();  // it was not in the batch behind, either
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
    if ((told.mask & IN_MOVED_FROM) != 0) depart({told.cookie, std::move(path), is_directory});
    else if ((told.mask & IN_MOVED_TO) != 0) arrive({told.cookie, std::move(path), is_directory});
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
    ready_.push_back({what, std::move(path), std::move(old_path), is_directory});
  }

  void create(std::string path, bool is_directory) {
    if (is_directory && options_.recursive) unwatched_.push_back({path, /*reports=*/true});
    tell(change::created, std::move(path), is_directory);
  }

  void depart(departure from) {
    settle();
    departed_ = std::move(from);
  }

  void arrive(departure to) {
    if (!departed_ || departed_->cookie != to.cookie) return create(std::move(to.path), to.is_directory);
    const departure from = *std::exchange(departed_, std::nullopt);
    if (to.is_directory) move_watches(from.path, to.path);
    tell(change::renamed, std::move(to.path), to.is_directory, from.path);
  }

  // The other half does not come.
  void settle() {
    if (!departed_) return;
    const departure gone = *std::exchange(departed_, std::nullopt);
    if (gone.is_directory) {
      for (const auto& [watched, path] : directories_) {
        // It is forgotten when the kernel says that it is.
        if (is_at_or_below(path, gone.path)) ::inotify_rm_watch(queue_.get(), watched);
      }
    }
    tell(change::removed, gone.path, gone.is_directory);
  }

  void move_watches(const std::string& from, const std::string& to) {
    const auto move = [&](std::string& path) {
      if (is_at_or_below(path, from)) path = to + path.substr(from.size());
    };
    for (auto& [watched, path] : directories_) move(path);
    for (auto& each : unwatched_) move(each.path);
  }

  void overflow() {
    settle();
    tell(change::overflow, {}, false);
    if (options_.recursive) unwatched_.push_back({"", /*reports=*/false});  // directories may have come unseen
  }

  void forget(int watched) {
    directories_.erase(watched);
    if (watched == root_watch_) has_ended_ = true;
  }

  const watch_options options_;
  const path_at root_;
  const unique_fd queue_;
  std::map<int, std::string> directories_;  // those that are watched, by the kernel's number
  std::deque<to_watch> unwatched_{{"", false}};
  std::deque<watch_event> ready_;
  std::optional<departure> departed_;
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
