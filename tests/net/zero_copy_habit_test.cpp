// SPDX-License-Identifier: MIT
// Sends without a copy: what a connection learns of them, on the scripted ring, and what arrives, on the kernel.
#include <gyre/net/tcp_stream.hpp>
#include <gyre/net/zero_copy_habit.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/connection.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

constexpr std::size_t large_bytes = 4 * zero_copy_habit::least_bytes;
constexpr std::int32_t was_copied = INT32_MIN;  // IORING_NOTIF_USAGE_ZC_COPIED, the highest bit

struct sent_and_failure {
  std::optional<ops::zero_copy_sent> sent;
  failed_transfer failed;
};

task<sent_and_failure> send(tcp_stream& stream, std::span<const std::byte> bytes) {
  sent_and_failure noted;
  try {
    noted.sent = co_await stream.send_zero_copy(bytes);
  } catch (const transfer_error& failed) {
    noted.failed = {failed.code(), failed.bytes()};
  }
  co_return noted;
}

// A connection on a script that answers by hand.
struct scripted_stream {
  explicit scripted_stream(const scripted_executor::ring_options& ring = {}) : on{ring} {}

  gyre::detail::scripted_ring::request only(unsigned opcode) const { return on.script.in_flight(opcode).at(0); }
  bool asks(unsigned opcode) const { return on.script.in_flight(opcode).size() == 1; }

  void begin(std::size_t count) {
    bytes.resize(count);
    root = std::unique_ptr<root_task<sent_and_failure>>{new root_task{on.loop.start(send(stream, bytes))}};
    on.loop.run_ready();
  }
  void answer(unsigned opcode, std::int32_t res) {
    on.script.complete(only(opcode), res);
    on.loop.run_ready();
  }

  // Both completions of a send without a copy.
  void take(std::int32_t res, bool copied) {
    on.script.complete(only(IORING_OP_SEND_ZC), res, IORING_CQE_F_MORE);
    on.loop.run_ready();
    CHECK(!root->done());
    on.script.complete(only(IORING_OP_SEND_ZC), copied ? was_copied : 0, IORING_CQE_F_NOTIF);
    on.loop.run_ready();
  }
  sent_and_failure result() {
    REQUIRE(root->done());
    return root->get();
  }

  scripted_executor on;
  tcp_stream stream{unique_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}};
  std::vector<std::byte> bytes;
  std::unique_ptr<root_task<sent_and_failure>> root;  // which cannot be moved
};

}  // namespace

TEST_CASE("what was copied is tried again from twice as much on, and what was not brings it down again") {
  constexpr std::size_t least = zero_copy_habit::least_bytes;
  zero_copy_habit habit;
  CHECK(!habit.is_worth_it(least - 1));
  CHECK(habit.is_worth_it(least));

  habit.learn(least, /*was_copied=*/true);
  CHECK(!habit.is_worth_it(2 * least - 1));
  CHECK(habit.is_worth_it(2 * least));
  habit.learn(16 * least, /*was_copied=*/true);
  CHECK(!habit.is_worth_it(32 * least - 1));

  habit.learn(32 * least, /*was_copied=*/false);
  CHECK(habit.is_worth_it(16 * least));
  for (int i = 0; i < 10; ++i) habit.learn(16 * least, /*was_copied=*/false);
  CHECK(habit.is_worth_it(least));
  CHECK(!habit.is_worth_it(least - 1));

  habit.learn(SIZE_MAX / 2 + 1, /*was_copied=*/true);
  CHECK(!habit.is_worth_it(SIZE_MAX - 1));
}

TEST_CASE("a connection that can send nothing without a copy does not try again") {
  zero_copy_habit habit;

  habit.give_up();
  habit.learn(1, /*was_copied=*/false);

  CHECK(!habit.is_worth_it(SIZE_MAX - 1));
}

// -------------------------------------------------------------------------------------------- on the scripted ring

TEST_CASE("what is small goes with a copy, and what is large without") {
  scripted_stream subject;

  subject.begin(zero_copy_habit::least_bytes - 1);
  CHECK(subject.asks(IORING_OP_SEND));
  subject.answer(IORING_OP_SEND, zero_copy_habit::least_bytes - 1);
  CHECK(subject.result().sent->copied == true);

  subject.begin(zero_copy_habit::least_bytes);
  CHECK(subject.asks(IORING_OP_SEND_ZC));
  subject.take(zero_copy_habit::least_bytes, /*copied=*/false);
  const auto noted = subject.result();
  CHECK(noted.sent->bytes == zero_copy_habit::least_bytes);
  CHECK(noted.sent->copied == false);
}

TEST_CASE("after one that the kernel copied, the same goes with a copy from the beginning") {
  scripted_stream subject;

  subject.begin(large_bytes);
  subject.take(large_bytes, /*copied=*/true);
  CHECK(subject.result().sent->copied == true);
  subject.begin(large_bytes);

  CHECK(subject.asks(IORING_OP_SEND));
  subject.answer(IORING_OP_SEND, large_bytes);
  subject.begin(2 * large_bytes);
  CHECK(subject.asks(IORING_OP_SEND_ZC));
  subject.take(2 * large_bytes, /*copied=*/false);
}

