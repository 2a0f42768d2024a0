// SPDX-License-Identifier: MIT
// An epoll set that is not gyre's, on the kernel: changed and waited for by coroutines, and by others beside them.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/epoll.hpp>

#include "../../support/huge_memory.hpp"
#include "../../support/kernel_has.hpp"
#include "../../support/outcome.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

bool kernel_waits_for_epoll() { return kernel_has(op_epoll_wait, "epoll_wait"); }

// A library's own set, with two descriptors in it.
struct foreign_set {
  foreign_set() {
    add(first, 1);
    add(second, 2);
  }
  void add(const unique_fd& fd, std::uint64_t tag, std::uint32_t events = EPOLLIN) const {
    epoll_event wanted{.events = events, .data = {.u64 = tag}};
    REQUIRE(::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd.get(), &wanted) == 0);
  }

  unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  unique_fd first{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  unique_fd second{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

// A copy: the structure is packed, so that nothing can refer to its fields.
std::uint64_t tag_of(const epoll_event& told) { return told.data.u64; }

void notify(const unique_fd& event) { REQUIRE(::eventfd_write(event.get(), 1) == 0); }
void clear(const unique_fd& event) {
  eventfd_t value = 0;
  REQUIRE(::eventfd_read(event.get(), &value) == 0);
}

}  // namespace

TEST_CASE("epoll_ctl adds, changes and takes out, as epoll_ctl(2) does") {
  const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  const unique_fd event{::eventfd(1, EFD_CLOEXEC)};
  executor loop;
  const auto told = [&] {
    std::array<epoll_event, 4> events{};
    const int count = ::epoll_wait(set.get(), events.data(), 4, 0);
    return count == 1 ? tag_of(events[0]) : 0;
  };

  loop.run([&]() -> task<> {
    epoll_event wanted{.events = EPOLLIN, .data = {.u64 = 42}};
    co_await ops::epoll_ctl(set, EPOLL_CTL_ADD, event, wanted);
    CHECK(told() == 42);
    wanted.data.u64 = 43;
    co_await ops::epoll_ctl(set, EPOLL_CTL_MOD, event, wanted);
    CHECK(told() == 43);
    const auto twice = co_await as_result(ops::epoll_ctl(set, EPOLL_CTL_ADD, event, wanted));
    CHECK(twice.error() == std::errc::file_exists);
    co_await ops::epoll_ctl(set, EPOLL_CTL_DEL, event);
    CHECK(told() == 0);
    const auto gone = co_await as_result(ops::epoll_ctl(set, EPOLL_CTL_DEL, event));
    CHECK(gone.error() == std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("epoll_ctl says what is wrong, and never takes a direct descriptor for a number") {
  const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  const unique_fd event{::eventfd(0, EFD_CLOEXEC)};
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    const epoll_event wanted{.events = EPOLLIN, .data = {}};
    const auto code_of = [](ops::epoll_ctl change) -> task<std::error_code> {
      const auto got = co_await as_result(std::move(change));
      co_return got.error();
    };
    const auto bad = std::errc::bad_file_descriptor;
    CHECK(co_await code_of(ops::epoll_ctl(set, EPOLL_CTL_ADD, -1, wanted)) == bad);
    CHECK(co_await code_of(ops::epoll_ctl(-1, EPOLL_CTL_ADD, event, wanted)) == bad);
    CHECK(co_await code_of(ops::epoll_ctl(event, EPOLL_CTL_ADD, set, wanted)) == std::errc::invalid_argument);
    CHECK(co_await code_of(ops::epoll_ctl(set, 77, event, wanted)) == std::errc::invalid_argument);
    const direct_fd direct = co_await ops::to_direct(event);
    const auto unsupported = std::errc::operation_not_supported;
    CHECK(co_await code_of(ops::epoll_ctl(set, EPOLL_CTL_ADD, direct, wanted)) == unsupported);
    CHECK(co_await code_of(ops::epoll_ctl(direct, EPOLL_CTL_ADD, event, wanted)) == unsupported);
    std::string text;
    try {
      co_await ops::epoll_ctl(set, EPOLL_CTL_ADD, direct, wanted);
    } catch (const std::system_error& error) {
      text = error.what();
    }
    CHECK_MESSAGE(text.find("make a plain one of it by ops::to_plain") != std::string::npos, text);
  });
}

TEST_CASE("epoll_wait tells what is ready in a set that somebody else made, as long as it is") {
  if (!kernel_waits_for_epoll()) return;
  const foreign_set foreign;
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    std::array<epoll_event, 4> events{};
    notify(foreign.second);
    CHECK(co_await ops::epoll_wait(foreign.set, events) == 1);
    CHECK(tag_of(events[0]) == 2);
    CHECK(co_await ops::epoll_wait(foreign.set, events) == 1);
    notify(foreign.first);
    CHECK(co_await ops::epoll_wait(foreign.set, events) == 2);
    CHECK(co_await ops::epoll_wait(foreign.set, std::span{events}.first(1)) == 1);
    const direct_fd direct = co_await ops::to_direct(foreign.set);
    CHECK(co_await ops::epoll_wait(direct, events) == 2);
  });
}

TEST_CASE("epoll_wait waits: for another thread that writes, and for a descriptor that is added meanwhile") {
  if (!kernel_waits_for_epoll()) return;
  const foreign_set foreign;
  const unique_fd added{::eventfd(1, EFD_CLOEXEC)};
  executor loop;
  const auto wait = [](const foreign_set& of, std::uint64_t& tag) -> task<> {
    std::array<epoll_event, 1> events{};
    CHECK(co_await ops::epoll_wait(of.set, events) == 1);
    tag = tag_of(events[0]);
  };

  for (int round = 0; round < 3; ++round) {  // each of them wakes an executor that sleeps
    std::uint64_t tag = 0;
    auto root = loop.start(wait(foreign, tag));
    loop.run_ready();
    CHECK(!root.done());
    std::thread writer{[&] { notify(foreign.first); }};
    turn_until_done(loop, root);
    writer.join();
    CHECK(tag == 1);
    clear(foreign.first);
  }

  std::uint64_t tag = 0;
  auto root = loop.start(wait(foreign, tag));
  loop.run_ready();
  foreign.add(added, 3);
  turn_until_done(loop, root);
  CHECK(tag == 3);
}

TEST_CASE("an event of an edge-triggered descriptor that a cancel crosses is told, or left for the next") {
  if (!kernel_waits_for_epoll()) return;
  const foreign_set foreign;
  const unique_fd edge{::eventfd(0, EFD_CLOEXEC)};
  foreign.add(edge, 3, EPOLLIN | EPOLLET);
  std::array<epoll_event, 1> events{};

  for (const bool cancel_first : {true, false}) {
    CAPTURE(cancel_first);
    executor loop;
    outcome noted;
    auto root = loop.start(observe(ops::epoll_wait(foreign.set, events), noted));
    loop.run_ready();
    if (cancel_first) root.cancel(), notify(edge);
    else notify(edge), root.cancel();
    turn_until_done(loop, root);

    const int left = ::epoll_wait(foreign.set.get(), events.data(), 1, 0);
    CHECK(left == (noted.how == ended::with_value ? 0 : 1));
  }
}

TEST_CASE("an epoll_wait that nothing ends is ended by a cancel and by a deadline") {
  if (!kernel_waits_for_epoll()) return;
  const foreign_set foreign;
  executor loop;
  std::array<epoll_event, 1> events{};
  outcome noted;
  auto root = loop.start(observe(ops::epoll_wait(foreign.set, events), noted));
  loop.run_ready();
  root.cancel();
  turn_until_done(loop, root);
  CHECK(noted.how == ended::stopped);

  loop.run([&]() -> task<> {
    const auto late = co_await as_result(with_timeout(1ms, ops::epoll_wait(foreign.set, events)));
    CHECK(late.error() == std::errc::timed_out);
  });
}

TEST_CASE("epoll_wait says what is wrong, and uses as many places as there are events") {
  if (!kernel_waits_for_epoll()) return;
  const foreign_set foreign;
  const huge_memory memory{std::size_t{4} << 30};
  executor loop;
  notify(foreign.first);

  loop.run([&]() -> task<> {
    std::array<epoll_event, 1> events{};
    const auto no_place = co_await as_result(ops::epoll_wait(foreign.set, std::span<epoll_event>()));
    CHECK(no_place.error() == std::errc::invalid_argument);
    const auto no_set = co_await as_result(ops::epoll_wait(foreign.first, events));
    CHECK(no_set.error() == std::errc::invalid_argument);
    const auto closed = co_await as_result(ops::epoll_wait(-1, events));
    CHECK(closed.error() == std::errc::bad_file_descriptor);
    auto* const places = reinterpret_cast<epoll_event*>(memory.bytes().data());
    CHECK(co_await ops::epoll_wait(foreign.set, {places, memory.bytes().size() / sizeof *places}) == 1);
    CHECK(tag_of(*places) == 1);
  });
}

}  // namespace gyre
