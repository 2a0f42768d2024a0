// SPDX-License-Identifier: MIT
// Resolves names with c-ares: another library's sockets in an epoll set, and a coroutine that awaits the set.
//
//   resolve example.org example.net
//   resolve --server 127.0.0.1:5353 example.org
//
// One line a name, in the order in which they were asked for; all are under way at once, on one thread. c-ares does no
// waiting: it tells which sockets it wants to hear of, and for how long. That is all that a library has to do to be
// driven by a coroutine. While nothing is asked, nobody waits for anything. (A program of gyre's that has no reason to
// prefer c-ares takes gyre::net::resolver.)
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/epoll.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>
#include <gyre/sync/auto_event.hpp>
#include <gyre/sync/event.hpp>

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

void check(int status) {
  if (status != ARES_SUCCESS) throw std::runtime_error{::ares_strerror(status)};
}

class resolver {
 public:
  explicit resolver(const char* servers_or_null) : set_{::epoll_create1(EPOLL_CLOEXEC)} {
    if (!set_) throw std::system_error{errno, std::generic_category(), "epoll_create1"};
    ::ares_options options{};
    options.timeout = 500;  // milliseconds, of the first try
    options.tries = 3;
    options.sock_state_cb = &watch;
    options.sock_state_cb_data = this;
    check(::ares_init_options(&channel_, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB));
    if (servers_or_null != nullptr) check(::ares_set_servers_ports_csv(channel_, servers_or_null));
  }
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;
  ~resolver() { ::ares_destroy(channel_); }  // tells those that are under way, and closes what it has open

  /// Its addresses as text. Throws where there are none, with c-ares's words. A coroutine that is stopped leaves; its
  /// answer comes, and concerns nobody.
  gyre::task<std::vector<std::string>> resolve(const std::string& name) {
    const auto asked = std::make_shared<query>();
    const ares_addrinfo_hints any{.ai_flags = 0, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = 0};
    ++pending_count_;
    ::ares_getaddrinfo(channel_, name.c_str(), nullptr, &any, &answered, new answer{*this, asked});
    begun_.set();
    co_await asked->has_ended.wait();
    check(asked->status);
    co_return asked->addresses;
  }

  /// Drives it, until it is stopped: one coroutine.
  gyre::task<> serve() {
    for (;;) {
      while (pending_count_ == 0) co_await begun_.wait();
      std::array<::epoll_event, 16> ready;
      const auto count = co_await gyre::move_on_after(time_left(), gyre::ops::epoll_wait{set_, ready});
      if (!count) ::ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // it was time
      for (const auto& each : std::span{ready}.first(count.value_or(0))) {
        const bool readable = (each.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
        const bool writable = (each.events & EPOLLOUT) != 0;
        ::ares_process_fd(channel_, readable ? each.data.fd : ARES_SOCKET_BAD,
                          writable ? each.data.fd : ARES_SOCKET_BAD);
      }
    }
  }

 private:
  struct query {
    gyre::sync::local_event has_ended;
    int status = ARES_SUCCESS;
    std::vector<std::string> addresses;
  };
  struct answer {
    resolver& from;
    std::shared_ptr<query> to;
  };

  // c-ares opens a socket, changes what it wants of it, or is about to close it.
  static void watch(void* self, ares_socket_t fd, int readable, int writable) {
    const int set = static_cast<resolver*>(self)->set_.get();
    ::epoll_event wanted{
        .events = (readable != 0 ? std::uint32_t{EPOLLIN} : 0U) | (writable != 0 ? std::uint32_t{EPOLLOUT} : 0U),
        .data = {.fd = fd}};
    if (wanted.events == 0) ::epoll_ctl(set, EPOLL_CTL_DEL, fd, nullptr);
    else if (::epoll_ctl(set, EPOLL_CTL_MOD, fd, &wanted) != 0) ::epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted);
  }

  static void answered(void* given, int status, int, ares_addrinfo* found) {
    const std::unique_ptr<answer> mine{static_cast<answer*>(given)};
    --mine->from.pending_count_;
    mine->to->status = status;
    for (auto* each = found != nullptr ? found->nodes : nullptr; each != nullptr; each = each->ai_next)
      mine->to->addresses.push_back(text_of(*each));
    ::ares_freeaddrinfo(found);
    mine->to->has_ended.set();
  }

  static std::string text_of(const ares_addrinfo_node& node) {
    const void* const bytes = node.ai_family == AF_INET6
                                  ? static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(node.ai_addr)->sin6_addr)
                                  : &reinterpret_cast<sockaddr_in*>(node.ai_addr)->sin_addr;
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(node.ai_family, bytes, text.data(), text.size());
    return text.data();
  }

  // Until it wants to try again. Somebody who asks meanwhile may want that earlier: so no longer than a while.
  std::chrono::microseconds time_left() {
    ::timeval longest{.tv_sec = 0, .tv_usec = 250'000};
    ::timeval left{};
    const ::timeval& told = *::ares_timeout(channel_, &longest, &left);
    return std::chrono::seconds{told.tv_sec} + std::chrono::microseconds{told.tv_usec};
  }

  gyre::unique_fd set_;
  ares_channel channel_ = nullptr;
  int pending_count_ = 0;
  gyre::sync::local_auto_event begun_;
};

gyre::task<> resolve_into(std::string& line, resolver& names, std::string name) {
  line = name;
  try {
    const std::vector<std::string> addresses = co_await names.resolve(name);
    for (const auto& each : addresses) line += " " + each;
  } catch (const std::runtime_error& error) {
    line += std::string{": "} + error.what();
  }
}

gyre::task<int> resolve_all(const char* servers_or_null, std::span<char* const> wanted) {
  resolver names{servers_or_null};
  std::vector<std::string> lines(wanted.size());
  co_await gyre::with_task_group([&](gyre::task_group& background) -> gyre::task<> {
    background.start(names.serve());
    co_await gyre::with_task_group([&](gyre::task_group& queries) -> gyre::task<> {
      for (std::size_t i = 0; i < wanted.size(); ++i) queries.start(resolve_into(lines[i], names, wanted[i]));
      co_return;
    });
    background.cancel();
  });
  for (const auto& each : lines) std::puts(each.c_str());
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::span<char* const> arguments{argv + 1, static_cast<std::size_t>(argc - 1)};
  const char* servers_or_null = nullptr;
  if (arguments.size() > 1 && std::string_view{arguments[0]} == "--server") {
    servers_or_null = arguments[1];
    arguments = arguments.subspan(2);
  }
  if (arguments.empty()) return std::fputs("usage: resolve [--server ADDRESS:PORT] NAME...\n", stderr), 2;
  try {
    check(::ares_library_init(ARES_LIB_INIT_ALL));
    return gyre::run(resolve_all(servers_or_null, arguments));
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "resolve: %s\n", error.what()), 1;
  }
}
