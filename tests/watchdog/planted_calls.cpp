// SPDX-License-Identifier: MIT
// Each call as somebody would make it who has not thought of the others on the executor. What they answer is nothing
// to the watchdog.
#include "planted_calls.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <fstream>
#include <mutex>
#include <thread>

namespace gyre::test {
namespace {

std::array<char, 4096> bytes;  // where answers go

std::size_t read_some(int fd) { return static_cast<std::size_t>(::read(fd, bytes.data(), bytes.size())); }

int lock_by(short type, int fd) {
  struct ::flock wanted{};
  wanted.l_type = type;
  wanted.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &wanted);
}

int bind_to(const char* path) {
  ::sockaddr_un at{};
  at.sun_family = AF_UNIX;
  at.sun_path[1] = 'x';  // without a path: a name of the machine's, which begins with NUL
  for (std::size_t i = 0; path[i] != '\0'; ++i) at.sun_path[i] = path[i];
  const int made = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return ::bind(made, reinterpret_cast<const ::sockaddr*>(&at), sizeof at);
}

int connect_from(int made) {
  ::sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = 9;
  to.sin_addr.s_addr = 0x0100007f;
  return ::connect(made, reinterpret_cast<const ::sockaddr*>(&to), sizeof to);
}

void wait_for_nobody() {
  std::mutex lock;
  std::condition_variable changed;
  std::unique_lock held{lock};
  changed.wait(held);
}

constexpr std::array that_wait{
    planted_call{"open", [](const planted_scene& on) { ::open(on.folder.c_str(), O_RDONLY | O_CLOEXEC); }},
    planted_call{"close", [](const planted_scene& on) { ::close(on.file); }},
    planted_call{"read", [](const planted_scene& on) { read_some(on.file); }},
    planted_call{"read", [](const planted_scene& on) { read_some(on.quiet_pipe); }},
    planted_call{"write", [](const planted_scene& on) { static_cast<void>(::write(on.file, "x", 1)); }},
    planted_call{"pread", [](const planted_scene& on) { static_cast<void>(::pread(on.file, bytes.data(), 1, 0)); }},
    planted_call{"lseek", [](const planted_scene& on) { ::lseek(on.file, 0, SEEK_HOLE); }},
    planted_call{"fsync", [](const planted_scene& on) { ::fsync(on.file); }},
    planted_call{"fcntl", [](const planted_scene& on) { lock_by(F_WRLCK, on.file); }},
    planted_call{"ioctl", [](const planted_scene& on) { ::ioctl(on.file, FICLONE, on.file_to_read); }},
    planted_call{"statx",
                 [](const planted_scene& on) {
                   struct ::statx about{};
                   ::statx(AT_FDCWD, on.folder.c_str(), 0, STATX_SIZE, &about);
                 }},
    planted_call{"recv", [](const planted_scene& on) { ::recv(on.datagrams, bytes.data(), 1, 0); }},
    planted_call{"splice",
                 [](const planted_scene& on) {
                   static_cast<void>(::splice(on.quiet_pipe, nullptr, on.file, nullptr, 1, SPLICE_F_NONBLOCK));
                 }},
    planted_call{"bind", [](const planted_scene& on) { bind_to((on.folder + "/socket").c_str()); }},
    planted_call{"connect",
                 [](const planted_scene&) { connect_from(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }},
    planted_call{"getaddrinfo",
                 [](const planted_scene&) {
                   ::addrinfo* found = nullptr;
                   ::getaddrinfo("localhost", nullptr, nullptr, &found);
                 }},
    planted_call{"syscall", [](const planted_scene&) { ::syscall(SYS_sync); }},
    planted_call{"std::condition_variable::wait", [](const planted_scene&) { wait_for_nobody(); }},
    planted_call{"std::thread::join", [](const planted_scene&) { std::thread{[] {}}.join(); }},
    planted_call{"std::ifstream", [](const planted_scene&) { std::ifstream{"/proc/self/status"}; }},
};

constexpr std::array that_do_not{
    planted_call{"close", [](const planted_scene& on) { ::close(on.file_to_read); }},
    planted_call{"read", [](const planted_scene& on) { read_some(on.quiet_queue); }},
    planted_call{"lseek", [](const planted_scene& on) { ::lseek(on.file, 0, SEEK_SET); }},
    planted_call{"fcntl", [](const planted_scene& on) { lock_by(F_UNLCK, on.file); }},
    planted_call{"statx",
                 [](const planted_scene& on) {
                   struct ::statx about{};
                   ::statx(on.file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &about);
                 }},
    planted_call{"recv", [](const planted_scene& on) { ::recv(on.datagrams, bytes.data(), 1, MSG_DONTWAIT); }},
    planted_call{"bind", [](const planted_scene&) { bind_to(""); }},
    planted_call{"connect", [](const planted_scene& on) { connect_from(on.datagrams); }},
};

}  // namespace

std::span<const planted_call> planted_calls_that_wait() { return that_wait; }
std::span<const planted_call> planted_calls_that_do_not() { return that_do_not; }

}  // namespace gyre::test
