// SPDX-License-Identifier: MIT
// Direct descriptors at places of the program's choice, beside those that the kernel chooses.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/numbered_fd.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>

#include "../support/direct_slots.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace test;

executor_options with_slots() { return {.direct_descriptors = 6, .numbered_descriptors = 3}; }

std::error_code code_of_making(executor& loop, unsigned slot, fd_ref plain) {
  try {
    const numbered_fd made{loop, slot, plain};
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

task<char> receive_one(fd_ref from) {
  std::array<std::byte, 1> byte{};
  const auto count = co_await ops::recv{from, byte};
  co_return count == 1 ? static_cast<char>(byte[0]) : '-';
}

task<> note_one(fd_ref from, outcome& noted) {
  std::array<std::byte, 1> byte{};
  co_await observe(ops::recv{from, byte}, noted);
}

void send_text(const unique_fd& from, const char* text, std::size_t size) {
  REQUIRE(::send(from.get(), text, size, 0) == static_cast<ssize_t>(size));
}

bool peer_has_closed(const unique_fd& peer) {
  char byte = 0;
  return ::recv(peer.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

}  // namespace

TEST_CASE("a file is at the number that the program chose, and the kernel gives that to nobody else") {
  socket_pair pair;
  executor loop{with_slots()};
  send_text(pair.there, "ab", 2);

  loop.run([&]() -> task<> {
    const numbered_fd second{loop, 2, pair.here};
    CHECK(second.slot() == 2);
    CHECK(&second.owner() == &loop);
    CHECK(fd_ref{second}.slot() == 2);
    CHECK(co_await receive_one(second) == 'a');
    std::vector<direct_fd> others;
    for (int i = 0; i < 3; ++i) others.push_back(co_await ops::to_direct{pair.here});
    for (const direct_fd& each : others) CHECK(each.slot() >= 3);
    const auto one_more = co_await as_result(ops::to_direct{pair.here});
    CHECK(one_more.error() == std::errc::too_many_files_open_in_system);
    const numbered_fd first{loop, 0, pair.here};
    CHECK(co_await receive_one(first) == 'b');
    CHECK(loop.statistics().direct_fds == 5);
  });
  loop.run_ready();

  CHECK(used_slots_count(loop) == 0);
  CHECK(loop.statistics().direct_fds == 0);
}

TEST_CASE("the file is closed when the number goes, if nobody else has it open") {
  socket_pair pair;
  executor loop{with_slots()};
  numbered_fd kept{loop, 1, pair.here};
  pair.here.reset();
  CHECK(!peer_has_closed(pair.there));

  numbered_fd moved = std::move(kept);
  CHECK(!kept);
  CHECK(!peer_has_closed(pair.there));
  moved = {};

  loop.run_ready();
  CHECK(peer_has_closed(pair.there));
  CHECK(!code_of_making(loop, 1, pair.there));
}

TEST_CASE("another file takes the place: what waits on the first goes on, what comes later finds the second") {
  socket_pair first;
  socket_pair second;
  executor loop{with_slots()};
  numbered_fd number{loop, 0, first.here};
  outcome waited;
  auto waiting =
      loop.start([](const numbered_fd& on, outcome& noted) -> task<> { co_await note_one(on, noted); }(number, waited));
  loop.run_ready();

  number.reassign(second.here);
  send_text(second.there, "2", 1);
  loop.run([&]() -> task<> { CHECK(co_await receive_one(number) == '2'); });
  CHECK(waited.how == ended::not_yet);
  send_text(first.there, "1", 1);
  while (!waiting.done()) loop.turn(/*may_park=*/true);

  CHECK(waited.how == ended::with_value);
}

TEST_CASE("what is described and not in the kernel finds nothing when the number has gone") {
  socket_pair pair;
  executor loop{with_slots()};
  numbered_fd number{loop, 0, pair.here};
  outcome noted;

  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(note_one(number, noted));
      group.start([](numbered_fd& going) -> task<> {
        going = {};
        co_return;
      }(number));
      co_return;
    });
  });

  CHECK(noted.error == std::errc::bad_file_descriptor);
}

TEST_CASE("a number that is not there, or somebody's, or for no open file is refused, and nothing is taken") {
  socket_pair pair;
  executor loop{with_slots()};
  executor without_table;
  const numbered_fd taken{loop, 1, pair.here};

  CHECK(code_of_making(loop, 1, pair.here) == std::errc::device_or_resource_busy);
  CHECK(code_of_making(loop, 3, pair.here) == std::errc::invalid_argument);
  CHECK(code_of_making(loop, 1'000'000, pair.here) == std::errc::invalid_argument);
  CHECK(code_of_making(without_table, 0, pair.here) == std::errc::invalid_argument);
  CHECK(code_of_making(loop, 0, -1) == std::errc::bad_file_descriptor);
  CHECK(code_of_making(loop, 0, 1'000'000) == std::errc::bad_file_descriptor);
  CHECK(code_of_making(loop, 0, loop.ring().descriptor()) == std::errc::bad_file_descriptor);
  CHECK(used_slots_count(loop) == 1);
  CHECK(!code_of_making(loop, 0, pair.here));
}

TEST_CASE("a reassignment that fails leaves the file where it is") {
  socket_pair pair;
  executor loop{with_slots()};
  numbered_fd number{loop, 0, pair.here};
  numbered_fd nothing;

  CHECK_THROWS_AS(number.reassign(-1), std::system_error);
  CHECK_THROWS_AS(number.reassign(1'000'000), std::system_error);
  CHECK_THROWS_AS(nothing.reassign(pair.here), std::system_error);
  numbered_fd emptied{loop, 1, pair.here};
  CHECK_THROWS_AS(emptied.reassign(loop.ring().descriptor()), std::system_error);
  CHECK(used_slots_count(loop) == 1);
  send_text(pair.there, "x", 1);

  loop.run([&]() -> task<> { CHECK(co_await receive_one(number) == 'x'); });
}

TEST_CASE("an operation on a number is stopped as on any other descriptor") {
  socket_pair silent;
  executor loop{with_slots()};
  const numbered_fd number{loop, 2, silent.here};
  outcome noted;
  auto waiting =
      loop.start([](const numbered_fd& on, outcome& how) -> task<> { co_await note_one(on, how); }(number, noted));
  loop.run_ready();

  waiting.cancel();
  loop.run_ready();

  CHECK(noted.how == ended::stopped);
}

TEST_CASE("numbers beyond the table, or all of it, are refused with the cure") {
  for (const unsigned numbered : {4U, 5U}) {
    CHECK_THROWS_WITH_AS((executor{{.direct_descriptors = 4, .numbered_descriptors = numbered}}),
                         doctest::Contains("raise direct_descriptors"), std::system_error);
  }
}

}  // namespace gyre
