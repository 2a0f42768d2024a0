// SPDX-License-Identifier: MIT
// Two echo servers on one thread: one is written on epoll by hand, the other is gyre's, inside the first one's loop.
//
//   embed_epoll        then, elsewhere: nc 127.0.0.1 PORT, with either of the ports that it says
//
// All that the old loop has to know of gyre is four lines in serve_both(): a descriptor more, how long it may sleep, a
// call when it is awake, and when it may leave. Ctrl-C ends both.
#include <gyre/runtime/embedded.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "embedded_echo.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <system_error>

namespace {

using gyre::unique_fd;

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error{errno, std::generic_category(), what};
  return result;
}

// The other half, as many programs have it: sockets that do not block, and a state for each.
class epoll_echo {
 public:
  explicit epoll_echo(int set)
      : set_{set}, listener_{checked(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket")} {
    const sockaddr_in any_port{
        .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    checked(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any_port), sizeof any_port), "bind");
    checked(::listen(listener_.get(), SOMAXCONN), "listen");
    watch(EPOLL_CTL_ADD, listener_.get(), EPOLLIN);
  }

  std::uint16_t port() const {
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    checked(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size), "getsockname");
    return ntohs(bound.sin_port);
  }

  void handle(int fd) {
    if (fd == listener_.get()) return accept();
    const auto found = clients_.find(fd);
    if (found != clients_.end() && !echo(fd, found->second)) clients_.erase(found);
  }

  void close() {
    clients_.clear();
    listener_.reset();
  }

 private:
  struct client {
    unique_fd socket;
    std::string unsent;  // while there is some, nothing more is read
  };

  void watch(int change, int fd, std::uint32_t events) const {
    epoll_event wanted{.events = events, .data = {.fd = fd}};
    checked(::epoll_ctl(set_, change, fd, &wanted), "epoll_ctl");
  }

  void accept() {
    unique_fd socket{::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!socket) return;  // it has gone again
    const int fd = socket.get();
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    clients_.emplace(fd, client{std::move(socket), {}});
  }

  // Returns whether the client stays.
  bool echo(int fd, client& from) const {
    if (from.unsent.empty()) {
      std::array<char, 4096> buffer;
      const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (count < 0) return errno == EAGAIN;
      if (count == 0) return false;
      from.unsent.assign(buffer.data(), static_cast<std::size_t>(count));
    }
    const ssize_t sent = ::send(fd, from.unsent.data(), from.unsent.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent > 0) from.unsent.erase(0, static_cast<std::size_t>(sent));
    watch(EPOLL_CTL_MOD, fd, from.unsent.empty() ? EPOLLIN : EPOLLOUT);
    return true;
  }

  int set_;
  unique_fd listener_;
  std::map<int, client> clients_;
};

unique_fd interrupts() {
  sigset_t awaited;
  ::sigemptyset(&awaited);
  ::sigaddset(&awaited, SIGINT);
  ::sigaddset(&awaited, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &awaited, nullptr);
  return unique_fd{checked(::signalfd(-1, &awaited, SFD_CLOEXEC), "signalfd")};
}

void serve_both() {
  const unique_fd set{checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  const unique_fd stop = interrupts();
  epoll_echo others{set.get()};
  gyre::executor loop;
  gyre::embedded inside{loop};
  auto served = loop.start(embedded_echo::serve(embedded_echo::listen(others.port())));

  for (const int fd : {stop.get(), inside.poll_fd()}) {
    epoll_event readable{.events = EPOLLIN, .data = {.fd = fd}};
    checked(::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &readable), "epoll_ctl");
  }
  while (!served.done()) {
    std::array<epoll_event, 64> ready;
    const int count = ::epoll_wait(set.get(), ready.data(), ready.size(), inside.next_wakeup_ms());
    for (int i = 0; i < count; ++i) {
      const int fd = ready[static_cast<std::size_t>(i)].data.fd;
      if (fd == stop.get()) {
        signalfd_siginfo taken;
        checked(static_cast<int>(::read(fd, &taken, sizeof taken)), "read");
        others.close();
        served.cancel();  // next_wakeup() sees it; run_ready() below does it
      } else if (fd != inside.poll_fd()) {
        others.handle(fd);
      }
    }
    inside.run_ready();
  }
}

}  // namespace

int main() {
  try {
    serve_both();
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "embed_epoll: %s\n", error.what()), 1;
  }
}
