// SPDX-License-Identifier: MIT
// What SQLite asks of a system, asked of gyre.
//
// Nothing here throws into SQLite, whose frames are C: what a callback does is wrapped by guarded(). Where SQLite's own
// VFS has a habit that its users rely on (a journal has the rights of its database, an empty journal is none, a name is
// on the device with its file), this one has it too: src/os_unix.c.
#include "vfs.hpp"

#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "lock_level.hpp"
#include "waiting.hpp"

namespace sqlite {
namespace {

namespace ops = gyre::ops;

constexpr int sector_bytes = 4096;       // what SQLite takes for the unit of a torn write, as its own VFS does
constexpr ::mode_t usual_mode = 0644;    // of a database, less the umask
constexpr ::mode_t private_mode = 0600;  // of what is temporary
constexpr int lowest_fd = 3;             // below it somebody may print into the database

constexpr int files_with_a_journal_name = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;

// Lies in memory of SQLite's, of vfs.szOsFile bytes.
struct open_file : sqlite3_file {
  gyre::unique_fd fd;
  const char* name = nullptr;  // SQLite's, and there as long as the file; null: it is temporary
  lock_level lock;
  std::uint64_t inode = 0;
  int last_errno = 0;
  bool is_answered_at_once = false;  // locks and metadata, by its file system
  bool name_is_new = false;          // and not on the device
};
static_assert(alignof(open_file) <= 8, "SQLite aligns its memory to 8 bytes");

open_file& file_of(sqlite3_file* opened) noexcept { return *static_cast<open_file*>(opened); }

// Lets no exception out. A stop is none that could come: waiting.hpp.
template <class Body>
int guarded(int otherwise, Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  } catch (...) {
    return otherwise;
  }
}

int errno_of(const std::error_code& error) noexcept {
  return error.category() == std::system_category() ? error.value() : EIO;
}

// Notes why, and says what.
int failed(open_file& with, const std::error_code& why, int what) noexcept {
  with.last_errno = errno_of(why);
  return what;
}

int failed_to_write(open_file& with, const std::error_code& why, int what) noexcept {
  const int number = errno_of(why);
  return failed(with, why, number == ENOSPC || number == EDQUOT ? SQLITE_FULL : what);
}

// -------------------------------------------------------------------------------------------------- the file system

// Those keep locks and sizes in memory, and answer at once. What others do, a server may be asked for.
bool is_answered_at_once(int fd) noexcept {
  struct ::statfs found{};
  if (::fstatfs(fd, &found) != 0) return false;
  constexpr std::array local{std::uint64_t{EXT4_SUPER_MAGIC}, std::uint64_t{XFS_SUPER_MAGIC},
                             std::uint64_t{BTRFS_SUPER_MAGIC}, std::uint64_t{F2FS_SUPER_MAGIC},
                             std::uint64_t{TMPFS_MAGIC}};
  return std::find(local.begin(), local.end(), static_cast<std::uint64_t>(found.f_type)) != local.end();
}

gyre::result<gyre::unique_fd> open_at(const char* path, int how, ::mode_t mode) {
  return wait_for([&] { return ops::openat{AT_FDCWD, path, how, mode}; },
                  [&]() -> gyre::result<gyre::unique_fd> {
                    const auto opened = plainly([&] { return ::open(path, how, mode); });
                    if (!opened) return opened.error();
                    return gyre::unique_fd{static_cast<int>(*opened)};
                  });
}

gyre::result<struct ::statx> look_at(const char* path) {
  return wait_for([&] { return ops::statx{AT_FDCWD, path}; },
                  [&]() -> gyre::result<struct ::statx> {
                    struct ::statx found{};
                    const auto told = plainly([&] { return ::statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &found); });
                    if (!told) return told.error();
                    return found;
                  });
}

// Of a file that is open.
gyre::result<struct ::statx> look_into(const open_file& opened) {
  const auto ask = [fd = opened.fd.get()](int freshness) -> gyre::result<struct ::statx> {
    struct ::statx found{};
    const auto told = plainly([&] { return ::statx(fd, "", AT_EMPTY_PATH | freshness, STATX_BASIC_STATS, &found); });
    if (!told) return told.error();
    return found;
  };
  if (opened.is_answered_at_once) return ask(AT_STATX_DONT_SYNC);
  return wait_for([&] { return ops::statx{opened.fd, "", AT_EMPTY_PATH}; }, [&] { return ask(0); });
}

