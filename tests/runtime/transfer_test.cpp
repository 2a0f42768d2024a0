// SPDX-License-Identifier: MIT
// send_all and recv_all: operations of several requests. Short counts, failures and stops at every part.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;
constexpr std::size_t all_bytes = 10;

// How a transfer ended: what code, and how many bytes it says were moved.
struct transferred {
  outcome noted;
  std::optional<std::size_t> bytes;
};

template <class Op>
task<> transfer(transferred& to, std::optional<std::chrono::nanoseconds> within) {
  const stop_watch watch{to.noted};
  std::vector<std::byte> memory(all_bytes);
  try {
    if (within) co_await with_timeout(*within, Op(some_socket, memory));
    else co_await Op(some_socket, memory);
    to.noted.how = ended::with_value;
  } catch (const transfer_error& error) {
    to.noted.how = ended::with_error;
    to.noted.error = error.code();
    to.bytes = error.bytes();
  }
}

struct direction {
  const char* name;
  unsigned opcode;
  task<> (*make)(transferred& to, std::optional<std::chrono::nanoseconds> within);
};
constexpr std::array directions{direction{"send_all", IORING_OP_SEND, &transfer<ops::send_all>},
                                direction{"recv_all", IORING_OP_RECV, &transfer<ops::recv_all>}};

// A transfer in flight whose cancels the script answers.
struct in_flight {
  explicit in_flight(const direction& which, std::optional<std::chrono::nanoseconds> within = {},
                     std::chrono::nanoseconds linked_timeout_max = 0ns)
      : on{{.on_cancel = scripted_ring::cancels::by_hand}, {.linked_timeout_max = linked_timeout_max}},
        opcode{which.opcode},
        root{on.loop.start(which.make(to, within))} {
    on.loop.run_ready();
  }

  scripted_ring::request current() const { return on.script.only(opcode); }
  void answer(int res) {
    on.script.complete(current(), res);
    on.loop.run_ready();
  }

  scripted_executor on;
  unsigned opcode;
  transferred to;
  root_task<void> root;
};

}  // namespace

TEST_CASE("a transfer goes on after every short count, where it left off") {
  for (const auto& which : directions) {
    CAPTURE(which.name);
    in_flight subject{which};
    const auto first = subject.current();
    CHECK(first.len == all_bytes);
    CHECK(((first.op_flags & MSG_WAITALL) != 0) == (which.opcode == IORING_OP_SEND));

    std::size_t moved = 0;
    for (const int part : {3, 1, 4, 2}) {
      CHECK(subject.current().addr == first.addr + moved);
      CHECK(subject.current().len == all_bytes - moved);
      CHECK(subject.to.noted.how == ended::not_yet);
      subject.answer(part);
      moved += static_cast<std::size_t>(part);
    }

    CHECK(subject.to.noted.how == ended::with_value);
  }
}

TEST_CASE("whichever part fails, the error says what was moved before it") {
  for (const auto& which : directions) {
    for (int parts_before = 0; parts_before < 5; ++parts_before) {
      CAPTURE(which.name);
      CAPTURE(parts_before);
      in_flight subject{which};

      for (int i = 0; i < parts_before; ++i) subject.answer(2);
      subject.answer(-ECONNRESET);

      CHECK(subject.to.noted.error == std::errc::connection_reset);
      CHECK(subject.to.bytes == std::size_t(parts_before) * 2);
    }
  }
}

TEST_CASE("a stream that ends before the buffer is full is an error that says how much came") {
  for (int parts_before = 0; parts_before < 5; ++parts_before) {
    CAPTURE(parts_before);
    in_flight subject{directions[1]};

    for (int i = 0; i < parts_before; ++i) subject.answer(2);
    subject.answer(0);

    CHECK(subject.to.noted.error == errc::end_of_stream);
    CHECK(subject.to.bytes == std::size_t(parts_before) * 2);
  }
}

TEST_CASE("a socket that takes nothing, and says no error, is not spun on") {
  in_flight subject{directions[0]};

  subject.answer(4);
  subject.answer(0);

  CHECK(subject.to.noted.error == errc::no_progress);
  CHECK(subject.to.bytes == 4);
  CHECK(subject.on.script.in_flight().empty());
}

