// SPDX-License-Identifier: MIT
// Links and drains: what they do on the kernel, how they end where something fails or somebody stops them, and how
// they go into the queue. Every order of their ends: chain_order_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../../support/bytes.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/tcp_pair.hpp"
#include "../../support/temp_folder.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

unique_fd opened(const std::string& path, int flags) { return unique_fd{::open(path.c_str(), flags | O_CLOEXEC)}; }

// What a pair of results says, in two coroutines that can be watched.
struct noted_pair {
  outcome how;
  std::error_code first;
  std::error_code second;
};

template <class Chain>
task<> note_pair(Chain chain, noted_pair& noted) {
  const stop_watch watch{noted.how};
  const auto results = co_await std::move(chain);
  noted.first = std::get<0>(results).error();
  noted.second = std::get<1>(results).error();
  noted.how.how = ended::with_value;
}

struct buffers {
  std::array<std::byte, 4> first{};
  std::array<std::byte, 4> second{};
};

}  // namespace

// ------------------------------------------------------------------------------------------------------- on the kernel

TEST_CASE("a write and the fsync that is linked to it are one await") {
  const temp_folder folder;
  const auto file = opened(folder.file("log", ""), O_RDWR);

  run_now([](fd_ref log) -> task<> {
    const auto [written, synced] = co_await ops::link(ops::write(log, bytes_of("entry"), 0), ops::fsync(log));
    CHECK(written.value() == 5);
    CHECK(synced.has_value());
  }(file));

  CHECK(content_of(folder.file("log")) == "entry");
}

TEST_CASE("a linked operation begins when the one before it has ended") {
  const socket_pair trigger;
  const socket_pair watched;
  executor loop{options_under_test()};
  buffers memory;
  noted_pair noted;
  auto root = loop.start(
      note_pair(ops::link(ops::recv(trigger.here, memory.first), ops::send(watched.here, bytes_of("go"))), noted));
  loop.run_ready();
  std::array<char, 4> seen{};
  CHECK(::recv(watched.there.get(), seen.data(), seen.size(), MSG_DONTWAIT) == -1);

  REQUIRE(::send(trigger.there.get(), "x", 1, 0) == 1);
  turn_until_done(loop, root);

  CHECK(::recv(watched.there.get(), seen.data(), seen.size(), MSG_DONTWAIT) == 2);
  CHECK(noted.how.how == ended::with_value);
}

TEST_CASE("what is linked to an operation that fails never runs") {
  const socket_pair ends;

  run_now([](fd_ref socket) -> task<> {
    const auto [synced, sent] = co_await ops::link(ops::fsync(-1), ops::send(socket, bytes_of("late")));
    CHECK(synced.error() == std::errc::bad_file_descriptor);
    CHECK(sent.error() == errc::link_broken);
  }(ends.here));

  char byte = 0;
  CHECK(::recv(ends.there.get(), &byte, 1, MSG_DONTWAIT) == -1);
}

TEST_CASE("a read of fewer bytes than asked for breaks its link, and a recv does not") {
  const temp_folder folder;
  const auto file = opened(folder.file("short", "ab"), O_RDONLY);
  const socket_pair ends;
  REQUIRE(::send(ends.there.get(), "ab", 2, 0) == 2);

  run_now([](fd_ref short_file, fd_ref socket) -> task<> {
    buffers memory;
    const auto [read, after_read] = co_await ops::link(ops::read(short_file, memory.first, 0), ops::nop());
    CHECK(read.value() == 2);
    CHECK(after_read.error() == errc::link_broken);
    const auto [received, after_recv] = co_await ops::link(ops::recv(socket, memory.second), ops::nop());
    CHECK(received.value() == 2);
    CHECK(after_recv.has_value());
  }(file, ends.here));
}

TEST_CASE("what is linked hard runs however the one before it ended") {
  const temp_folder folder;
  const auto file = opened(folder.file("short", "ab"), O_RDONLY);

  run_now([](fd_ref short_file) -> task<> {
    buffers memory;
    const auto [synced, read] = co_await ops::hard_link(ops::fsync(-1), ops::read(short_file, memory.first, 0));
    CHECK(synced.error() == std::errc::bad_file_descriptor);
    CHECK(read.value() == 2);
    const auto [again, nothing] = co_await ops::hard_link(ops::read(short_file, memory.first, 0), ops::nop());
    CHECK(again.value() == 2);
    CHECK(nothing.has_value());
  }(file));
}

