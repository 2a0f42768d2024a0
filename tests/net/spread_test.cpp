// SPDX-License-Identifier: MIT
// One port, several executors: who gets which connection, shortages, limits, failures, and stops. On real sockets; most
// with executors of one thread that the test turns, so that nothing is left to chance.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/spread.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/event.hpp>

#include "../support/captured_log.hpp"
#include "../support/executor_thread.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

tcp_listener on_loopback() { return tcp_listener::bind({.at = address::loopback(0)}); }

// Several executors of one thread, of which the first accepts and does not serve.
struct executors {
  explicit executors(std::size_t count) : all(count) {}

  std::vector<executor*> list() {
    std::vector<executor*> made;
    for (auto& each : all) made.push_back(&each);
    return made;
  }

  template <class Condition>
  void turn_until(Condition is_so) {
    while (!is_so()) turn_all();
  }

  // Until nobody has anything to do, twice in a row: what one does last may be something for another.
  void run_ready() {
    for (int idle_rounds_count = 0; idle_rounds_count < 3; ++idle_rounds_count)
      if (turn_all()) idle_rounds_count = -1;
  }

  bool turn_all() {
    bool has_more = acceptor.turn(/*may_park=*/false);
    for (auto& each : all) has_more = each.turn(/*may_park=*/false) || has_more;
    return has_more;
  }

  executor acceptor;
  std::deque<executor> all;
};

// Sessions that last until their client closes, and are noted by executor.
struct served {
  auto session() {
    return [this](tcp_stream client) -> task<> {
      {
        const std::lock_guard lock{guard};
        on.push_back(&executor::current());
      }
      std::array<std::byte, 8> buffer;
      while (co_await client.read(buffer) > 0) {
      }
    };
  }
  std::size_t count() {
    const std::lock_guard lock{guard};
    return on.size();
  }

  std::mutex guard;
  std::vector<executor*> on;  // who got the first connection, the second, …
};

std::vector<std::size_t> running(const spread_counts& counts) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < counts.size(); ++i) all.push_back(counts.running(i));
  return all;
}

bool is_refused(const address& at) {
  const unique_fd client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)};
  return ::connect(client.get(), at.data(), at.size()) != 0 && errno == ECONNREFUSED;
}

bool is_closed_by_peer(const unique_fd& client) {
  char byte = 0;
  return ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

// One listener, and a spread() of it over a few executors.
struct handed_over {
  explicit handed_over(std::size_t executors_count, std::size_t connections_max = SIZE_MAX)
      : on{executors_count}, counts{executors_count}, root{start(connections_max)} {}
  ~handed_over() {
    root.cancel();
    on.turn_until([&] { return root.done(); });
  }
  handed_over(const handed_over&) = delete;
  handed_over& operator=(const handed_over&) = delete;

  root_task<void> start(std::size_t connections_max) {
    auto listener = on_loopback();
    at = listener.local_address();
    return on.acceptor.start(spread(on.list(), std::move(listener), sessions.session(),
                                    {.connections_max = connections_max, .counts = &counts}));
  }

  // One more client, and turns until it is served.
  void connect() {
    const std::size_t before = sessions.count();
    clients.push_back(connect_to(at));
    on.turn_until([&] { return sessions.count() > before; });
  }
  void disconnect(std::size_t index) {
    const std::vector<std::size_t> before = running(counts);
    clients[index].reset();
    on.turn_until([&] { return running(counts) != before; });
  }
  [[nodiscard]] std::size_t executor_of(std::size_t connection) {
    for (std::size_t i = 0; i < on.all.size(); ++i)
      if (sessions.on[connection] == &on.all[i]) return i;
    return SIZE_MAX;
  }

  executors on;
  spread_counts counts;
  served sessions;
  address at;
  std::vector<unique_fd> clients;
  root_task<void> root;
};

}  // namespace

// --------------------------------------------------------------------------------------------------------- handed over

