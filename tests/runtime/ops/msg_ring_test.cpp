// SPDX-License-Identifier: MIT
// Messages from ring to ring, on the kernel: to an executor that runs, to one that sleeps, to a ring of somebody else.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/msg_ring.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

struct noted_message : ops::ring_message {
  noted_message() noexcept : ring_message{&arrived} {}
  static void arrived(ring_message& self, std::int32_t number) noexcept {
    static_cast<noted_message&>(self).numbers.push_back(number);
  }
  std::vector<std::int32_t> numbers;
};

task<> send(executor& to, ops::ring_message& message, std::int32_t number) {
  co_await ops::msg_ring(to, message, number);
}

task<> send_many(executor& to, ops::ring_message& message, int count) {
  for (int i = 0; i < count; ++i) co_await ops::msg_ring(to, message, i);
}

}  // namespace

TEST_CASE("a message has arrived at another executor when it is sent, and is heard in that one's next turn") {
  executor sender;
  executor receiver;
  noted_message message;

  sender.run(send(receiver, message, 7));
  CHECK(message.numbers.empty());
  receiver.run_ready();

  CHECK(message.numbers == std::vector{7});
  CHECK(receiver.in_kernel_count() == 0);
}

TEST_CASE("messages of one sender arrive in their order, any number, also numbers that are errors elsewhere") {
  constexpr int count = 300;
  executor sender;
  executor receiver;
  noted_message message;

  sender.run(send_many(receiver, message, count));
  sender.run(send(receiver, message, -ECANCELED));
  receiver.run_ready();

  REQUIRE(message.numbers.size() == count + 1);
  for (int i = 0; i < count; ++i) CHECK(message.numbers[static_cast<std::size_t>(i)] == i);
  CHECK(message.numbers.back() == -ECANCELED);
  CHECK(receiver.in_kernel_count() == 0);
}

TEST_CASE("to an executor that polls devices any number arrives as it was sent, also those by which its ring refuses") {
  executor sender;
  executor receiver{{.iopoll = iopoll_mode::busy}};
  noted_message message;

  sender.run(send(receiver, message, -EINVAL));
  receiver.run_ready();

  CHECK(message.numbers == std::vector{-EINVAL});
}

TEST_CASE("more messages than the other queue has room for are kept by the kernel") {
  executor sender;
  executor receiver{{.sq_entries = 8, .cq_entries = 16}};
  noted_message message;

  sender.run(send_many(receiver, message, 100));
  receiver.run_ready();

  CHECK(message.numbers.size() == 100);
}

TEST_CASE("an executor can send to itself") {
  executor loop;
  noted_message message;

  loop.run(send(loop, message, 1));
  loop.run_ready();

  CHECK(message.numbers == std::vector{1});
}

TEST_CASE("a message wakes an executor that sleeps on another thread, however it sleeps") {
  struct ends_sleep : ops::ring_message {
    ends_sleep() noexcept : ring_message{&arrived} {}
    static void arrived(ring_message& self, std::int32_t) noexcept { static_cast<ends_sleep&>(self).sleeper->cancel(); }
    root_task<void>* sleeper = nullptr;
  };
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    executor sender;
    std::atomic<executor*> known = nullptr;
    ends_sleep message;
    bool stopped = false;
    std::thread other{[&] {
      executor receiver{{.park = park}};
      auto sleeping = receiver.start([]() -> task<> { co_await sleep_for(24h); }());
      message.sleeper = &sleeping;
      receiver.run_ready();
      known = &receiver;
      turn_until_done(receiver, sleeping);
      stopped = sleeping.stopped();
    }};
    while (known == nullptr) std::this_thread::yield();

    sender.run(send(*known, message, 0));
    other.join();

    CHECK(stopped);
  }
}

TEST_CASE("a message to a ring that is not gyre's is a completion with that user_data and result") {
  executor loop;
  ::io_uring theirs;
  REQUIRE(::io_uring_queue_init(4, &theirs, 0) == 0);

  loop.run([](int ring) -> task<> { co_await ops::msg_ring(ring, 0xfeed, 42); }(theirs.ring_fd));

  ::io_uring_cqe* completion = nullptr;
  REQUIRE(::io_uring_peek_cqe(&theirs, &completion) == 0);
  CHECK(completion->user_data == 0xfeed);
  CHECK(completion->res == 42);
  CHECK(completion->flags == 0);
  ::io_uring_queue_exit(&theirs);
}

TEST_CASE("a message to what is no ring is an error") {
  executor loop;
  const socket_pair no_ring;
  outcome noted;

  loop.run(observe(ops::msg_ring(no_ring.here, 1, 1), noted));

  CHECK(noted.error.value() == EBADFD);
}

TEST_CASE("in a scope that is cancelled no message is sent; once it is submitted it is") {
  executor sender;
  executor receiver;
  noted_message message;
  auto unsent = sender.start(send(receiver, message, 1));
  unsent.cancel();
  turn_until_done(sender, unsent);

  auto sent = sender.start(send(receiver, message, 2));
  sender.turn(/*may_park=*/false);
  sent.cancel();
  turn_until_done(sender, sent);
  receiver.run_ready();

  CHECK(unsent.stopped());
  CHECK(message.numbers == std::vector{2});
}

TEST_CASE("a thread without an executor sends messages in their order, and they are heard like others") {
  executor receiver;
  noted_message message;
  std::vector<std::error_code> errors;

  std::thread{[&] {
    for (int i = 0; i < 300; ++i) {
      const auto sent = ops::send_message_without_ring(receiver, message, i);
      if (!sent) errors.push_back(sent.error());
    }
  }}.join();
  if (!errors.empty() && errors.front() == std::errc::invalid_argument) {
    SAY_SKIPPED("messages without a ring are in Linux 6.13");
    return;
  }
  CHECK(message.numbers.empty());
  receiver.run_ready();

  CHECK(errors.empty());
  REQUIRE(message.numbers.size() == 300);
  for (int i = 0; i < 300; ++i) CHECK(message.numbers[static_cast<std::size_t>(i)] == i);
  CHECK(receiver.in_kernel_count() == 0);
}

TEST_CASE("a message without a ring wakes an executor that sleeps on another thread, however it sleeps") {
  struct ends_sleep : ops::ring_message {
    ends_sleep() noexcept : ring_message{&arrived} {}
    static void arrived(ring_message& self, std::int32_t) noexcept { static_cast<ends_sleep&>(self).sleeper->cancel(); }
    root_task<void>* sleeper = nullptr;
  };
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    std::atomic<executor*> known = nullptr;
    ends_sleep message;
    bool stopped = false;
    std::thread other{[&] {
      executor receiver{{.park = park}};
      auto sleeping = receiver.start([]() -> task<> { co_await sleep_for(24h); }());
      message.sleeper = &sleeping;
      receiver.run_ready();
      known = &receiver;
      turn_until_done(receiver, sleeping);
      stopped = sleeping.stopped();
    }};
    while (known == nullptr) std::this_thread::yield();

    if (!ops::send_message_without_ring(*known, message, 0)) {
      SAY_SKIPPED("messages without a ring are in Linux 6.13");
      known.load()->post([&] { message.sleeper->cancel(); });
    }
    other.join();

    CHECK(stopped);
  }
}

TEST_CASE("a message without a ring to a ring that is none of the kernel's is an error") {
  scripted_executor on;
  noted_message message;

  CHECK_FALSE(static_cast<bool>(ops::send_message_without_ring(on.loop, message, 1)));
  CHECK(message.numbers.empty());
}

}  // namespace gyre
