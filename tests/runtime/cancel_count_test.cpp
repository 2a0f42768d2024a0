// SPDX-License-Identifier: MIT
// What a cancel costs on the wire, counted in entries and in calls of the kernel: of many operations, of all that is on
// one descriptor, of what an executor has left at its end; and executor::cancel_sync(), which takes no entry at all.
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'001;

struct counted {
  explicit counted(unsigned& count) noexcept : count_{count} { ++count_; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --count_; }

 private:
  unsigned& count_;
};

task<> receive(int fd, unsigned& running_count) {
  const counted here{running_count};
  std::array<std::byte, 1> buffer{};
  co_await ops::recv(fd, buffer);
}

// `fds.size()` times `each_count` tasks, which all wait. What they throw is of no interest.
task<> receive_from_all(std::vector<int> fds, unsigned each_count, unsigned& running_count) {
  const auto start_all = [&](task_group& group) -> task<> {
    for (const int fd : fds)
      for (unsigned i = 0; i < each_count; ++i) group.start(receive(fd, running_count));
    co_return;
  };
  co_await with_task_group({.on_error = [](std::exception_ptr) noexcept {}}, start_all);
}

std::vector<int> ends_of(const std::vector<socket_pair>& pairs) {
  std::vector<int> fds;
  for (const auto& each : pairs) fds.push_back(each.here.get());
  return fds;
}

// What the executor counted since this was made.
class since {
 public:
  explicit since(const executor& loop) noexcept : loop_{loop}, before_{loop.statistics()} {}
  std::uint64_t sqes() const noexcept { return loop_.statistics().sqes - before_.sqes; }
  std::uint64_t cancels() const noexcept { return loop_.statistics().cancels - before_.cancels; }
  std::uint64_t enters() const noexcept { return loop_.statistics().enters - before_.enters; }

 private:
  const executor& loop_;
  executor_statistics before_;
};

}  // namespace

// ---------------------------------------------------------------------------------------- many operations, one cancel

TEST_CASE("a cancel of a scope takes an entry for each operation in it, and one call of the kernel for all that fit") {
  unsigned running_count = 0;
  scripted_executor on{{.sq_entries = 64}};
  auto root = on.loop.start(receive_from_all({some_socket, some_socket + 1}, 30, running_count));
  on.loop.run_ready();
  const since cancel{on.loop};

  root.cancel();
  on.loop.turn(/*may_park=*/false);

  CHECK(cancel.cancels() == 60);
  CHECK(cancel.sqes() == 60);
  CHECK(cancel.enters() == 1);
  on.loop.run_ready();
  CHECK(root.stopped());
  CHECK(running_count == 0);
}

TEST_CASE("the newest operation is asked first: the kernel finds it at once") {
  unsigned running_count = 0;
  scripted_executor on{by_hand};
  auto root = on.loop.start(receive_from_all({some_socket}, 3, running_count));
  on.loop.run_ready();
  const auto receiving = on.script.in_flight(IORING_OP_RECV);

  root.cancel();
  on.loop.run_ready();

  const auto cancels = on.script.in_flight(IORING_OP_ASYNC_CANCEL);
  REQUIRE(cancels.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(cancels[i].addr == receiving[2 - i].user_data);
  for (const auto& each : receiving) on.script.complete(each, -ECANCELED);
  on.loop.run_ready();
  CHECK(root.stopped());
}

TEST_CASE("where completions fill half of their queue, cancels go on a few at a time, and overflow nothing") {
  constexpr unsigned count = 2000;
  unsigned running_count = 0;
  scripted_executor on{{.sq_entries = 64, .cq_entries = 128}, {.turn_budget = 32}};
  auto root = on.loop.start(receive_from_all({some_socket}, count, running_count));
  on.loop.run_ready();
  REQUIRE(on.script.in_flight().size() == count);

  root.cancel();
  on.loop.run_ready();

  CHECK(root.stopped());
  CHECK(running_count == 0);
  CHECK(on.loop.statistics().overflows == 0);
  CHECK(on.loop.statistics().cancels == count);
}

TEST_CASE("a hundred thousand tasks that wait on sockets end at one cancel of their root") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    CAPTURE(static_cast<int>(park));
    constexpr unsigned each_count = 250;
    const std::vector<socket_pair> pairs(400);
    const auto count = static_cast<unsigned>(pairs.size()) * each_count;
    unsigned running_count = 0;
    executor loop{{.park = park}};
    auto root = loop.start(receive_from_all(ends_of(pairs), each_count, running_count));
    while (loop.in_kernel_count() < count) loop.turn(/*may_park=*/false);
    REQUIRE(running_count == count);
    const since cancel{loop};

    root.cancel();
    turn_until_done(loop, root);

    CHECK(root.stopped());
    CHECK(running_count == 0);
    CHECK(cancel.cancels() == count);
    CHECK(cancel.sqes() <= count + 8);     // its own timeout and poll besides
    CHECK(cancel.enters() <= count / 10);  // each runs the work of 20 of them
    CHECK(loop.statistics().overflows == 0);
    MESSAGE(count, " operations cancelled: ", cancel.sqes(), " entries, ", cancel.enters(), " calls of the kernel");
  }
}

