// SPDX-License-Identifier: MIT
// The client side of the echo benchmarks: how many messages come back, and what did each cost the server?
//
// One thread, epoll. Closed loop: every connection keeps `depth` messages under way and sends the next when one has
// come back whole. Each byte that comes back is compared. Ends by letting all messages come home, so that no
// server ever sees a reset. Prints one JSON object.
#include "support/die.hpp"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <string_view>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
using seconds = std::chrono::duration<double>;

struct load_options {
  std::uint16_t port = 0;
  std::size_t connections_count = 64;
  std::size_t message_bytes = 64;
  std::uint64_t depth = 1;
  // Either so many messages in all, or so much time after a warm-up.
  std::uint64_t messages_count = 0;
  seconds duration{1};
  seconds warmup{0.2};
  seconds time_limit{120};  // more than this is a hang: exit status 1
  pid_t server = 0;         // whose CPU time to read; 0: nobody's
};

load_options parse(int argc, char** argv) {
  static constexpr option names[] = {
      {"port", required_argument, nullptr, 'p'},       {"connections", required_argument, nullptr, 'c'},
      {"bytes", required_argument, nullptr, 'b'},      {"depth", required_argument, nullptr, 'd'},
      {"messages", required_argument, nullptr, 'm'},   {"seconds", required_argument, nullptr, 's'},
      {"warmup", required_argument, nullptr, 'w'},     {"time-limit", required_argument, nullptr, 't'},
      {"server-pid", required_argument, nullptr, 'P'}, {}};
  load_options options;
  const auto count = [] { return std::strtoull(optarg, nullptr, 10); };
  const auto time = [] { return seconds{std::strtod(optarg, nullptr)}; };
  for (int name; (name = getopt_long(argc, argv, "", names, nullptr)) != -1;) {
    switch (name) {
      case 'p':
        options.port = static_cast<std::uint16_t>(count());
        break;
      case 'c':
        options.connections_count = count();
        break;
      case 'b':
        options.message_bytes = count();
        break;
      case 'd':
        options.depth = count();
        break;
      case 'm':
        options.messages_count = count();
        break;
      case 's':
        options.duration = time();
        break;
      case 'w':
        options.warmup = time();
        break;
      case 't':
        options.time_limit = time();
        break;
      case 'P':
        options.server = static_cast<pid_t>(count());
        break;
      default:
        options.port = 0;
    }
  }
  if (options.port == 0 || options.connections_count == 0 || options.message_bytes == 0 || options.depth == 0) {
    std::fprintf(
        stderr,
        "usage: %s --port N [--connections N] [--bytes N] [--depth N] [--messages N | --seconds S --warmup S]\n"
        "       [--time-limit S] [--server-pid PID]\n",
        argv[0]);
    std::exit(2);
  }
  return options;
}

struct connection {
  int fd = -1;
  std::uint64_t to_start = 0;      // messages that it may still start
  std::uint64_t unsent_bytes = 0;  // started, and not yet in the socket
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  bool waits_for_room = false;
};

// The bytes of a stream repeat with each message. Long enough to send or compare from any place in a message.
class pattern {
 public:
  explicit pattern(std::size_t message_bytes) : message_bytes_{message_bytes}, bytes_(message_bytes + span_bytes_max) {
    for (std::size_t index = 0; index < bytes_.size(); ++index)
      bytes_[index] = static_cast<char>((index % message_bytes) * 131 + 7);
  }
  static constexpr std::size_t span_bytes_max = 65536;
  const char* at(std::uint64_t offset) const noexcept { return bytes_.data() + offset % message_bytes_; }

 private:
  std::size_t message_bytes_;
  std::vector<char> bytes_;
};

