// SPDX-License-Identifier: MIT
// getdents64(2) on the offload pool, and what it says.
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <system_error>

namespace gyre::fs::detail {
namespace {

constexpr std::size_t batch_bytes = std::size_t{64} << 10U;

// The largest entry that there can be: a batch with less room than that is full.
constexpr std::size_t entry_bytes_max = sizeof(::dirent64);

struct raw_batch {
  std::vector<directory_entry> entries;
  bool ended = false;
};

file_kind kind_of(unsigned char type) noexcept {
  switch (type) {
    case DT_REG:
      return file_kind::regular;
    case DT_DIR:
      return file_kind::directory;
    case DT_LNK:
      return file_kind::symbolic_link;
    case DT_FIFO:
      return file_kind::fifo;
    case DT_SOCK:
      return file_kind::socket;
    case DT_CHR:
      return file_kind::character_device;
    case DT_BLK:
      return file_kind::block_device;
    default:
      return file_kind::other;
  }
}

// As many as fit, and whether that is all: so a small directory takes one trip to the pool.
raw_batch read_batch(int fd) {
  std::array<char, batch_bytes> bytes;
  std::size_t filled = 0;
  while (bytes.size() - filled >= entry_bytes_max) {
    const auto count = ::getdents64(fd, bytes.data() + filled, bytes.size() - filled);
    if (count == 0) return {parse_entries(std::span{bytes}.first(filled)), true};
    if (count < 0 && filled == 0) throw std::system_error{errno, std::system_category(), "entries"};
    if (count < 0) break;  // the next batch will say it again
    filled += static_cast<std::size_t>(count);
  }
  return {parse_entries(std::span{bytes}.first(filled)), false};
}

}  // namespace

std::vector<directory_entry> parse_entries(std::span<const char> bytes) {
  std::vector<directory_entry> entries;
  while (!bytes.empty()) {
    std::uint64_t inode = 0;
    std::uint16_t size = 0;
    unsigned char type = 0;
    std::memcpy(&inode, bytes.data() + offsetof(::dirent64, d_ino), sizeof inode);
    std::memcpy(&size, bytes.data() + offsetof(::dirent64, d_reclen), sizeof size);
    std::memcpy(&type, bytes.data() + offsetof(::dirent64, d_type), sizeof type);
    const std::string_view name{bytes.data() + offsetof(::dirent64, d_name)};
    if (name != "." && name != "..") entries.push_back({std::string{name}, kind_of(type), inode});
    bytes = bytes.subspan(size);
  }
  return entries;
}

void entry_batch::clear() noexcept {
  entries_.clear();
  given_count_ = 0;
  ended_ = false;
}

task<> entry_batch::read(int fd) {
  auto found = co_await offload([fd] { return read_batch(fd); });
  entries_ = std::move(found.entries);
  given_count_ = 0;
  ended_ = found.ended;
}

task<std::optional<directory_entry>> entry_batch::next(int fd) {
  for (;;) {
    while (given_count_ == entries_.size() && !ended_) co_await read(fd);
    if (given_count_ == entries_.size()) co_return std::nullopt;
    directory_entry entry = std::move(entries_[given_count_++]);
    if (entry.kind != file_kind::other) co_return entry;
    // Its file system does not say.
    const auto found = co_await as_result(ops::statx{fd, entry.name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE});
    if (found.error() == std::errc::no_such_file_or_directory) continue;
    entry.kind = metadata::from_kernel(found.value()).kind;
    co_return entry;
  }
}

}  // namespace gyre::fs::detail
