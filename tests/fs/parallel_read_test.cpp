// SPDX-License-Identifier: MIT
// Many ranges of a file at a time: on real files, and step by step on the scripted ring.
#include <gyre/fs/aligned_buffer.hpp>
#include <gyre/fs/parallel_read.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/captured_log.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace test;
using detail_request = gyre::detail::scripted_ring::request;

std::string pattern(std::size_t size) {
  std::string made;
  for (std::size_t each = 0; each < size; ++each) made += static_cast<char>('a' + (each * 7 + each / 26) % 26);
  return made;
}

// Ranges and their memory.
struct asked_for {
  void add(std::uint64_t offset, std::size_t size) {
    memory.push_back(std::string(size, '-'));
    offsets.push_back(offset);
  }
  std::span<read_range> ranges() {
    made.clear();
    for (std::size_t each = 0; each < memory.size(); ++each)
      made.push_back({.offset = offsets[each], .into = std::as_writable_bytes(std::span{memory[each]})});
    return made;
  }
  [[nodiscard]] bool all_as_in(std::string_view whole) const {
    for (std::size_t each = 0; each < made.size(); ++each) {
      const auto offset = std::min<std::size_t>(made[each].offset, whole.size());
      const auto expected = whole.substr(offset, memory[each].size());
      if (made[each].bytes_read != expected.size()) return false;
      if (!memory[each].starts_with(expected)) return false;
    }
    return true;
  }

  std::vector<std::string> memory;
  std::vector<std::uint64_t> offsets;
  std::vector<read_range> made;
};

struct failed_range {
  std::error_code why;
  std::size_t bytes = 0;
  std::optional<std::size_t> index;
};

task<> note_failure(task<> reading, failed_range& noted) {
  try {
    co_await std::move(reading);
  } catch (const range_read_error& error) {
    noted = {error.code(), error.bytes(), error.range_index()};
  }
}

// A file whose reads a test answers.
struct scripted_file : scripted_executor {
  scripted_file() : opened{unique_fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}} {}

  // As the kernel answers it, `most` bytes at a time.
  void deliver(const detail_request& each, std::string_view whole, std::size_t most) {
    const auto rest = whole.substr(std::min<std::size_t>(each.off, whole.size()), most);
    script.deliver(each, rest);
  }

  file opened;
};

}  // namespace

TEST_CASE("ranges are read whole, in any order and at any depth, up to the end of the file") {
  const temp_folder folder;
  executor loop;
  const auto whole = pattern(300'000);
  const auto opened = loop.run(file::open(folder.file("file", whole)));
  std::minstd_rand random{11};

  for (const std::size_t depth : {0, 1, 3, 32, 1000}) {
    asked_for asked;
    for (int each = 0; each < 200; ++each) asked.add(random() % 310'000, random() % 5000);
    loop.run(parallel_read(opened, asked.ranges(), depth));
    CHECK(asked.all_as_in(whole));
  }
}

TEST_CASE("no ranges, empty ones, and ranges behind the end of the file are no error") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("file", "abc")));
  asked_for none;
  asked_for some;
  some.add(1, 0);
  some.add(2, 10);
  some.add(3, 10);
  some.add(1'000'000, 10);

  loop.run(parallel_read(opened, none.ranges()));
  loop.run(parallel_read(opened, some.ranges()));

  CHECK(some.all_as_in("abc"));
  CHECK(some.made[1].bytes_read == 1);
}

TEST_CASE("what a range said before does not count") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("file", "abc")));
  asked_for asked;
  asked.add(0, 3);
  const auto ranges = asked.ranges();
  ranges[0].bytes_read = 2;

  loop.run(parallel_read(opened, ranges));

  CHECK(asked.all_as_in("abc"));
}

TEST_CASE("with direct I/O the end of a file is the end, wherever it lies") {
  const temp_folder folder;
  executor loop;
  const auto whole = pattern(9000);
  const auto path = folder.file("file", whole);
  const unique_fd probe{::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)};
  if (!probe) {
    SAY_SKIPPED("no O_DIRECT in ", folder.path());
    return;
  }
  const auto opened = loop.run(file::open(path, {.direct = true}));
  aligned_buffer first{4096};
  aligned_buffer rest{8192};
  std::vector<read_range> ranges{{.offset = 0, .into = first.bytes()}, {.offset = 4096, .into = rest.bytes()}};

  loop.run(parallel_read(opened, ranges));

  CHECK(ranges[0].bytes_read == 4096);
  CHECK(ranges[1].bytes_read == 9000 - 4096);
  CHECK(text_of(rest.bytes().first(9000 - 4096)) == std::string_view{whole}.substr(4096));
}