TEST_CASE("as_result() of a transfer tells the same codes") {
  for (const auto& [opcode, res, code] :
       {std::tuple{IORING_OP_SEND, 0, make_error_code(errc::no_progress)},
        std::tuple{IORING_OP_RECV, 0, make_error_code(errc::end_of_stream)},
        std::tuple{IORING_OP_SEND, -EPIPE, std::make_error_code(std::errc::broken_pipe)},
        std::tuple{IORING_OP_RECV, -ECONNRESET, std::make_error_code(std::errc::connection_reset)}}) {
    scripted_executor on;
    outcome noted;
    const auto send = [](outcome& to) -> task<> {
      std::vector<std::byte> bytes(all_bytes);
      co_await observe(ops::send_all(some_socket, bytes), to);
    };
    const auto receive = [](outcome& to) -> task<> {
      std::vector<std::byte> buffer(all_bytes);
      co_await observe(ops::recv_all(some_socket, buffer), to);
    };
    auto root = on.loop.start(opcode == IORING_OP_SEND ? send(noted) : receive(noted));
    on.loop.run_ready();

    on.script.complete(on.script.only(opcode), res);
    on.loop.run_ready();

    CHECK(noted.how == ended::with_error);
    CHECK(noted.error.message() == std::error_code{code}.message());
  }
}

// ------------------------------------------------------------------------------------------- stops and deadlines

TEST_CASE("a transfer that is cancelled in any of its parts is stopped, and asks for no more") {
  for (const auto& which : directions) {
    for (int parts_before = 0; parts_before < 4; ++parts_before) {
      CAPTURE(which.name);
      CAPTURE(parts_before);
      in_flight subject{which};
      for (int i = 0; i < parts_before; ++i) subject.answer(2);

      subject.root.cancel();
      subject.on.loop.run_ready();
      CHECK(subject.current().stop_asked);
      subject.answer(-ECANCELED);

      CHECK(subject.to.noted.how == ended::stopped);
      CHECK(subject.on.script.in_flight(which.opcode).empty());
    }
  }
}

TEST_CASE("a part that crosses the cancel is the last: the rest is not begun in a scope that is cancelled") {
  for (const auto& which : directions) {
    CAPTURE(which.name);
    in_flight subject{which};

    subject.root.cancel();
    subject.on.loop.run_ready();
    subject.answer(4);

    CHECK(subject.to.noted.how == ended::stopped);
    CHECK(subject.on.script.in_flight(which.opcode).empty());
  }
}

TEST_CASE("the last part that crosses the cancel makes the transfer whole, and it is delivered") {
  for (const auto& which : directions) {
    CAPTURE(which.name);
    in_flight subject{which};
    subject.answer(4);

    subject.root.cancel();
    subject.on.loop.run_ready();
    subject.answer(6);

    CHECK(subject.to.noted.how == ended::with_value);
  }
}

namespace {

task<> cancel(root_task<void>& cancelled) {
  cancelled.cancel();
  co_return;
}

}  // namespace

TEST_CASE("a cancel between the reap of one part and the submission of the next reaches the next") {
  for (const auto& which : directions) {
    CAPTURE(which.name);
    in_flight subject{which};
    auto canceller = subject.on.loop.start(cancel(subject.root));

    subject.on.script.complete(subject.current(), 4);
    subject.on.loop.turn(/*may_park=*/false);  // reaps and describes the next part; then cancels, and then submits
    CHECK(canceller.done());
    subject.on.loop.run_ready();

    CHECK(!subject.root.done());
    CHECK(subject.current().stop_asked);
    subject.answer(-ECANCELED);
    CHECK(subject.to.noted.how == ended::stopped);
  }
}

TEST_CASE("a deadline holds for the whole transfer, in whichever part it comes, and the error says how far it got") {
  for (const auto& which : directions) {
    for (const auto linked_timeout_max : {0ns, std::chrono::nanoseconds{1h}}) {
      for (int parts_before = 0; parts_before < 4; ++parts_before) {
        CAPTURE(which.name);
        CAPTURE(linked_timeout_max.count());
        CAPTURE(parts_before);
        in_flight subject{which, 10ms, linked_timeout_max};
        for (int i = 0; i < parts_before; ++i) {
          subject.on.script.advance(2ms);
          subject.answer(2);
        }

        subject.on.script.advance(10ms);
        subject.on.loop.run_ready();
        CHECK(subject.current().stop_asked);
        subject.answer(-ECANCELED);

        CHECK(subject.to.noted.error == std::errc::timed_out);
        CHECK(subject.to.bytes == std::size_t(parts_before) * 2);
        CHECK(subject.on.loop.timers().empty());
      }
    }
  }
}