TEST_CASE("a timeout in a link delays what comes after it, and breaks nothing") {
  run_now([]() -> task<> {
    const auto [waited, done] = co_await ops::link(ops::timeout(1ms), ops::nop());
    CHECK(waited.has_value());
    CHECK(done.has_value());
  }());
}

TEST_CASE("operations on direct descriptors can be linked, and descriptors come out of a link") {
  const temp_folder folder;
  const std::string path = folder.file("direct", "");
  executor loop{{.direct_descriptors = 4}};

  loop.run([&]() -> task<> {
    auto [plain, direct] = co_await ops::link(ops::openat(AT_FDCWD, path.c_str(), O_RDWR),
                                              ops::openat_direct(AT_FDCWD, path.c_str(), O_RDWR));
    const direct_fd file = std::move(direct).value();
    const auto [written, synced] = co_await ops::link(ops::write(file, bytes_of("one"), 0), ops::fsync(file));
    CHECK(written.value() == 3);
    CHECK(synced.has_value());
    std::array<std::byte, 3> read{};
    CHECK(co_await ops::read(std::move(plain).value(), read, 0) == 3);
    CHECK(text_of(read) == "one");
  });
}

TEST_CASE("a stop ends the linked operation that waits, wherever in its chain it is") {
  for (const int received_before : {0, 1}) {
    const socket_pair ends;
    executor loop{options_under_test()};
    buffers memory;
    noted_pair noted;
    auto root = loop.start(
        note_pair(ops::link(ops::recv(ends.here, memory.first), ops::recv(ends.here, memory.second)), noted));
    loop.run_ready();
    if (received_before > 0) {
      REQUIRE(::send(ends.there.get(), "x", 1, 0) == 1);
      while (loop.statistics().cqes == 0) loop.turn(/*may_park=*/false);
    }

    root.cancel();
    turn_until_done(loop, root);

    CHECK(noted.how.how == ended::stopped);
    CHECK(root.stopped());
  }
}

TEST_CASE("a stop finds the second of a chain whose first has ended just now") {
  const socket_pair ends;
  for (int round = 0; round < 100; ++round) {
    executor loop{options_under_test()};
    buffers memory;
    noted_pair noted;
    auto root = loop.start(note_pair(ops::link(ops::nop(), ops::recv(ends.here, memory.second)), noted));
    for (int turns = 0; turns < round % 5; ++turns) loop.turn(/*may_park=*/false);

    root.cancel();
    turn_until_done(loop, root);

    CHECK(noted.how.how == ended::stopped);
  }
}

TEST_CASE("a stop asks each of a hard link when its turn comes") {
  const socket_pair ends;
  executor loop{options_under_test()};
  buffers memory;
  noted_pair noted;
  auto root = loop.start(
      note_pair(ops::hard_link(ops::recv(ends.here, memory.first), ops::recv(ends.here, memory.second)), noted));
  loop.run_ready();

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how.how == ended::stopped);
  CHECK(loop.statistics().cancels >= 2);
}

TEST_CASE("a deadline tells which of a chain it has ended, and which never ran") {
  const socket_pair ends;
  REQUIRE(::send(ends.there.get(), "abcd", 4, 0) == 4);

  run_now([](fd_ref socket) -> task<> {
    buffers memory;
    const auto [first, second] =
        co_await with_timeout(5ms, ops::link(ops::recv(socket, memory.first), ops::recv(socket, memory.second)));
    CHECK(first.value() == 4);
    CHECK(second.error() == std::errc::timed_out);
    const auto [third, fourth] = co_await with_timeout(5ms, ops::link(ops::recv(socket, memory.first), ops::nop()));
    CHECK(third.error() == std::errc::timed_out);
    CHECK(fourth.error() == errc::link_broken);
    CHECK_FALSE(co_await move_on_after(5ms, ops::link(ops::recv(socket, memory.first), ops::nop())));
    CHECK(co_await move_on_after(1h, ops::link(ops::nop(), ops::nop())));
  }(ends.here));
}

