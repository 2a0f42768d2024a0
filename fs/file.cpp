// SPDX-License-Identifier: MIT
// Opening files, asking what they are, and transfers that take several operations.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <system_error>

namespace gyre::fs {
namespace {

constexpr unsigned metadata_mask = STATX_BASIC_STATS;

int flags_of(const open_options& options) noexcept {
  int flags = 0;
  switch (options.access) {
    case file_access::read:
      flags = O_RDONLY;
      break;
    case file_access::write:
      flags = O_WRONLY;
      break;
    case file_access::read_write:
      flags = O_RDWR;
      break;
  }
  if (options.create != file_creation::never) flags |= O_CREAT;
  if (options.create == file_creation::must_be_new) flags |= O_EXCL;
  if (options.truncate) flags |= O_TRUNC;
  // A terminal that is opened by accident does not become the process's own.
  if (options.no_wait) flags |= O_NONBLOCK | O_NOCTTY;
  return flags;
}

// What the kernel would take for something else, or refuse without a word of why.
void check(const std::string& path, const open_options& options) {
  const auto refuse = [](const char* why) { throw std::system_error{EINVAL, std::system_category(), why}; };
  if (path.find('\0') != std::string::npos) refuse("open: the path has a NUL in it");
  // open(2): O_RDONLY | O_TRUNC is unspecified, and empties the file on Linux.
  if (options.truncate && options.access == file_access::read) refuse("open: truncate needs access to write");
}

// openat2(2) refuses permissions where nothing is made; open(2) ignores them.
::mode_t permissions_of(const open_options& options) noexcept {
  return options.create == file_creation::never ? 0 : options.permissions;
}

file_kind kind_of(std::uint16_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return file_kind::regular;
    case S_IFDIR:
      return file_kind::directory;
    case S_IFLNK:
      return file_kind::symbolic_link;
    default:
      return file_kind::other;
  }
}

}  // namespace

metadata metadata::from_kernel(const struct ::statx& found) noexcept {
  return {.kind = kind_of(found.stx_mode),
          .permissions = found.stx_mode & 07777U,
          .size_bytes = found.stx_size,
          .inode = found.stx_ino,
          .device = makedev(found.stx_dev_major, found.stx_dev_minor),
          .links_count = found.stx_nlink,
          .modified = time_point{std::chrono::seconds{found.stx_mtime.tv_sec} +
                                 std::chrono::nanoseconds{found.stx_mtime.tv_nsec}}};
}

task<file> file::open(std::string path, open_options options) {
  check(path, options);
  co_return file{co_await ops::openat{AT_FDCWD, path.c_str(), flags_of(options), permissions_of(options)}};
}

task<file> file::open_beneath(fd_ref directory, std::string path, open_options options) {
  check(path, options);
  co_return file{co_await ops::openat2{directory, path.c_str(), flags_of(options),
                                       RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, permissions_of(options)}};
}

task<> file::read_exactly_at(buffer_ref buffer, std::uint64_t offset) const {
  std::size_t bytes_read = 0;
  while (bytes_read < buffer.size()) {
    const auto read = co_await as_result(read_at(buffer.subspan(bytes_read), offset + bytes_read));
    if (!read) throw transfer_error{read.error(), bytes_read, "read_exactly_at"};
    if (*read == 0) throw transfer_error{errc::end_of_stream, bytes_read, "read_exactly_at"};
    bytes_read += *read;
  }
  GYRE_ASSERT(bytes_read == buffer.size(), "a loop that ends without an error has filled the buffer");
}

task<> file::write_all_at(const_buffer_ref bytes, std::uint64_t offset) const {
  std::size_t bytes_written = 0;
  while (bytes_written < bytes.size()) {
    const auto written = co_await as_result(write_at(bytes.subspan(bytes_written), offset + bytes_written));
    if (!written) throw transfer_error{written.error(), bytes_written, "write_all_at"};
    if (*written == 0) throw transfer_error{errc::no_progress, bytes_written, "write_all_at"};
    bytes_written += *written;
  }
  GYRE_ASSERT(bytes_written == bytes.size(), "a loop that ends without an error has written everything");
}

task<metadata> file::metadata() const {
  co_return fs::metadata::from_kernel(co_await ops::statx{fd_, "", AT_EMPTY_PATH, metadata_mask});
}

result<metadata> file::try_metadata() const noexcept {
  struct ::statx found;
  if (::statx(fd_.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, metadata_mask, &found) != 0)
    return std::error_code{errno, std::system_category()};
  return fs::metadata::from_kernel(found);
}

task<std::uint64_t> file::size() const {
  const auto found = co_await metadata();
  co_return found.size_bytes;
}

}  // namespace gyre::fs
