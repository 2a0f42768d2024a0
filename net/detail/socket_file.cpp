// SPDX-License-Identifier: MIT
// Binding to a path and all that belongs to it, by calls that may wait for the file system.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/detail/socket_file.hpp>
#include <gyre/net/detail/unix_calls.hpp>
#include <gyre/runtime/offload.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace gyre::net::detail {
namespace {

[[noreturn]] void fail(const char* what, const unix_address& at) {
  throw_socket_error((std::string{what} + ' ' + at.to_string()).c_str());
}

// open(2) and the others want a NUL behind it, which the address need not have.
std::string path_of(const unix_address& at) { return std::string{at.name()}; }

struct file_found {
  file_identity identity;
  ::mode_t mode = 0;
};

// What is at the path, itself: a link is no socket.
std::optional<file_found> look_at(const unix_address& at) {
  struct ::stat found{};
  if (::lstat(path_of(at).c_str(), &found) == 0)
    return file_found{.identity = {.device = found.st_dev, .number = found.st_ino}, .mode = found.st_mode};
  if (errno != ENOENT) fail("lstat", at);
  return std::nullopt;
}

void remove(const unix_address& at) {
  if (::unlink(path_of(at).c_str()) != 0 && errno != ENOENT) fail("unlink", at);
}

// Who holds it keeps it for a few system calls. So it is not waited for in the kernel, where nobody could end the wait
// for a program that locks the folder for a reason of its own.
unique_fd lock_folder_of(const unix_address& at) {
  constexpr int tries_max = 200;
  constexpr auto between_tries = std::chrono::milliseconds{5};
  const std::string path = path_of(at);
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  unique_fd locked{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!locked) fail("the folder of", at);
  for (int tries = 1; ::flock(locked.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK || tries == tries_max) fail("lock of the folder of", at);
    std::this_thread::sleep_for(between_tries);
  }
  return locked;
}

// Whether no socket is behind the file. Whatever else the kernel says, somebody may be there.
bool is_abandoned(const unix_address& at) {
  const unique_fd probe = make_unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
  return ::connect(probe.get(), at.data(), at.size()) != 0 && errno == ECONNREFUSED;
}

// With the folder locked.
void remove_if_stale(const unix_address& at) {
  const auto before = look_at(at);
  if (!before) return;
  if (!S_ISSOCK(before->mode)) {  // of a file of another sort the kernel says that it refuses, too
    errno = EEXIST;
    fail("no socket:", at);
  }
  if (!is_abandoned(at)) return;
  const auto after = look_at(at);
  if (after && after->identity == before->identity) remove(at);
}

// The file itself, and no other that somebody has put there meanwhile, nor what a link at its place leads to: chmod(2)
// follows links.
void change_permissions(const unix_address& at, const file_identity& of, ::mode_t permissions) {
  const unique_fd file{::open(path_of(at).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  struct ::stat found{};
  if (!file || ::fstat(file.get(), &found) != 0) fail("permissions of", at);
  if (of != file_identity{.device = found.st_dev, .number = found.st_ino}) {
    errno = EADDRINUSE;
    fail("permissions of", at);
  }
  const std::string name = "/proc/self/fd/" + std::to_string(file.get());
  if (::chmod(name.c_str(), permissions) != 0) fail("permissions of", at);
}

// Somebody who has found a socket there that did not listen yet may have taken it for an abandoned one.
void must_still_be(const unix_address& at, const file_identity& made) {
  const auto now = look_at(at);
  if (now && now->identity == made) return;
  errno = EADDRINUSE;
  fail("bind", at);
}

void remove_if_still(const unix_address& at, const file_identity& made) noexcept {
  struct ::stat found{};
  const std::string path = path_of(at);
  const bool is_there = ::lstat(path.c_str(), &found) == 0;
  if (is_there && made == file_identity{.device = found.st_dev, .number = found.st_ino}) ::unlink(path.c_str());
}

void listen_if_wanted(const unique_fd& socket, const socket_binding& how) {
  if (how.backlog && ::listen(socket.get(), *how.backlog) != 0) fail("listen", how.at);
}

void bind(const unique_fd& socket, const unix_address& at) {
  if (::bind(socket.get(), at.data(), at.size()) != 0) fail("bind", at);
}

// The file is made with the permissions of the socket less the umask: never with more than was asked for. What the
// umask takes away is given back before anybody can connect.
file_found bind_with_permissions(const unique_fd& socket, const socket_binding& how) {
  if (how.permissions && ::fchmod(socket.get(), *how.permissions) != 0) fail("fchmod", how.at);
  bind(socket, how.at);
  const auto made = look_at(how.at);
  if (!made) {
    errno = ENOENT;
    fail("bind", how.at);
  }
  return *made;
}

bound_socket bind_to_path(const socket_binding& how) {
  unique_fd socket = make_unix_socket(how.type);
  unique_fd lock;
  if (how.replace_stale) {
    lock = lock_folder_of(how.at);
    remove_if_stale(how.at);
  }
  const file_found made = bind_with_permissions(socket, how);
  try {
    const bool is_as_asked = !how.permissions || (made.mode & 07777U) == *how.permissions;
    if (!is_as_asked) change_permissions(how.at, made.identity, *how.permissions);
    listen_if_wanted(socket, how);
    must_still_be(how.at, made.identity);
  } catch (...) {
    remove_if_still(how.at, made.identity);
    throw;
  }
  return {.socket = std::move(socket), .file = made.identity};
}

}  // namespace

task<bound_socket> bind_unix_socket(socket_binding how) {
  if (how.at.is_path()) co_return co_await offload([how] { return bind_to_path(how); });
  unique_fd socket = make_unix_socket(how.type);
  bind(socket, how.at);
  listen_if_wanted(socket, how);
  co_return bound_socket{.socket = std::move(socket), .file = std::nullopt};
}

task<> remove_socket_file(unix_address at, file_identity file) {
  co_await offload([at, file] {
    unique_fd lock;
    try {
      lock = lock_folder_of(at);
    } catch (const std::system_error&) {  // a folder that may be written to and not read: the look has to do
    }
    const auto found = look_at(at);
    if (found && found->identity == file) remove(at);
  });
}

}  // namespace gyre::net::detail
