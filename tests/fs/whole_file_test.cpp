// SPDX-License-Identifier: MIT
// Files as one piece: read, replaced at one blow whatever happens, added to, and line by line.
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/bytes.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/small_disk.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;

struct place {
  template <class T>
  std::error_code error_of(task<T> failing) {
    return loop.run(as_result(std::move(failing))).error();
  }
  [[nodiscard]] std::string at(const std::string& name) const { return folder.file(name); }
  [[nodiscard]] std::size_t names_count() const {
    return static_cast<std::size_t>(std::distance(files::directory_iterator{folder.path()}, {}));
  }

  temp_folder folder;
  executor loop;
};

task<std::vector<std::string>> all_lines(const file& from, std::size_t limit = 64) {
  std::vector<std::string> found;
  auto each = lines(from, limit);
  while (auto line = co_await each.next()) found.emplace_back(*line);
  co_return found;
}

}  // namespace

TEST_CASE("a file is read whole, whatever its size and whatever it says of that") {
  place here;
  const std::string much(300'000, 'x');
  here.folder.file("much", much);
  here.folder.file("empty", "");

  CHECK(here.loop.run(read_text(here.at("much"))) == much);
  CHECK(here.loop.run(read_all(here.at("much"))).size() == much.size());
  CHECK(here.loop.run(read_text(here.at("empty"))).empty());
  CHECK(here.loop.run(read_text("/proc/self/status")).starts_with("Name:"));
}

TEST_CASE("a file is read up to the limit, and one byte more is too much") {
  place here;
  here.folder.file("file", std::string(5000, 'x'));

  CHECK(here.loop.run(read_all(here.at("file"), 5000)).size() == 5000);
  CHECK(here.error_of(read_all(here.at("file"), 4999)) == std::errc::file_too_large);
  CHECK(here.error_of(read_text(here.at("file"), 0)) == std::errc::file_too_large);
}

TEST_CASE(
    "a file whose size is known is read at one blow, another one until nothing comes, and never beyond the limit") {
  place here;
  here.folder.file("file", std::string(5000, 'x'));
  here.folder.file("small", "abc");
  const auto reads_of = [&](const std::string& path, std::size_t limit, std::vector<std::string> deliveries) {
    scripted_executor on;
    std::vector<std::size_t> rooms;
    on.script.answer = [&](const auto& request) -> std::optional<std::int32_t> {
      if (request.opcode == IORING_OP_OPENAT) return ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      return std::nullopt;
    };
    auto reading = on.loop.start(read_text(path, limit));
    on.loop.run_ready();
    for (const auto& each : deliveries) {
      const auto asked = on.script.only(IORING_OP_READ);
      rooms.push_back(asked.len);
      on.script.deliver(asked, each);
      on.loop.run_ready();
    }
    REQUIRE(reading.done());
    std::string all;
    for (const auto& each : deliveries) all += each;
    CHECK(reading.get() == all);
    return rooms;
  };
  using rooms = std::vector<std::size_t>;

  CHECK(reads_of(here.at("file"), 1U << 20U, {std::string(5000, 'x')}) == rooms{5001});
  CHECK(reads_of(here.at("file"), 5000, {std::string(5000, 'x')}) == rooms{5001});
  CHECK(reads_of(here.at("small"), 1U << 20U, {"abc"}) == rooms{4096});
  // It has become shorter, and then longer: what comes is what there is, with no zeros in between.
  CHECK(reads_of(here.at("file"), 1U << 20U, {std::string(3000, 'x'), "more", ""}) == rooms{5001, 2001, 1997});
  CHECK(reads_of(here.at("file"), 1U << 20U, {""}) == rooms{5001});
  // It has become longer, as far as the limit.
  CHECK(reads_of(here.at("file"), 6000, {std::string(5001, 'x'), "more", ""}) == rooms{5001, 1000, 996});
  // It says nothing, or too much.
  CHECK(reads_of("/proc/version", 10'000, {"one", "two", ""}) == rooms{4096, 4093, 4090});
  CHECK(reads_of(here.at("file"), 4097, {std::string(4000, 'x'), ""}) == rooms{4096, 96});
  CHECK(reads_of(here.at("small"), 1, {""}) == rooms{2});
}

TEST_CASE("a file that is cut and written anew all the time is read without a byte that nobody wrote") {
  place here;
  here.folder.file("file", "");
  std::atomic<bool> is_over = false;
  std::thread writer{[&] {
    const unique_fd to{::open(here.at("file").c_str(), O_WRONLY | O_CLOEXEC)};
    const std::string contents(40'000, 'x');
    while (!is_over.load()) {
      for (const std::size_t size : {40'000UL, 4096UL, 12'000UL}) {
        (void)!::ftruncate(to.get(), 0);
        (void)!::pwrite(to.get(), contents.data(), size, 0);
      }
    }
  }};

  for (int round = 0; round < 500; ++round) {
    const auto found = here.loop.run(read_text(here.at("file")));
    CHECK(std::ranges::count(found, 'x') == static_cast<std::ptrdiff_t>(found.size()));
  }
  is_over.store(true);
  writer.join();
}

TEST_CASE("what is appended to last is followed by a sync of the directory, and nothing else is") {
  for (const auto lasting : {durability::none, durability::full}) {
    scripted_executor on;
    std::vector<int> asked;
    std::uint32_t flags = 0;
    on.script.answer = [&](const auto& request) -> std::optional<std::int32_t> {
      asked.push_back(request.opcode);
      if (request.opcode == IORING_OP_OPENAT && asked.size() == 1) flags = request.op_flags;
      if (request.opcode == IORING_OP_OPENAT) return ::dup(STDERR_FILENO);
      if (request.opcode == IORING_OP_WRITE) return 4;
      if (request.opcode == IORING_OP_CLOSE) return ::close(request.fd);
      return 0;
    };
    std::vector<int> expected{IORING_OP_OPENAT, IORING_OP_WRITE, IORING_OP_CLOSE};
    if (lasting == durability::full) expected.insert(expected.end(), {IORING_OP_OPENAT, IORING_OP_FSYNC});

    on.loop.run(append("folder/log", bytes_of("line"), lasting));

    CHECK(asked == expected);
    CHECK(((flags & O_SYNC) == O_SYNC) == (lasting == durability::full));
  }
}

TEST_CASE("what cannot be read says why") {
  place here;

  CHECK(here.error_of(read_all(here.at("nothing"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(read_all(here.folder.path())) == std::errc::is_a_directory);
  CHECK(here.error_of(read_all("/proc/self/mem")) == std::errc::io_error);
}

TEST_CASE("a file is replaced, or made, and nothing else is left beside it") {
  place here;
  const std::string longest_name(255, 'n');

  for (const auto lasting : {durability::none, durability::full}) {
    here.loop.run(write_atomically(here.at("file"), bytes_of("old"), {.durability = lasting}));
    CHECK(content_of(here.at("file")) == "old");
    here.loop.run(write_atomically(here.at("file"), bytes_of("new one"), {.durability = lasting}));
    CHECK(content_of(here.at("file")) == "new one");
    here.loop.run(write_atomically(here.at(longest_name), {}, {.durability = lasting}));
    CHECK(files::file_size(here.at(longest_name)) == 0);
  }
  CHECK(here.names_count() == 2);
}

TEST_CASE("a file that is replaced keeps its permissions, or gets those that it is given") {
  place here;
  const ::mode_t mask_before = ::umask(027);
  const auto permissions = [&] { return here.loop.run(metadata_of(here.at("file"))).permissions; };

  here.loop.run(write_atomically(here.at("file"), bytes_of("1")));
  CHECK(permissions() == 0640);
  REQUIRE(::chmod(here.at("file").c_str(), 0606) == 0);
  here.loop.run(write_atomically(here.at("file"), bytes_of("2")));
  CHECK(permissions() == 0606);
  here.loop.run(write_atomically(here.at("file"), bytes_of("3"), {.permissions = 0660}));
  CHECK(permissions() == 0660);
  ::umask(mask_before);
}

TEST_CASE("a link is replaced, and what it leads to is left alone") {
  place here;
  here.folder.file("file", "kept");
  files::create_symlink("file", here.at("link"));

  here.loop.run(write_atomically(here.at("link"), bytes_of("new")));

  CHECK(!files::is_symlink(here.at("link")));
  CHECK(content_of(here.at("link")) == "new");
  CHECK(content_of(here.at("file")) == "kept");
}

TEST_CASE("what cannot be replaced is left as it is, with nothing beside it") {
  place here;
  files::create_directory(here.at("directory"));
  here.folder.file("file", "kept");

  CHECK(here.error_of(write_atomically(here.at("directory"), {})) == std::errc::is_a_directory);
  CHECK(here.error_of(write_atomically(here.at("file/"), {})) == std::errc::is_a_directory);
  CHECK(here.error_of(write_atomically("/", {})) == std::errc::is_a_directory);
  CHECK(here.error_of(write_atomically(here.at("file/below"), {})) == std::errc::not_a_directory);
  CHECK(here.error_of(write_atomically(here.at("nothing/below"), {})) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(write_atomically(here.at("file") + '\0' + "x", {})) == std::errc::invalid_argument);
  CHECK(content_of(here.at("file")) == "kept");
  CHECK(here.names_count() == 2);
}

TEST_CASE("on a full disk the old file stays, and nothing beside it") {
  place here;

  CHECK(holds_on_small_disk(here.folder.path(), [&] {
    executor loop;
    loop.run(write_atomically(here.at("file"), bytes_of("old")));
    const std::string too_much(1U << 20U, 'x');
    const auto failed = loop.run(as_result(write_atomically(here.at("file"), bytes_of(too_much))));
    const auto added = loop.run(as_result(append(here.at("other"), bytes_of(too_much))));
    return failed.error() == std::errc::no_space_on_device && added.error() == std::errc::no_space_on_device &&
           content_of(here.at("file")) == "old" && here.names_count() == 2;
  }));
}

TEST_CASE("a replacement that is stopped at any moment leaves the old file or the new one, and nothing else") {
  place here;
  const auto before = open_descriptors_count();
  bool was_stopped = false;

  for (int turns_before = 0; turns_before < 30; ++turns_before) {
    here.folder.file("file", "old");
    auto writing = here.loop.start(write_atomically(here.at("file"), bytes_of("new")));
    for (int turn = 0; turn < turns_before && !writing.done(); ++turn) here.loop.turn(/*may_park=*/turn > 3);
    writing.cancel();
    turn_until_done(here.loop, writing);
    const auto found = content_of(here.at("file"));
    CHECK((found == "new" || (writing.stopped() && found == "old")));
    CHECK(here.names_count() == 1);
    was_stopped = was_stopped || (writing.stopped() && turns_before > 2);
  }

  CHECK(was_stopped);
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("what is added goes to the end, whole, also by several at once") {
  place here;
  std::vector<task<>> all;
  std::string expected;
  for (char letter = 'a'; letter <= 'j'; ++letter) expected += std::string(1000, letter);
  for (std::size_t each = 0; each < 10; ++each)
    all.push_back(append(here.at("log"), bytes_of(expected).subspan(each * 1000, 1000),
                         each % 2 == 0 ? durability::full : durability::none));

  here.loop.run([&]() -> task<> { co_await when_all(std::move(all)); });

  auto found = content_of(here.at("log"));
  std::size_t changes = 0;
  for (std::size_t each = 1; each < found.size(); ++each) changes += found[each] != found[each - 1] ? 1 : 0;
  CHECK(changes == 9);
  std::ranges::sort(found);
  CHECK(found == expected);
  CHECK(here.error_of(append(here.folder.path(), {})) == std::errc::is_a_directory);
  CHECK(here.error_of(append("/dev/full", bytes_of("x"))) == std::errc::no_space_on_device);
}

TEST_CASE("lines come without what ends them, from files and from pipes") {
  place here;
  const auto opened = here.loop.run(file::open(here.folder.file("file", "one\r\n\ntwo\nthree")));
  const auto empty = here.loop.run(file::open(here.folder.file("empty", "")));
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const file reading{unique_fd{ends[0]}};
  {
    const file writing{unique_fd{ends[1]}};
    here.loop.run(writing.write_all(bytes_of("a\nb\n")));
  }

  CHECK(here.loop.run(all_lines(opened)) == std::vector<std::string>{"one", "", "two", "three"});
  CHECK(here.loop.run(all_lines(empty)).empty());
  CHECK(here.loop.run(all_lines(reading)) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("a line that is too long is an error, and a wait for one is stopped") {
  place here;
  const auto opened = here.loop.run(file::open(here.folder.file("file", "short\n" + std::string(100, 'x') + "\n")));
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const file never_written{unique_fd{ends[0]}};
  const unique_fd write_end{ends[1]};

  CHECK(here.error_of(all_lines(opened)) == std::errc::message_size);
  auto waiting = here.loop.start(all_lines(never_written));
  here.loop.run_ready();
  waiting.cancel();
  turn_until_done(here.loop, waiting);
  CHECK(waiting.stopped());
}

TEST_CASE("a path is a directory and a name") {
  const auto both = [](std::string_view path) {
    const auto parts = detail::split(path);
    return parts.directory + "|" + parts.name;
  };

  CHECK(both("a") == ".|a");
  CHECK(both("a/b") == "a|b");
  CHECK(both("a//b//") == "a|b");
  CHECK(both("/a") == "/|a");
  CHECK(both("//a") == "/|a");
  CHECK(both("/") == "/|");
  CHECK(both("") == ".|");
  CHECK(detail::join("a/", "b") == "a/b");
  CHECK(detail::join("", "b") == "b");
  CHECK(detail::unique_name("x") != detail::unique_name("x"));
}

}  // namespace gyre::fs