gyre::result<void> as_void(const gyre::result<std::size_t>& given) {
  if (!given) return given.error();
  return {};
}

gyre::result<void> sync(const gyre::unique_fd& opened, ops::sync_what what) {
  return wait_for([&] { return ops::fsync{opened, what}; },
                  [&] {
                    const bool all = what == ops::sync_what::everything;
                    return as_void(plainly([&] { return all ? ::fsync(opened.get()) : ::fdatasync(opened.get()); }));
                  });
}

void close(gyre::unique_fd opened) {
  const int number = opened.release();
  static_cast<void>(wait_for([&] { return ops::close{gyre::unique_fd{number}}; },
                             [&] { return as_void(plainly([&] { return ::close(number); })); }));
}

// The directory that a file is in, so that its name is on the device, or gone from there.
gyre::result<void> sync_directory_of(const char* path) {
  const std::filesystem::path directory = std::filesystem::path{path}.parent_path();
  auto opened = open_at(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (!opened) return {};  // one that may not be opened, cannot be synced: as SQLite's own VFS has it
  auto synced = sync(*opened, ops::sync_what::everything);
  close(std::move(*opened));
  return synced;
}

// ---------------------------------------------------------------------------------------------------------- a file

int close_file(sqlite3_file* opened) noexcept {
  return guarded(SQLITE_IOERR_CLOSE, [&] {
    auto& mine = file_of(opened);
    auto last = std::move(mine.fd);
    std::destroy_at(&mine);
    close(std::move(last));
    return SQLITE_OK;
  });
}

int read_file(sqlite3_file* opened, void* into, int size, sqlite3_int64 offset) noexcept {
  return guarded(SQLITE_IOERR_READ, [&] {
    auto& mine = file_of(opened);
    std::span rest{static_cast<std::byte*>(into), static_cast<std::size_t>(size)};
    auto at = static_cast<std::uint64_t>(offset);
    while (!rest.empty()) {
      const gyre::result<std::size_t> count = wait_for(
          [&] { return ops::read{mine.fd, rest, at}; },
          [&] {
            return plainly([&] { return ::pread(mine.fd.get(), rest.data(), rest.size(), static_cast<::off_t>(at)); });
          });
      if (!count && count.error() == std::errc::interrupted) continue;
      if (!count) return failed(mine, count.error(), SQLITE_IOERR_READ);
      if (*count == 0) break;
      rest = rest.subspan(*count);
      at += *count;
    }
    if (rest.empty()) return SQLITE_OK;
    mine.last_errno = 0;
    std::fill(rest.begin(), rest.end(), std::byte{0});  // SQLite counts on it
    return SQLITE_IOERR_SHORT_READ;
  });
}

int write_file(sqlite3_file* opened, const void* from, int size, sqlite3_int64 offset) noexcept {
  return guarded(SQLITE_IOERR_WRITE, [&] {
    auto& mine = file_of(opened);
    std::span rest{static_cast<const std::byte*>(from), static_cast<std::size_t>(size)};
    auto at = static_cast<std::uint64_t>(offset);
    while (!rest.empty()) {
      const gyre::result<std::size_t> count = wait_for(
          [&] { return ops::write{mine.fd, rest, at}; },
          [&] {
            return plainly([&] { return ::pwrite(mine.fd.get(), rest.data(), rest.size(), static_cast<::off_t>(at)); });
          });
      if (!count && count.error() == std::errc::interrupted) continue;
      if (!count) return failed_to_write(mine, count.error(), SQLITE_IOERR_WRITE);
      if (*count == 0) return SQLITE_FULL;
      rest = rest.subspan(*count);
      at += *count;
    }
    return SQLITE_OK;
  });
}

int truncate_file(sqlite3_file* opened, sqlite3_int64 size) noexcept {
  return guarded(SQLITE_IOERR_TRUNCATE, [&] {
    auto& mine = file_of(opened);
    const auto cut =
        wait_elsewhere([fd = mine.fd.get(), size] { return as_void(plainly([&] { return ::ftruncate(fd, size); })); });
    return cut ? SQLITE_OK : failed_to_write(mine, cut.error(), SQLITE_IOERR_TRUNCATE);
  });
}

int sync_file(sqlite3_file* opened, int flags) noexcept {
  return guarded(SQLITE_IOERR_FSYNC, [&] {
    auto& mine = file_of(opened);
    const bool data_only = (flags & SQLITE_SYNC_DATAONLY) != 0;
    const auto synced = sync(mine.fd, data_only ? ops::sync_what::data : ops::sync_what::everything);
    if (!synced) return failed_to_write(mine, synced.error(), SQLITE_IOERR_FSYNC);
    if (!mine.name_is_new) return SQLITE_OK;
    // A journal that has no name after a crash cannot roll back what was written under its protection.
    const auto named = sync_directory_of(mine.name);
    if (!named) return failed(mine, named.error(), SQLITE_IOERR_DIR_FSYNC);
    mine.name_is_new = false;
    return SQLITE_OK;
  });
}

int tell_size(sqlite3_file* opened, sqlite3_int64* size) noexcept {
  return guarded(SQLITE_IOERR_FSTAT, [&] {
    auto& mine = file_of(opened);
    const auto found = look_into(mine);
    if (!found) return failed(mine, found.error(), SQLITE_IOERR_FSTAT);
    *size = static_cast<sqlite3_int64>(found->stx_size);
    return SQLITE_OK;
  });
}

// A step of the lock: here, or where it may take its time.
template <class Step>
int take_step(open_file& of, Step step) {
  return of.is_answered_at_once ? step() : wait_elsewhere(step);
}

int lock_file(sqlite3_file* opened, int level) noexcept {
  return guarded(SQLITE_IOERR_LOCK, [&] {
    auto& mine = file_of(opened);
    const int taken = take_step(mine, [&] { return mine.lock.raise(mine.fd.get(), level); });
    if (taken != SQLITE_OK) mine.last_errno = mine.lock.last_errno();
    return taken;
  });
}

int unlock_file(sqlite3_file* opened, int level) noexcept {
  return guarded(SQLITE_IOERR_UNLOCK, [&] {
    auto& mine = file_of(opened);
    const int given_back = take_step(mine, [&] { return mine.lock.lower(mine.fd.get(), level); });
    if (given_back != SQLITE_OK) mine.last_errno = mine.lock.last_errno();
    return given_back;
  });
}

int check_reserved_lock(sqlite3_file* opened, int* is_reserved) noexcept {
  return guarded(SQLITE_IOERR_CHECKRESERVEDLOCK, [&] {
    auto& mine = file_of(opened);
    bool found = false;
    const int looked = take_step(mine, [&] { return mine.lock.look_for_reserved(mine.fd.get(), found); });
    *is_reserved = found ? 1 : 0;
    return looked;
  });
}

// Whether the name leads elsewhere by now: SQLite writes no journal beside a file that was renamed.
bool has_moved(const open_file& mine) {
  if (mine.name == nullptr) return false;
  const auto found = look_at(mine.name);
  return !found || found->stx_ino != mine.inode;
}

int control_file(sqlite3_file* opened, int what, void* argument) noexcept {
  return guarded(SQLITE_IOERR, [&] {
    auto& mine = file_of(opened);
    switch (what) {
      case SQLITE_FCNTL_LOCKSTATE:
        *static_cast<int*>(argument) = mine.lock.level();
        return SQLITE_OK;
      case SQLITE_FCNTL_LAST_ERRNO:
        *static_cast<int*>(argument) = mine.last_errno;
        return SQLITE_OK;
      case SQLITE_FCNTL_VFSNAME:
        *static_cast<char**>(argument) = sqlite3_mprintf("%s", vfs_name);
        return SQLITE_OK;
      case SQLITE_FCNTL_HAS_MOVED:
        *static_cast<int*>(argument) = has_moved(mine) ? 1 : 0;
        return SQLITE_OK;
      default:
        return SQLITE_NOTFOUND;
    }
  });
}

int tell_sector_size(sqlite3_file*) noexcept { return sector_bytes; }

// A write that is torn by a power failure changes no bytes but its own.
int tell_characteristics(sqlite3_file*) noexcept { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

// The first version: neither shared nor mapped memory.
const sqlite3_io_methods file_methods = [] {
  sqlite3_io_methods methods{};
  methods.iVersion = 1;
  methods.xClose = &close_file;
  methods.xRead = &read_file;
  methods.xWrite = &write_file;
  methods.xTruncate = &truncate_file;
  methods.xSync = &sync_file;
  methods.xFileSize = &tell_size;
  methods.xLock = &lock_file;
  methods.xUnlock = &unlock_file;
  methods.xCheckReservedLock = &check_reserved_lock;
  methods.xFileControl = &control_file;
  methods.xSectorSize = &tell_sector_size;
  methods.xDeviceCharacteristics = &tell_characteristics;
  return methods;
}();

// ---------------------------------------------------------------------------------------------------------- opening

// A file without a name, in the first folder that takes one.
gyre::result<gyre::unique_fd> open_temporary() {
  const auto make = []() -> gyre::result<gyre::unique_fd> {
    const std::array<const char*, 5> folders{std::getenv("SQLITE_TMPDIR"), std::getenv("TMPDIR"), "/var/tmp", "/tmp",
                                             "."};
    for (const char* const folder : folders) {
      if (folder == nullptr) continue;
      gyre::unique_fd nameless{::open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, private_mode)};
      if (nameless) return nameless;
      std::string path = std::string{folder} + "/sqlite-XXXXXX";
      gyre::unique_fd named{::mkostemp(path.data(), O_CLOEXEC)};
      if (!named) continue;
      ::unlink(path.c_str());
      return named;
    }
    return std::error_code{errno, std::system_category()};
  };
  return wait_elsewhere(make);
}

// Whose file it is, and who may read it.
struct ownership {
  ::mode_t mode = usual_mode;
  ::uid_t owner = 0;
  ::gid_t group = 0;
  bool is_of_database = false;
};

// Who can open the database can roll back its journal.
ownership ownership_for(const char* name, int flags) {
  if ((flags & SQLITE_OPEN_DELETEONCLOSE) != 0) return {.mode = private_mode};
  if ((flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) == 0) return {};
  const auto found = look_at(sqlite3_filename_database(name));
  if (!found) return {};
  return {.mode = found->stx_mode & 0777U, .owner = found->stx_uid, .group = found->stx_gid, .is_of_database = true};
}

int how_to_open(int flags) noexcept {
  int how = O_CLOEXEC | O_NOFOLLOW;  // links were followed by xFullPathname
  how |= (flags & SQLITE_OPEN_READWRITE) != 0 ? O_RDWR : O_RDONLY;
  if ((flags & SQLITE_OPEN_CREATE) != 0) how |= O_CREAT;
  if ((flags & SQLITE_OPEN_EXCLUSIVE) != 0) how |= O_EXCL;
  return how;
}

gyre::result<gyre::unique_fd> open_named(const char* name, int& flags) {
  const bool makes = (flags & SQLITE_OPEN_CREATE) != 0;
  const ownership whose = makes ? ownership_for(name, flags) : ownership{};
  auto opened = open_at(name, how_to_open(flags), whose.mode);
  if (!opened && (flags & SQLITE_OPEN_READWRITE) != 0 && opened.error() != std::errc::is_a_directory) {
    const int reading = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
    auto for_reading = open_at(name, how_to_open(reading), 0);
    if (!for_reading) return opened.error();
    flags = reading;
    return for_reading;
  }
  if (opened && whose.is_of_database && ::geteuid() == 0) {
    static_cast<void>(wait_elsewhere([fd = opened->get(), whose] { return ::fchown(fd, whose.owner, whose.group); }));
  }
  return opened;
}

// Standard output is not to be a database, however the program was started.
gyre::result<gyre::unique_fd> above_standard_streams(gyre::unique_fd opened) {
  if (opened.get() >= lowest_fd) return opened;
  gyre::unique_fd higher{::fcntl(opened.get(), F_DUPFD_CLOEXEC, lowest_fd)};
  if (!higher) return std::error_code{errno, std::system_category()};
  return higher;
}

bool wants_shared_cache(const char* name, int flags) noexcept {
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) return false;
  const char* const cache = sqlite3_uri_parameter(name, "cache");
  return cache != nullptr && std::string_view{cache} == "shared";
}