TEST_CASE("connections that last go round, one executor after the other") {
  handed_over subject{3};

  for (int i = 0; i < 9; ++i) subject.connect();

  for (std::size_t i = 0; i < 9; ++i) CHECK(subject.executor_of(i) == i % 3);
  CHECK(running(subject.counts) == std::vector<std::size_t>{3, 3, 3});
}

TEST_CASE("the executor that has the fewest connections gets the next, and of several the next in the list") {
  handed_over subject{3};
  for (int i = 0; i < 6; ++i) subject.connect();

  subject.disconnect(1);  // of the second executor
  subject.disconnect(4);  // of the second executor
  subject.disconnect(2);  // of the third
  CHECK(running(subject.counts) == std::vector<std::size_t>{2, 0, 1});
  for (int i = 0; i < 5; ++i) subject.connect();

  CHECK(subject.executor_of(6) == 1);
  CHECK(subject.executor_of(7) == 2);  // both have one: the next after the second
  CHECK(subject.executor_of(8) == 1);
  CHECK(subject.executor_of(9) == 2);  // all have two
  CHECK(subject.executor_of(10) == 0);
  CHECK(subject.counts.taken(1) == 4);
}

TEST_CASE("connections that do not last go round as well") {
  handed_over subject{3};

  for (std::size_t i = 0; i < 6; ++i) {
    subject.connect();
    subject.disconnect(i);
  }

  for (std::size_t i = 0; i < 6; ++i) CHECK(subject.executor_of(i) == i % 3);
  CHECK(running(subject.counts) == std::vector<std::size_t>{0, 0, 0});
}

TEST_CASE("one executor can be all, and can be the one that accepts") {
  executor loop;
  served sessions;
  auto listener = on_loopback();
  const auto client = connect_to(listener.local_address());
  auto root = loop.start(spread({&loop}, std::move(listener), sessions.session()));

  while (sessions.count() == 0) loop.turn(/*may_park=*/false);
  CHECK(sessions.on.front() == &loop);

  root.cancel();
  turn_until_done(loop, root);
  CHECK(root.stopped());
}

TEST_CASE("where no executor may have one more, connections stay in the backlog until one ends") {
  handed_over subject{2, /*connections_max=*/2};
  for (int i = 0; i < 4; ++i) subject.connect();
  const auto descriptors_count = open_descriptors_count();

  for (int i = 0; i < 3; ++i) subject.clients.push_back(connect_to(subject.at));
  subject.on.run_ready();
  CHECK(subject.sessions.count() == 4);
  CHECK(open_descriptors_count() == descriptors_count + 3);  // those of the clients

  subject.clients[1].reset();
  subject.on.turn_until([&] { return subject.sessions.count() == 5; });
  subject.on.run_ready();

  CHECK(subject.sessions.count() == 5);
  CHECK(subject.executor_of(4) == 1);
  CHECK(running(subject.counts) == std::vector<std::size_t>{2, 2});
}

TEST_CASE("without a descriptor left it waits, says so, and goes on when there is one") {
  captured_log logged;
  // UBSan opens a pipe at the first sight of a type: all that is said later on is said once before.
  log::warning(std::error_code{EMFILE, std::system_category()}.message());
  static_cast<void>(logged.text());
  handed_over subject{2, /*connections_max=*/10};
  subject.connect();
  subject.connect();
  // The accept that is in the kernel already goes by the limit at its submission: one more gets in.
  const auto third = socket_for(subject.at);
  const auto fourth = socket_for(subject.at);
  {
    const no_descriptor_left meanwhile;
    begin_to_connect(third, subject.at);
    begin_to_connect(fourth, subject.at);
    subject.on.turn_until([&] { return logged.text().find("new connections wait") != std::string::npos; });
    CHECK(subject.sessions.count() == 3);
  }

  subject.on.turn_until([&] { return subject.sessions.count() == 4; });

  CHECK(running(subject.counts) == std::vector<std::size_t>{2, 2});
}

