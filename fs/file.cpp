// SPDX-License-Identifier: MIT
// Opening files, asking what they are, and transfers that take several operations.
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/detail/whole_transfer.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace gyre::fs {
namespace {

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
  if (options.append) flags |= O_APPEND;
  if (options.temporary) flags |= O_TMPFILE;
  if (options.direct) flags |= O_DIRECT;
  if (options.no_follow) flags |= O_NOFOLLOW;
  if (options.write_through == write_through::data) flags |= O_DSYNC;
  if (options.write_through == write_through::everything) flags |= O_SYNC;
  // A terminal that is opened by accident does not become the process's own.
  if (options.no_wait) flags |= O_NONBLOCK | O_NOCTTY;
  return flags;
}

// What the kernel would take for something else, or refuse without a word of why.
void check(const std::string& path, const open_options& options) {
  const auto refuse = [](const char* why) { throw std::system_error{EINVAL, std::system_category(), why}; };
  detail::refuse_nul(path, "open");
  const bool writes = options.access != file_access::read;
  // open(2): O_RDONLY | O_TRUNC is unspecified, and empties the file on Linux.
  if (options.truncate && !writes) refuse("open: truncate needs access to write");
  if (options.append && !writes) refuse("open: append needs access to write");
  if (options.temporary && !writes) refuse("open: temporary needs access to write");
  // O_EXCL would say that the file never gets a name.
  if (options.temporary && (options.create != file_creation::never || options.truncate))
    refuse("open: a temporary file is new, and has no name: neither create nor truncate");
}

// openat2(2) refuses permissions where nothing is made; open(2) ignores them.
::mode_t permissions_of(const open_options& options) noexcept {
  return options.create == file_creation::never && !options.temporary ? 0 : options.permissions;
}

int advice_of(access_advice advice) noexcept {
  switch (advice) {
    case access_advice::sequential:
      return POSIX_FADV_SEQUENTIAL;
    case access_advice::random:
      return POSIX_FADV_RANDOM;
    case access_advice::will_need:
      return POSIX_FADV_WILLNEED;
    case access_advice::wont_need:
      return POSIX_FADV_DONTNEED;
    case access_advice::normal:
      break;
  }
  return POSIX_FADV_NORMAL;
}

// A file system may have to read where its pieces lie: not on an executor's thread.
task<std::optional<std::uint64_t>> seek(int fd, std::uint64_t offset, int whence, const char* who) {
  co_return co_await offload([fd, offset, whence, who]() -> std::optional<std::uint64_t> {
    const ::off_t found = ::lseek(fd, static_cast<::off_t>(offset), whence);
    if (found >= 0) return static_cast<std::uint64_t>(found);
    if (errno == ENXIO) return std::nullopt;
    throw std::system_error{errno, std::system_category(), who};
  });
}

}  // namespace

task<file> file::open(path_at path, open_options options) {
  check(path.path(), options);
  const int flags = flags_of(options);
  const ::mode_t mode = permissions_of(options);
  if (!options.resolve_beneath) co_return file{co_await ops::openat{path.directory(), path.c_str(), flags, mode}};
  co_return file{
      co_await ops::openat2{path.directory(), path.c_str(), flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, mode}};
}

task<file> file::open_beneath(fd_ref directory, std::string path, open_options options) {
  options.resolve_beneath = true;
  return open(path_at{directory, std::move(path)}, options);
}

task<> file::read_exactly(buffer_ref buffer) const {
  return detail::whole_transfer(
      buffer.size(), [this, buffer](std::size_t done) { return read(buffer.subspan(done)); }, errc::end_of_stream,
      "read_exactly");
}

task<> file::write_all(const_buffer_ref bytes) const {
  return detail::whole_transfer(
      bytes.size(), [this, bytes](std::size_t done) { return write(bytes.subspan(done)); }, errc::no_progress,
      "write_all");
}

task<> file::read_exactly_at(buffer_ref buffer, std::uint64_t offset) const {
  return detail::whole_transfer(
      buffer.size(), [this, buffer, offset](std::size_t done) { return read_at(buffer.subspan(done), offset + done); },
      errc::end_of_stream, "read_exactly_at");
}

task<> file::write_all_at(const_buffer_ref bytes, std::uint64_t offset) const {
  return detail::whole_transfer(
      bytes.size(), [this, bytes, offset](std::size_t done) { return write_at(bytes.subspan(done), offset + done); },
      errc::no_progress, "write_all_at");
}

task<metadata> file::metadata() const {
  co_return fs::metadata::from_kernel(co_await ops::statx{fd_, "", AT_EMPTY_PATH, fs::metadata::mask});
}

result<metadata> file::try_metadata() const noexcept {
  struct ::statx found;
  if (::statx(fd_.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, fs::metadata::mask, &found) != 0)
    return std::error_code{errno, std::system_category()};
  return fs::metadata::from_kernel(found);
}

task<std::uint64_t> file::size() const {
  const auto found = co_await metadata();
  co_return found.size_bytes;
}

task<std::optional<direct_alignment>> file::direct_io_alignment() const {
  const auto found = co_await metadata();
  co_return found.direct_io;
}

ops::sync_file_range file::sync_range(std::uint64_t offset, std::uint64_t length) const noexcept {
  return ops::sync_file_range{fd_, offset, length,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER};
}

ops::fallocate file::punch_hole(std::uint64_t offset, std::uint64_t length) const noexcept {
  return ops::fallocate{fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length};
}

ops::fadvise file::advise(access_advice advice, std::uint64_t offset, std::uint64_t length) const noexcept {
  return ops::fadvise{fd_, offset, length, advice_of(advice)};
}

task<std::optional<std::uint64_t>> file::seek_data(std::uint64_t offset) const {
  return seek(fd_.get(), offset, SEEK_DATA, "seek_data");
}

task<std::optional<std::uint64_t>> file::seek_hole(std::uint64_t offset) const {
  return seek(fd_.get(), offset, SEEK_HOLE, "seek_hole");
}

task<> file::link(path_at name) const {
  detail::refuse_nul(name, "link");
  // By AT_EMPTY_PATH it would need a capability, before Linux 6.10.
  const std::string itself = "/proc/self/fd/" + std::to_string(fd_.get());
  co_await ops::linkat{AT_FDCWD, itself.c_str(), name.directory(), name.c_str(), AT_SYMLINK_FOLLOW};
}

}  // namespace gyre::fs
