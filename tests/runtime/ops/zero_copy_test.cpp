// SPDX-License-Identifier: MIT
// Sends without a copy: on the kernel what arrives and what is reported, and on the scripted ring each order of the two
// completions with cancels and deadlines. There the script touches the memory at each completion, so that a buffer
// which is gone before the second shows under AddressSanitizer.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>

#include "../../support/bytes.hpp"
#include "../../support/datagram_pair.hpp"
#include "../../support/every_operation.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/tcp_pair.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

bool kernel_sends_without_copies() {
  const bool has_it = executor{}.ring().knows(IORING_OP_SENDMSG_ZC);
  if (!has_it) SAY_SKIPPED("this kernel has no zero-copy sends");
  return has_it;
}

// io_uring/notif.c counts what is sent without a copy as locked memory.
bool may_pin_anything() {
  ::rlimit limit{};
  const bool may = ::geteuid() == 0 || (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
  if (!may) SAY_SKIPPED("RLIMIT_MEMLOCK bounds what can be sent without a copy at a time");
  return may;
}

constexpr std::int32_t was_copied = INT32_MIN;  // IORING_NOTIF_USAGE_ZC_COPIED, the highest bit

}  // namespace

// ------------------------------------------------------------------------------------------------- on the kernel

TEST_CASE("bytes are sent without a copy, and on loopback the kernel says that it copied them after all") {
  if (!kernel_sends_without_copies()) return;
  const tcp_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    const auto sent = co_await ops::send_zc(pair.here, bytes_of("data"));
    CHECK(sent.bytes == 4);
    CHECK(sent.copied == true);
    constexpr ops::zero_copy_options unasked{.report_usage = false};
    const auto untold = co_await ops::send_zc(pair.here, bytes_of("more"), unasked);
    CHECK(untold.bytes == 4);
    CHECK(!untold.copied.has_value());

    std::array<std::byte, 8> buffer{};
    co_await ops::recv_all(pair.there, buffer);
    CHECK(text_of(buffer) == "datamore");
  });
}

TEST_CASE("memory that is overwritten as soon as its send is over has arrived as it was") {
  if (!kernel_sends_without_copies()) return;
  const tcp_pair pair;
  constexpr std::size_t block_bytes = 1 << 16;
  constexpr unsigned char rounds_count = 50;
  bool intact = true;
  std::thread reader{[&] {
    std::vector<unsigned char> block(block_bytes);
    for (unsigned char round = 0; round < rounds_count; ++round) {
      if (::recv(pair.there.get(), block.data(), block.size(), MSG_WAITALL) != block_bytes) intact = false;
      intact = intact && std::all_of(block.begin(), block.end(), [&](unsigned char each) { return each == round; });
    }
  }};
  executor loop;

  loop.run([&]() -> task<> {
    std::vector<std::byte> block(block_bytes);
    for (unsigned char round = 0; round < rounds_count; ++round) {
      std::fill(block.begin(), block.end(), std::byte{round});
      for (std::span<const std::byte> rest{block}; !rest.empty();)
        rest = rest.subspan((co_await ops::send_zc(pair.here, rest)).bytes);
    }
  });
  reader.join();

  CHECK(intact);
}

TEST_CASE("a message is sent without a copy of its parts, and a datagram to its address") {
  if (!kernel_sends_without_copies()) return;
  const datagram_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    std::string one{"one "};
    std::string two{"two"};
    const std::array<::iovec, 2> parts{{{one.data(), one.size()}, {two.data(), two.size()}}};
    const ops::outgoing_message message{.parts = parts, .to = pair.to_there(), .to_size = sizeof(sockaddr_in)};
    CHECK((co_await ops::sendmsg_zc(pair.here, message)).bytes == 7);
    CHECK((co_await ops::send_zc(pair.here, bytes_of("three"), pair.to_there(), sizeof(sockaddr_in))).bytes == 5);

    std::array<std::byte, 10> buffer{};
    CHECK(co_await ops::recv(pair.there, buffer) == 7);
    CHECK(text_of(std::span{buffer}.first(7)) == "one two");
    CHECK(co_await ops::recv(pair.there, buffer) == 5);
  });
}

TEST_CASE("what cannot be sent without a copy is an error, and no memory is held") {
  if (!kernel_sends_without_copies()) return;
  const socket_pair local;
  const datagram_pair datagrams;
  tcp_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    const auto bytes = bytes_of("data");
    CHECK((co_await as_result(ops::send_zc(local.here, bytes))).error() == std::errc::operation_not_supported);
    CHECK((co_await as_result(ops::send_zc(-1, bytes))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::send_zc(datagrams.here, bytes))).error() == std::errc::destination_address_required);
    CHECK((co_await as_result(ops::send_zc(datagrams.here, bytes, datagrams.to_there(), 1 << 20))).error() ==
          std::errc::invalid_argument);
    std::string x{"x"};
    const std::vector<::iovec> too_many(IOV_MAX + 1, ::iovec{x.data(), x.size()});
    const ops::outgoing_message message{.parts = too_many};
    CHECK((co_await as_result(ops::sendmsg_zc(pair.here, message))).error() == std::errc::message_size);
    CHECK((co_await ops::send_zc(pair.here, {})).bytes == 0);
    ::shutdown(pair.here.get(), SHUT_WR);
    CHECK((co_await as_result(ops::send_zc(pair.here, bytes))).error() == std::errc::broken_pipe);
  });
}