thread_local constinit int last_open_errno = 0;  // for xGetLastError

int open_file_for(const char* name, open_file& made, int flags, int* flags_out) {
  auto opened = name == nullptr ? open_temporary() : open_named(name, flags);
  if (opened) opened = above_standard_streams(std::move(*opened));
  if (!opened) {
    last_open_errno = errno_of(opened.error());
    return SQLITE_CANTOPEN;
  }
  made.fd = std::move(*opened);
  made.name = name;
  made.name_is_new = (flags & SQLITE_OPEN_CREATE) != 0 && (flags & files_with_a_journal_name) != 0;
  if (name != nullptr && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0) {
    static_cast<void>(wait_for([&] { return ops::unlinkat{AT_FDCWD, name}; },
                               [&] { return as_void(plainly([&] { return ::unlink(name); })); }));
  }
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
    made.is_answered_at_once = wait_elsewhere([fd = made.fd.get()] { return is_answered_at_once(fd); });
    if (const auto found = look_into(made)) made.inode = found->stx_ino;
  }
  if (flags_out != nullptr) *flags_out = flags;
  return SQLITE_OK;
}

int open_file_callback(sqlite3_vfs*, const char* name, sqlite3_file* out, int flags, int* flags_out) noexcept {
  out->pMethods = nullptr;  // nothing to be closed
  return guarded(SQLITE_CANTOPEN, [&] {
    if (name != nullptr && wants_shared_cache(name, flags)) return SQLITE_CANTOPEN;
    auto* const made = std::construct_at(static_cast<open_file*>(out));
    const int opened = open_file_for(name, *made, flags, flags_out);
    if (opened == SQLITE_OK) made->pMethods = &file_methods;
    else std::destroy_at(made);
    return opened;
  });
}

