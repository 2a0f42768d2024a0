// SPDX-License-Identifier: MIT
// Clients by the thousand: more than the server has descriptors for, and so many short connections that one descriptor
// lost in ten thousand would show. In the suite `long` those are 100,000.
#include <gyre/net/address.hpp>
#include <gyre/net/detail/shortage_notice.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/plain_peer.hpp"
#include "../support/skip.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

enum class accepting { one_by_one, as_a_stream };
constexpr std::array ways{accepting::one_by_one, accepting::as_a_stream};

task<> echo(tcp_stream client) {
  std::array<std::byte, 256> buffer;
  while (const auto size = co_await client.read(buffer)) co_await client.write_all(std::span{buffer}.first(size));
}

task<> accept_each(tcp_listener& listener, std::size_t count, task_group& clients) {
  for (std::size_t i = 0; i < count; ++i) clients.start(echo(co_await listener.accept()));
}

task<> accept_stream_of(tcp_listener& listener, std::size_t count, task_group& clients) {
  auto incoming = listener.incoming();
  for (std::size_t i = 0; i < count; ++i) clients.start(echo((co_await incoming.next()).value()));
}

// An echo server that ends when so many clients have come and gone.
task<> serve(tcp_listener& listener, accepting how, std::size_t count) {
  co_await with_task_group([&](task_group& clients) -> task<> {
    return how == accepting::one_by_one ? accept_each(listener, count, clients)
                                        : accept_stream_of(listener, count, clients);
  });
}

// ----------------------------------------------------------------------------------------- more than there is room for

constexpr std::size_t storm_clients_count = 1'000;
constexpr ::rlim_t storm_descriptors_max = 64;

// What the server's process found wrong, as its exit status.
enum storm_finding { all_well, no_limit_to_set, busy_while_it_waits, descriptors_left };

// What it does to sleep and to try once more: a request, its answer, a sleep. All else would be work in vain. A turn
// that has resumed somebody does not sleep, which the next one does.
constexpr std::uint64_t enters_a_try_max = 4;
constexpr std::uint64_t turns_a_try_max = 2 * enters_a_try_max;
constexpr int watched_tries = 6;

// Turns until the listener was refused for want of a descriptor, and sleeps before it tries again.
void turn_until_it_waits(executor& loop) {
  while (loop.timers().empty()) loop.turn(/*may_park=*/true);
}

bool is_idle_while_it_waits(executor& loop) {
  turn_until_it_waits(loop);
  say('f');  // full
  const auto before = loop.statistics();
  for (int i = 0; i < watched_tries; ++i) {
    while (!loop.timers().empty()) loop.turn(/*may_park=*/true);
    turn_until_it_waits(loop);
  }
  const auto after = loop.statistics();
  return after.turns - before.turns <= turns_a_try_max * watched_tries &&
         after.enters - before.enters <= enters_a_try_max * watched_tries;
}

// UBSan opens a pipe when it first sees a type that has virtual functions. So all are seen before descriptors run out:
// those of a server, of a category of errors, of a logger.
void see_all_types(accepting how) {
  executor loop;
  auto listener = tcp_listener::bind({.at = address::loopback(0)});
  auto serving = loop.start(serve(listener, how, 1));
  loop.run([&]() -> task<> {
    auto client = co_await tcp_stream::connect(listener.local_address());
    co_await client.close();
  });
  turn_until_done(loop, serving);
  serving.get();
  log::warning("said before descriptors run out: " + std::error_code{ENOENT, std::system_category()}.message());
}

// The server's process: few descriptors, and clients that say nothing until it was seen to wait.
int serve_with_few_descriptors(tcp_listener& listener, accepting how) {
  see_all_types(how);
  const ::rlimit few{.rlim_cur = storm_descriptors_max, .rlim_max = storm_descriptors_max};
  if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return no_limit_to_set;
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  auto serving = loop.start(serve(listener, how, storm_clients_count));
  const bool is_idle = is_idle_while_it_waits(loop);
  say('w');  // was seen to wait
  turn_until_done(loop, serving);
  serving.get();
  loop.run_ready();
  if (!is_idle) return busy_while_it_waits;
  return open_descriptors_count() == open_before ? all_well : descriptors_left;
}

// So that this process can be 1,000 clients.
bool may_open(::rlim_t count) {
  ::rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min(limit.rlim_max, std::max(limit.rlim_cur, count));
  const bool may = ::setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= count;
  if (!may) SAY_SKIPPED("RLIMIT_NOFILE does not allow ", count, " descriptors");
  return may;
}

// Sleeps until one of them has something to take, and takes it; until all are at their ends.
void hear_all(std::vector<plain_peer>& clients) {
  for (;;) {
    std::vector<::pollfd> waiting;
    for (auto& each : clients) {
      each.take();
      if (!each.at_end() && each.error() == 0) waiting.push_back({each.fd().get(), POLLIN, 0});
    }
    if (waiting.empty()) return;
    ::poll(waiting.data(), waiting.size(), -1);
  }
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// ---------------------------------------------------------------------- how many at a time, by the server's own choice

constexpr std::size_t served_at_once = 10;

// Says how many are served at a time, itself among them.
class counted {
 public:
  explicit counted(std::size_t& now, std::size_t& most) : now_{now} { most = std::max(most, ++now); }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --now_; }

 private:
  std::size_t& now_;
};

task<> echo_counted(tcp_stream client, std::size_t& now, std::size_t& most) {
  const counted myself{now, most};
  co_await echo(std::move(client));
}