class load {
 public:
  explicit load(const load_options& options) : options_{options}, pattern_{options.message_bytes} {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) bench::die("epoll_create1", errno);
    if (options.server != 0 && clock_getcpuclockid(options.server, &server_clock_) != 0)
      bench::die("clock_getcpuclockid", ESRCH);
    allow_descriptors();
    connections_.resize(options.connections_count);
    for (connection& peer : connections_) connect_one(peer);
  }

  int run() {
    const bool is_counted = options_.messages_count > 0;
    give_messages(is_counted);
    const auto begin = clock_type::now();
    auto measured_from = is_counted ? begin : begin + std::chrono::duration_cast<clock_type::duration>(options_.warmup);
    const auto measured_to = measured_from + std::chrono::duration_cast<clock_type::duration>(options_.duration);
    const auto limit = begin + std::chrono::duration_cast<clock_type::duration>(options_.time_limit);
    mark from;
    mark to;
    bool is_measuring = false;
    if (is_counted) {
      from = take_mark();
      is_measuring = true;
    }
    for (connection& peer : connections_) start_messages(peer, options_.depth);

    while (under_way_count_ > 0) {
      turn();
      const auto now = clock_type::now();
      if (now >= limit) bench::die("the messages did not come back", ETIMEDOUT);
      if (is_counted) continue;
      if (!is_measuring && now >= measured_from) {
        from = take_mark();
        is_measuring = true;
      } else if (is_measuring && to.messages_count == 0 && now >= measured_to) {
        to = take_mark();
        for (connection& peer : connections_) peer.to_start = 0;
      }
    }
    if (is_counted) to = take_mark();
    report(from, to);
    for (const connection& peer : connections_) close(peer.fd);
    close(epoll_);
    return EXIT_SUCCESS;
  }

 private:
  struct mark {
    clock_type::time_point time{};
    std::uint64_t messages_count = 0;
    double server_cpu_ns = 0;
  };

  static void allow_descriptors() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);  // when refused, connect says so
  }

  void connect_one(connection& peer) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer.fd < 0) bench::die("socket", errno);
    const int on = 1;
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(peer.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      bench::die("connect", errno);
    watch(EPOLL_CTL_ADD, peer, EPOLLIN);
  }

  void watch(int operation, connection& peer, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &peer;
    if (epoll_ctl(epoll_, operation, peer.fd, &event) != 0) bench::die("epoll_ctl", errno);
  }

  // Shares the messages out, the remainder to the first connections.
  void give_messages(bool is_counted) {
    const std::uint64_t share = options_.messages_count / connections_.size();
    const std::uint64_t remainder = options_.messages_count % connections_.size();
    for (std::size_t index = 0; index < connections_.size(); ++index)
      connections_[index].to_start = is_counted ? share + (index < remainder ? 1 : 0) : UINT64_MAX;
  }

  void start_messages(connection& peer, std::uint64_t count) {
    const std::uint64_t started = std::min(count, peer.to_start);
    peer.to_start -= started;
    peer.unsent_bytes += started * options_.message_bytes;
    under_way_count_ += started;
    send_unsent(peer);
  }

  void send_unsent(connection& peer) {
    while (peer.unsent_bytes > 0) {
      const auto size = std::min<std::uint64_t>(peer.unsent_bytes, pattern::span_bytes_max);
      const ssize_t sent = send(peer.fd, pattern_.at(peer.sent_bytes), size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno != EAGAIN) bench::die("send", errno);
      if (sent < 0) break;
      peer.sent_bytes += static_cast<std::uint64_t>(sent);
      peer.unsent_bytes -= static_cast<std::uint64_t>(sent);
    }
    const bool waits_for_room = peer.unsent_bytes > 0;
    if (waits_for_room == peer.waits_for_room) return;
    peer.waits_for_room = waits_for_room;
    watch(EPOLL_CTL_MOD, peer, waits_for_room ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  void receive(connection& peer) {
    const ssize_t received = recv(peer.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return;
    if (received < 0) bench::die("recv", errno);
    if (received == 0) bench::die("the server closed a connection", EPIPE);
    const auto size = static_cast<std::size_t>(received);
    if (std::memcmp(buffer_.data(), pattern_.at(peer.received_bytes), size) != 0)
      bench::die("the bytes that came back differ", EBADMSG);
    const std::uint64_t whole_before = peer.received_bytes / options_.message_bytes;
    peer.received_bytes += size;
    const std::uint64_t arrived = peer.received_bytes / options_.message_bytes - whole_before;
    done_count_ += arrived;
    under_way_count_ -= arrived;
    if (arrived > 0) start_messages(peer, arrived);
  }

  void turn() {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1000);
    if (count < 0 && errno != EINTR) bench::die("epoll_wait", errno);
    for (int index = 0; index < count; ++index) {
      const epoll_event& event = events[static_cast<std::size_t>(index)];
      connection& peer = *static_cast<connection*>(event.data.ptr);
      if ((event.events & EPOLLOUT) != 0) send_unsent(peer);
      if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) receive(peer);
    }
  }

  // The server's clock is read exactly, all of its threads included; /proc/PID/schedstat lags by up to a tick.
  mark take_mark() const {
    mark now{.time = clock_type::now(), .messages_count = done_count_};
    if (options_.server != 0) {
      timespec cpu{};
      if (clock_gettime(server_clock_, &cpu) != 0) bench::die("the server's clock", errno);
      now.server_cpu_ns = static_cast<double>(cpu.tv_sec) * 1e9 + static_cast<double>(cpu.tv_nsec);
    }
    return now;
  }

  void report(const mark& from, const mark& to) const {
    const double elapsed = seconds{to.time - from.time}.count();
    const auto messages = static_cast<double>(to.messages_count - from.messages_count);
    std::printf(R"({"connections": %zu, "bytes": %zu, "depth": %llu, "messages": %.0f, "seconds": %.6f, )"
                R"("messages_per_second": %.1f, "server_cpu_ns_per_message": %.1f})"
                "\n",
                connections_.size(), options_.message_bytes, static_cast<unsigned long long>(options_.depth), messages,
                elapsed, messages / elapsed, (to.server_cpu_ns - from.server_cpu_ns) / messages);
  }

  load_options options_;
  pattern pattern_;
  int epoll_ = -1;
  clockid_t server_clock_{};
  std::vector<connection> connections_;
  std::array<char, pattern::span_bytes_max> buffer_;
  std::uint64_t under_way_count_ = 0;
  std::uint64_t done_count_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  static load generator{parse(argc, argv)};
  return generator.run();
}
