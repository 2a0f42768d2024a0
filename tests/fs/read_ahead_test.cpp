// SPDX-License-Identifier: MIT
// A file chunk by chunk with the next ones under way: on real files, and step by step on the scripted ring.
#include <gyre/fs/read_ahead.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/event.hpp>

#include "../support/bytes.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::size_t page = 4096;

std::string pattern(std::size_t size) {
  std::string made;
  for (std::size_t each = 0; each < size; ++each) made += static_cast<char>('a' + (each * 7 + each / 26) % 26);
  return made;
}

task<std::string> read_through(const file& from, read_ahead_options options) {
  co_return co_await with_read_ahead(from, options, [](chunks_ahead& chunks) -> task<std::string> {
    std::string all;
    while (const auto chunk = co_await chunks.next()) all += text_of(*chunk);
    const auto none = co_await chunks.next();
    CHECK(!none);
    co_return all;
  });
}

// Takes a chunk each time that it is told to.
struct taker {
  task<> take_all(const file& from, read_ahead_options options) {
    co_await with_read_ahead(from, options, [this](chunks_ahead& chunks) -> task<> {
      for (;;) {
        co_await may_go_on.wait();
        const auto chunk = co_await chunks.next();
        if (!chunk) break;
        taken += text_of(*chunk);
        last = *chunk;
      }
    });
  }

  sync::auto_event may_go_on;
  std::string taken;
  std::span<const std::byte> last;
};

// A file whose reads a test answers.
struct scripted_file : scripted_executor {
  scripted_file() : opened{unique_fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)}} {}

  void deliver_oldest(std::string_view whole, std::size_t most = SIZE_MAX) {
    const auto oldest = script.in_flight(IORING_OP_READ).front();
    script.deliver(oldest, whole.substr(std::min<std::size_t>(oldest.off, whole.size()), most));
    loop.run_ready();
  }

  file opened;
};

}  // namespace

TEST_CASE("a file comes whole and in order, whatever its size and that of the chunks") {
  const temp_folder folder;
  executor loop;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, page, 3 * page, 10 * page + 7, std::size_t{300'000}}) {
    const auto whole = pattern(size);
    const auto opened = loop.run(file::open(folder.file("file", whole)));
    for (const std::size_t chunk_bytes : {std::size_t{0}, page, 2 * page + 1, std::size_t{1} << 20U}) {
      for (const std::size_t chunks_count : {0, 1, 2, 5})
        CHECK(loop.run(read_through(opened, {.chunk_bytes = chunk_bytes, .chunks_count = chunks_count})) == whole);
    }
  }
}