TEST_CASE("an executor that polls devices reads ranges, or says that it cannot, and what else it takes") {
  const temp_folder folder;
  const auto whole = pattern(8192);
  const auto path = folder.file("file", whole);
  unique_fd direct{::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)};
  unique_fd plain{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  if (!direct) {
    SAY_SKIPPED("no O_DIRECT in ", folder.path());
    return;
  }
  executor loop{{.iopoll = iopoll_mode::busy}};
  file polled{std::move(direct)};
  const file unpolled{std::move(plain)};
  aligned_buffer first{4096};
  aligned_buffer second{4096};
  std::vector<read_range> ranges{{.offset = 0, .into = first.bytes()}, {.offset = 4096, .into = second.bytes()}};
  failed_range noted;
  failed_range noted_plain;

  loop.run(note_failure(parallel_read(polled, ranges), noted));
  loop.run(note_failure(parallel_read(unpolled, ranges), noted_plain));

  if (noted.index) {
    CHECK(noted.why == std::errc::operation_not_supported);
    SAY_LEFT_OUT("the device below ", path, " cannot be polled");
  } else {
    CHECK(text_of(second.bytes()) == std::string_view{whole}.substr(4096));
  }
  CHECK(noted_plain.why == std::errc::operation_not_supported);
  CHECK(polled.try_metadata()->size_bytes == 8192);
  loop.run([&]() -> task<> {
    CHECK((co_await as_result(polled.sync())).error() == std::errc::operation_not_supported);
    CHECK((co_await as_result(polled.metadata())).error() == std::errc::operation_not_supported);
    CHECK((co_await as_result(file::open(path))).error() == std::errc::operation_not_supported);
    co_await polled.close();
  });
}

TEST_CASE("a range that cannot be read says which it is, and why") {
  const temp_folder folder;
  executor loop;
  const open_options writing{.access = file_access::write};
  const auto opened = loop.run(file::open(folder.file("file", "abc"), writing));
  asked_for asked;
  asked.add(0, 0);
  asked.add(0, 3);
  failed_range noted;

  loop.run(note_failure(parallel_read(opened, asked.ranges()), noted));

  CHECK(noted.why == std::errc::bad_file_descriptor);
  CHECK(noted.bytes == 0);
  CHECK(noted.index == 1);
}

TEST_CASE("on the scripted ring no more are in flight than the depth says, and each end begins the next") {
  const auto whole = pattern(1000);
  scripted_file on;
  asked_for asked;
  for (std::uint64_t each = 0; each < 10; ++each) asked.add(each * 100, 100);
  auto root = on.loop.start(parallel_read(on.opened, asked.ranges(), /*depth=*/4));

  on.loop.run_ready();
  for (std::size_t ended_count = 0; ended_count < 10; ++ended_count) {
    CHECK(on.script.in_flight(IORING_OP_READ).size() == std::min<std::size_t>(4, 10 - ended_count));
    on.deliver(on.script.in_flight().back(), whole, 100);
    on.loop.run_ready();
  }

  CHECK(root.done());
  CHECK(asked.all_as_in(whole));
}

TEST_CASE("on the scripted ring reads that give less are continued") {
  const auto whole = pattern(1000);
  scripted_file on;
  asked_for asked;
  asked.add(100, 50);
  asked.add(990, 50);
  auto root = on.loop.start(parallel_read(on.opened, asked.ranges()));

  std::size_t reads_count = 0;
  for (on.loop.run_ready(); !root.done(); on.loop.run_ready(), ++reads_count)
    on.deliver(on.script.in_flight().front(), whole, 7);

  CHECK(asked.all_as_in(whole));
  CHECK(reads_count == 8 + 3);  // 50 bytes by sevens; ten, and the end
}