TEST_CASE("a hundred thousand tasks whose peers are gone as they are cancelled end once each") {
  constexpr unsigned each_count = 250;
  const std::vector<socket_pair> pairs(400);
  const auto count = static_cast<unsigned>(pairs.size()) * each_count;
  unsigned running_count = 0;
  executor loop;
  auto root = loop.start(receive_from_all(ends_of(pairs), each_count, running_count));
  while (loop.in_kernel_count() < count) loop.turn(/*may_park=*/false);
  for (const auto& pair : pairs) REQUIRE(::shutdown(pair.there.get(), SHUT_RDWR) == 0);
  const since cancel{loop};

  root.cancel();
  turn_until_done(loop, root);

  CHECK(running_count == 0);
  CHECK(loop.in_kernel_count() == 0);
  CHECK(cancel.cancels() < count);  // most are back before they are asked
}

TEST_CASE("of cancels that wait to be sent any can be forgotten: the first, the last, and one in the middle") {
  constexpr std::array<std::size_t, 6> in_some_order{2, 0, 5, 3, 1, 4};
  scripted_executor on{by_hand};
  unsigned running_count = 0;
  std::vector<std::unique_ptr<root_task<void>>> roots;
  for (int i = 0; i < 6; ++i)
    roots.push_back(std::make_unique<root_task<void>>(on.loop, receive(some_socket + i, running_count)));
  on.loop.run_ready();
  const auto waiting = on.script.in_flight(IORING_OP_RECV);
  CHECK(running_count == 6);

  for (const auto& root : roots) root->cancel();
  for (const std::size_t i : in_some_order)
    if (i != 3) on.script.complete(waiting[i], 1);
  on.loop.run_ready();

  CHECK(running_count == 1);
  CHECK(on.script.only(IORING_OP_ASYNC_CANCEL).addr == waiting[3].user_data);
  on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), 0);
  on.script.complete(waiting[3], -ECANCELED);
  on.loop.run_ready();
  CHECK(running_count == 0);
}

// -------------------------------------------------------------------------------------------- all of one descriptor

TEST_CASE("a cancel of a descriptor is one entry, whatever is in flight on it") {
  unsigned running_count = 0;
  const std::vector<socket_pair> pairs(2);
  executor loop;
  auto root = loop.start(receive_from_all(ends_of(pairs), 50, running_count));
  loop.run_ready();
  const since cancel{loop};

  const auto found =
      loop.run([&]() -> task<std::size_t> { co_return co_await ops::cancel_fd(pairs.front().here.get()); });

  CHECK(found == 50);
  CHECK(cancel.cancels() == 1);
  CHECK(cancel.sqes() == 1);
  root.cancel();
  turn_until_done(loop, root);
}