TEST_CASE("a session that fails is logged, and the others go on") {
  captured_log logged;
  executors on{2};
  auto listener = on_loopback();
  const auto at = listener.local_address();
  int begun_count = 0;
  const auto fails = [&](tcp_stream) -> task<> {
    ++begun_count;
    throw std::runtime_error{"this one"};
    co_return;
  };
  auto root = on.acceptor.start(spread(on.list(), std::move(listener), fails));

  const auto first = connect_to(at);
  const auto second = connect_to(at);
  on.turn_until([&] { return begun_count == 2 && logged.text().find("this one") != std::string::npos; });

  CHECK(!root.done());
  CHECK(is_closed_by_peer(first));
  CHECK(is_closed_by_peer(second));
  for (const auto* each : {&first, &second}) {
    const std::string whose = detail::local_address_of(*each).to_string();
    CAPTURE(whose);
    CHECK(logged.text().find("the session of " + whose + " failed; the others go on: this one") != std::string::npos);
  }
  root.cancel();
  on.turn_until([&] { return root.done(); });
}

TEST_CASE("with cancel_siblings a session that fails ends all, and is thrown") {
  executors on{2};
  auto listener = on_loopback();
  const auto at = listener.local_address();
  int sessions_count = 0;
  const auto the_third_fails = [&](tcp_stream) -> task<> {
    if (++sessions_count == 3) throw std::runtime_error{"the third"};
    co_await sleep_for(24h);
  };
  auto root = on.acceptor.start(spread(on.list(), std::move(listener), the_third_fails, {.on_error = cancel_siblings}));

  std::vector<unique_fd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(connect_to(at));
  on.turn_until([&] { return root.done(); });

  CHECK_THROWS_WITH(root.get(), "the third");
  for (const auto& each : clients) CHECK(is_closed_by_peer(each));
}

TEST_CASE("a listener that was shut down ends it when the last session has ended") {
  executors on{2};
  served sessions;
  for (const std::size_t connections_max : {SIZE_MAX, std::size_t{7}}) {
    CAPTURE(connections_max);
    auto listener = on_loopback();
    const auto at = listener.local_address();
    const unique_fd same{::fcntl(listener.fd().get(), F_DUPFD_CLOEXEC, 0)};
    const std::size_t before = sessions.count();
    auto root = on.acceptor.start(
        spread(on.list(), std::move(listener), sessions.session(), {.connections_max = connections_max}));
    auto client = connect_to(at);
    on.turn_until([&] { return sessions.count() > before; });

    ::shutdown(same.get(), SHUT_RDWR);
    on.run_ready();
    CHECK(!root.done());
    client.reset();
    on.turn_until([&] { return root.done(); });

    CHECK(!root.stopped());
    root.get();
  }
}

