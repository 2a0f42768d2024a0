// SPDX-License-Identifier: MIT
// What does an echo cost without io_uring: epoll, level-triggered, non-blocking sockets, one buffer for all?
//
// Not a floor for gyre, but the measure that every reader knows. It leaves out --deadline.
#include "raw_listener.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <vector>

namespace {

constexpr std::size_t events_max = 256;

// Bytes that did not fit into a client's socket. Empty nearly always, so kept apart from the hot path.
struct backlog {
  std::vector<std::byte> bytes;
};

struct server {
  int epoll = -1;
  int listener = -1;
  bool is_counted = false;
  unsigned to_accept = 0;
  unsigned live_count = 0;
  std::vector<backlog> backlogs;  // by descriptor
  std::array<std::byte, bench::read_bytes_max> buffer;
};

void watch(server& self, int operation, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(self.epoll, operation, fd, &event) != 0) bench::die("epoll_ctl", errno);
}

void accept_one(server& self) {
  const int fd = accept4(self.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EAGAIN || errno == ECONNABORTED) return;
    bench::die("accept4", errno);
  }
  if (static_cast<std::size_t>(fd) >= self.backlogs.size()) self.backlogs.resize(static_cast<std::size_t>(fd) + 1);
  self.backlogs[static_cast<std::size_t>(fd)].bytes.clear();
  watch(self, EPOLL_CTL_ADD, fd, EPOLLIN);
  ++self.live_count;
  if (self.is_counted && --self.to_accept == 0) watch(self, EPOLL_CTL_DEL, self.listener, 0);
}

void end(server& self, int fd) {
  close(fd);
  --self.live_count;
}

// Sends what fits. The rest waits for EPOLLOUT, and no more is read until it has gone.
void echo(server& self, int fd) {
  const ssize_t received = recv(fd, self.buffer.data(), self.buffer.size(), 0);
  if (received < 0 && errno == EAGAIN) return;
  if (received <= 0) return end(self, fd);
  const ssize_t sent = send(fd, self.buffer.data(), static_cast<std::size_t>(received), MSG_NOSIGNAL);
  if (sent == received) return;
  if (sent < 0 && errno != EAGAIN) return end(self, fd);
  const auto begin = self.buffer.begin() + (sent > 0 ? sent : 0);
  self.backlogs[static_cast<std::size_t>(fd)].bytes.assign(begin, self.buffer.begin() + received);
  watch(self, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

void send_backlog(server& self, int fd) {
  auto& bytes = self.backlogs[static_cast<std::size_t>(fd)].bytes;
  const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) return;
  if (sent < 0) return end(self, fd);
  bytes.erase(bytes.begin(), bytes.begin() + sent);
  if (bytes.empty()) watch(self, EPOLL_CTL_MOD, fd, EPOLLIN);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_options options = bench::parse_server_options(argc, argv);
  if (options.deadline) {
    std::fprintf(stderr, "%s has no deadlines\n", argv[0]);
    return 2;
  }
  server self;
  self.is_counted = options.clients_count > 0;
  self.to_accept = options.clients_count;
  self.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (self.epoll < 0) bench::die("epoll_create1", errno);
  self.listener = bench::listen_on_loopback(options.port, SOCK_NONBLOCK);
  watch(self, EPOLL_CTL_ADD, self.listener, EPOLLIN);

  std::array<epoll_event, events_max> events;
  while (!self.is_counted || self.to_accept > 0 || self.live_count > 0) {
    const int count = epoll_wait(self.epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) bench::die("epoll_wait", errno);
    for (int index = 0; index < count; ++index) {
      const epoll_event& event = events[static_cast<std::size_t>(index)];
      if (event.data.fd == self.listener) accept_one(self);
      else if ((event.events & EPOLLOUT) != 0) send_backlog(self, event.data.fd);
      else echo(self, event.data.fd);
    }
  }
  close(self.epoll);
  close(self.listener);
}