TEST_CASE("a stop that comes as an error tells what the chain has done") {
  const socket_pair ends;
  REQUIRE(::send(ends.there.get(), "abcd", 4, 0) == 4);
  executor loop{options_under_test()};
  buffers memory;
  noted_pair noted;
  auto root = loop.start(note_pair(
      stopped_as_error(ops::link(ops::recv(ends.here, memory.first), ops::recv(ends.here, memory.second))), noted));
  while (loop.statistics().cqes == 0) loop.turn(/*may_park=*/false);

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how.how == ended::with_value);
  CHECK_FALSE(noted.first);
  CHECK(noted.second == std::errc::operation_canceled);
}

TEST_CASE("a chain that is stopped closes the descriptors that it made") {
  const temp_folder folder;
  const std::string path = folder.file("made", "");
  const socket_pair ends;
  executor loop{options_under_test()};
  const std::size_t before = open_descriptors_count();
  buffers memory;
  noted_pair noted;
  auto root = loop.start(
      note_pair(ops::link(ops::openat(AT_FDCWD, path.c_str(), O_RDONLY), ops::recv(ends.here, memory.second)), noted));
  while (loop.statistics().cqes == 0) loop.turn(/*may_park=*/false);

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how.how == ended::stopped);
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a close in a chain that breaks before it closes all the same") {
  const temp_folder folder;
  const std::string path = folder.file("open", "");
  const std::size_t before = open_descriptors_count();

  run_now([](const std::string& opened_path) -> task<> {
    const auto [synced, closed] = co_await ops::link(ops::fsync(-1), ops::close(opened(opened_path, O_RDONLY)));
    CHECK(synced.error() == std::errc::bad_file_descriptor);
    CHECK(closed.error() == errc::link_broken);
    const auto [written, closed_well] = co_await ops::link(ops::nop(), ops::close(opened(opened_path, O_RDONLY)));
    CHECK(written.has_value());
    CHECK(closed_well.has_value());
  }(path));

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a close of a direct descriptor in a chain that breaks frees its slot all the same") {
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    for (int round = 0; round < 3; ++round) {
      direct_fd only = co_await ops::socket_direct(AF_INET, SOCK_STREAM);
      const auto [synced, closed] = co_await ops::link(ops::fsync(-1), ops::close_direct(std::move(only)));
      CHECK(closed.error() == errc::link_broken);
      co_await ops::nop();  // the slot is closed with nobody to wait
    }
  });

  CHECK(loop.statistics().direct_fds == 0);
}

