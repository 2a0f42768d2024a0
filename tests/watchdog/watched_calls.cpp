// SPDX-License-Identifier: MIT
// The watchdog on turns: what the library calls instead of the system, in the programs of the suite `watchdog`.
//
//   a call of the library's       outside a turn     in a turn
//   cannot wait, as called        made               made
//   can wait, or asks a disk      made               the program stops, and says which call it was and from where; but
//                                                    for last words (last_words.hpp), with which it stops anyway
//
// watched_library.py makes a copy of the library that calls gyre_watched_X() where the library calls X(). So it is the
// library's calls that are watched, each by its arguments, and none of a test's own. A turn is known by its executor
// being the thread's current one: threads of offload pools have none.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/last_words.hpp>

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <thread>

namespace {

[[noreturn]] void bark(const char* call) noexcept {
  std::fprintf(stderr,
               "watchdog: %s() in an executor's turn may keep it from everybody else: make it an operation, or "
               "offload() it. Called from\n",
               call);
  std::array<void*, 24> frames{};
  ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), frames.size()), STDERR_FILENO);
  std::abort();
}

// A question to the system that leaves the caller's errno alone.
template <class Question>
bool is_so(Question question) noexcept {
  const int before = errno;
  const bool answer = question();
  errno = before;
  return answer;
}

// Whether the descriptor is one that does not wait, or none at all: then the call is refused.
bool has_no_wait(int fd) noexcept {
  return is_so([&] {
    const int flags = ::fcntl(fd, F_GETFL);
    return flags < 0 || (flags & O_NONBLOCK) != 0;
  });
}

// O_NONBLOCK says nothing of files: those are read and written in any case.
bool is_file(int fd) noexcept {
  return is_so([&] {
    struct ::stat about{};
    return ::fstat(fd, &about) == 0 && (S_ISREG(about.st_mode) || S_ISBLK(about.st_mode));
  });
}

bool never_waits(int fd, int flags = 0) noexcept {
  return !is_file(fd) && ((flags & MSG_DONTWAIT) != 0 || has_no_wait(fd));
}