TEST_CASE("on the scripted ring whichever read fails is told, with what the others have come to") {
  const auto whole = pattern(1000);
  for (std::size_t failing = 0; failing < 6; ++failing) {
    scripted_file on;
    asked_for asked;
    for (std::uint64_t each = 0; each < 3; ++each) asked.add(each * 100, 100);
    failed_range noted;
    auto root = on.loop.start(note_failure(parallel_read(on.opened, asked.ranges(), /*depth=*/1), noted));

    on.loop.run_ready();
    for (std::size_t each = 0; each < failing; ++each) {
      on.deliver(on.script.only(IORING_OP_READ), whole, 50);
      on.loop.run_ready();
    }
    on.script.complete(on.script.only(IORING_OP_READ), -EIO);
    on.loop.run_ready();

    REQUIRE(root.done());
    CHECK(noted.why == std::errc::io_error);
    CHECK(noted.index == failing / 2);
    CHECK(noted.bytes == failing % 2 * 50);
    for (std::size_t each = 0; each < 3; ++each)
      CHECK(asked.made[each].bytes_read ==
            std::min<std::size_t>(100, failing * 50 - std::min(failing * 50, each * 100)));
  }
}

TEST_CASE("on the scripted ring a failure stops the other reads, and waits for them") {
  scripted_file on;
  asked_for asked;
  for (std::uint64_t each = 0; each < 8; ++each) asked.add(each * 100, 100);
  failed_range noted;
  auto root = on.loop.start(note_failure(parallel_read(on.opened, asked.ranges(), /*depth=*/4), noted));
  on.loop.run_ready();

  on.script.complete(on.script.in_flight()[2], -EIO);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(noted.index == 2);
  CHECK(on.script.taken_count(IORING_OP_READ) == 4);
}

TEST_CASE("on the scripted ring of several that fail at once the first is told, and none is logged") {
  const captured_log log;
  scripted_file on;
  asked_for asked;
  for (std::uint64_t each = 0; each < 4; ++each) asked.add(each * 100, 100);
  failed_range noted;
  auto root = on.loop.start(note_failure(parallel_read(on.opened, asked.ranges(), /*depth=*/4), noted));
  on.loop.run_ready();

  const auto reads = on.script.in_flight(IORING_OP_READ);
  for (const std::size_t each : {1, 0, 3, 2}) on.script.complete(reads[each], -EIO);
  on.loop.run_ready();

  CHECK(root.done());
  CHECK(noted.index == 1);
  CHECK(log.text().empty());
}

TEST_CASE("on the scripted ring a stop at any moment leaves nothing in flight, and the counts say what is there") {
  const auto whole = pattern(1000);
  for (std::size_t ended_before = 0; ended_before < 8; ++ended_before) {
    scripted_file on;
    asked_for asked;
    for (std::uint64_t each = 0; each < 8; ++each) asked.add(each * 100, 100);
    auto root = on.loop.start(parallel_read(on.opened, asked.ranges(), /*depth=*/3));
    if (ended_before > 0) on.loop.run_ready();
    for (std::size_t each = 1; each < ended_before; ++each) {
      on.deliver(on.script.in_flight().front(), whole, 100);
      on.loop.run_ready();
    }

    on.stop(root);

    CHECK(root.stopped());
    CHECK(on.script.in_flight().empty());
    std::size_t read_count = 0;
    for (const auto& each : asked.made) read_count += each.bytes_read;
    CHECK(read_count == 100 * (ended_before > 0 ? ended_before - 1 : 0));
  }
}

TEST_CASE("a stop on the kernel waits for what is in flight") {
  const temp_folder folder;
  executor loop;
  const auto whole = pattern(300'000);
  const auto opened = loop.run(file::open(folder.file("file", whole)));
  for (int turns_before = 0; turns_before < 5; ++turns_before) {
    asked_for asked;
    for (std::uint64_t each = 0; each < 100; ++each) asked.add(each * 3000, 3000);
    auto root = loop.start(parallel_read(opened, asked.ranges(), /*depth=*/8));
    for (int turn = 0; turn < turns_before; ++turn) loop.turn(/*may_park=*/false);
    root.cancel();
    turn_until_done(loop, root);
    for (std::size_t each = 0; each < asked.made.size(); ++each)
      CHECK(std::string_view{asked.memory[each]}.substr(0, asked.made[each].bytes_read) ==
            std::string_view{whole}.substr(each * 3000, asked.made[each].bytes_read));
  }
}

}  // namespace gyre::fs
