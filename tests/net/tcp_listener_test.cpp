// SPDX-License-Identifier: MIT
// Listening and taking connections, one by one and as a stream: each way to succeed, to fail and to be stopped.
#include <gyre/net/address.hpp>
#include <gyre/net/listener_socket.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/captured_log.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::size_t pause_at = ops::accept_stream::pause_at;

tcp_listener on_loopback() { return tcp_listener::bind({.at = address::loopback(0)}); }

std::string text_of_failed_bind(const listen_options& options) {
  try {
    static_cast<void>(tcp_listener::bind(options));
  } catch (const std::system_error& error) {
    return error.what();
  }
  return "bound";
}

// Whether somebody else can have the port for IPv4. Another process may have it already: not each of ten.
bool leaves_port_to_ipv4(const listen_options& options) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const auto listener = tcp_listener::bind(options);
    if (text_of_failed_bind({.at = address::any(listener.local_address().port())}) == "bound") return true;
  }
  return false;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Ends a root task, and looks whether it was stopped.
bool stops(executor& loop, root_task<void>& root) {
  root.cancel();
  turn_until_done(loop, root);
  return root.stopped();
}

// Accepts, notes how that ended, and closes.
task<> accept_one(tcp_listener& listener, outcome& noted) { co_await observe(listener.accept(), noted); }

task<> take_one(incoming_connections& incoming, outcome& noted) { co_await observe(incoming.next(), noted); }

task<> take(incoming_connections& incoming, std::vector<tcp_stream>& taken, std::size_t count) {
  while (taken.size() < count) taken.push_back((co_await incoming.next()).value());
}

// Takes one connection, then none: the stream's request stays in the kernel.
task<> take_one_and_wait(incoming_connections incoming) {
  static_cast<void>(co_await incoming.next());
  co_await sleep_for(24h);
}

// The same with a stream that outlives the task.
task<> take_one_of(incoming_connections& incoming) { static_cast<void>(co_await incoming.next()); }

// The orders in which a connection and a cancel can come to who waits for one.
enum class order { connect_first, waits_then_both, cancel_first, cancel_reaped_first, accepted_first };
constexpr std::array orders{order::connect_first, order::waits_then_both, order::cancel_first,
                            order::cancel_reaped_first, order::accepted_first};

// A client and a cancel that come to who waits, in some order.
struct race {
  race(order which, executor& loop, root_task<void>& waiting, const address& peer) {
    const auto turn = [&] { loop.turn(/*may_park=*/false); };
    switch (which) {
      case order::connect_first:
        client = connect_to(peer);
        canceller.emplace(loop, cancel_other(waiting));
        break;
      case order::waits_then_both:
        turn();
        client = connect_to(peer);
        waiting.cancel();
        break;
      case order::cancel_first:
        turn();
        waiting.cancel();
        client = connect_to(peer);
        break;
      case order::cancel_reaped_first:
        turn();
        waiting.cancel();
        turn();
        client = connect_to(peer);
        break;
      case order::accepted_first:
        client = connect_to(peer);
        turn();
        waiting.cancel();
        break;
    }
    turn_until_done(loop, waiting);
  }

  unique_fd client;
  std::optional<root_task<void>> canceller;
};

// A listener whose process is about to have no descriptor left, and will say so.
struct before_shortage {
  // UBSan opens a pipe when it first sees an object of some type: what logs without a descriptor has logged before.
  before_shortage() { log::warning("what is said before descriptors run out"); }

  // Turns until it was refused, and sleeps before it tries again.
  void turn_until_refused() {
    while (loop.timers().empty()) loop.turn(/*may_park=*/true);
  }

  captured_log logged;
  executor loop;
  tcp_listener listener = on_loopback();
  outcome noted;
};