TEST_CASE("a chain on an executor that polls devices says what it cannot do, and leaves no descriptor open") {
  const temp_folder folder;
  const std::string path = folder.file("polled", "");
  const std::size_t before = open_descriptors_count();

  {
    executor loop{{.iopoll = iopoll_mode::busy}};
    loop.run([&]() -> task<> {
      const auto [first, second] = co_await ops::link(ops::nop(), ops::nop());
      CHECK(first.has_value());
      CHECK(second.has_value());
      const auto [nop, closed] = co_await ops::link(ops::nop(), ops::close(opened(path, O_RDONLY)));
      CHECK(nop.error() == errc::link_broken);
      CHECK(closed.error() == std::errc::operation_not_supported);
    });
  }

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("chains run side by side, and say how they ended without an exception") {
  run_now([]() -> task<> {
    const auto both = co_await when_all(ops::link(ops::nop(), ops::nop()), ops::hard_link(ops::fsync(-1), ops::nop()));
    CHECK(std::get<1>(std::get<0>(both)).has_value());
    CHECK(std::get<0>(std::get<1>(both)).error() == std::errc::bad_file_descriptor);
    const auto told = co_await as_result(ops::link(ops::fsync(-1), ops::nop()));
    CHECK(std::get<1>(told).error() == errc::link_broken);
  }());
}

TEST_CASE("hundreds of chains share a queue that holds one") {
  executor loop{{.sq_entries = 2, .cq_entries = 8}};
  int done_count = 0;

  const auto start_all = [&](task_group& all) -> task<> {
    for (int i = 0; i < 300; ++i) {
      all.start([](int& count) -> task<> {
        const auto [first, second] = co_await ops::link(ops::nop(), ops::nop());
        if (first && second) ++count;
      }(done_count));
    }
    co_return;
  };
  loop.run([&]() -> task<> { co_await with_task_group(start_all); });

  CHECK(done_count == 300);
}

TEST_CASE("a chain that is longer than the queue is refused") {
  executor loop{{.sq_entries = 2, .cq_entries = 8}};

  loop.run([&]() -> task<> {
    const auto [first, second, third] = co_await ops::link(ops::nop(), ops::nop(), ops::nop());
    CHECK(first.error() == std::errc::argument_list_too_long);
    CHECK(second.error() == errc::link_broken);
    CHECK(third.error() == errc::link_broken);
  });
}

TEST_CASE("diagnosis names the chain, and the descriptor of the one that runs") {
  const socket_pair ends;
  executor loop;
  buffers memory;
  noted_pair noted;
  auto root = loop.start(note_pair(ops::link(ops::recv(ends.here, memory.first), ops::nop()), noted));
  loop.run_ready();

  CHECK(dump_tasks(loop).find(": link on fd " + std::to_string(ends.here.get())) != std::string::npos);

  root.cancel();
  turn_until_done(loop, root);
}

// -------------------------------------------------------------------------------------------------- into the queue

TEST_CASE("a chain waits until there is a place for all of it, and goes in with one submission") {
  scripted_executor on{{.sq_entries = 4}};
  on.script.answer = [](const scripted_ring::request& each) -> std::optional<std::int32_t> {
    return each.opcode == IORING_OP_NOP ? std::optional{0} : std::nullopt;
  };
  buffers memory;
  noted_pair noted;
  const auto fill_place = []() -> task<> { co_await ops::nop(); };
  auto one = on.loop.start(fill_place());
  auto other = on.loop.start(fill_place());
  auto third = on.loop.start(fill_place());
  auto root = on.loop.start(
      note_pair(ops::link(ops::recv(1'000'123, memory.first), ops::recv(1'000'123, memory.second)), noted));

  on.loop.run_ready();

  CHECK((one.done() && other.done() && third.done()));
  CHECK(on.loop.statistics().backlogged > 0);
  const auto members = on.script.in_flight(IORING_OP_RECV);
  REQUIRE(members.size() == 2);
  CHECK(members[0].taken_by == members[1].taken_by);
  CHECK((members[0].flags & IOSQE_IO_LINK) != 0);
  CHECK((members[1].flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) == 0);
  on.stop(root);
}

TEST_CASE("what the kernel has no memory for of a chain never runs, and the rest ends as it ends") {
  for (const bool first_is_stopped : {false, true}) {
    scripted_executor on;
    buffers memory;
    noted_pair noted;
    on.script.refuse(EAGAIN, /*taken_count=*/1);
    on.script.refuse(EAGAIN, /*taken_count=*/0);
    auto root = on.loop.start(
        note_pair(ops::link(ops::recv(1'000'123, memory.first), ops::recv(1'000'123, memory.second)), noted));
    on.loop.run_ready();
    CHECK(on.script.in_flight().size() == 1);

    if (first_is_stopped) root.cancel();
    else on.script.complete(on.script.only(IORING_OP_RECV), 4);
    on.loop.run_ready();

    CHECK(root.done());
    CHECK(noted.how.how == (first_is_stopped ? ended::stopped : ended::with_value));
    if (!first_is_stopped) CHECK(noted.second == std::errc::not_enough_memory);
  }
}

TEST_CASE("a chain that is stopped or out of time while it waits for a place never goes in") {
  for (const bool by_deadline : {false, true}) {
    scripted_executor on{{.sq_entries = 2}};
    on.script.refuse(EBUSY);  // the first turn: the queue stays full
    buffers memory;
    noted_pair noted;
    const auto fill_place = []() -> task<> { co_await ops::nop(); };
    auto filling = on.loop.start(fill_place());
    auto filling_too = on.loop.start(fill_place());
    auto root = on.loop.start(note_pair(
        with_timeout(5s, ops::link(ops::recv(1'000'123, memory.first), ops::recv(1'000'123, memory.second))), noted));
    on.loop.turn(/*may_park=*/false);

    if (by_deadline) on.script.advance(5s);
    else root.cancel();
    on.script.refuse(EBUSY);
    while (!root.done()) on.loop.turn(/*may_park=*/false);

    CHECK(noted.how.how == (by_deadline ? ended::with_value : ended::stopped));
    if (by_deadline) CHECK(noted.first == std::errc::timed_out);
    if (by_deadline) CHECK(noted.second == errc::link_broken);
    CHECK(on.script.taken_count(IORING_OP_RECV) == 0);
    on.loop.run_ready();
    for (const auto& each : on.script.in_flight(IORING_OP_NOP)) on.script.complete(each, 0);
    on.loop.run_ready();
    CHECK(filling.done());
    CHECK(filling_too.done());
  }
}

// ----------------------------------------------------------------------------------------------------------- drain

namespace {

task<> note_operation(auto operation, outcome& noted) { co_await observe(std::move(operation), noted); }

// Three operations, the second of which runs alone.
struct with_one_alone {
  with_one_alone()
      : before{on.loop.start(note_operation(ops::recv(1, memory.first), first))},
        alone{on.loop.start(note_operation(ops::drain(ops::fsync(2)), second))},
        after{on.loop.start(note_operation(ops::recv(3, memory.second), third))} {
    on.loop.run_ready();
  }
  ~with_one_alone() {
    after.cancel();
    alone.cancel();
    before.cancel();
    on.loop.run_ready();
  }

  bool is_in_flight(int fd) const {
    const auto& all = on.script.in_flight();
    return std::any_of(all.begin(), all.end(), [&](const auto& each) { return each.fd == fd; });
  }
  void complete(int fd, int res) {
    for (const auto& each : std::vector{on.script.in_flight()})
      if (each.fd == fd) on.script.complete(each, res);
    on.loop.run_ready();
  }

  scripted_executor on;
  buffers memory;
  outcome first, second, third;
  root_task<void> before, alone, after;
};

}  // namespace

TEST_CASE("a drained operation begins when those before it have ended, and those after it when it has") {
  with_one_alone three;
  CHECK(three.is_in_flight(1));
  CHECK_FALSE(three.is_in_flight(2));
  CHECK_FALSE(three.is_in_flight(3));

  three.complete(1, 4);
  CHECK(three.is_in_flight(2));
  CHECK_FALSE(three.is_in_flight(3));

  three.complete(2, 0);
  CHECK(three.second.how == ended::with_value);
  CHECK(three.is_in_flight(3));

  three.complete(3, 4);
  CHECK(three.third.how == ended::with_value);
}

TEST_CASE("a stop reaches a drained operation that waits, those before it, and those after it") {
  {
    with_one_alone three;
    three.on.stop(three.alone);
    CHECK(three.second.how == ended::stopped);
    CHECK(three.is_in_flight(3));
  }
  {
    with_one_alone three;
    three.on.stop(three.before);
    CHECK(three.first.how == ended::stopped);
    CHECK(three.is_in_flight(2));
    three.on.stop(three.alone);
    CHECK(three.second.how == ended::stopped);
    CHECK(three.is_in_flight(3));
  }
  {
    with_one_alone three;
    three.on.stop(three.after);
    CHECK(three.third.how == ended::stopped);
    three.complete(1, 4);
    CHECK(three.is_in_flight(2));
  }
}

TEST_CASE("a drained operation keeps its deadline while it waits, and its errors") {
  scripted_executor on;
  buffers memory;
  outcome first, second, third;
  auto before = on.loop.start(note_operation(ops::recv(1, memory.first), first));
  auto alone = on.loop.start(note_operation(with_timeout(5s, ops::drain(ops::fsync(2))), second));
  on.loop.run_ready();

  on.advance(5s);
  CHECK(second.how == ended::with_error);
  CHECK(second.error == std::errc::timed_out);

  auto failing = on.loop.start(note_operation(ops::drain(ops::fsync(2)), third));
  on.loop.run_ready();
  on.stop(before);
  on.script.complete(on.script.only(IORING_OP_FSYNC), -EIO);
  on.loop.run_ready();
  CHECK(third.error == std::errc::io_error);
}

TEST_CASE("the rest of an operation of several requests comes before one that is drained") {
  scripted_executor on;
  buffers memory;
  outcome first, second;
  auto before = on.loop.start(note_operation(ops::recv_all(1, memory.first), first));
  auto alone = on.loop.start(note_operation(ops::drain(ops::fsync(2)), second));
  on.loop.run_ready();

  on.script.complete(on.script.only(IORING_OP_RECV), 1);
  on.loop.run_ready();
  CHECK(on.script.in_flight(IORING_OP_FSYNC).empty());
  on.script.complete(on.script.only(IORING_OP_RECV), 3);
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_FSYNC), 0);
  on.loop.run_ready();

  CHECK(first.how == ended::with_value);
  CHECK(second.how == ended::with_value);
}

