// SPDX-License-Identifier: MIT
// Raw entries: what they can ask the kernel for, what they may not, and how they are stopped.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/raw.hpp>
#include <gyre/runtime/task_group.hpp>

#include "../../support/bytes.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/temp_folder.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

ops::raw raw_recv(const unique_fd& socket, std::array<std::byte, 4>& buffer) {
  return ops::raw([&](io_uring_sqe& sqe) { io_uring_prep_recv(&sqe, socket.get(), buffer.data(), buffer.size(), 0); });
}

ops::raw raw_nop(unsigned char flags = 0) {
  return ops::raw([=](io_uring_sqe& sqe) {
    io_uring_prep_nop(&sqe);
    sqe.flags |= flags;
  });
}

task<> note_raw(ops::raw asked, outcome& noted) { co_await observe(std::move(asked), noted); }

}  // namespace

TEST_CASE("a raw entry does what its opcode does, and gives the kernel's answer") {
  const temp_folder folder;
  const std::string path = folder.file("raw", "");

  run_now([](const std::string& name) -> task<> {
    const auto opened = co_await ops::raw(
        [&](io_uring_sqe& sqe) { io_uring_prep_openat(&sqe, AT_FDCWD, name.c_str(), O_RDWR | O_CLOEXEC, 0); });
    const unique_fd file{opened.res};
    const auto written =
        co_await ops::raw([&](io_uring_sqe& sqe) { io_uring_prep_write(&sqe, file.get(), "raw", 3, 0); });
    CHECK(written.res == 3);
  }(path));

  CHECK(content_of(path) == "raw");
}

TEST_CASE("an opcode that gyre has no operation for is to be had raw") {
  const unique_fd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};

  run_now([](const unique_fd& idle) -> task<> {
    const auto queued = co_await as_result(ops::raw([&](io_uring_sqe& sqe) {
      sqe.opcode = IORING_OP_URING_CMD;
      sqe.fd = idle.get();
      sqe.cmd_op = SOCKET_URING_OP_SIOCINQ;
    }));
    if (!queued && queued.error() == std::errc::operation_not_supported) {
      SAY_SKIPPED("commands on sockets are in Linux 6.7");
      co_return;
    }
    CHECK(queued.value().res == 0);
  }(socket));
}

TEST_CASE("the kernel's errors are a raw entry's, and name it") {
  run_now([]() -> task<> {
    const auto synced = co_await as_result(ops::raw([](io_uring_sqe& sqe) { io_uring_prep_fsync(&sqe, -1, 0); }));
    CHECK(synced.error() == std::errc::bad_file_descriptor);
    const auto nobody = co_await as_result(ops::raw([](io_uring_sqe& sqe) { sqe.opcode = 250; }));
    CHECK(nobody.error() == std::errc::invalid_argument);
    CHECK_THROWS_WITH(co_await ops::raw([](io_uring_sqe& sqe) { io_uring_prep_fsync(&sqe, -1, 0); }),
                      doctest::Contains("raw"));
  }());
}

TEST_CASE("what is gyre's own is refused with a sentence, and nothing is submitted") {
  struct refused {
    void (*prep)(io_uring_sqe& sqe);
    const char* names;
  };
  constexpr refused all[] = {
      {[](io_uring_sqe& sqe) { sqe.user_data = 1; }, "user_data"},
      {[](io_uring_sqe& sqe) { sqe.flags = IOSQE_IO_LINK; }, "ops::link()"},
      {[](io_uring_sqe& sqe) { sqe.flags = IOSQE_IO_HARDLINK; }, "ops::hard_link()"},
      {[](io_uring_sqe& sqe) { sqe.flags = IOSQE_IO_DRAIN; }, "ops::drain()"},
      {[](io_uring_sqe& sqe) { sqe.flags = IOSQE_CQE_SKIP_SUCCESS; }, "IOSQE_CQE_SKIP_SUCCESS"},
      {[](io_uring_sqe& sqe) { sqe.flags = IOSQE_BUFFER_SELECT; }, "IOSQE_BUFFER_SELECT"},
      {[](io_uring_sqe& sqe) { sqe.opcode = IORING_OP_LINK_TIMEOUT; }, "with_timeout()"},
      {[](io_uring_sqe& sqe) { io_uring_prep_poll_multishot(&sqe, 0, 1); }, "multishot"},
      {[](io_uring_sqe& sqe) { io_uring_prep_multishot_accept(&sqe, 0, nullptr, nullptr, 0); }, "multishot"},
      {[](io_uring_sqe& sqe) { io_uring_prep_recv_multishot(&sqe, 0, nullptr, 0, 0); }, "multishot"},
      {[](io_uring_sqe& sqe) { io_uring_prep_timeout(&sqe, nullptr, 0, IORING_TIMEOUT_MULTISHOT); }, "multishot"},
      {[](io_uring_sqe& sqe) { sqe.opcode = IORING_OP_READ_MULTISHOT; }, "multishot"},
      {[](io_uring_sqe& sqe) { sqe.opcode = 58; }, "multishot"},
      {[](io_uring_sqe& sqe) { sqe.opcode = IORING_OP_URING_CMD, sqe.uring_cmd_flags = 2; }, "multishot"},
  };
  executor loop{options_under_test()};

  loop.run([&]() -> task<> {
    for (const refused& each : all) {
      const auto answer = co_await as_result(ops::raw(each.prep));
      CHECK(answer.error() == std::errc::invalid_argument);
      CHECK_THROWS_WITH(co_await ops::raw(each.prep), doctest::Contains(each.names));
      CHECK_THROWS_WITH(co_await with_timeout(1h, ops::raw(each.prep)), doctest::Contains(each.names));
      const auto [first, second] = co_await ops::link(ops::nop(), ops::raw(each.prep));
      CHECK(first.error() == errc::link_broken);
      CHECK(second.error() == std::errc::invalid_argument);
      CHECK_THROWS_WITH(co_await ops::drain(ops::raw(each.prep)), doctest::Contains(each.names));
    }
  });

  CHECK(loop.statistics().sqes == 0);
}