TEST_CASE("tcp_stream::close() takes two entries where something is in flight, and one where nothing is, to cancel") {
  for (const unsigned in_flight_count : {0U, 20U}) {
    CAPTURE(in_flight_count);
    scripted_executor on;
    net::tcp_stream stream{unique_fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}};
    std::vector<outcome> noted(in_flight_count);
    std::array<std::byte, 1> buffer{};
    std::vector<std::unique_ptr<root_task<void>>> reading;
    for (auto& each : noted)
      reading.push_back(std::make_unique<root_task<void>>(on.loop, observe(stream.read(buffer), each)));
    on.loop.run_ready();
    on.script.answer = [](const scripted_ring::request&) { return 0; };
    const since close{on.loop};

    auto closing = on.loop.start(stream.close());
    on.loop.run_ready();

    CHECK(closing.done());
    CHECK(close.cancels() == (in_flight_count == 0 ? 1 : 2));
    CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == close.cancels());
    for (const auto& each : noted) CHECK(each.error == std::errc::operation_canceled);
  }
}

// ------------------------------------------------------------------------------------------------ an executor's end

TEST_CASE("an executor ends its poll and a stream that outlives it by one entry") {
  std::size_t cancels_count = 0;
  ops::accept_stream incoming(some_socket);
  {
    scripted_executor on{{}, {.park = parking::ring_wait}};
    on.script.on_sleep = [&] { on.loop.post([] {}); };
    auto reader =
        on.loop.start([](ops::accept_stream& from) -> task<> { static_cast<void>(co_await from.next()); }(incoming));
    for (int i = 0; i < 4; ++i) on.loop.turn(/*may_park=*/true);
    reader.cancel();
    on.loop.run_ready();
    REQUIRE(on.script.in_flight().size() == 2);
    on.script.on_sleep = nullptr;
    const auto before = on.script.taken_count(IORING_OP_ASYNC_CANCEL);
    on.script.after_enter = [&, before] { cancels_count = on.script.taken_count(IORING_OP_ASYNC_CANCEL) - before; };
  }
  CHECK(cancels_count == 1);
}

TEST_CASE("an executor that has nothing in flight does not call the kernel at its end") {
  bool called = false;
  {
    scripted_executor on;
    on.script.on_enter = [&] { called = true; };
  }
  CHECK(!called);
}

// ------------------------------------------------------------------------------------------------------ cancel_sync()

TEST_CASE("cancel_sync() ends what is on a descriptor without an entry, and who waited hears of it in the next turns") {
  std::array<outcome, 3> noted;
  socket_pair pair;
  socket_pair other;
  std::array<std::byte, 1> buffer{};
  executor loop;
  auto receiving = loop.start(observe(ops::recv(pair.here, buffer), noted[0]));
  auto polling = loop.start(observe(ops::poll(pair.here, POLLIN), noted[1]));
  auto spared = loop.start(observe(ops::recv(other.here, buffer), noted[2]));
  loop.run_ready();
  const since cancel{loop};

  const auto found = loop.cancel_sync(pair.here, 1s);

  REQUIRE(found);
  CHECK(*found == 2);
  CHECK(cancel.sqes() == 0);
  CHECK(noted[0].how == ended::not_yet);
  loop.run_ready();
  CHECK(noted[0].error == std::errc::operation_canceled);
  CHECK(noted[1].error == std::errc::operation_canceled);
  CHECK(noted[2].how == ended::not_yet);
  spared.cancel();
  turn_until_done(loop, spared);
}

TEST_CASE("cancel_sync() in a cancelled scope: who waited is stopped") {
  outcome noted;
  socket_pair pair;
  std::array<std::byte, 1> buffer{};
  executor loop;
  auto receiving = loop.start(observe(ops::recv(pair.here, buffer), noted));
  loop.run_ready();

  receiving.cancel();
  const auto found = loop.cancel_sync(pair.here, 1s);
  loop.run_ready();

  CHECK(found.has_value());
  CHECK(noted.how == ended::stopped);
}

TEST_CASE("cancel_sync() finds nothing where nothing is, and no descriptor where none is") {
  socket_pair pair;
  executor loop;

  CHECK(*loop.cancel_sync(pair.here, 0ns) == 0);
  CHECK(loop.cancel_sync(-1, 0ns).error() == std::errc::bad_file_descriptor);
}