TEST_CASE("a whole chain can run alone, and two that do come one after the other") {
  scripted_executor on;
  buffers memory;
  noted_pair one, other;
  auto first =
      on.loop.start(note_pair(ops::drain(ops::link(ops::recv(1, memory.first), ops::recv(1, memory.second))), one));
  auto second = on.loop.start(
      note_pair(ops::drain(ops::hard_link(ops::recv(2, memory.first), ops::recv(2, memory.second))), other));
  on.loop.run_ready();
  CHECK(on.script.in_flight().size() == 2);

  for (const int fd : {1, 2}) {
    for (int member = 0; member < 2; ++member) {
      CHECK(on.script.in_flight().front().fd == fd);
      on.script.complete(on.script.in_flight().front(), 4);
      on.loop.run_ready();
    }
  }

  CHECK(one.how.how == ended::with_value);
  CHECK(other.how.how == ended::with_value);
}

TEST_CASE("streams go on while an operation is drained, and hold it up in no way") {
  scripted_executor on;
  outcome noted;
  auto accepting = on.loop.start([]() -> task<> {
    ops::accept_stream connections{1};
    static_cast<void>(co_await connections.next());
  }());
  on.loop.run_ready();
  CHECK(on.script.in_flight(IORING_OP_ACCEPT).size() == 1);

  auto alone = on.loop.start(note_operation(ops::drain(ops::nop()), noted));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_NOP), 0);
  on.loop.run_ready();

  CHECK(noted.how == ended::with_value);
  on.stop(accepting);
}