TEST_CASE("a raw entry can be stopped, and has deadlines") {
  const socket_pair ends;
  executor loop{options_under_test()};
  std::array<std::byte, 4> buffer{};
  outcome noted;
  auto root = loop.start(note_raw(raw_recv(ends.here, buffer), noted));
  loop.run_ready();
  CHECK(dump_tasks(loop).find(": raw on fd " + std::to_string(ends.here.get())) != std::string::npos);

  root.cancel();
  turn_until_done(loop, root);
  CHECK(noted.how == ended::stopped);

  loop.run([&]() -> task<> {
    const auto timed = co_await as_result(with_timeout(5ms, raw_recv(ends.here, buffer)));
    CHECK(timed.error() == std::errc::timed_out);
    CHECK_FALSE(co_await move_on_after(5ms, raw_recv(ends.here, buffer)));
  });
  CHECK(loop.statistics().cancels >= 3);
}

TEST_CASE("raw entries can be linked, among themselves and to others") {
  executor loop;

  loop.run([]() -> task<> {
    const auto [first, second, third] = co_await ops::link(raw_nop(), ops::nop(), raw_nop(IOSQE_ASYNC));
    CHECK(first.value().res == 0);
    CHECK(second.has_value());
    CHECK(third.value().res == 0);
    CHECK((co_await ops::drain(raw_nop())).res == 0);

    const auto [nop, unknown, late] =
        co_await ops::hard_link(ops::nop(), ops::raw([](io_uring_sqe& sqe) { sqe.opcode = 250; }), ops::nop());
    CHECK(nop.error() == errc::link_broken);  // the kernel begins with none where it refuses one
    CHECK(unknown.error() == std::errc::invalid_argument);
    CHECK(late.error() == errc::link_broken);
  });
}

TEST_CASE("a raw entry with two completions is over at the second") {
  scripted_executor on;
  outcome noted;
  const auto bytes = std::make_unique<std::array<char, 4>>();
  auto root = on.loop.start(note_raw(
      ops::raw([&](io_uring_sqe& sqe) { io_uring_prep_send_zc(&sqe, 1, bytes->data(), bytes->size(), 0, 0); }), noted));
  on.loop.run_ready();
  const auto sending = on.script.only(IORING_OP_SEND_ZC);

  on.script.complete(sending, 4, IORING_CQE_F_MORE);
  on.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 0);

  on.script.complete(sending, 0, IORING_CQE_F_NOTIF);
  on.loop.run_ready();
  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a raw entry that turns out to go on is ended, and gives its first answer") {
  scripted_executor on;
  std::int32_t first = 0;
  auto root = on.loop.start([](std::int32_t& res) -> task<> {
    res = (co_await ops::raw([](io_uring_sqe& sqe) { sqe.opcode = 200; })).res;
  }(first));
  on.loop.run_ready();

  on.script.complete(on.script.only(200), 7, IORING_CQE_F_MORE);
  on.loop.run_ready();

  CHECK(on.script.taken_count(IORING_OP_ASYNC_CANCEL) == 1);
  CHECK(root.done());
  CHECK(first == 7);
}

TEST_CASE("a raw send without a copy sends, and waits for its notification") {
  const unique_fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), generic, size) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
  const unique_fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  REQUIRE(::connect(socket.get(), generic, size) == 0);
  executor loop{options_under_test()};
  bool was_sent = false;

  loop.run([&]() -> task<> {
    const auto sent = co_await as_result(
        ops::raw([&](io_uring_sqe& sqe) { io_uring_prep_send_zc(&sqe, socket.get(), "zero", 4, 0, 0); }));
    if (!sent) {
      SAY_SKIPPED("IORING_OP_SEND_ZC is in Linux 6.0");
      co_return;
    }
    CHECK(sent.value().res == 4);
    CHECK((sent.value().flags & IORING_CQE_F_MORE) != 0);
    was_sent = true;
  });
  if (was_sent) CHECK(loop.statistics().cqes >= 2);
}