// Waits for room before it takes a connection, which so stays in the backlog.
task<> serve_with_room(tcp_listener& listener, std::size_t count, std::size_t& most) {
  std::size_t now = 0;
  co_await with_task_group({.max_tasks = served_at_once}, [&](task_group& clients) -> task<> {
    for (std::size_t i = 0; i < count; ++i) {
      co_await clients.room();
      clients.start(echo_counted(co_await listener.accept(), now, most));
    }
  });
}

// ----------------------------------------------------------------------------------------- one short one after another

constexpr std::size_t clients_at_once = 32;

std::size_t short_connections_count() { return std::getenv("GYRE_STRESS_LONG") == nullptr ? 5'000 : 100'000; }

// How a client leaves.
enum class leaving { closes, is_destroyed, half_closes_first, says_nothing };
constexpr std::array leavings{leaving::closes, leaving::is_destroyed, leaving::half_closes_first,
                              leaving::says_nothing};

task<> ask_and_check(tcp_stream& server) {
  std::array<std::byte, 64> answer;
  const std::string question(answer.size(), 'q');
  co_await server.write_all(bytes_of(question));
  co_await server.read_exactly(answer);
  CHECK(text_of(answer) == question);
}

task<> one_short_connection(address where, leaving how) {
  auto server = co_await tcp_stream::connect(where);
  std::array<std::byte, 1> rest;
  if (how != leaving::says_nothing) co_await ask_and_check(server);
  if (how == leaving::half_closes_first) {
    server.shutdown_write();
    CHECK(co_await server.read(rest) == 0);
  }
  if (how != leaving::is_destroyed) co_await server.close();
}

// Who closes first keeps the port for a minute. So there are several addresses of the same server, and with each of
// them as many ports as the machine has.
address one_of_several(std::size_t index, std::uint16_t port) {
  return address::parse("127.0.0." + std::to_string(1 + index % 16)).value().with_port(port);
}

task<> connect_again_and_again(std::size_t first, std::size_t end, std::uint16_t port) {
  for (std::size_t i = first; i < end; i += clients_at_once)
    co_await one_short_connection(one_of_several(i / clients_at_once, port), leavings[i / 7 % leavings.size()]);
}

task<> connect_many(std::size_t count, std::uint16_t port) {
  co_await with_task_group([&](task_group& clients) -> task<> {
    for (std::size_t i = 0; i < clients_at_once; ++i) clients.start(connect_again_and_again(i, count, port));
    co_return;
  });
}

}  // namespace

TEST_CASE("1,000 clients of a server with 64 descriptors: all are served, it sleeps while it waits, and says so once") {
  if (!may_open(storm_clients_count + 100)) return;
  for (const auto how : ways) {
    CAPTURE(static_cast<int>(how));
    auto listener = tcp_listener::bind({.at = address::loopback(0)});
    child server{[&] { return serve_with_few_descriptors(listener, how); }};
    std::vector<plain_peer> clients;
    for (std::size_t i = 0; i < storm_clients_count; ++i) clients.emplace_back(listener.local_address());
    for (const char awaited : {'f', 'w'})
      if (server.hears() != awaited) FAIL(server.wait().errors);

    for (std::size_t i = 0; i < storm_clients_count; ++i) {
      CHECK(clients[i].send(bytes_of("client " + std::to_string(i))) > 0);
      clients[i].shutdown_write();
    }
    hear_all(clients);

    const auto ended = server.wait();
    CHECK(ended.exit_status == all_well);
    CHECK(count_of(ended.errors, "Too many open files") == 1);
    for (std::size_t i = 0; i < storm_clients_count; ++i) {
      CHECK(clients[i].error() == 0);
      CHECK(text_of(clients[i].received()) == "client " + std::to_string(i));
    }
  }
}

TEST_CASE("a server that waits for room before it accepts has so many connections open, and serves all") {
  constexpr std::size_t clients_count = 200;
  executor loop;
  auto listener = tcp_listener::bind({.at = address::loopback(0)});
  std::vector<plain_peer> clients;
  for (std::size_t i = 0; i < clients_count; ++i) clients.emplace_back(listener.local_address());
  const std::size_t open_before = open_descriptors_count();
  std::size_t most_at_once = 0;

  auto serving = loop.start(serve_with_room(listener, clients_count, most_at_once));
  loop.run_ready();
  CHECK(open_descriptors_count() == open_before + served_at_once);
  for (const auto& each : clients) {
    CHECK(each.send(bytes_of("hello")) == 5);
    each.shutdown_write();
  }
  turn_until_done(loop, serving);
  serving.get();
  hear_all(clients);

  CHECK(most_at_once == served_at_once);
  for (const auto& each : clients) CHECK(text_of(each.received()) == "hello");
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a shortage is news when none was for a minute, however long the storm of those before has lasted") {
  using clock = std::chrono::steady_clock;
  using namespace std::chrono_literals;
  const auto at = [](std::chrono::seconds time) { return clock::time_point{1h + time}; };
  detail::shortage_notice notice;

  CHECK(notice.is_news(at(0s)));
  for (auto time = 0s; time <= 600s; time += 59s) CHECK(!notice.is_news(at(time)));
  CHECK(notice.is_news(at(700s)));
  CHECK(!notice.is_news(at(701s)));
}

TEST_CASE("thousands of short connections, however their clients leave, and no descriptor is left") {
  const auto count = short_connections_count();
  for (const auto how : ways) {
    CAPTURE(static_cast<int>(how));
    executor loop;
    auto listener = tcp_listener::bind({.at = address::any(0)});
    const std::size_t open_before = open_descriptors_count();

    auto serving = loop.start(serve(listener, how, count));
    loop.run(connect_many(count, listener.local_address().port()));
    turn_until_done(loop, serving);
    serving.get();
    loop.run_ready();

    CHECK(open_descriptors_count() == open_before);
    CHECK(loop.in_kernel_count() == 0);
  }
}

}  // namespace gyre::net
