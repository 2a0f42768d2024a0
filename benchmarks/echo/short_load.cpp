// SPDX-License-Identifier: MIT
// Short connections to an echo server: connect, 64 bytes there, 64 bytes back, close. How many a second, and what did
// each cost the server?
//
// One thread, epoll. So many connections are under way at a time, and a new one begins when one has ended. A client
// shuts down its side once it has its answer, and waits for the server's end, so that the server never sees a reset.
// Who closes first keeps its port for a minute: clients come from several addresses of the loopback, each of which has
// ports of its own. Prints one JSON object.
#include "support/die.hpp"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;

constexpr std::size_t message_bytes = 64;
constexpr unsigned addresses_count = 64;
constexpr double warmup_share = 0.1;

struct load_options {
  std::uint16_t port = 0;
  unsigned at_once = 32;
  unsigned connections_count = 10'000;
  pid_t server = 0;  // whose CPU time to read
};

load_options parse(int argc, char** argv) {
  static constexpr option names[] = {{"port", required_argument, nullptr, 'p'},
                                     {"at-once", required_argument, nullptr, 'a'},
                                     {"connections", required_argument, nullptr, 'c'},
                                     {"server-pid", required_argument, nullptr, 'P'},
                                     {}};
  load_options options;
  const auto count = [] { return static_cast<unsigned>(std::strtoul(optarg, nullptr, 10)); };
  for (int name; (name = getopt_long(argc, argv, "", names, nullptr)) != -1;) {
    if (name == 'p') options.port = static_cast<std::uint16_t>(count());
    if (name == 'a') options.at_once = count();
    if (name == 'c') options.connections_count = count();
    if (name == 'P') options.server = static_cast<pid_t>(count());
  }
  if (options.port == 0 || options.at_once == 0 || options.connections_count < options.at_once || options.server == 0) {
    std::fprintf(stderr, "usage: %s --port N --server-pid PID [--at-once N] [--connections N, as many at least]\n",
                 argv[0]);
    std::exit(2);
  }
  return options;
}

struct connection {
  int fd = -1;
  std::size_t received_bytes = 0;
};

class load {
 public:
  explicit load(const load_options& options) : options_{options}, connections_(options.at_once) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) bench::die("epoll_create1", errno);
    if (clock_getcpuclockid(options.server, &server_clock_) != 0) bench::die("clock_getcpuclockid", ESRCH);
    for (std::size_t index = 0; index < message_.size(); ++index) message_[index] = static_cast<char>(index * 131 + 7);
  }

  void run() {
    const auto warmup = static_cast<unsigned>(options_.connections_count * warmup_share);
    mark from = take_mark();
    for (connection& each : connections_) begin(each);
    while (ended_count_ < options_.connections_count) {
      turn();
      if (from.ended_count == 0 && ended_count_ >= warmup) from = take_mark();
    }
    report(from, take_mark());
  }

 private:
  struct mark {
    clock_type::time_point time{};
    unsigned ended_count = 0;
    double server_cpu_ns = 0;
  };

  mark take_mark() const {
    timespec cpu{};
    if (clock_gettime(server_clock_, &cpu) != 0) bench::die("the server's clock", errno);
    return {clock_type::now(), ended_count_, static_cast<double>(cpu.tv_sec) * 1e9 + static_cast<double>(cpu.tv_nsec)};
  }

  static sockaddr_in loopback(unsigned last, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + last);
    return address;
  }

  void begin(connection& client) {
    if (begun_count_ == options_.connections_count) return;
    client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (client.fd < 0) bench::die("socket", errno);
    const int on = 1;
    setsockopt(client.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const auto own = loopback(begun_count_++ % addresses_count, 0);
    if (bind(client.fd, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) bench::die("bind", errno);
    const auto server = loopback(0, options_.port);
    if (connect(client.fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0)
      bench::die("connect", errno);
    if (send(client.fd, message_.data(), message_.size(), MSG_NOSIGNAL) != ssize_t{message_bytes})
      bench::die("send", errno);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &client;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event) != 0) bench::die("epoll_ctl", errno);
  }

  void receive(connection& client) {
    std::array<char, message_bytes> buffer;
    const ssize_t received = recv(client.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return;
    if (received < 0) bench::die("recv", errno);
    if (received == 0) return end(client);
    const auto size = static_cast<std::size_t>(received);
    if (size > message_bytes - client.received_bytes ||
        std::memcmp(buffer.data(), message_.data() + client.received_bytes, size) != 0)
      bench::die("the bytes that came back differ", EBADMSG);
    client.received_bytes += size;
    if (client.received_bytes == message_bytes) shutdown(client.fd, SHUT_WR);
  }

  void end(connection& client) {
    if (client.received_bytes != message_bytes) bench::die("the server closed a connection", EPIPE);
    close(client.fd);
    ++ended_count_;
    begin(client);
  }

  void turn() {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 10'000);
    if (count == 0) bench::die("the answers did not come", ETIMEDOUT);
    if (count < 0 && errno != EINTR) bench::die("epoll_wait", errno);
    for (int index = 0; index < count; ++index)
      receive(*static_cast<connection*>(events[static_cast<std::size_t>(index)].data.ptr));
  }

  static void report(const mark& from, const mark& to) {
    const double seconds = std::chrono::duration<double>(to.time - from.time).count();
    const double count = to.ended_count - from.ended_count;
    std::printf(R"({"connections": %.0f, "connections_per_second": %.1f, "server_cpu_ns_per_connection": %.1f})"
                "\n",
                count, count / seconds, (to.server_cpu_ns - from.server_cpu_ns) / count);
  }

  load_options options_;
  int epoll_ = -1;
  clockid_t server_clock_{};
  std::array<char, message_bytes> message_;
  std::vector<connection> connections_;
  unsigned begun_count_ = 0;
  unsigned ended_count_ = 0;
};

}  // namespace

int main(int argc, char** argv) { load{parse(argc, argv)}.run(); }
