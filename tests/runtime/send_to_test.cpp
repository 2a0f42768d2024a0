// SPDX-License-Identifier: MIT
// Descriptors that change executors: with nothing in flight, with something, and with a stop on the way.
#include <gyre/fs/file.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/send_to.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/bytes.hpp"
#include "../support/executor_thread.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/sent_descriptors.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

static_assert(owns_descriptor<unique_fd> && owns_descriptor<net::tcp_stream> && owns_descriptor<net::tcp_listener> &&
              owns_descriptor<fs::file>);
static_assert(!owns_descriptor<int> && !owns_descriptor<fd_ref> && !owns_descriptor<std::string>);

task<> receive_here(const unique_fd& socket, outcome& noted) {
  std::array<std::byte, 4> buffer;
  co_await observe(ops::recv{socket, buffer}, noted);
}

}  // namespace

TEST_CASE("a descriptor is used on the executor that it was sent to, and comes back with the result") {
  two_executors two;
  socket_pair pair;
  received<unique_fd> noted;
  auto root = two.here.start(send_and_note(two.there, std::move(pair.here), noted));
  two.turn_until([&] { return two.there.in_kernel_count() == 1; });

  write_byte(pair.there);
  two.turn_until([&] { return root.done(); });

  CHECK(noted.bytes_count == 1);
  CHECK(noted.on == &two.there);
  CHECK(!peer_has_closed(pair.there));
  CHECK(static_cast<bool>(noted.socket));
}

TEST_CASE("what is in flight on a descriptor here ends before it is used there") {
  two_executors two;
  socket_pair pair;
  const unique_fd same{::dup(pair.here.get())};  // so that the reader's descriptor stays while its number is in flight
  const int number = pair.here.get();
  outcome reader;
  received<unique_fd> noted;
  auto reading = two.here.start([](int socket, outcome& to) -> task<> {
    std::array<std::byte, 4> buffer;
    co_await observe(ops::recv{socket, buffer}, to);
  }(number, reader));
  two.here.run_ready();
  CHECK(two.here.in_kernel_count() == 1);

  auto root = two.here.start(send_and_note(two.there, std::move(pair.here), noted));
  two.turn_until([&] { return two.there.in_kernel_count() == 1; });

  CHECK(reading.done());
  CHECK(reader.error == std::errc::operation_canceled);
  write_byte(pair.there);
  two.turn_until([&] { return root.done(); });
  CHECK(noted.bytes_count == 1);
}

TEST_CASE("what is in flight on other descriptors goes on") {
  two_executors two;
  socket_pair pair;
  socket_pair other;
  outcome noted;
  received<unique_fd> sent;
  auto reading = two.here.start(receive_here(other.here, noted));
  auto root = two.here.start(send_and_note(two.there, std::move(pair.here), sent));
  two.turn_until([&] { return two.there.in_kernel_count() == 1; });
  CHECK(!reading.done());

  write_byte(other.there);
  write_byte(pair.there);
  two.turn_until([&] { return reading.done() && root.done(); });

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a descriptor that is sent to its own executor is used here") {
  executor loop;
  socket_pair pair;
  write_byte(pair.there);
  received<unique_fd> noted;

  loop.run(send_and_note(loop, std::move(pair.here), noted));

  CHECK(noted.on == &loop);
}

TEST_CASE("sending what owns no descriptor is an error, and nothing is used") {
  two_executors two;
  outcome noted;
  bool used = false;
  auto root = two.here.start([](executor& there, outcome& to, bool& was_used) -> task<> {
    const auto use = [&was_used](unique_fd) -> task<> {
      was_used = true;
      co_return;
    };
    co_await observe(send_to(there, unique_fd{}, use), to);
  }(two.there, noted, used));

  two.turn_until([&] { return root.done(); });

  CHECK(noted.error == std::errc::bad_file_descriptor);
  CHECK(!used);
}

TEST_CASE("what its use throws comes back, and the descriptor is closed") {
  two_executors two;
  socket_pair pair;
  outcome noted;
  auto root = two.here.start([](executor& there, unique_fd socket, outcome& to) -> task<> {
    const auto use = [](unique_fd) -> task<> {
      co_await sleep_for(0ns);
      throw std::system_error{std::make_error_code(std::errc::protocol_error)};
    };
    co_await observe(send_to(there, std::move(socket), use), to);
  }(two.there, std::move(pair.here), noted));

  two.turn_until([&] { return root.done(); });

  CHECK(noted.error == std::errc::protocol_error);
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("a stop before, on the way, and over there closes the descriptor: none is leaked") {
  const std::size_t open_before = [] {
    const two_executors warm_up;
    return open_descriptors_count();
  }();
  for (int turns_before = 0; turns_before < 8; ++turns_before) {
    CAPTURE(turns_before);
    two_executors two;
    {
      socket_pair pair;
      received<unique_fd> noted;
      auto root = two.here.start(send_and_note(two.there, std::move(pair.here), noted));
      for (int i = 0; i < turns_before; ++i) (i % 2 == 0 ? two.here : two.there).turn(/*may_park=*/false);

      root.cancel();
      two.turn_until([&] { return root.done(); });

      CHECK(root.stopped());
      CHECK(peer_has_closed(pair.there));
    }
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("a connection goes from thread to thread and back, ten times, and answers on each") {
  executor here;
  executor_thread there;
  auto listener = net::tcp_listener::bind({.at = net::address::loopback(0)});
  const auto client = connect_to(listener.local_address());
  const auto answer_once = [](net::tcp_stream stream) -> task<net::tcp_stream> {
    co_await stream.write_all(std::as_bytes(std::span{"y", 1}));
    co_return stream;
  };

  here.run([&]() -> task<> {
    auto stream = co_await listener.accept();
    for (int i = 0; i < 10; ++i) {
      stream = net::tcp_stream{(co_await send_to(there.loop(), std::move(stream), answer_once)).release()};
      stream = net::tcp_stream{(co_await answer_once(std::move(stream))).release()};
    }
  });

  std::string answers(64, '\0');
  answers.resize(static_cast<std::size_t>(::recv(client.get(), answers.data(), answers.size(), 0)));
  CHECK(answers == std::string(20, 'y'));
}

}  // namespace gyre