TEST_CASE("a part of a file comes, no more than there is") {
  const temp_folder folder;
  executor loop;
  const auto whole = pattern(50'000);
  const auto opened = loop.run(file::open(folder.file("file", whole)));
  const auto part = [&](std::uint64_t offset, std::uint64_t length) {
    return loop.run(read_through(opened, {.offset = offset, .length = length, .chunk_bytes = page}));
  };

  CHECK(part(10, 30'000) == whole.substr(10, 30'000));
  CHECK(part(0, 2 * page) == whole.substr(0, 2 * page));
  CHECK(part(49'990, 1000) == whole.substr(49'990));
  CHECK(part(60'000, 1000).empty());
  CHECK(part(10, 0).empty());
}

TEST_CASE("with direct I/O a file comes whole, wherever it ends") {
  const temp_folder folder;
  executor loop;
  const auto whole = pattern(5 * page + 123);
  const auto path = folder.file("file", whole);
  if (!unique_fd{::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)}) {
    SAY_SKIPPED("no O_DIRECT in ", folder.path());
    return;
  }
  const auto opened = loop.run(file::open(path, {.direct = true}));

  CHECK(loop.run(read_through(opened, {.chunk_bytes = 2 * page})) == whole);
  CHECK(loop.run(read_through(opened, {.length = 100, .chunk_bytes = 2 * page})) == whole.substr(0, 100));
}

TEST_CASE("who has seen enough ends early, with a value or an exception, and nothing goes on behind") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("file", pattern(100'000))));
  const read_ahead_options small{.chunk_bytes = page, .chunks_count = 4};

  const auto first = loop.run(with_read_ahead(opened, small, [](chunks_ahead& chunks) -> task<std::size_t> {
    const auto chunk = co_await chunks.next();
    co_return chunk->size();
  }));
  CHECK(first == page);
  CHECK(loop.run(with_read_ahead(opened, small, [](chunks_ahead&) -> task<int> { co_return 7; })) == 7);
  CHECK_THROWS_AS(loop.run(with_read_ahead(opened, small,
                                           [](chunks_ahead& chunks) -> task<> {
                                             (void)co_await chunks.next();
                                             throw std::out_of_range{"enough"};
                                           })),
                  std::out_of_range);
}

TEST_CASE("a file that cannot be read says so, each time") {
  const temp_folder folder;
  executor loop;
  const open_options writing{.access = file_access::write};
  const auto opened = loop.run(file::open(folder.file("file", "abc"), writing));

  loop.run(with_read_ahead(opened, {}, [](chunks_ahead& chunks) -> task<> {
    for (int each = 0; each < 2; ++each) {
      const auto failed = co_await as_result(chunks.next());
      CHECK(failed.error() == std::errc::bad_file_descriptor);
    }
  }));
}

TEST_CASE("on the scripted ring as much is read ahead as there is memory for, and what is given is left alone") {
  const auto whole = pattern(10 * page);
  scripted_file on;
  taker one;
  auto root = on.loop.start(one.take_all(on.opened, {.chunk_bytes = page, .chunks_count = 3}));
  on.loop.run_ready();
  CHECK(on.script.in_flight(IORING_OP_READ).size() == 3);

  one.may_go_on.set();
  on.deliver_oldest(whole);
  CHECK(one.taken == whole.substr(0, page));
  for (int each = 0; each < 2; ++each) on.deliver_oldest(whole);
  CHECK(on.script.in_flight(IORING_OP_READ).empty());
  CHECK(text_of(one.last) == whole.substr(0, page));

  one.may_go_on.set();
  on.loop.run_ready();
  CHECK(one.taken == whole.substr(0, 2 * page));
  CHECK(on.script.only(IORING_OP_READ).off == 3 * page);
  on.stop(root);
}

TEST_CASE("on the scripted ring chunks come in order, in whatever order and pieces they are read") {
  const auto whole = pattern(6 * page + 100);
  for (const bool newest_first : {false, true}) {
    scripted_file on;
    std::string all;
    auto root = on.loop.start([](scripted_file& from, std::string& to) -> task<> {
      to = co_await read_through(from.opened, {.chunk_bytes = page, .chunks_count = 3});
    }(on, all));
    for (on.loop.run_ready(); !root.done(); on.loop.run_ready()) {
      const auto reads = on.script.in_flight(IORING_OP_READ);
      const auto& next = newest_first ? reads.back() : reads.front();
      on.script.deliver(next, std::string_view{whole}.substr(std::min<std::size_t>(next.off, whole.size()), 1000));
    }
    CHECK(all == whole);
  }
}

TEST_CASE("on the scripted ring whichever read fails, what lies before it is given first") {
  const auto whole = pattern(10 * page);
  for (std::size_t failing = 0; failing < 6; ++failing) {
    scripted_file on;
    std::size_t given = 0;
    std::optional<std::size_t> told;
    auto root = on.loop.start([](const file& from, std::size_t& count, std::optional<std::size_t>& said) -> task<> {
      try {
        co_await with_read_ahead(from, {.chunk_bytes = page, .chunks_count = 2}, [&](chunks_ahead& chunks) -> task<> {
          while (const auto chunk = co_await chunks.next()) count += chunk->size();
        });
      } catch (const transfer_error& error) {
        CHECK(error.code() == std::errc::io_error);
        said = error.bytes();
      }
    }(on.opened, given, told));
    on.loop.run_ready();
    while (!root.done()) {
      const auto oldest = on.script.in_flight(IORING_OP_READ).front();
      if (oldest.off == failing * page) {
        on.script.complete(oldest, -EIO);
        on.loop.run_ready();
      } else {
        on.deliver_oldest(whole);
      }
    }
    CHECK(given == failing * page);
    CHECK(told == failing * page);
  }
}

TEST_CASE("on the scripted ring a stop at any moment leaves nothing in flight") {
  const auto whole = pattern(10 * page);
  for (int steps = 0; steps < 8; ++steps) {
    scripted_file on;
    std::string unused;
    auto root = on.loop.start([](scripted_file& from, std::string& to) -> task<> {
      to = co_await read_through(from.opened, {.chunk_bytes = page, .chunks_count = 3});
    }(on, unused));
    if (steps > 0) on.loop.run_ready();
    for (int step = 1; step < steps; ++step) on.deliver_oldest(whole);

    on.stop(root);

    CHECK(root.stopped());
    CHECK(on.script.in_flight().empty());
  }
}

TEST_CASE("on the scripted ring a wait for a chunk that times out has lost none") {
  const auto whole = pattern(2 * page);
  scripted_file on;
  std::vector<std::string> seen;
  auto root = on.loop.start([](const file& from, std::vector<std::string>& noted) -> task<> {
    co_await with_read_ahead(from, {.chunk_bytes = page}, [&](chunks_ahead& chunks) -> task<> {
      const auto late = co_await as_result(with_timeout(1s, chunks.next()));
      noted.emplace_back(late ? "in time" : "late");
      while (const auto chunk = co_await chunks.next()) noted.emplace_back(text_of(*chunk));
    });
  }(on.opened, seen));
  on.loop.run_ready();
  on.advance(1s);
  while (!root.done()) on.deliver_oldest(whole);

  CHECK(seen == std::vector<std::string>{"late", whole.substr(0, page), whole.substr(page)});
}

}  // namespace gyre::fs