TEST_CASE("cancel_sync() sends first what was not submitted yet, and works in the middle of a turn") {
  outcome noted;
  socket_pair pair;
  std::array<std::byte, 1> buffer{};
  std::size_t found = 0;
  executor loop;
  auto receiving = loop.start(observe(ops::recv(pair.here, buffer), noted));
  auto cancelling = loop.start([](executor& on, int fd, std::size_t& count) -> task<> {
    count = on.cancel_sync(fd, 1s).value();
    co_return;
  }(loop, pair.here.get(), found));

  loop.run_ready();

  CHECK(found == 1);
  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("cancel_sync() of a thousand on one descriptor leaves nothing there") {
  unsigned running_count = 0;
  const std::vector<socket_pair> pairs(1);
  executor loop;
  auto root = loop.start(receive_from_all(ends_of(pairs), 1000, running_count));
  loop.run_ready();

  const auto found = loop.cancel_sync(pairs.front().here, 1s);

  CHECK(*found == 1000);
  CHECK(*loop.cancel_sync(pairs.front().here, 0ns) == 0);
  turn_until_done(loop, root);
  CHECK(!root.stopped());
  CHECK(running_count == 0);
}

namespace {

// From one pipe into another. The kernel has a worker wait there, so that a cancel of it is not the end of it.
class splice_some final : public operation_of<splice_some, std::size_t> {
 public:
  splice_some(fd_ref from, fd_ref into) noexcept : operation_of{opcode}, from_{from}, into_{into} {}

 private:
  friend operation_of;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept {
    auto& op = static_cast<splice_some&>(self);
    io_uring_prep_splice(&sqe, op.from_.get(), -1, op.into_.get(), -1, 1, 0);
  }
  static const operation_kind opcode;
  fd_ref from_;
  fd_ref into_;
};
constinit const operation_kind splice_some::opcode{"splice", &splice_some::prepare, runs_in::worker};

struct pipe_pair {
  pipe_pair() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  unique_fd out;
  unique_fd in;
};

}  // namespace

TEST_CASE("cancel_sync() waits until a kernel worker has let go") {
  outcome noted;
  pipe_pair from;
  pipe_pair into;
  executor loop;
  auto splicing = loop.start(observe(splice_some(from.out, into.in), noted));
  loop.run_ready();

  // Before a worker has begun, the kernel does not know the descriptor yet. Then the completion is there: no sleep.
  while (!splicing.done()) {
    REQUIRE(loop.cancel_sync(into.in, 10s).has_value());
    loop.run_ready();
  }

  CHECK(noted.how == ended::with_error);
}

TEST_CASE("cancel_sync() gives up on what does not end, and what ends in time is found") {
  for (const bool ends_in_time : {false, true}) {
    CAPTURE(ends_in_time);
    outcome noted;
    std::array<std::byte, 1> buffer{};
    scripted_executor on{by_hand};
    auto receiving = on.loop.start(observe(ops::recv(some_socket, buffer), noted));
    on.loop.run_ready();
    if (ends_in_time)
      on.script.on_cancel_sync = [&] { on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED); };
    const auto before = on.script.now();

    const auto found = on.loop.cancel_sync(some_socket, 5s);

    CHECK(found.has_value() == ends_in_time);
    if (!ends_in_time) {
      CHECK(found.error() == std::errc::timed_out);
      CHECK(on.script.now() - before == 5'000'000'000);
      on.script.complete(on.script.only(IORING_OP_RECV), 1);
    }
    on.loop.run_ready();
    CHECK(noted.how == (ends_in_time ? ended::with_error : ended::with_value));
  }
}

TEST_CASE("cancel_sync() says so when the kernel did not take what was to be submitted before") {
  outcome noted;
  std::array<std::byte, 1> buffer{};
  scripted_executor on;
  auto receiving = on.loop.start(observe(ops::recv(some_socket, buffer), noted));
  on.script.refuse(EAGAIN);
  on.script.refuse(EAGAIN);
  on.loop.turn(/*may_park=*/false);

  CHECK(on.loop.cancel_sync(some_socket, 0ns).error() == std::errc::resource_unavailable_try_again);
  CHECK(*on.loop.cancel_sync(some_socket, 0ns) == 1);
  on.loop.run_ready();
  CHECK(noted.error == std::errc::operation_canceled);
}

}  // namespace gyre