// ------------------------------------------------------------------------------------------------------------- names

int delete_file(sqlite3_vfs*, const char* name, int syncs_directory) noexcept {
  return guarded(SQLITE_IOERR_DELETE, [&]() -> int {
    const gyre::result<void> removed = wait_for([&] { return ops::unlinkat{AT_FDCWD, name}; },
                                                [&] { return as_void(plainly([&] { return ::unlink(name); })); });
    if (!removed) {
      last_open_errno = errno_of(removed.error());
      const bool was_none = removed.error() == std::errc::no_such_file_or_directory;
      return was_none ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    }
    if ((syncs_directory & 1) == 0) return SQLITE_OK;
    return sync_directory_of(name) ? SQLITE_OK : SQLITE_IOERR_DIR_FSYNC;
  });
}

int access_file(sqlite3_vfs*, const char* name, int what, int* is_so) noexcept {
  return guarded(SQLITE_IOERR_ACCESS, [&] {
    if (what != SQLITE_ACCESS_EXISTS) {
      const int rights = what == SQLITE_ACCESS_READWRITE ? R_OK | W_OK : R_OK;
      *is_so = wait_elsewhere([name, rights] { return ::access(name, rights) == 0; }) ? 1 : 0;
      return SQLITE_OK;
    }
    const auto found = look_at(name);
    // A journal of no bytes has nothing to roll back: it is as good as none.
    *is_so = found && (!S_ISREG(found->stx_mode) || found->stx_size > 0) ? 1 : 0;
    return SQLITE_OK;
  });
}