TEST_CASE("a stop ends the sessions on all executors, and closes everything") {
  const std::size_t open_before = [] {
    const executors warm_up{3};
    return open_descriptors_count();
  }();
  {
    executors on{3};
    served sessions;
    auto listener = on_loopback();
    const auto at = listener.local_address();
    std::vector<unique_fd> clients;
    auto root = on.acceptor.start(spread(on.list(), std::move(listener), sessions.session()));
    for (int i = 0; i < 10; ++i) clients.push_back(connect_to(at));
    on.turn_until([&] { return sessions.count() == 10; });

    root.cancel();
    on.turn_until([&] { return root.done(); });
    on.run_ready();

    CHECK(root.stopped());
    for (const auto& each : clients) CHECK(is_closed_by_peer(each));
    CHECK(is_refused(at));
    clients.clear();
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("a stop that comes in any turn of a connection's way leaks nothing and leaves nobody") {
  const std::size_t open_before = [] {
    const executors warm_up{2};
    return open_descriptors_count();
  }();
  for (int turns_before = 0; turns_before < 12; ++turns_before) {
    CAPTURE(turns_before);
    executors on{2};
    spread_counts counts{2};
    {
      served sessions;
      auto listener = on_loopback();
      std::vector<unique_fd> clients;
      for (int i = 0; i < 3; ++i) clients.push_back(connect_to(listener.local_address()));
      auto root = on.acceptor.start(spread(on.list(), std::move(listener), sessions.session(), {.counts = &counts}));
      for (int i = 0; i < turns_before; ++i)
        (i % 3 == 0 ? on.acceptor : on.all[static_cast<std::size_t>(i % 3 - 1)]).turn(/*may_park=*/false);

      root.cancel();
      on.turn_until([&] { return root.done(); });
      on.run_ready();

      CHECK(root.stopped());
    }
    CHECK(running(counts) == std::vector<std::size_t>{0, 0});
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("a stop closes the listener at once, also where a session takes its time to end") {
  executors on{2};
  auto listener = on_loopback();
  const auto at = listener.local_address();
  bool begun = false;
  sync::event may_end;
  const auto stays = [&](tcp_stream) -> task<> {
    begun = true;
    co_await shield(may_end.wait());
  };
  auto root = on.acceptor.start(spread(on.list(), std::move(listener), stays));
  const auto client = connect_to(at);
  on.turn_until([&] { return begun; });

  root.cancel();
  on.turn_until([&] { return is_refused(at); });
  CHECK(!root.done());

  may_end.set();
  on.turn_until([&] { return root.done(); });
  CHECK(root.stopped());
}

// ------------------------------------------------------------------------------------------------ a listener for each

TEST_CASE("bind_each() gives listeners that share a port, chosen by the kernel or by the caller") {
  const auto some = bind_each(3, {.at = address::loopback(0)});
  const auto again = bind_each(2, {.at = some.front().local_address()});

  CHECK(some.size() == 3);
  for (const auto& each : some) CHECK(each.local_address() == some.front().local_address());
  for (const auto& each : again) CHECK(each.local_address() == some.front().local_address());
}

TEST_CASE("with a listener for each, every executor serves what comes to its own") {
  constexpr std::size_t connections_count = 120;
  executors on{3};
  served sessions;
  spread_counts counts{3};
  auto listeners = bind_each(3, {.at = address::loopback(0)});
  const auto at = listeners.front().local_address();
  std::vector<unique_fd> clients;
  auto root = on.acceptor.start(spread(on.list(), std::move(listeners), sessions.session(), {.counts = &counts}));
  on.run_ready();

  for (std::size_t i = 0; i < connections_count; ++i) clients.push_back(connect_to(at));
  on.turn_until([&] { return sessions.count() == connections_count; });

  // The kernel deals by a hash: that one of three gets none of 120 is as likely as 120 tails in a row are with a coin
  // that falls so two times of three.
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(counts.taken(i) > 0);
    CHECK(counts.taken(i) == static_cast<std::uint64_t>(std::ranges::count(sessions.on, &on.all[i])));
  }
  root.cancel();
  on.turn_until([&] { return root.done(); });
  on.run_ready();
  CHECK(root.stopped());
  CHECK(running(counts) == std::vector<std::size_t>{0, 0, 0});
  CHECK(is_refused(at));
}

TEST_CASE("with a listener for each, an executor that is full leaves its own in the backlog") {
  executors on{1};
  served sessions;
  auto listeners = bind_each(1, {.at = address::loopback(0)});
  const auto at = listeners.front().local_address();
  std::vector<unique_fd> clients;
  auto root = on.acceptor.start(spread(on.list(), std::move(listeners), sessions.session(), {.connections_max = 2}));
  for (int i = 0; i < 3; ++i) clients.push_back(connect_to(at));
  on.turn_until([&] { return sessions.count() == 2; });
  on.run_ready();
  CHECK(sessions.count() == 2);

  clients.front().reset();
  on.turn_until([&] { return sessions.count() == 3; });

  root.cancel();
  on.turn_until([&] { return root.done(); });
}

TEST_CASE("with a listener for each, the shutdown of one leaves the others, and that of all ends it") {
  executors on{2};
  served sessions;
  auto listeners = bind_each(2, {.at = address::loopback(0)});
  std::vector<unique_fd> same;
  for (const auto& each : listeners) same.emplace_back(::fcntl(each.fd().get(), F_DUPFD_CLOEXEC, 0));
  auto root = on.acceptor.start(spread(on.list(), std::move(listeners), sessions.session()));
  on.run_ready();

  ::shutdown(same.front().get(), SHUT_RDWR);
  on.run_ready();
  CHECK(!root.done());
  ::shutdown(same.back().get(), SHUT_RDWR);
  on.turn_until([&] { return root.done(); });

  CHECK(!root.stopped());
}

// -------------------------------------------------------------------------------------------------- on several threads

TEST_CASE("on threads of their own, executors serve many connections at once, and a stop ends them all") {
  constexpr int connections_count = 60;
  for (const bool is_handed_over : {true, false}) {
    CAPTURE(is_handed_over);
    executor here;
    executor_thread first;
    executor_thread second;
    const std::vector<executor*> all{&here, &first.loop(), &second.loop()};
    std::atomic<int> echoed_count = 0;
    const auto echo = [&](tcp_stream client) -> task<> {
      std::array<std::byte, 16> buffer;
      while (const auto count = co_await client.read(buffer)) {
        co_await client.write_all(std::span{buffer}.first(count));
        ++echoed_count;
      }
    };
    auto listeners = bind_each(is_handed_over ? 1 : 3, {.at = address::loopback(0)});
    const auto at = listeners.front().local_address();
    auto root = is_handed_over ? here.start(spread(all, std::move(listeners.front()), echo))
                               : here.start(spread(all, std::move(listeners), echo));
    std::thread clients{[&] {
      std::vector<unique_fd> connected;
      for (int i = 0; i < connections_count; ++i) {
        connected.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
        while (::connect(connected.back().get(), at.data(), at.size()) != 0) std::this_thread::yield();
      }
      for (const auto& each : connected) static_cast<void>(::send(each.get(), "hello", 5, MSG_NOSIGNAL));
      char buffer[5];
      for (const auto& each : connected) static_cast<void>(::recv(each.get(), buffer, sizeof buffer, MSG_WAITALL));
      here.post([&] { root.cancel(); });
      for (const auto& each : connected) static_cast<void>(::recv(each.get(), buffer, sizeof buffer, 0));
    }};

    turn_until_done(here, root);
    clients.join();

    CHECK(root.stopped());
    CHECK(echoed_count == connections_count);
  }
}

TEST_CASE("a runtime's executors all serve, and end when the root task that spreads has ended") {
  runtime all{{.executors = 3}};
  auto listener = on_loopback();
  const auto at = listener.local_address();
  const unique_fd same{::fcntl(listener.fd().get(), F_DUPFD_CLOEXEC, 0)};
  std::vector<unique_fd> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(connect_to(at));
  served sessions;
  const auto once_each = [&, serve = sessions.session()](tcp_stream client) -> task<> {
    co_await serve(std::move(client));
  };
  std::thread ends{[&] {
    while (sessions.count() < clients.size()) std::this_thread::yield();
    ::shutdown(same.get(), SHUT_RDWR);
    clients.clear();
  }};

  all.run([&](std::size_t index) -> task<> {
    if (index == 0) co_await spread(all, std::move(listener), once_each);
  });
  ends.join();

  for (std::size_t i = 0; i < all.size(); ++i) CHECK(std::ranges::count(sessions.on, &all[i]) == 2);
}

}  // namespace gyre::net
