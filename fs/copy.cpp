// SPDX-License-Identifier: MIT
// How contents come over, then what else there is of a file, then trees.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/copy.hpp>
#include <gyre/fs/detail/afterwards.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/detail/replacement.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/remove_all.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/offload.hpp>

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
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
    if (has_size && reflink && co_await share()) co_return finished(about.size_bytes, copy_method::reflink);
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

// Without the bits that let a program run as its owner: the copy may have another one.
::mode_t plain_permissions(const metadata& about) noexcept { return about.permissions & 0777U; }

// Owner first, which takes the bits away that let a program run as somebody else. They come back only where the owner
// is the same by now. Times last.
task<> copy_metadata(const metadata& about, const file& from, const file& to, const path_at& path) {
  const owner_change same{.owner = about.owner, .group = about.group};
  const auto is_same_owner = co_await as_result(set_owner(path, same));
  co_await copy_attributes(from, to);
  const auto all_bits = static_cast<::mode_t>(about.permissions);
  co_await set_permissions(path, is_same_owner ? all_bits : plain_permissions(about));
  const times_change then{.accessed = about.accessed, .modified = about.modified};
  co_await set_times(path, then);
}

// From the moment that both are open.
struct file_copy {
  const file& from;
  const metadata& about;
  const copy_options& options;
  const copy_watcher& progress;
  copy_result result = {};

  task<> fill(const file& to) {
    const path_at path = detail::path_of_open(to);  // whatever has its name by then
    contents_copy contents{from, to, progress};
    result = co_await contents.run(about, options.reflink);
    if (options.metadata == copied_metadata::all) co_await copy_metadata(about, from, to, path);
    if (options.metadata == copied_metadata::permissions) co_await set_permissions(path, plain_permissions(about));
  }
};

task<> copy_in_place(file_copy& copying, const path_at& to) {
  const auto there = co_await as_result(metadata_of(to));
  if (there && there->is_same_file(copying.about))
    throw std::system_error{EINVAL, std::system_category(), "copy: both are one file"};
  const open_options writing{.access = file_access::write,
                             .create = copying.options.replace ? file_creation::if_missing : file_creation::must_be_new,
                             .truncate = copying.options.replace,
                             .permissions = copying.about.permissions & 0777U};
  auto target = co_await file::open(to, writing);
  co_await copying.fill(target);
  if (copying.options.durability == durability::full) co_await target.sync();
  co_await target.close();
}

task<> refuse_existing(const path_at& to) {
  if (co_await exists(to, links::keep)) throw std::system_error{EEXIST, std::system_category(), "copy"};
}

}  // namespace

task<copy_result> copy(path_at from, path_at to, copy_options options, copy_watcher progress) {
  const auto source = co_await file::open(std::move(from));
  const auto about = co_await source.metadata();
  if (about.is_directory()) throw std::system_error{EISDIR, std::system_category(), "copy"};
  file_copy copying{.from = source, .about = about, .options = options, .progress = progress};
  if (options.keep_partial) {
    co_await copy_in_place(copying, to);
    co_return copying.result;
  }
  if (!options.replace) co_await refuse_existing(to);  // before anything is copied; the rename decides
  const bool keeps_permissions = options.metadata != copied_metadata::none;
  const detail::replacement how{.durability = options.durability,
                                .how = options.replace ? rename_how::replace : rename_how::no_replace,
                                .permissions_at_first = keeps_permissions ? about.permissions & 0777U : 0666U,
                                .permissions_at_last = {}};
  co_await detail::replace_file(std::move(to), how,
                                [&copying](const file& unfinished) { return copying.fill(unfinished); });
  co_return copying.result;
}

namespace {

// Of a directory as long as it is being filled: never more open than it is to be.
::mode_t permissions_at_first(const copy_tree_options& options) noexcept {
  return options.metadata == copied_metadata::none ? 0777 : 0700;
}

// A tree on its way. Directories get their permissions and times when all that is in them is there.
class tree_copy {
 public:
  tree_copy(const path_at& from, const path_at& to, const copy_tree_options& options)
      : from_{from}, to_{to}, options_{options} {}

  task<copy_tree_result> run() {
    ++result_.directories_count;  // the root
    co_await walk_side_by_side(from_, {}, options_.side_by_side,
                               [this](const walk_entry& entry) { return copy_entry(entry); });
    for (auto each = made_.rbegin(); each != made_.rend(); ++each) co_await finish(*each);
    const auto about = co_await metadata_of(from_);
    made_directory root{.path = {}, .about = about};
    co_await finish(std::move(root));
    co_return result_;
  }

 private:
  struct made_directory {
    std::string path;
    metadata about;
  };

  [[nodiscard]] path_at target(const std::string& below) const {
    return path_at{to_.directory(), below.empty() ? to_.path() : detail::join(to_.path(), below)};
  }

  task<> copy_entry(const walk_entry& entry) {
    switch (entry.kind) {
      case file_kind::directory:
        return copy_directory(entry);
      case file_kind::regular:
        return copy_file(entry);
      case file_kind::symbolic_link:
        return copy_link(entry);
      default:
        throw std::system_error{EOPNOTSUPP, std::system_category(), "copy_tree " + entry.path};
    }
  }

  task<> copy_directory(const walk_entry& entry) {
    auto about = co_await metadata_of(entry.place(), links::keep);
    const make_directory_options making{.permissions = permissions_at_first(options_)};
    co_await make_directory(target(entry.path), making);
    made_.push_back({.path = entry.path, .about = about});
    ++result_.directories_count;
  }

  task<> copy_file(const walk_entry& entry) {
    // The tree goes as a whole, if it fails: no need for another name for each file.
    const copy_options each{.reflink = options_.reflink, .metadata = options_.metadata, .keep_partial = true};
    const auto copied = co_await copy(entry.place(), target(entry.path), each);
    ++result_.files_count;
    result_.bytes += copied.bytes;
  }

  task<> copy_link(const walk_entry& entry) {
    auto leads_to = co_await read_link(entry.place());
    co_await symlink(std::move(leads_to), target(entry.path));
    ++result_.links_count;
  }

  task<> finish(made_directory made) {
    const auto path = target(made.path);
    const owner_change same{.owner = made.about.owner, .group = made.about.group};
    const times_change then{.accessed = made.about.accessed, .modified = made.about.modified};
    const bool all = options_.metadata == copied_metadata::all;
    const bool is_same_owner = all && co_await as_result(set_owner(path, same));
    const auto all_bits = static_cast<::mode_t>(made.about.permissions);
    if (options_.metadata != copied_metadata::none)
      co_await set_permissions(path, is_same_owner ? all_bits : plain_permissions(made.about));
    if (all) co_await set_times(path, then);
  }

  const path_at& from_;
  const path_at& to_;
  const copy_tree_options& options_;
  std::vector<made_directory> made_;  // one before those in it
  copy_tree_result result_;
};

task<> remove_tree(path_at path) { (void)co_await remove_all(std::move(path)); }

}  // namespace

task<copy_tree_result> copy_tree(path_at from, path_at to, copy_tree_options options) {
  const auto about = co_await metadata_of(from);
  if (!about.is_directory()) throw std::system_error{ENOTDIR, std::system_category(), "copy_tree"};
  const make_directory_options making{.permissions = permissions_at_first(options)};
  co_await make_directory(to, making);
  // From here on it is this copy's, to be removed.
  tree_copy copying{from, to, options};
  if (options.keep_partial) co_return co_await copying.run();
  co_return co_await detail::or_undo(copying.run(), remove_tree(to));
}

}  // namespace gyre::fs
