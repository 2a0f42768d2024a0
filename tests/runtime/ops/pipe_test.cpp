// SPDX-License-Identifier: MIT
// Pipes, and what moves through them, on the kernel: plain and direct, in every mixture, refused, and given up.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/pipe.hpp>

#include "../../support/bytes.hpp"
#include "../../support/direct_slots.hpp"
#include "../../support/kernel_has.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scarce_descriptors.hpp"
#include "../../support/temp_folder.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::uint64_t here = ops::current_position;

ops::pipe_ends made_pipe(int flags = 0) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC | flags) == 0);
  return {unique_fd{ends[0]}, unique_fd{ends[1]}};
}

void put(const ops::pipe_ends& into, std::string_view text) {
  REQUIRE(::write(into.writing.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string taken(const ops::pipe_ends& from) {
  std::array<char, 64> buffer{};
  const auto count = ::read(from.reading.get(), buffer.data(), buffer.size());
  return {buffer.data(), static_cast<std::size_t>(count < 0 ? 0 : count)};
}

template <class Op>
task<std::error_code> code_of(Op operation) {
  const auto got = co_await as_result(std::move(operation));
  co_return got.error();
}

std::size_t used_slots_at_rest(executor& loop) {
  loop.run_ready();
  return used_slots_count(loop);
}

}  // namespace

TEST_CASE("pipe makes two descriptors, close-on-exec, of which one reads what is written to the other") {
  if (!kernel_has(op_pipe, "pipe")) return;
  const auto open_before = open_descriptors_count();
  {
    executor loop;
    loop.run([&]() -> task<> {
      const auto ends = co_await ops::pipe();
      CHECK((::fcntl(ends.reading.get(), F_GETFD) & FD_CLOEXEC) != 0);
      CHECK((::fcntl(ends.writing.get(), F_GETFD) & FD_CLOEXEC) != 0);
      CHECK((::fcntl(ends.reading.get(), F_GETFL) & O_NONBLOCK) == 0);
      CHECK(co_await ops::write(ends.writing, bytes_of("text")) == 4);
      std::array<std::byte, 8> buffer;
      CHECK(co_await ops::read(ends.reading, buffer) == 4);
      const auto unblocked = co_await ops::pipe(O_NONBLOCK | O_CLOEXEC);
      CHECK((::fcntl(unblocked.reading.get(), F_GETFL) & O_NONBLOCK) != 0);
    });
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("pipe is refused where there is no descriptor left, or a flag is none, and nothing is leaked") {
  if (!kernel_has(op_pipe, "pipe")) return;
  executor loop;
  loop.run_ready();
  const auto open_before = open_descriptors_count();

  loop.run([&]() -> task<> {
    CHECK((co_await as_result(ops::pipe(O_APPEND))).error() == std::errc::invalid_argument);
    unique_fd spare{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)};
    const no_descriptor_left scarce;
    CHECK((co_await as_result(ops::pipe())).error() == std::errc::too_many_files_open);
    spare.reset();  // one is left
    CHECK((co_await as_result(ops::pipe())).error() == std::errc::too_many_files_open);
  });
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a pipe that nobody takes is closed at both ends") {
  if (!kernel_has(op_pipe, "pipe")) return;
  executor loop{{.direct_descriptors = 2}};
  loop.run_ready();
  const auto open_before = open_descriptors_count();

  loop.run([&]() -> task<> {
    static_cast<void>(co_await ops::pipe());
    static_cast<void>(co_await ops::pipe_direct());
  });
  for (const bool before_submission : {true, false}) {
    outcome noted;
    outcome noted_direct;
    auto root = loop.start(observe(ops::pipe(), noted));
    auto root_direct = loop.start(observe(ops::pipe_direct(), noted_direct));
    if (before_submission) root.cancel(), root_direct.cancel();
    loop.turn(/*may_park=*/false);
    if (!before_submission) root.cancel(), root_direct.cancel();
    turn_until_done(loop, root);
    turn_until_done(loop, root_direct);
    CHECK((noted.how == ended::stopped || noted.how == ended::with_value));
    CHECK((noted_direct.how == ended::stopped || noted_direct.how == ended::with_value));
  }

  CHECK(open_descriptors_count() == open_before);
  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("pipe_direct makes two direct descriptors, and takes no number of the process") {
  if (!kernel_has(op_pipe, "pipe")) return;
  executor loop{{.direct_descriptors = 2}};
  loop.run_ready();
  const auto open_before = open_descriptors_count();

  loop.run([&]() -> task<> {
    const auto ends = co_await ops::pipe_direct(O_CLOEXEC);
    CHECK(open_descriptors_count() == open_before);
    CHECK(used_slots_count(loop) == 2);
    CHECK(loop.statistics().direct_fds == 2);
    CHECK(co_await ops::write(ends.writing, bytes_of("text")) == 4);
    std::array<std::byte, 8> buffer;
    CHECK(co_await ops::read(ends.reading, buffer) == 4);
    const auto odd = co_await as_result(ops::pipe_direct(O_APPEND));
    CHECK(odd.error() == std::errc::invalid_argument);
  });
  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("where fewer than two slots are free pipe_direct takes none, and says which option to raise") {
  if (!kernel_has(op_pipe, "pipe")) return;
  for (const unsigned slots : {0U, 1U}) {
    CAPTURE(slots);
    executor loop{{.direct_descriptors = slots}};
    loop.run_ready();
    const auto open_before = open_descriptors_count();

    loop.run([&]() -> task<> {
      std::string text;
      try {
        static_cast<void>(co_await ops::pipe_direct());
      } catch (const std::system_error& error) {
        text = error.what();
        CHECK(error.code() == std::errc::too_many_files_open_in_system);
      }
      CHECK_MESSAGE(text.find("raise executor_options::direct_descriptors") != std::string::npos, text);
    });
    CHECK(open_descriptors_count() == open_before);
    if (slots > 0) CHECK(used_slots_at_rest(loop) == 0);
  }
}

TEST_CASE("splice brings a file into a pipe, and a pipe into a file, from positions and at current ones") {
  const temp_folder folder;
  const auto path = folder.file("to", "----");
  const unique_fd from{::open(folder.file("from", "0123456789").c_str(), O_RDONLY | O_CLOEXEC)};
  const unique_fd to{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  const auto pipe = made_pipe();
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::splice(from, 2, pipe.writing, here, 3) == 3);
    CHECK(co_await ops::splice(pipe.reading, here, to, 1, 100) == 3);
    CHECK(content_of(path) == "-234");
    CHECK(co_await ops::splice(from, here, pipe.writing, here, 4) == 4);
    CHECK(co_await ops::splice(from, here, pipe.writing, here, 2) == 2);
    CHECK(taken(pipe) == "012345");
    CHECK(co_await ops::splice(from, 10, pipe.writing, here, 4) == 0);
    CHECK(co_await ops::splice(from, 0, pipe.writing, here, 0) == 0);
    CHECK(co_await ops::splice(from, 0, pipe.writing, here, std::numeric_limits<std::size_t>::max()) == 10);
  });
}

TEST_CASE("tee copies what a pipe holds, and leaves it there") {
  const auto from = made_pipe();
  const auto to = made_pipe();
  put(from, "text");
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::tee(from.reading, to.writing, 2) == 2);
    CHECK(co_await ops::tee(from.reading, to.writing, std::numeric_limits<std::size_t>::max()) == 4);
    CHECK(co_await ops::tee(from.reading, to.writing, 0) == 0);
  });
  CHECK(taken(to) == "tetext");
  CHECK(taken(from) == "text");
}