// ---------------------------------------------------------------------------------------------------- 128-byte entries

namespace {

// An executor for commands; without a ring where the kernel has no such entries.
struct for_commands {
  for_commands() {
    try {
      loop = std::make_unique<executor>(executor_options{.big_entries = true});
    } catch (const std::system_error& error) {
      SAY_SKIPPED(error.what());
    }
  }
  std::unique_ptr<executor> loop;
};

ops::raw_command command_to(const unique_fd& device) {
  return ops::raw_command([&](io_uring_sqe& sqe) {
    sqe.fd = device.get();
    std::memset(sqe.cmd, 0xab, 80);
  });
}

}  // namespace

TEST_CASE("a command of 80 bytes goes to a device on a ring with big entries") {
  const unique_fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  const for_commands ring;
  if (!ring.loop) return;

  ring.loop->run([&]() -> task<> {
    for (int round = 0; round < 3; ++round) {
      const auto answer = co_await as_result(command_to(null));
      if (answer.error() == std::errc::operation_not_supported) {
        SAY_SKIPPED("/dev/null takes commands from Linux 6.16 on");
        co_return;
      }
      CHECK(answer.value().res == 0);
    }
    const auto [first, second] = co_await ops::link(command_to(null), ops::nop());
    CHECK(first.has_value());
    CHECK(second.has_value());
    const unique_fd zero{::open("/dev/zero", O_RDWR | O_CLOEXEC)};
    const auto refused = co_await as_result(command_to(zero));  // it takes none
    CHECK(refused.error() == std::errc::operation_not_supported);
  });
}

TEST_CASE("all other operations run on a ring with big entries, also more than it has") {
  const temp_folder folder;
  const std::string path = folder.file("big", "");
  const socket_pair ends;
  executor loop{{.sq_entries = 4, .cq_entries = 8, .big_entries = true}};

  int done_count = 0;
  const auto write_byte = [&](const unique_fd& file, std::uint64_t at) -> task<> {
    if (co_await ops::write(file, bytes_of("x"), at) == 1) ++done_count;
  };
  loop.run([&]() -> task<> {
    const unique_fd file{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
    const auto start_all = [&](task_group& all) -> task<> {
      for (std::uint64_t at = 0; at < 100; ++at) all.start(write_byte(file, at));
      co_return;
    };
    co_await with_task_group(start_all);
    std::array<std::byte, 4> buffer{};
    const auto timed = co_await as_result(with_timeout(2ms, raw_recv(ends.here, buffer)));
    CHECK(timed.error() == std::errc::timed_out);
  });

  CHECK(done_count == 100);
  CHECK(content_of(path) == std::string(100, 'x'));
}

TEST_CASE("a ring without big entries refuses a command, and names the option") {
  const unique_fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  executor loop{options_under_test()};

  loop.run([&]() -> task<> {
    CHECK((co_await as_result(command_to(null))).error() == std::errc::operation_not_supported);
    CHECK_THROWS_WITH(co_await command_to(null), doctest::Contains("executor_options::big_entries"));
    CHECK_THROWS_WITH(co_await with_timeout(1h, command_to(null)), doctest::Contains("big_entries"));
    CHECK_THROWS_WITH(co_await ops::raw_command([](io_uring_sqe& sqe) { io_uring_prep_nop(&sqe); }),
                      doctest::Contains("ops::raw()"));
  });

  CHECK(loop.statistics().sqes == 0);
}

TEST_CASE("big entries lie side by side, each whole, lap after lap") {
  scripted_executor on{{.sq_entries = 4, .cq_entries = 8, .modes = {.big = true}}};
  std::vector<unsigned char> payloads;
  const auto command = [&](unsigned char mark) -> task<> {
    co_await ops::raw_command([=](io_uring_sqe& sqe) { std::memset(sqe.cmd, mark, 80); });
  };
  on.script.on_enter = [&] {
    for (std::uint64_t position = on.script.sq_head(); position != on.script.sq_tail(); ++position) {
      const auto* const cmd = on.script.sqe_at(position).cmd;
      CHECK(std::count(cmd, cmd + 80, cmd[0]) == 80);
      payloads.push_back(cmd[0]);
    }
  };
  on.script.answer = [](const detail::scripted_ring::request&) { return std::optional{0}; };

  const auto start_all = [&](task_group& all) -> task<> {
    for (unsigned char mark = 1; mark <= 30; ++mark) all.start(command(mark));
    co_return;
  };
  const auto all_of_them = [&]() -> task<> { co_await with_task_group(start_all); };
  auto root = on.loop.start(all_of_them());
  on.loop.run_ready();

  CHECK(root.done());
  REQUIRE(payloads.size() == 30);
  for (unsigned char mark = 1; mark <= 30; ++mark) CHECK(payloads[mark - 1] == mark);
}

TEST_CASE("big entries and a ring that grows contradict each other") {
  CHECK_THROWS_WITH((executor{{.sq_entries_max = 64, .big_entries = true}}), doctest::Contains("big_entries"));
}

}  // namespace gyre