// What the peer does not take stays in the sender's queue, and holds the memory until the connection is given up.
TEST_CASE("more than one request can move is sent as far as the socket takes it, and held until that is over") {
  if (!kernel_sends_without_copies() || !may_pin_anything()) return;
  constexpr std::size_t three_gib = std::size_t{3} << 30;
  void* const zeros = ::mmap(nullptr, three_gib, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(zeros != MAP_FAILED);
  {
    const std::span bytes{static_cast<const std::byte*>(zeros), three_gib};
    tcp_pair pair;
    executor loop;
    auto sending = loop.start([](fd_ref to, std::span<const std::byte> all) -> task<std::size_t> {
      constexpr ops::zero_copy_options at_once{.flags = MSG_DONTWAIT};
      co_return (co_await ops::send_zc(to, all, at_once)).bytes;
    }(pair.here, bytes));
    loop.run_ready();
    CHECK(!sending.done());

    pair.there.reset();  // with bytes that nobody has read: that resets the connection
    turn_until_done(loop, sending);

    const std::size_t sent_bytes = sending.get();
    CHECK(sent_bytes > 0);
    CHECK(sent_bytes < ops::transfer_bytes_max);
  }
  ::munmap(zeros, three_gib);
}

TEST_CASE("a send without a copy goes through a direct descriptor as well") {
  if (!kernel_sends_without_copies()) return;
  const tcp_pair pair;
  executor loop{{.direct_descriptors = 2}};

  loop.run([&]() -> task<> {
    const auto direct = co_await ops::to_direct(pair.here);
    constexpr ops::zero_copy_options polled{.first = ops::first_step::poll};
    CHECK((co_await ops::send_zc(direct, bytes_of("data"), polled)).bytes == 4);
  });
}

TEST_CASE("a send without a copy that waits for room is stopped, and ended by its deadline") {
  if (!kernel_sends_without_copies()) return;
  for (const auto kept_by_kernel_max : {1s, 0s}) {
    const tcp_pair pair;
    const std::vector<std::byte> bytes(1 << 16);
    outcome timed;
    outcome stopped;
    executor loop{{.linked_timeout_max = kept_by_kernel_max}};
    if (!pair.fill()) {
      SAY_SKIPPED("no filter may be attached here; what finds room after all is held until the peer has read it");
      return;
    }
    auto waiting = loop.start(observe(with_timeout(10ms, ops::send_zc(pair.here, bytes)), timed));
    turn_until_done(loop, waiting);
    CHECK(timed.error == std::errc::timed_out);

    auto sending = loop.start(observe(ops::send_zc(pair.here, bytes), stopped));
    loop.run_ready();
    REQUIRE(stopped.how == ended::not_yet);
    sending.cancel();
    turn_until_done(loop, sending);
    CHECK(stopped.how == ended::stopped);
  }
}

// -------------------------------------------------------------------------------- each order of the two completions

namespace {

// A send in flight, whose bytes lie in its own frame: of_send_zc() or of_sendmsg_zc().
struct sending {
  explicit sending(const some_operation& of, const executor_options& options = {})
      : opcode{of.opcode}, on{by_hand, options}, root{on.loop.start(of.observed(noted))} {
    on.loop.run_ready();
  }

  void say_first(std::int32_t res) { say(res, IORING_CQE_F_MORE); }
  void say_second(std::int32_t usage = 0) { say(usage, IORING_CQE_F_NOTIF); }
  void say(std::int32_t res, std::uint32_t flags) {
    on.script.complete(on.script.only(opcode), res, flags);
    on.loop.run_ready();
  }
  void answer_cancel(std::int32_t res) {
    on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), res);
    on.loop.run_ready();
  }

  unsigned opcode;
  scripted_executor on;
  outcome noted;
  root_task<void> root;
};

constexpr std::array both_sends{
    some_operation{"send_zc", IORING_OP_SEND_ZC, &of_send_zc, &four_bytes},
    some_operation{"sendmsg_zc", IORING_OP_SENDMSG_ZC, &of_sendmsg_zc, &four_bytes},
};

}  // namespace

TEST_CASE("a send without a copy is over when the kernel has let go of the memory, and not before") {
  for (const auto& each : both_sends) {
    for (const std::int32_t usage : {0, was_copied}) {
      CAPTURE(each.name);
      sending subject{each};

      subject.say_first(4);
      CHECK(subject.noted.how == ended::not_yet);
      subject.say_second(usage);

      CHECK(subject.noted.how == ended::with_value);
      CHECK(subject.root.done());
    }
  }
}