TEST_CASE("one that is cut short goes on with the rest, and a rest that is small with a copy") {
  scripted_stream subject;

  subject.begin(large_bytes);
  subject.take(1, /*copied=*/false);
  CHECK(subject.only(IORING_OP_SEND_ZC).len == large_bytes - 1);
  subject.take(large_bytes - 11, /*copied=*/false);
  CHECK(subject.only(IORING_OP_SEND).len == 10);
  subject.answer(IORING_OP_SEND, 10);

  const auto noted = subject.result();
  CHECK(noted.sent->bytes == large_bytes);
  CHECK(noted.sent->copied == true);
}

TEST_CASE("where it cannot be had it goes with a copy: from then on, or without memory this once") {
  for (const int refusal : {EOPNOTSUPP, EINVAL, ENOMEM}) {
    CAPTURE(refusal);
    scripted_stream subject;

    subject.begin(large_bytes);
    subject.answer(IORING_OP_SEND_ZC, -refusal);
    CHECK(subject.asks(IORING_OP_SEND));
    subject.answer(IORING_OP_SEND, large_bytes);
    CHECK(subject.result().sent->bytes == large_bytes);

    subject.begin(large_bytes);
    const bool tries_again = refusal == ENOMEM;
    CHECK(subject.asks(tries_again ? IORING_OP_SEND_ZC : IORING_OP_SEND));
    if (tries_again) subject.take(large_bytes, /*copied=*/false);
    else subject.answer(IORING_OP_SEND, large_bytes);
  }
}

TEST_CASE("a failure tells how much went before it, by both ways together") {
  scripted_stream subject;

  subject.begin(large_bytes);
  subject.take(100, /*copied=*/false);
  subject.answer(IORING_OP_SEND_ZC, -EPIPE);
  auto failed = subject.result().failed;
  CHECK(failed.why == std::errc::broken_pipe);
  CHECK(failed.bytes == 100);

  subject.begin(large_bytes);
  subject.take(large_bytes - 100, /*copied=*/false);
  subject.answer(IORING_OP_SEND, 40);
  subject.answer(IORING_OP_SEND, -ECONNRESET);
  failed = subject.result().failed;
  CHECK(failed.why == std::errc::connection_reset);
  CHECK(failed.bytes == large_bytes - 60);

  subject.begin(large_bytes);
  subject.take(0, /*copied=*/false);
  CHECK(subject.result().failed.why == make_error_code(errc::no_progress));
}

TEST_CASE("a stop before anything is taken ends it, and one before the notification waits for that") {
  scripted_stream before;
  before.begin(large_bytes);
  before.root->cancel();
  before.on.loop.run_ready();
  CHECK(before.root->done());

  scripted_stream between{by_hand};
  between.begin(large_bytes);
  between.on.script.complete(between.only(IORING_OP_SEND_ZC), large_bytes, IORING_CQE_F_MORE);
  between.on.loop.run_ready();
  between.root->cancel();
  between.on.loop.run_ready();
  CHECK(!between.root->done());
  between.answer(IORING_OP_ASYNC_CANCEL, -ENOENT);
  between.on.script.complete(between.only(IORING_OP_SEND_ZC), 0, IORING_CQE_F_NOTIF);
  between.on.loop.run_ready();
  CHECK(between.root->done());
}

// ------------------------------------------------------------------------------------------------- on the kernel

TEST_CASE("what is sent without a copy arrives, and its memory is free when it is over") {
  connection made;
  made.make_narrow();
  const auto sent = telling_bytes(big_bytes);
  std::vector<std::byte> received(big_bytes);
  const auto send_and_overwrite = [&]() -> task<> {
    auto memory = sent;
    const auto noted = co_await made.ours->send_zero_copy(memory);
    CHECK(noted.bytes == big_bytes);
    memory.assign(memory.size(), std::byte{});
  };

  for (int round = 0; round < 2; ++round) {  // the second goes with a copy, where this machine is all that it goes over
    auto sending = made.loop.start(send_and_overwrite());
    made.loop.run(read_in_full(*made.theirs, received));
    turn_until_done(made.loop, sending);
    sending.get();
    CHECK((received == sent));
  }
}

TEST_CASE("a reset ends a send without a copy on either side") {
  for (const bool by_peer : {true, false}) {
    CAPTURE(by_peer);
    connection made;
    made.make_narrow();
    const auto bytes = telling_bytes(big_bytes);
    auto sending = made.loop.start(send(*made.ours, bytes));
    made.loop.run_ready();
    CHECK(!sending.done());

    if (by_peer) test::reset(*made.theirs);
    else made.loop.run(made.ours->reset());
    turn_until_done(made.loop, sending);

    const auto noted = sending.get();
    CHECK(!noted.sent);
    CHECK(noted.failed.bytes < big_bytes);
  }
}

}  // namespace gyre::net