TEST_CASE("writes of several tasks, and then one fsync that is drained, on the kernel") {
  const temp_folder folder;
  const auto file = opened(folder.file("log", ""), O_RDWR);

  int written_count = 0;
  int synced_after = 0;
  const auto write_one = [&](std::uint64_t at) -> task<> {
    CHECK(co_await ops::write(file, bytes_of("x"), at) == 1);
    ++written_count;
  };
  const auto sync = [&]() -> task<> {
    co_await ops::drain(ops::fsync(file));
    synced_after = written_count;
  };

  executor loop{options_under_test()};
  const auto start_all = [&](task_group& all) -> task<> {
    for (std::uint64_t at = 0; at < 20; ++at) all.start(write_one(at));
    all.start(sync());
    for (std::uint64_t at = 20; at < 40; ++at) all.start(write_one(at));
    co_return;
  };
  loop.run([&]() -> task<> { co_await with_task_group(start_all); });

  CHECK(synced_after == 20);
  CHECK(written_count == 40);
}

TEST_CASE("a member that no cancel finds is asked for a few times, and then once a millisecond") {
  scripted_executor on{{.on_cancel = scripted_ring::cancels::by_hand}, {.timer_slack = 0ns}};
  std::array<std::byte, 1> buffer{};
  auto root = on.loop.start(
      [](std::span<std::byte> to) -> task<> { co_await ops::link(ops::recv(5, to), ops::recv(6, to)); }(buffer));
  on.loop.run_ready();
  root.cancel();
  const auto answer_all = [&] {
    on.loop.run_ready();
    while (!on.script.in_flight(IORING_OP_ASYNC_CANCEL).empty()) {
      on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), -ENOENT);
      on.loop.run_ready();
    }
  };
  answer_all();
  const std::size_t at_once_count = on.script.taken_count(IORING_OP_ASYNC_CANCEL);
  CHECK(at_once_count < 12);
  on.script.advance(1ms);
  answer_all();
  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == at_once_count + 1);

  on.script.complete(on.script.in_flight(IORING_OP_RECV).front(), -ECANCELED);  // that breaks the link
  answer_all();
  CHECK(root.stopped());
}

TEST_CASE("a send without a copy is a member like others: its answer is what was sent, and not what its second says") {
  if (!executor{}.ring().knows(IORING_OP_SEND_ZC)) {
    SAY_SKIPPED("this kernel has no zero-copy sends");
    return;
  }
  const tcp_pair pair;
  std::array<std::byte, 4> back{};
  run_now([&]() -> task<> {
    const auto [sent, received] =
        co_await ops::link(ops::send_zc(pair.here, bytes_of("data")), ops::recv(pair.there, back));
    CHECK(sent.value().bytes == 4);
    CHECK(sent.value().copied == true);
    CHECK(received.value() == 4);
  }());
  CHECK(text_of(back) == "data");
}

}  // namespace gyre