// By which an executor sleeps, and is woken.
bool is_for_parking(int fd) noexcept {
  return is_so([&] {
    std::array<char, 64> target{};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const auto size = ::readlink(link.c_str(), target.data(), target.size());
    const std::string_view kind{target.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
    return kind == "anon_inode:[eventfd]" || kind == "anon_inode:[eventpoll]";
  });
}

bool is_pipe(int fd) noexcept {
  return is_so([&] {
    struct ::stat about{};
    return ::fstat(fd, &about) == 0 && S_ISFIFO(about.st_mode);
  });
}

// With SPLICE_F_NONBLOCK, which is about pipes alone: splice(2).
bool splices_at_once(int in, int out) noexcept {
  return (is_pipe(in) || never_waits(in)) && (is_pipe(out) || never_waits(out));
}

// By another descriptor of the process; also where the system does not tell.
bool is_open_elsewhere(int fd) noexcept {
  constexpr int descriptors_max = 1024;
  constexpr int of_a_file = 0;  // KCMP_FILE of kcmp(2)
  const ::pid_t self = ::getpid();
  for (int other = 0; other < descriptors_max; ++other) {
    if (other == fd) continue;
    const long order = ::syscall(SYS_kcmp, self, self, of_a_file, fd, other);
    if (order == 0 || (order < 0 && errno != EBADF)) return true;
  }
  return false;
}

// A file that was written may be flushed at its close, or its data be given back.
bool closes_at_once(int fd) noexcept {
  return is_so([&] {
    const int flags = ::fcntl(fd, F_GETFL);
    if (is_file(fd)) return (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_RDONLY || is_open_elsewhere(fd);
    ::linger lasting{};
    ::socklen_t size = sizeof lasting;
    const bool lingers =
        ::getsockopt(fd, SOL_SOCKET, SO_LINGER, &lasting, &size) == 0 && lasting.l_onoff != 0 && lasting.l_linger > 0;
    return !lingers || (flags & O_NONBLOCK) != 0;
  });
}

bool connects_at_once(int fd, const ::sockaddr* peer) noexcept {
  return is_so([&] {
    int type = 0;
    ::socklen_t size = sizeof type;
    ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    return peer->sa_family == AF_UNSPEC || (type == SOCK_DGRAM && peer->sa_family != AF_UNIX);
  });
}

bool is_path(const ::sockaddr* at, ::socklen_t size) noexcept {
  constexpr auto before_path = offsetof(::sockaddr_un, sun_path);
  return at->sa_family == AF_UNIX && size > before_path &&
         reinterpret_cast<const ::sockaddr_un*>(at)->sun_path[0] != '\0';
}

bool is_no_time(const ::timespec* time) noexcept { return time != nullptr && time->tv_sec == 0 && time->tv_nsec == 0; }

}  // namespace

// A call by its C name: what it returns and takes, and when it may be made in a turn.
#define WATCHED(result, call, parameters, arguments, may)     \
  extern "C" result gyre_watched_##call parameters;           \
  extern "C" result gyre_watched_##call parameters {          \
    if (gyre::executor::has_current() && !(may)) bark(#call); \
    return ::call arguments;                                  \
  }

// What asks a file system, a server, or for a time.
WATCHED(int, chmod, (const char* path, ::mode_t mode), (path, mode), false)
WATCHED(::ssize_t, copy_file_range,
        (int in, ::off_t* at_in, int out, ::off_t* at_out, std::size_t size, unsigned flags),
        (in, at_in, out, at_out, size, flags), false)
WATCHED(int, fchmod, (int fd, ::mode_t mode), (fd, mode), false)
WATCHED(int, fchmodat, (int dir, const char* path, ::mode_t mode, int flags), (dir, path, mode, flags), false)
WATCHED(int, fchown, (int fd, ::uid_t owner, ::gid_t group), (fd, owner, group), false)
WATCHED(int, fchownat, (int dir, const char* path, ::uid_t owner, ::gid_t group, int flags),
        (dir, path, owner, group, flags), false)
WATCHED(::ssize_t, flistxattr, (int fd, char* list, std::size_t size), (fd, list, size), false)
WATCHED(int, flock, (int fd, int operation), (fd, operation), false)
WATCHED(int, fremovexattr, (int fd, const char* name), (fd, name), false)
WATCHED(int, fstat, (int fd, struct ::stat* about), (fd, about), gyre::last_words::being_said_here())
WATCHED(int, fsync, (int fd), (fd), false)
WATCHED(int, futimens, (int fd, const ::timespec* times), (fd, times), false)
WATCHED(int, getaddrinfo, (const char* host, const char* service, const ::addrinfo* hints, ::addrinfo** found),
        (host, service, hints, found), false)
WATCHED(::ssize_t, getdents64, (int fd, void* entries, std::size_t size), (fd, entries, size), false)
WATCHED(int, inotify_add_watch, (int fd, const char* path, std::uint32_t mask), (fd, path, mask), false)
WATCHED(::ssize_t, listxattr, (const char* path, char* list, std::size_t size), (path, list, size), false)
WATCHED(int, lstat, (const char* path, struct ::stat* about), (path, about), false)
WATCHED(int, mknodat, (int dir, const char* path, ::mode_t mode, ::dev_t device), (dir, path, mode, device), false)
WATCHED(int, nanosleep, (const ::timespec* time, ::timespec* left), (time, left), gyre::last_words::being_said_here())
WATCHED(::ssize_t, pread, (int fd, void* bytes, std::size_t size, ::off_t offset), (fd, bytes, size, offset), false)
WATCHED(::ssize_t, pwrite, (int fd, const void* bytes, std::size_t size, ::off_t offset), (fd, bytes, size, offset),
        false)
WATCHED(::ssize_t, readlinkat, (int dir, const char* path, char* target, std::size_t size), (dir, path, target, size),
        false)
WATCHED(char*, realpath, (const char* path, char* found), (path, found), false)
WATCHED(int, removexattr, (const char* path, const char* name), (path, name), false)
WATCHED(int, stat, (const char* path, struct ::stat* about), (path, about), false)
WATCHED(int, statvfs, (const char* path, struct ::statvfs* found), (path, found), false)
WATCHED(int, unlink, (const char* path), (path), false)
WATCHED(int, utimensat, (int dir, const char* path, const ::timespec* times, int flags), (dir, path, times, flags),
        false)

// What may wait, or not, as its arguments say.
WATCHED(int, bind, (int fd, const ::sockaddr* at, ::socklen_t size), (fd, at, size), !is_path(at, size))
WATCHED(int, close, (int fd), (fd), closes_at_once(fd))
WATCHED(int, connect, (int fd, const ::sockaddr* peer, ::socklen_t size), (fd, peer, size), connects_at_once(fd, peer))
WATCHED(int, epoll_wait, (int fd, ::epoll_event* events, int count, int time), (fd, events, count, time), time == 0)
WATCHED(int, epoll_pwait2, (int fd, ::epoll_event* events, int count, const ::timespec* time, const ::sigset_t* mask),
        (fd, events, count, time, mask), is_for_parking(fd))
WATCHED(::off_t, lseek, (int fd, ::off_t offset, int whence), (fd, offset, whence), whence == SEEK_SET)
WATCHED(int, ppoll, (::pollfd * polled, ::nfds_t count, const ::timespec* time, const ::sigset_t* mask),
        (polled, count, time, mask), is_no_time(time) || (count == 1 && is_for_parking(polled->fd)))
WATCHED(::ssize_t, pwritev2, (int fd, const ::iovec* parts, int count, ::off_t offset, int flags),
        (fd, parts, count, offset, flags), never_waits(fd))
WATCHED(::ssize_t, read, (int fd, void* bytes, std::size_t size), (fd, bytes, size),
        never_waits(fd) || is_for_parking(fd))
WATCHED(::ssize_t, recv, (int fd, void* bytes, std::size_t size, int flags), (fd, bytes, size, flags),
        never_waits(fd, flags))
WATCHED(::ssize_t, recvmsg, (int fd, ::msghdr* message, int flags), (fd, message, flags), never_waits(fd, flags))
WATCHED(::ssize_t, send, (int fd, const void* bytes, std::size_t size, int flags), (fd, bytes, size, flags),
        never_waits(fd, flags))
WATCHED(int, sigtimedwait, (const ::sigset_t* awaited, ::siginfo_t* about, const ::timespec* time),
        (awaited, about, time), is_no_time(time))
WATCHED(::ssize_t, splice, (int in, ::off64_t* at_in, int out, ::off64_t* at_out, std::size_t size, unsigned flags),
        (in, at_in, out, at_out, size, flags), (flags & SPLICE_F_NONBLOCK) != 0 && splices_at_once(in, out))
WATCHED(int, statx, (int dir, const char* path, int flags, unsigned mask, struct ::statx* found),
        (dir, path, flags, mask, found), *path == '\0' && (flags & AT_STATX_DONT_SYNC) != 0)
WATCHED(::ssize_t, tee, (int in, int out, std::size_t size, unsigned flags), (in, out, size, flags),
        (flags & SPLICE_F_NONBLOCK) != 0)
WATCHED(int, waitid, (::idtype_t which, ::id_t id, ::siginfo_t* about, int options), (which, id, about, options),
        (options & WNOHANG) != 0)
WATCHED(::ssize_t, write, (int fd, const void* bytes, std::size_t size), (fd, bytes, size),
        never_waits(fd) || is_for_parking(fd) || gyre::last_words::being_said_here())

#undef WATCHED

// Those that take what they are told to take.
extern "C" {

int gyre_watched_fcntl(int fd, int command, ...);
int gyre_watched_fcntl(int fd, int command, ...) {
  std::va_list more;
  va_start(more, command);
  void* const argument = va_arg(more, void*);
  va_end(more);
  const bool locks = command == F_OFD_SETLK || command == F_SETLK;
  const bool unlocks = locks && static_cast<const struct ::flock*>(argument)->l_type == F_UNLCK;
  const bool waits = command == F_OFD_SETLKW || command == F_SETLKW || (locks && !unlocks);
  if (gyre::executor::has_current() && waits) bark("fcntl");
  return ::fcntl(fd, command, argument);
}

int gyre_watched_ioctl(int fd, unsigned long request, ...);
int gyre_watched_ioctl(int fd, unsigned long request, ...) {
  std::va_list more;
  va_start(more, request);
  void* const argument = va_arg(more, void*);
  va_end(more);
  if (gyre::executor::has_current() && request != TIOCGWINSZ) bark("ioctl");
  return ::ioctl(fd, request, argument);
}

int gyre_watched_open(const char* path, int flags, ...);
int gyre_watched_open(const char* path, int flags, ...) {
  std::va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, ::mode_t);
  va_end(more);
  if (gyre::executor::has_current()) bark("open");
  return ::open(path, flags, mode);
}

long gyre_watched_syscall(long number, ...);
long gyre_watched_syscall(long number, ...) {
  std::array<long, 6> arguments{};
  std::va_list more;
  va_start(more, number);
  for (long& each : arguments) each = va_arg(more, long);
  va_end(more);
  const long operation = arguments[1] & FUTEX_CMD_MASK;
  const bool waits = operation != FUTEX_WAKE && operation != FUTEX_WAKE_BITSET;
  const bool is_known = number == SYS_membarrier || number == SYS_get_robust_list || number == SYS_set_robust_list ||
                        number == SYS_pidfd_send_signal || (number == SYS_waitid && (arguments[3] & WNOHANG) != 0);
  if (gyre::executor::has_current() && !is_known && (number != SYS_futex || waits)) bark("syscall");
  return ::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

// Of the standard library's by their mangled names: a member function takes its object as first argument.
void watched_wait(std::condition_variable* self, std::unique_lock<std::mutex>& held) asm(
    "gyre_watched__ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");
void watched_wait(std::condition_variable* self, std::unique_lock<std::mutex>& held) {
  if (gyre::executor::has_current()) bark("std::condition_variable::wait");
  self->wait(held);
}

void watched_join(std::thread* self) asm("gyre_watched__ZNSt6thread4joinEv");
void watched_join(std::thread* self) {
  if (gyre::executor::has_current()) bark("std::thread::join");
  self->join();
}

void watched_ifstream(std::ifstream* self, const char* path, std::ios_base::openmode mode) asm(
    "gyre_watched__ZNSt14basic_ifstreamIcSt11char_traitsIcEEC1EPKcSt13_Ios_Openmode");
void watched_ifstream(std::ifstream* self, const char* path, std::ios_base::openmode mode) {
  if (gyre::executor::has_current()) bark("std::ifstream");
  ::new (self) std::ifstream(path, mode);
}

}  // extern "C"
