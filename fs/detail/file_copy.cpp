// SPDX-License-Identifier: MIT
// How contents come over, and what else there is of a file.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/detail/file_copy.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs::detail {
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

}  // namespace

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

::mode_t permissions_at_first(const struct ::statx& about, copied_metadata what) noexcept {
  return what == copied_metadata::none ? 0666U : about.stx_mode & 0777U;
}

task<> file_copy::fill(const file& to) {
  contents_copy contents{from, to, progress};
  result = co_await contents.run(metadata::from_kernel(about), options.reflink);
  co_await give_metadata(from, to, about, options.metadata);
}

task<> file_copy::fill_and_close(file to) {
  co_await fill(to);
  if (options.durability == durability::full) co_await to.sync();
  co_await to.close();
}

}  // namespace gyre::fs::detail
