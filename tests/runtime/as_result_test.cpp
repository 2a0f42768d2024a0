// SPDX-License-Identifier: MIT
// Outcomes as values: errors through as_result(), stops through stopped_as_error().
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

namespace gyre {
namespace {

using namespace test;

constexpr int some_socket = 1'000'123;

task<int> recv_four() {
  std::vector<std::byte> buffer(4);
  co_return static_cast<int>(co_await ops::recv(some_socket, buffer));
}

task<int> recv_as_result(bool& went_on) {
  const auto got = co_await as_result(recv_four());
  went_on = true;
  co_return got ? *got : -got.error().value();
}

task<int> recv_stop_as_error(bool& went_on) {
  try {
    const int count = co_await stopped_as_error(recv_four());
    co_return count;
  } catch (const std::system_error& error) {
    went_on = true;
    co_return -error.code().value();
  }
}

struct recv_in_flight {
  explicit recv_in_flight(task<int> (*make)(bool&)) : root{on.loop.start(make(went_on))} { on.loop.run_ready(); }

  void answer(int res) {
    on.script.complete(on.script.only(IORING_OP_RECV), res);
    on.loop.run_ready();
  }

  scripted_executor on;
  bool went_on = false;
  root_task<int> root;
};

}  // namespace

TEST_CASE("as_result() gives a value, or an error as a value") {
  for (const int res : {4, 0, -ECONNRESET}) {
    recv_in_flight subject{&recv_as_result};

    subject.answer(res);

    CHECK(subject.root.get() == res);
    CHECK(subject.went_on);
  }
}

TEST_CASE("as_result() does not absorb a stop: a loop that ignores its errors must not spin through a shutdown") {
  recv_in_flight subject{&recv_as_result};

  subject.root.cancel();
  subject.on.loop.run_ready();

  CHECK(subject.root.stopped());
  CHECK(!subject.went_on);
}

TEST_CASE("stopped_as_error() turns a stop into an error, and leaves values and errors as they are") {
  recv_in_flight stopped{&recv_stop_as_error};
  stopped.root.cancel();
  stopped.on.loop.run_ready();
  CHECK(stopped.root.get() == -ECANCELED);

  recv_in_flight good{&recv_stop_as_error};
  good.answer(4);
  CHECK(good.root.get() == 4);

  recv_in_flight bad{&recv_stop_as_error};
  bad.answer(-ECONNRESET);
  CHECK(bad.root.get() == -ECONNRESET);
}

TEST_CASE("stopped_as_error() takes a deadline as well, and tells its stop from its end") {
  scripted_executor on;
  outcome noted;
  std::vector<std::byte> buffer(4);
  const auto receive = [&]() -> task<> {
    co_await observe(stopped_as_error(with_timeout(std::chrono::hours{1}, ops::recv(some_socket, buffer))), noted);
  };
  auto receiving = on.loop.start(receive());
  on.loop.run_ready();

  receiving.cancel();
  on.loop.run_ready();

  CHECK(receiving.done());
  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("after stopped_as_error() the scope is still cancelled: the next wait is stopped") {
  scripted_executor on;
  outcome first;
  bool went_on = false;
  auto root = on.loop.start([](outcome& noted, bool& after) -> task<> {
    std::vector<std::byte> buffer(4);
    co_await observe(stopped_as_error(ops::recv(some_socket, buffer)), noted);
    co_await ops::nop();
    after = true;
  }(first, went_on));
  on.loop.run_ready();

  root.cancel();
  on.loop.run_ready();

  CHECK(first.error == std::errc::operation_canceled);
  CHECK(root.stopped());
  CHECK(!went_on);
}

TEST_CASE("an operation whose stop is an error still delivers a result that crossed the cancel") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> {
    std::vector<std::byte> buffer(4);
    co_await observe(stopped_as_error(ops::recv(some_socket, buffer)), to);
  }(noted));
  on.loop.run_ready();

  on.script.complete(on.script.only(IORING_OP_RECV), 4);
  root.cancel();
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("as_result() gives what can only be moved, and nothing") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<int> {
    const auto owned = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    const auto nothing = []() -> task<> { co_return; };
    auto got = co_await as_result(owned());
    const auto done = co_await as_result(nothing());
    co_return done ? **got : 0;
  }());

  on.loop.run_ready();

  CHECK(root.get() == 7);
}

TEST_CASE("as_result() lets exceptions pass that carry no error code") {
  scripted_executor on;
  auto root = on.loop.start([]() -> task<> {
    static_cast<void>(co_await as_result([]() -> task<> {
      throw std::logic_error{"a bug"};
      co_return;
    }()));
  }());

  on.loop.run_ready();

  CHECK_THROWS_AS(root.get(), std::logic_error);
}

TEST_CASE("as_result() of a descriptor closes it when nobody takes it") {
  const std::size_t open_before = open_descriptors_count();

  executor loop;
  const std::size_t open_with_loop = open_descriptors_count();
  loop.run([]() -> task<> {
    static_cast<void>(co_await as_result(ops::openat(AT_FDCWD, "/dev/null", O_RDONLY)));
    static_cast<void>(co_await as_result(ops::socket(AF_INET, SOCK_STREAM)));
  });

  CHECK(open_descriptors_count() == open_with_loop);
  CHECK(open_with_loop > open_before);
}

TEST_CASE("an exception of an operation names the operation") {
  executor loop;
  std::string text;

  loop.run([&]() -> task<> {
    try {
      const auto never = co_await ops::openat(AT_FDCWD, "/there is/no such file", O_RDONLY);
      CHECK(!never);
    } catch (const std::system_error& error) {
      text = error.what();
      CHECK(error.code() == std::errc::no_such_file_or_directory);
    }
  });

  CHECK(text.find("openat") != std::string::npos);
}

TEST_CASE("as_result() of scopes and deadlines tells their errors") {
  scripted_executor on;
  outcome noted;
  auto root = on.loop.start([](outcome& to) -> task<> { co_await observe(shield(recv_four()), to); }(noted));
  on.loop.run_ready();

  on.script.complete(on.script.only(IORING_OP_RECV), -EPIPE);
  on.loop.run_ready();

  CHECK(noted.error == std::errc::broken_pipe);
}

}  // namespace gyre
