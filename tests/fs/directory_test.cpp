// SPDX-License-Identifier: MIT
// Directories on the real kernel: what is in them, however much and however named; and errors, changes and stops.
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/directory.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;

task<std::multiset<std::string>> names_in(const directory& opened) {
  std::multiset<std::string> names;
  auto entries = opened.entries();
  while (auto entry = co_await entries.next()) names.insert(entry->name);
  co_return names;
}

task<> open_and_read(std::string path) {
  const auto opened = co_await directory::open(path);
  (void)co_await names_in(opened);
}

std::error_code error_of_opening(executor& loop, path_at path, open_directory_options options = {}) {
  return loop.run(as_result(directory::open(std::move(path), options))).error();
}

}  // namespace

TEST_CASE("a directory gives each name with its kind and its inode") {
  const temp_folder folder;
  executor loop;
  folder.file("file", "");
  files::create_directory(folder.file("below"));
  files::create_symlink("nowhere", folder.file("link"));
  REQUIRE(::mkfifo(folder.file("fifo").c_str(), 0600) == 0);
  std::map<std::string, directory_entry> found;

  loop.run([&]() -> task<> {
    const auto opened = co_await directory::open(folder.path());
    auto entries = opened.entries();
    while (auto entry = co_await entries.next()) found[entry->name] = *entry;
  });

  CHECK(found.size() == 4);
  CHECK(found["file"].kind == file_kind::regular);
  CHECK(found["below"].kind == file_kind::directory);
  CHECK(found["link"].kind == file_kind::symbolic_link);
  CHECK(found["fifo"].kind == file_kind::fifo);
  struct ::stat about{};
  REQUIRE(::stat(folder.file("file").c_str(), &about) == 0);
  CHECK(found["file"].inode == about.st_ino);
}

TEST_CASE("an empty directory has no entries, and goes on to have none") {
  const temp_folder folder;
  executor loop;

  loop.run([&]() -> task<> {
    const auto opened = co_await directory::open(folder.path());
    auto entries = opened.entries();
    CHECK(!co_await entries.next());
    CHECK(!co_await entries.next());
  });
}

TEST_CASE("names have any bytes but NUL and the slash") {
  const temp_folder folder;
  executor loop;
  std::multiset<std::string> made;
  for (int each = 1; each < 256; ++each) {
    if (each == '/' || each == '.') continue;
    made.insert(std::string(1, static_cast<char>(each)));
    folder.file(std::string(1, static_cast<char>(each)), "");
  }
  made.insert(std::string(255, '\xff'));
  folder.file(std::string(255, '\xff'), "");

  const auto opened = loop.run(directory::open(folder.path()));

  CHECK(loop.run(names_in(opened)) == made);
}

TEST_CASE("a directory of many batches gives each name once, to each who reads it") {
  const temp_folder folder;
  executor loop;
  std::multiset<std::string> made;
  for (int each = 0; each < 6000; ++each) {
    const std::string name = "a-name-of-some-length-" + std::to_string(each);
    const unique_fd opened{::open(folder.file(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)};
    made.insert(name);
  }

  loop.run([&]() -> task<> {
    const auto opened = co_await directory::open(folder.path());
    auto other = opened.entries();
    const auto first = co_await other.next();
    CHECK(first.has_value());
    const auto names = co_await names_in(opened);
    CHECK(names == made);
    std::size_t others_count = 1;
    while (co_await other.next()) ++others_count;
    CHECK(others_count == made.size());
  });
}

TEST_CASE("what is no directory is not opened as one, and a link only where that is wanted") {
  const temp_folder folder;
  executor loop;
  folder.file("file", "");
  files::create_directory(folder.file("below"));
  files::create_symlink("below", folder.file("link"));
  files::create_symlink("/", folder.file("below/out"));
  const auto below = loop.run(directory::open(folder.file("below")));

  CHECK(error_of_opening(loop, folder.file("link")) == std::error_code{});
  CHECK(error_of_opening(loop, folder.file("link"), {.no_follow = true}) == std::errc::not_a_directory);
  CHECK(error_of_opening(loop, folder.file("file")) == std::errc::not_a_directory);
  CHECK(error_of_opening(loop, folder.file("nothing")) == std::errc::no_such_file_or_directory);
  CHECK(error_of_opening(loop, folder.path() + '\0') == std::errc::invalid_argument);
  CHECK(error_of_opening(loop, below.at("out")) == std::error_code{});
  CHECK(error_of_opening(loop, below.at("out"), {.resolve_beneath = true}) == std::errc::cross_device_link);
}

TEST_CASE("paths that begin at a directory go on to mean the same when it is renamed") {
  const temp_folder folder;
  executor loop;
  files::create_directory(folder.file("old"));
  folder.file("old/file", "contents");

  loop.run([&]() -> task<> {
    auto opened = co_await directory::open(folder.file("old"));
    files::rename(folder.file("old"), folder.file("new"));
    const auto file = co_await file::open(opened.at("file"));
    CHECK(co_await file.size() == 8);
    const auto about = co_await opened.metadata();
    CHECK(about.is_directory());
    co_await opened.sync();
    co_await opened.close();
    CHECK(opened.fd().get() == -1);
  });
}

TEST_CASE("a directory that is removed before it is read is an error, and one that is changed is none") {
  const temp_folder folder;
  executor loop;
  files::create_directory(folder.file("below"));
  folder.file("below/one", "");
  const auto opened = loop.run(directory::open(folder.file("below")));

  loop.run([&]() -> task<> {
    auto entries = opened.entries();
    const auto first = co_await entries.next();
    CHECK(first.has_value());
    files::remove_all(folder.file("below"));
    CHECK(!co_await entries.next());
  });

  CHECK(loop.run(as_result(names_in(opened))).error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("reading a directory is stopped at any moment, and leaks nothing") {
  const temp_folder folder;
  executor loop;
  folder.file("file", "");
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 8; ++turns_before) {
    auto reading = loop.start(open_and_read(folder.path()));
    for (int turn = 0; turn < turns_before; ++turn) loop.turn(/*may_park=*/false);
    reading.cancel();
    turn_until_done(loop, reading);
    if (turns_before == 0) CHECK(reading.stopped());
  }

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("entries are taken apart as getdents64(2) has written them") {
  std::vector<char> bytes;
  const auto add = [&](const std::string& name, unsigned char type) {
    ::dirent64 entry{};
    entry.d_ino = 7;
    entry.d_type = type;
    const std::size_t used = offsetof(::dirent64, d_name) + name.size() + 1;
    entry.d_reclen = static_cast<unsigned short>((used + 7) & ~std::size_t{7});
    std::memcpy(entry.d_name, name.c_str(), name.size() + 1);
    const auto* const raw = reinterpret_cast<const char*>(&entry);
    bytes.insert(bytes.end(), raw, raw + entry.d_reclen);
  };
  add(".", DT_DIR);
  add("..", DT_DIR);
  add("...", DT_REG);
  add("socket", DT_SOCK);
  add("device", DT_CHR);
  add("disk", DT_BLK);
  add("nobody says", DT_UNKNOWN);

  const auto entries = detail::parse_entries(bytes);

  REQUIRE(entries.size() == 5);
  CHECK(entries[0].name == "...");
  CHECK(entries[0].inode == 7);
  CHECK(entries[1].kind == file_kind::socket);
  CHECK(entries[2].kind == file_kind::character_device);
  CHECK(entries[3].kind == file_kind::block_device);
  CHECK(entries[4].kind == file_kind::other);
  CHECK(detail::parse_entries({}).empty());
}

}  // namespace gyre::fs