// Takes a connection from the backlog; none if there is none.
bool is_in_backlog(const tcp_listener& listener) {
  const int flags = ::fcntl(listener.fd().get(), F_GETFL);
  ::fcntl(listener.fd().get(), F_SETFL, flags | O_NONBLOCK);
  const unique_fd waiting{::accept4(listener.fd().get(), nullptr, nullptr, SOCK_CLOEXEC)};
  ::fcntl(listener.fd().get(), F_SETFL, flags);
  return static_cast<bool>(waiting);
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------ bind()

TEST_CASE("a listener on port 0 tells the port that the kernel chose") {
  const auto listener = on_loopback();

  CHECK(listener.local_address().port() != 0);
  CHECK(listener.local_address() == address::loopback(listener.local_address().port()));
}

TEST_CASE("a listener that is told no address takes connections to every IPv4 address of the machine") {
  executor loop;
  auto listener = tcp_listener::bind({});
  const auto port = listener.local_address().port();
  CHECK(listener.local_address() == address::any(port));

  for (const auto* each : {"127.0.0.1", "127.0.0.2"}) {
    const auto at = address::parse(each, port).value();
    const auto client = connect_to(at);

    CHECK(loop.run(listener.accept()).local_address() == at);
  }
}

TEST_CASE("the port of the options replaces that of the address, unless it is 0") {
  const auto first = on_loopback();
  const auto port = first.local_address().port();

  const auto by_address = tcp_listener::bind({.at = address::parse("127.0.0.2").value().with_port(port)});
  const auto by_port = tcp_listener::bind({.at = address::parse("127.0.0.3:1").value(), .port = port});

  CHECK(by_address.local_address().port() == port);
  CHECK(by_port.local_address().port() == port);
}

TEST_CASE("a port that is taken is an error that names it") {
  const auto first = on_loopback();
  const std::size_t open_before = open_descriptors_count();

  const auto text = text_of_failed_bind({.at = first.local_address()});

  CHECK(contains(text, "bind " + first.local_address().to_string()));
  CHECK(contains(text, "Address already in use"));
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("an address that is not of this machine is an error that names it") {
  const auto text = text_of_failed_bind({.at = address::parse("192.0.2.1:80").value()});  // RFC 5737: nobody's

  CHECK(contains(text, "bind 192.0.2.1:80"));
  CHECK(contains(text, "Cannot assign requested address"));
}

TEST_CASE("several listeners share a port when all of them say so") {
  const auto first = tcp_listener::bind({.at = address::loopback(0), .reuse_port = true});

  CHECK(text_of_failed_bind({.at = first.local_address(), .reuse_port = true}) == "bound");
  CHECK(contains(text_of_failed_bind({.at = first.local_address()}), "Address already in use"));
}

TEST_CASE("a server that restarts binds its port while its old connections linger") {
  executor loop;
  std::optional listener{on_loopback()};
  const auto where = listener->local_address();
  unique_fd client = connect_to(where);
  loop.run([&]() -> task<> { co_await (co_await listener->accept()).close(); });  // who closes first lingers: TIME_WAIT
  client.reset();

  listener.reset();

  CHECK(text_of_failed_bind({.at = where}) == "bound");
}

TEST_CASE("no listener's descriptor is inherited by a program that is started") {
  const auto listener = on_loopback();

  CHECK((::fcntl(listener.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
}

// ---------------------------------------------------------------------------------------------------------- accept()

TEST_CASE("a connection that waits already is accepted") {
  executor loop;
  auto listener = on_loopback();
  const auto client = connect_to(listener.local_address());

  const auto accepted = loop.run(listener.accept());

  CHECK(accepted.local_address() == listener.local_address());
  CHECK((::fcntl(accepted.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("accept() waits for a connection") {
  executor loop;
  auto listener = on_loopback();
  outcome noted;
  auto accepting = loop.start(accept_one(listener, noted));
  loop.run_ready();
  CHECK(noted.how == ended::not_yet);

  const auto client = connect_to(listener.local_address());
  turn_until_done(loop, accepting);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("accept() on a listener that was shut down is an error") {
  executor loop;
  auto listener = on_loopback();
  outcome noted;
  auto accepting = loop.start(accept_one(listener, noted));
  loop.run_ready();

  ::shutdown(listener.fd().get(), SHUT_RDWR);
  turn_until_done(loop, accepting);

  CHECK(noted.error == std::errc::invalid_argument);
}

TEST_CASE("accept() without a descriptor left says so once, and takes the connection when there is one") {
  before_shortage subject;
  auto& [logged, loop, listener, noted] = subject;
  const auto client = connect_to(listener.local_address());
  auto accepting = loop.start(accept_one(listener, noted));
  {
    const no_descriptor_left meanwhile;
    for (int refused = 0; refused < 2; ++refused) {
      while (!loop.timers().empty()) loop.turn(/*may_park=*/true);
      subject.turn_until_refused();
    }
    CHECK(!accepting.done());
  }

  turn_until_done(loop, accepting);

  CHECK(noted.how == ended::with_value);
  const auto text = logged.text();
  CHECK(text.find("Too many open files") != std::string::npos);
  CHECK(text.find("Too many open files") == text.rfind("Too many open files"));
}

TEST_CASE("an accept() that waits for a descriptor can be stopped") {
  before_shortage subject;
  const auto client = connect_to(subject.listener.local_address());
  auto accepting = subject.loop.start(accept_one(subject.listener, subject.noted));
  const no_descriptor_left meanwhile;
  subject.turn_until_refused();

  CHECK(stops(subject.loop, accepting));
}

TEST_CASE("an accept() that meets a cancel delivers its connection or leaves it, and leaks no descriptor") {
  constexpr int rounds_count = 100;
  executor loop;
  auto listener = on_loopback();
  const std::size_t open_before = open_descriptors_count();

  for (int i = 0; i < rounds_count; ++i) {
    for (const auto which : orders) {
      CAPTURE(static_cast<int>(which));
      outcome noted;
      auto accepting = loop.start(accept_one(listener, noted));

      const race raced{which, loop, accepting, listener.local_address()};

      CHECK((noted.how == ended::stopped || noted.how == ended::with_value));
      CHECK(is_in_backlog(listener) == (noted.how == ended::stopped));
    }
  }

  CHECK(open_descriptors_count() == open_before);
}

// -------------------------------------------------------------------------------------------------------- incoming()

TEST_CASE("a stream of connections brings all of them, those that wait and those that come") {
  constexpr std::size_t waiting_count = 300;
  constexpr std::size_t coming_count = 300;
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::vector<unique_fd> clients;
  std::vector<tcp_stream> taken;
  const auto connect_some = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) clients.push_back(connect_to(listener.local_address()));
  };

  connect_some(waiting_count);
  auto taking = loop.start(take(incoming, taken, waiting_count + coming_count));
  loop.run_ready();
  connect_some(coming_count);
  turn_until_done(loop, taking);

  taking.get();
  CHECK(taken.size() == clients.size());
  for (const auto& each : taken) CHECK(each.local_address() == listener.local_address());
}

TEST_CASE("a stream of connections needs one request, however many come") {
  constexpr std::size_t connections_count = 50;
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::vector<unique_fd> clients;
  std::vector<tcp_stream> taken;

  for (std::size_t i = 1; i <= connections_count; ++i) {
    auto taking = loop.start(take(incoming, taken, i));
    loop.run_ready();
    clients.push_back(connect_to(listener.local_address()));
    turn_until_done(loop, taking);
  }

  CHECK(loop.statistics().sqes == 1);
}

TEST_CASE("connections that a stream has in store are closed with it") {
  auto listener = on_loopback();
  const std::size_t open_before = open_descriptors_count();
  {
    executor loop;
    std::vector<unique_fd> clients;
    auto root = loop.start(take_one_and_wait(listener.incoming()));
    for (int i = 0; i < 20; ++i) clients.push_back(connect_to(listener.local_address()));
    while (open_descriptors_count() < open_before + 2 * clients.size()) loop.turn(/*may_park=*/false);

    CHECK(stops(loop, root));
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a stream that is destroyed in flight leaves its request to the executor, which ends and closes all") {
  auto listener = on_loopback();
  const std::size_t open_before = open_descriptors_count();
  {
    executor loop;
    std::vector<unique_fd> clients;
    auto root = loop.start(take_one_and_wait(listener.incoming()));
    clients.push_back(connect_to(listener.local_address()));
    loop.run_ready();

    // These come between the stream's end and its request's.
    root.cancel();
    for (int i = 0; i < 20; ++i) clients.push_back(connect_to(listener.local_address()));
    turn_until_done(loop, root);
    loop.run_ready();

    CHECK(loop.in_kernel_count() <= 1);  // the sleep's timeout may be left
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a stream that never waited needs no executor") {
  const auto open_before = open_descriptors_count();
  {
    auto listener = on_loopback();
    auto incoming = listener.incoming();
    const auto moved = std::move(incoming);
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a stream that outlives its executor closes what it has in store") {
  auto listener = on_loopback();
  const std::size_t open_before = open_descriptors_count();
  std::vector<unique_fd> clients;
  {
    auto incoming = listener.incoming();
    {
      executor loop;
      auto root = loop.start(take_one_of(incoming));
      loop.run_ready();
      for (int i = 0; i < 20; ++i) clients.push_back(connect_to(listener.local_address()));
      turn_until_done(loop, root);
    }
    CHECK(open_descriptors_count() >= open_before + clients.size());
  }

  clients.clear();
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a stream that outlives its executor goes on with another") {
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::vector<unique_fd> clients;

  for (int i = 0; i < 3; ++i) {
    executor loop;
    clients.push_back(connect_to(listener.local_address()));
    outcome noted;
    loop.run(take_one(incoming, noted));
    if (noted.how == ended::with_error) {
      // How the executor before this one ended its request.
      CHECK(noted.error == std::errc::operation_canceled);
      loop.run(take_one(incoming, noted));
    }

    CHECK(noted.how == ended::with_value);
  }
}

TEST_CASE("a stream whose reader is slow pauses, leaves the rest to the backlog, and loses nothing") {
  constexpr std::size_t left_to_backlog = 50;
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::vector<unique_fd> clients;
  std::vector<tcp_stream> taken;
  const auto connect = [&] { clients.push_back(connect_to(listener.local_address())); };
  connect();
  loop.run(take(incoming, taken, 1));
  const std::size_t open_before = open_descriptors_count() - clients.size();
  const auto in_store = [&] { return open_descriptors_count() - open_before - clients.size(); };

  for (std::size_t i = 1; i <= pause_at; ++i) {
    connect();
    while (in_store() < i) loop.turn(/*may_park=*/false);
  }
  loop.run_ready();
  for (std::size_t i = 0; i < left_to_backlog; ++i) {
    connect();
    loop.run_ready();
  }

  CHECK(in_store() == pause_at);
  loop.run(take(incoming, taken, 1 + pause_at + left_to_backlog));
  CHECK(taken.size() == clients.size());
}

TEST_CASE("a cancel while a stream pauses and a reader waits for the next: nothing is lost") {
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::vector<unique_fd> clients;
  std::vector<tcp_stream> taken;
  outcome noted;
  auto waiting = loop.start(take_one(incoming, noted));
  loop.run_ready();

  // More at once than a pause lets in: who waits gets the first, and takes the others while the pause's cancel is
  // under way.
  for (std::size_t i = 0; i < pause_at + 50; ++i) clients.push_back(connect_to(listener.local_address()));
  turn_until_done(loop, waiting);
  loop.run(take(incoming, taken, clients.size() - 1));

  CHECK(noted.how == ended::with_value);
  CHECK(!is_in_backlog(listener));
}

TEST_CASE("who waits for the next connection is stopped by a cancel, and the stream goes on") {
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  outcome first;
  outcome second;
  auto waiting = loop.start(take_one(incoming, first));
  loop.run_ready();

  CHECK(stops(loop, waiting));
  const auto client = connect_to(listener.local_address());
  loop.run(take_one(incoming, second));

  CHECK(first.how == ended::stopped);
  CHECK(second.how == ended::with_value);
}

TEST_CASE("a stop that meets a connection delivers it or leaves it in the stream") {
  constexpr int rounds_count = 100;
  executor loop;
  auto listener = on_loopback();
  const std::size_t open_before = open_descriptors_count();
  {
    auto incoming = listener.incoming();
    for (int i = 0; i < rounds_count; ++i) {
      for (const auto which : orders) {
        CAPTURE(static_cast<int>(which));
        outcome first;
        outcome again;
        auto waiting = loop.start(take_one(incoming, first));

        const race raced{which, loop, waiting, listener.local_address()};
        if (first.how == ended::stopped) loop.run(take_one(incoming, again));

        CHECK((first.how == ended::with_value || again.how == ended::with_value));
      }
    }
  }
  loop.run_ready();
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a stream ends when its listener is shut down, after what it has in store") {
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::vector<unique_fd> clients;
  std::vector<tcp_stream> taken;
  clients.push_back(connect_to(listener.local_address()));
  clients.push_back(connect_to(listener.local_address()));
  loop.run(take(incoming, taken, 1));

  ::shutdown(listener.fd().get(), SHUT_RDWR);
  loop.run_ready();
  loop.run(take(incoming, taken, 2));

  CHECK(!loop.run(incoming.next()));
  CHECK(!loop.run(incoming.next()));  // and stays at its end
}

TEST_CASE("who waits in a stream hears of the listener's shutdown") {
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::optional<bool> ended;
  const auto wait_for_the_end = [&]() -> task<> { ended = !(co_await incoming.next()).has_value(); };
  auto waiting = loop.start(wait_for_the_end());
  loop.run_ready();
  CHECK(!ended);

  ::shutdown(listener.fd().get(), SHUT_RDWR);
  turn_until_done(loop, waiting);

  CHECK(ended == true);
}

TEST_CASE("a stream without a descriptor left waits, and gives the connection when there is one") {
  before_shortage subject;
  auto& [logged, loop, listener, noted] = subject;
  auto incoming = listener.incoming();
  const auto client = socket_for(listener.local_address());
  auto waiting = loop.start(take_one(incoming, noted));
  {
    const no_descriptor_left meanwhile;  // before next(): a request goes by the limit at its submission
    loop.run_ready();
    begin_to_connect(client, listener.local_address());
    subject.turn_until_refused();
    CHECK(!waiting.done());
  }

  turn_until_done(loop, waiting);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a stream whose request somebody else ended says so, and goes on") {
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  outcome noted;
  auto waiting = loop.start(take_one(incoming, noted));
  loop.run_ready();

  const auto found = loop.run([&]() -> task<std::size_t> { co_return co_await ops::cancel_fd(listener.fd()); });
  turn_until_done(loop, waiting);
  CHECK(found == 1);
  CHECK(noted.error == std::errc::operation_canceled);

  const auto client = connect_to(listener.local_address());
  loop.run(take_one(incoming, noted));

  CHECK(noted.how == ended::with_value);
}

// ----------------------------------------------------------------------------------------------------------- close()

TEST_CASE("closing a listener ends who waits in accept(), and who comes later") {
  executor loop;
  auto listener = on_loopback();
  outcome waiting_one;
  outcome late_one;
  auto accepting = loop.start(accept_one(listener, waiting_one));
  loop.run_ready();

  loop.run(listener.close());
  turn_until_done(loop, accepting);
  loop.run(accept_one(listener, late_one));

  CHECK(waiting_one.error == std::errc::operation_canceled);
  CHECK(late_one.error == std::errc::operation_canceled);
  CHECK(listener.fd().get() == -1);
}

TEST_CASE("closing a listener ends its stream at once, and with it those that nobody has taken are closed") {
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  {
    auto listener = on_loopback();
    auto incoming = listener.incoming();
    std::vector<unique_fd> clients;
    std::vector<tcp_stream> taken;
    clients.push_back(connect_to(listener.local_address()));
    clients.push_back(connect_to(listener.local_address()));
    loop.run(take(incoming, taken, 1));

    loop.run(listener.close());

    CHECK(open_descriptors_count() == open_before + clients.size() + taken.size());
    CHECK(!loop.run(incoming.next()));
    CHECK(!loop.run(incoming.next()));
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("connections that come while a listener is closed are closed with it, whoever waits in its stream") {
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  outcome noted;
  auto waiting = loop.start(take_one(incoming, noted));
  loop.run_ready();
  loop.turn(/*may_park=*/false);  // the kernel has the request
  const std::array clients{connect_to(listener.local_address()), connect_to(listener.local_address())};

  loop.run(listener.close());
  turn_until_done(loop, waiting);

  CHECK(noted.how == ended::with_value);
  CHECK(open_descriptors_count() == open_before + clients.size());
  CHECK(!loop.run(incoming.next()));
}

TEST_CASE("who waits in a stream hears that its listener is closed") {
  executor loop;
  auto listener = on_loopback();
  auto incoming = listener.incoming();
  std::optional<bool> ended;
  const auto wait_for_the_end = [&]() -> task<> { ended = !(co_await incoming.next()).has_value(); };
  auto waiting = loop.start(wait_for_the_end());
  loop.run_ready();
  CHECK(!ended);

  loop.run(listener.close());
  turn_until_done(loop, waiting);

  CHECK(ended == true);
}

TEST_CASE("who waits for a descriptor need not wait for it any more when the listener is closed") {
  before_shortage subject;
  auto& [logged, loop, listener, noted] = subject;
  auto incoming = listener.incoming();
  outcome of_the_stream;
  const auto client = connect_to(listener.local_address());
  auto accepting = loop.start(accept_one(listener, noted));
  auto waiting = loop.start(take_one(incoming, of_the_stream));
  const no_descriptor_left meanwhile;
  while (loop.timers().size() < 2) loop.turn(/*may_park=*/true);

  auto closing = loop.start(listener.close());
  loop.run_ready();

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(of_the_stream.how == ended::with_value);
  CHECK(loop.timers().empty());
  turn_until_done(loop, closing);
}

TEST_CASE("the port of a listener that was closed is free, though its stream is still there") {
  executor loop;
  auto listener = on_loopback();
  const auto where = listener.local_address();
  auto incoming = listener.incoming();
  outcome noted;
  auto waiting = loop.start(take_one(incoming, noted));
  loop.run_ready();

  loop.run(listener.close());

  CHECK(text_of_failed_bind({.at = where}) == "bound");
  turn_until_done(loop, waiting);
}

TEST_CASE("a listener is closed in every case: twice, or by a close() that is stopped") {
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  for (int turns = 0; turns < 4; ++turns) {
    auto listener = on_loopback();
    outcome noted;
    auto accepting = loop.start(accept_one(listener, noted));
    loop.run_ready();

    auto closing = loop.start(listener.close());
    for (int i = 0; i < turns; ++i) loop.turn(/*may_park=*/false);
    closing.cancel();
    turn_until_done(loop, closing);
    turn_until_done(loop, accepting);
    loop.run(listener.close());

    CHECK(noted.error == std::errc::operation_canceled);
  }
  loop.run_ready();
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a stream keeps its listener's socket when the listener is destroyed") {
  executor loop;
  std::optional listener{on_loopback()};
  const auto where = listener->local_address();
  auto incoming = listener->incoming();
  outcome noted;

  listener.reset();
  const auto client = connect_to(where);
  loop.run(take_one(incoming, noted));

  CHECK(noted.how == ended::with_value);
}

// -------------------------------------------------------------------------------------------------------------- IPv6

TEST_CASE("a listener on IPv6 takes connections, and tells addresses of IPv6") {
  if (!has_ipv6_loopback()) return;
  executor loop;
  auto listener = tcp_listener::bind({.at = address::parse("[::1]:0").value()});
  const auto client = connect_to(listener.local_address());

  const auto accepted = loop.run(listener.accept());

  CHECK(listener.local_address().to_string().starts_with("[::1]:"));
  CHECK(accepted.peer_address().is_v6());
}

TEST_CASE("a listener on all addresses of IPv6 takes IPv4 connections as well, or leaves the port to another") {
  if (!has_ipv6_loopback()) return;
  executor loop;
  auto both = tcp_listener::bind({.at = address::any_v6(0)});
  const auto alone = tcp_listener::bind({.at = address::any_v6(0), .dual_stack = false});
  const auto client = connect_to(address::loopback(both.local_address().port()));

  const auto accepted = loop.run(both.accept());

  CHECK(accepted.peer_address().is_v4_mapped());
  CHECK(accepted.peer_address().unmapped().is_loopback());
  CHECK(!both.get<v6_only>().on);
  CHECK(alone.get<v6_only>().on);
  CHECK(leaves_port_to_ipv4({.at = address::any_v6(0), .dual_stack = false}));
  CHECK(!leaves_port_to_ipv4({.at = address::any_v6(0)}));
  CHECK(contains(text_of_failed_bind({.at = address::any(both.local_address().port())}), "Address already in use"));
}

}  // namespace gyre::net