TEST_CASE("a part that crosses the deadline counts, and the transfer times out with it") {
  for (const auto& which : directions) {
    CAPTURE(which.name);
    in_flight subject{which, 10ms};

    subject.on.script.advance(10ms);
    subject.on.loop.run_ready();
    subject.answer(4);

    CHECK(subject.to.noted.error == std::errc::timed_out);
    CHECK(subject.to.bytes == 4);
  }
}

TEST_CASE("the last part that crosses the deadline is delivered") {
  for (const auto& which : directions) {
    CAPTURE(which.name);
    in_flight subject{which, 10ms};
    subject.answer(4);

    subject.on.script.advance(10ms);
    subject.on.loop.run_ready();
    subject.answer(6);

    CHECK(subject.to.noted.how == ended::with_value);
  }
}

// -------------------------------------------------------------------------------------------------- on the kernel

TEST_CASE("a megabyte goes through a socket whole, whatever the socket holds at a time") {
  const socket_pair pair;
  std::vector<std::byte> sent(1 << 20);
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::byte>(i * 7 + i / 256);
  std::vector<std::byte> received(sent.size());
  executor loop;

  auto sender = loop.start([](const socket_pair& on, const std::vector<std::byte>& bytes) -> task<> {
    co_await ops::send_all(on.here, bytes);
  }(pair, sent));
  auto receiver = loop.start([](const socket_pair& on, std::vector<std::byte>& buffer) -> task<> {
    co_await ops::recv_all(on.there, buffer);
  }(pair, received));
  while (!sender.done() || !receiver.done()) loop.turn(/*may_park=*/true);

  CHECK(sent == received);
}

TEST_CASE("a transfer of nothing does nothing, and ends") {
  const socket_pair idle;
  executor loop;

  auto root = loop.start([](const socket_pair& on) -> task<> {
    co_await ops::send_all(on.here, std::span<const std::byte>());
    co_await ops::recv_all(on.here, std::span<std::byte>());
  }(idle));
  for (int i = 0; i < 100 && !root.done(); ++i) loop.turn(/*may_park=*/false);

  CHECK(root.done());
  root.cancel();
  turn_until_done(loop, root);
}

TEST_CASE("on the kernel, a receiver is told how much had come when the peer went away") {
  socket_pair pair;
  REQUIRE(::send(pair.there.get(), "abc", 3, 0) == 3);
  pair.there.reset();
  executor loop;
  std::optional<std::size_t> bytes;

  loop.run([&]() -> task<> {
    std::array<std::byte, 10> buffer;
    try {
      co_await ops::recv_all(pair.here, buffer);
    } catch (const transfer_error& error) {
      CHECK(error.code() == errc::end_of_stream);
      bytes = error.bytes();
    }
  });

  CHECK(bytes == 3);
}

TEST_CASE("on the kernel, sending to a peer that went away is an error and no signal") {
  socket_pair pair;
  pair.there.reset();
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 10> bytes{};
    const auto sent = co_await as_result(ops::send_all(pair.here, bytes));
    CHECK(sent.error() == std::errc::broken_pipe);
  });
}

TEST_CASE("on the kernel, a part that arrived before the deadline is counted") {
  const socket_pair pair;
  REQUIRE(::send(pair.there.get(), "abc", 3, 0) == 3);
  for (const auto linked_timeout_max : {0ns, std::chrono::nanoseconds{1h}}) {
    CAPTURE(linked_timeout_max.count());
    executor loop{{.linked_timeout_max = linked_timeout_max}};
    std::optional<std::size_t> bytes;

    loop.run([&]() -> task<> {
      std::array<std::byte, 10> buffer;
      try {
        co_await with_timeout(5ms, ops::recv_all(pair.here, buffer));
      } catch (const transfer_error& error) {
        CHECK(error.code() == std::errc::timed_out);
        bytes = error.bytes();
      }
    });

    CHECK(bytes == 3);
    REQUIRE(::send(pair.there.get(), "abc", 3, 0) == 3);
  }
}

}  // namespace gyre