TEST_CASE("what failed may hold memory as well: the error is told when that is given back") {
  for (const auto& each : both_sends) {
    sending subject{each};

    subject.say_first(-EPIPE);
    CHECK(subject.noted.how == ended::not_yet);
    subject.say_second();

    CHECK(subject.noted.error == std::errc::broken_pipe);
  }
}

TEST_CASE("an error without a second completion is the end: the kernel had no memory to begin") {
  for (const auto& each : both_sends) {
    sending subject{each};

    subject.say(-ENOMEM, 0);

    CHECK(subject.noted.error == std::errc::not_enough_memory);
  }
}

TEST_CASE("a cancel before the first completion stops the send, with the second") {
  for (const auto& each : both_sends) {
    for (const bool cancel_first : {true, false}) {
      CAPTURE(cancel_first);
      sending subject{each};
      subject.on.stop(subject.root);

      if (cancel_first) subject.answer_cancel(0);
      subject.say_first(-ECANCELED);
      CHECK(!subject.root.done());
      CHECK(subject.noted.how == ended::not_yet);
      if (!cancel_first) subject.answer_cancel(0);
      subject.say_second();

      CHECK(subject.root.stopped());
      CHECK(subject.noted.how == ended::stopped);
    }
  }
}

TEST_CASE("a cancel that the result has won against delivers it, with the second completion") {
  for (const auto& each : both_sends) {
    sending subject{each};
    subject.on.stop(subject.root);

    subject.say_first(4);
    subject.answer_cancel(-ENOENT);
    CHECK(!subject.root.done());
    subject.say_second();

    CHECK(subject.noted.how == ended::with_value);
  }
}

TEST_CASE("a cancel between the two completions asks in vain, and waits for the second") {
  for (const auto& each : both_sends) {
    for (const bool answered_first : {true, false}) {
      CAPTURE(answered_first);
      sending subject{each};
      subject.say_first(4);
      subject.on.stop(subject.root);
      CHECK(!subject.root.done());

      if (answered_first) subject.answer_cancel(-ENOENT);
      subject.say_second();
      CHECK(subject.noted.how == ended::with_value);
      if (!answered_first) subject.answer_cancel(-ENOENT);
    }
  }
}

// The kernel answers, and somebody cancels, between the flush of a turn and the reap of the next: the cancel lies in
// the list of what is to be sent when the first completion, or both, are taken.
TEST_CASE("a cancel that is queued when completions are reaped is sent after the first, and not after the second") {
  for (const auto& each : both_sends) {
    for (const bool both : {true, false}) {
      CAPTURE(both);
      sending subject{each};
      auto& script = subject.on.script;
      auto other = subject.on.loop.start([]() -> task<> { co_await ops::nop(); }());
      script.after_enter = [&] {
        script.after_enter = nullptr;
        script.complete(script.only(subject.opcode), 4, IORING_CQE_F_MORE);
        if (both) script.complete(script.only(subject.opcode), 0, IORING_CQE_F_NOTIF);
        subject.root.cancel();
      };
      subject.on.loop.turn(/*may_park=*/false);
      subject.on.loop.run_ready();

      CHECK(script.taken_count(IORING_OP_ASYNC_CANCEL) == (both ? 0 : 1));
      if (!both) {
        CHECK(subject.noted.how == ended::not_yet);
        subject.answer_cancel(-ENOENT);
        subject.say_second();
      }
      CHECK(subject.noted.how == ended::with_value);
      script.complete(script.only(IORING_OP_NOP), 0);
      subject.on.loop.run_ready();
    }
  }
}

namespace {

task<> send_within(std::chrono::nanoseconds duration, outcome& noted) {
  const auto bytes = four_on_the_heap();
  co_await observe(with_timeout(duration, ops::send_zc(some_number, bytes)), noted);
}

}  // namespace

TEST_CASE("a deadline before the first completion ends the send as timed out; between the two it comes too late") {
  for (const bool kept_by_kernel : {true, false}) {
    for (const bool in_time : {true, false}) {
      CAPTURE(kept_by_kernel);
      CAPTURE(in_time);
      scripted_executor on{by_hand, {.linked_timeout_max = kept_by_kernel ? 1s : 0s}};
      outcome noted;
      auto root = on.loop.start(send_within(10ms, noted));
      on.loop.run_ready();
      const auto say = [&](std::int32_t res, std::uint32_t flags) {
        on.script.complete(on.script.only(IORING_OP_SEND_ZC), res, flags);
        on.loop.run_ready();
      };

      if (in_time) say(4, IORING_CQE_F_MORE);
      on.advance(20ms);
      if (!in_time) say(-ECANCELED, IORING_CQE_F_MORE);
      CHECK(noted.how == ended::not_yet);
      say(0, IORING_CQE_F_NOTIF);

      CHECK(noted.how == (in_time ? ended::with_value : ended::with_error));
      if (!in_time) CHECK(noted.error == std::errc::timed_out);
      for (const auto& late : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(late, -ENOENT);
      on.loop.run_ready();
    }
  }
}

}  // namespace gyre