TEST_CASE("splice and tee take direct descriptors on either side, and on both") {
  const temp_folder folder;
  const unique_fd file{::open(folder.file("from", "text").c_str(), O_RDONLY | O_CLOEXEC)};
  const auto pipe = made_pipe();
  const auto copy = made_pipe();
  executor loop{{.direct_descriptors = 4}};

  loop.run([&]() -> task<> {
    const direct_fd direct_file = co_await ops::to_direct(file);
    const direct_fd reading = co_await ops::to_direct(pipe.reading);
    const direct_fd writing = co_await ops::to_direct(pipe.writing);
    const direct_fd copying = co_await ops::to_direct(copy.writing);
    CHECK(co_await ops::splice(direct_file, 0, pipe.writing, here, 4) == 4);
    CHECK(co_await ops::splice(file, 0, writing, here, 4) == 4);
    CHECK(co_await ops::splice(direct_file, 0, writing, here, 4) == 4);
    CHECK(co_await ops::tee(reading, copy.writing, 2) == 2);
    CHECK(co_await ops::tee(pipe.reading, copying, 3) == 3);
    CHECK(co_await ops::tee(reading, copying, 4) == 4);
    CHECK(taken(pipe) == "texttexttext");
    CHECK(taken(copy) == "tetextext");
  });
  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("what cannot be spliced says why, and a number is never taken for a slot") {
  const temp_folder folder;
  const unique_fd file{::open(folder.file("a", "text").c_str(), O_RDWR | O_CLOEXEC)};
  const auto pipe = made_pipe();
  executor loop{{.direct_descriptors = 1}};

  loop.run([&]() -> task<> {
    const auto bad = std::errc::bad_file_descriptor;
    const auto invalid = std::errc::invalid_argument;
    CHECK(co_await code_of(ops::splice(file, 0, file, 2, 1)) == invalid);
    CHECK(co_await code_of(ops::splice(file, 0, pipe.writing, 5, 1)) == std::errc::invalid_seek);
    CHECK(co_await code_of(ops::splice(-1, 0, pipe.writing, here, 1)) == bad);
    CHECK(co_await code_of(ops::splice(file, 0, -1, here, 1)) == bad);
    CHECK(co_await code_of(ops::splice(file, 0, pipe.reading, here, 1)) == bad);
    CHECK(co_await code_of(ops::splice(file, 0, pipe.writing, here, 1, 1U << 20)) == invalid);
    CHECK(co_await code_of(ops::splice(direct_fd(), 0, pipe.writing, here, 1)) == bad);
    const auto empty = co_await code_of(ops::splice(pipe.reading, here, file, 0, 1, SPLICE_F_NONBLOCK));
    CHECK(empty == std::errc::resource_unavailable_try_again);
    CHECK(co_await code_of(ops::tee(file, pipe.writing, 1)) == invalid);
    CHECK(co_await code_of(ops::tee(pipe.reading, pipe.writing, 1)) == invalid);
    CHECK(co_await code_of(ops::tee(-1, pipe.writing, 1)) == bad);

    // SPLICE_F_FD_IN_FIXED is not for the caller to set.
    const direct_fd in_slot_0 = co_await ops::to_direct(file);
    CHECK(in_slot_0.slot() == 0);
    CHECK(co_await code_of(ops::splice(1'000'000, 0, pipe.writing, here, 1, 1U << 31)) == bad);
    const auto plain = co_await as_result(ops::splice(file, 0, pipe.writing, here, 1, 1U << 31));
    CHECK(plain.value() == 1);
  });
}

TEST_CASE("a splice into a pipe that nobody reads is an error, and no signal") {
  const temp_folder folder;
  const unique_fd file{::open(folder.file("a", "text").c_str(), O_RDONLY | O_CLOEXEC)};
  auto pipe = made_pipe();
  pipe.reading.reset();
  executor loop;

  loop.run([&]() -> task<> {  // SIGPIPE would end this process
    const auto got = co_await as_result(ops::splice(file, 0, pipe.writing, here, 4));
    CHECK(got.error() == std::errc::broken_pipe);
  });
}

TEST_CASE("what waits for a pipe ends by the other end's going, and by a deadline") {
  const temp_folder folder;
  const unique_fd file{::open(folder.file("a", "").c_str(), O_WRONLY | O_CLOEXEC)};
  auto pipe = made_pipe();
  const auto copy = made_pipe();
  executor loop;

  loop.run([&]() -> task<> {
    const auto late = co_await as_result(with_timeout(1ms, ops::splice(pipe.reading, here, file, 0, 4)));
    CHECK(late.error() == std::errc::timed_out);
    const auto late_copy = co_await as_result(with_timeout(1ms, ops::tee(pipe.reading, copy.writing, 4)));
    CHECK(late_copy.error() == std::errc::timed_out);
    pipe.writing.reset();
    CHECK(co_await ops::splice(pipe.reading, here, file, 0, 4) == 0);
    CHECK(co_await ops::tee(pipe.reading, copy.writing, 4) == 0);
  });
}

}  // namespace gyre