// The name without links: two names of one database would have two journals. What the name's last part says, need not
// be there; what a link says that leads nowhere, is what will be made.
std::filesystem::path without_links(std::filesystem::path name) {
  constexpr int links_max = 40;  // as the kernel has it: path_resolution(7)
  for (int links = 0; links <= links_max; ++links) {
    std::error_code missing;
    const auto whole = std::filesystem::canonical(name, missing);
    if (!missing) return whole;
    if (missing != std::errc::no_such_file_or_directory) throw std::system_error{missing};
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(name, missing)))
      return std::filesystem::canonical(name.parent_path()) / name.filename();
    name = name.parent_path() / std::filesystem::read_symlink(name);
  }
  throw std::system_error{ELOOP, std::system_category()};
}

int find_full_path(sqlite3_vfs*, const char* name, int size, char* out) noexcept {
  return guarded(SQLITE_CANTOPEN, [&] {
    return wait_elsewhere([&] {
      return guarded(SQLITE_CANTOPEN, [&] {
        const auto asked = std::filesystem::absolute(name);
        const auto found = without_links(asked);
        if (found.native().size() >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
        std::memcpy(out, found.c_str(), found.native().size() + 1);
        return found == asked.lexically_normal() ? SQLITE_OK : SQLITE_OK_SYMLINK;
      });
    });
  });
}

// ----------------------------------------------------------------------------------------------- chance, time, sleep

// SQLite holds the mutex of its random numbers: this waits for nothing.
int give_randomness(sqlite3_vfs*, int size, char* out) noexcept {
  const auto count = ::getrandom(out, static_cast<std::size_t>(size), GRND_NONBLOCK);
  return count > 0 ? static_cast<int>(count) : 0;
}

// A connection that is stopped while it is busy gives up soon: all its pauses end at once.
int sleep_for_microseconds(sqlite3_vfs*, int microseconds) noexcept {
  static_cast<void>(guarded(SQLITE_ERROR, [&] {
    if (gyre::fiber::is_stopped()) return SQLITE_OK;
    const std::chrono::microseconds pause{microseconds};
    static_cast<void>(gyre::fiber::await(gyre::as_result(gyre::stopped_as_error(gyre::sleep_for(pause)))));
    return SQLITE_OK;
  }));
  return microseconds;
}

int tell_time(sqlite3_vfs*, sqlite3_int64* milliseconds) noexcept {
  constexpr sqlite3_int64 until_1970 = 24'405'875 * sqlite3_int64{8'640'000};  // since noon of the first Julian day
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  *milliseconds = until_1970 + std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count();
  return SQLITE_OK;
}

int tell_time_in_days(sqlite3_vfs* vfs, double* days) noexcept {
  sqlite3_int64 milliseconds = 0;
  tell_time(vfs, &milliseconds);
  *days = static_cast<double>(milliseconds) / 86'400'000.0;
  return SQLITE_OK;
}

int tell_last_error(sqlite3_vfs*, int, char*) noexcept { return last_open_errno; }

// Libraries that a statement loads are no business of files: SQLite's own VFS has them.
sqlite3_vfs* own_of_sqlite() noexcept { return sqlite3_vfs_find("unix"); }

void* open_library(sqlite3_vfs*, const char* name) noexcept {
  sqlite3_vfs* const own = own_of_sqlite();
  return own->xDlOpen(own, name);
}
void tell_library_error(sqlite3_vfs*, int size, char* out) noexcept {
  sqlite3_vfs* const own = own_of_sqlite();
  own->xDlError(own, size, out);
}
using library_symbol = void (*)();
library_symbol find_symbol(sqlite3_vfs*, void* library, const char* name) noexcept {
  sqlite3_vfs* const own = own_of_sqlite();
  return own->xDlSym(own, library, name);
}
void close_library(sqlite3_vfs*, void* library) noexcept {
  sqlite3_vfs* const own = own_of_sqlite();
  own->xDlClose(own, library);
}

sqlite3_vfs make_vfs() noexcept {
  sqlite3_vfs made{};
  made.iVersion = 2;  // the first with xCurrentTimeInt64
  made.szOsFile = sizeof(open_file);
  made.mxPathname = PATH_MAX;
  made.zName = vfs_name;
  made.xOpen = &open_file_callback;
  made.xDelete = &delete_file;
  made.xAccess = &access_file;
  made.xFullPathname = &find_full_path;
  made.xDlOpen = &open_library;
  made.xDlError = &tell_library_error;
  made.xDlSym = &find_symbol;
  made.xDlClose = &close_library;
  made.xRandomness = &give_randomness;
  made.xSleep = &sleep_for_microseconds;
  made.xCurrentTime = &tell_time_in_days;
  made.xGetLastError = &tell_last_error;
  made.xCurrentTimeInt64 = &tell_time;
  return made;
}

}  // namespace

void register_vfs() {
  static sqlite3_vfs made = make_vfs();
  if (sqlite3_threadsafe() == 0) throw std::runtime_error{"this SQLite was built without mutexes"};
  if (sqlite3_vfs_register(&made, /*makeDflt=*/0) != SQLITE_OK)
    throw std::runtime_error{"SQLite does not take the VFS"};
}

}  // namespace sqlite
