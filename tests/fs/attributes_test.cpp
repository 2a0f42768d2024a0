// SPDX-License-Identifier: MIT
// Attributes of files, by path and by descriptor; skipped where the file system of temporary files has none.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace test;

struct place {
  [[nodiscard]] bool has_attributes() const {
    if (::setxattr(path.c_str(), "user.probe", "", 0, 0) == 0) return ::removexattr(path.c_str(), "user.probe") == 0;
    SAY_SKIPPED("no attributes on the file system of temporary files");
    return false;
  }
  template <class T>
  std::error_code error_of(task<T> failing) {
    return loop.run(as_result(std::move(failing))).error();
  }

  temp_folder folder;
  std::string path = folder.file("file", "contents");
  executor loop;
};

}  // namespace

TEST_CASE("an attribute is written, read, listed and removed, by path and by file") {
  place here;
  if (!here.has_attributes()) return;
  const auto opened = here.loop.run(file::open(here.path));
  const unique_fd folder{::open(here.folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const std::vector<attributed> ways{here.path, path_at{folder, "file"}, opened};

  for (const auto& each : ways) {
    here.loop.run([&]() -> task<> {
      CHECK(!co_await get_attribute(each, "user.note"));
      co_await set_attribute(each, "user.note", bytes_of("a word"));
      co_await set_attribute(each, "user.empty", {});
      const auto note = co_await get_attribute(each, "user.note");
      const auto empty = co_await get_attribute(each, "user.empty");
      REQUIRE(note);
      CHECK(text_of(*note) == "a word");
      REQUIRE(empty);
      CHECK(empty->empty());
      auto names = co_await list_attributes(each);
      std::ranges::sort(names);
      CHECK(names == std::vector<std::string>{"user.empty", "user.note"});
      CHECK(co_await remove_attribute(each, "user.note"));
      CHECK(!co_await remove_attribute(each, "user.note"));
      CHECK(co_await remove_attribute(each, "user.empty"));
      names = co_await list_attributes(each);
      CHECK(names.empty());
    });
  }
}

TEST_CASE("an attribute is made, or replaced, only where it is told so") {
  place here;
  if (!here.has_attributes()) return;

  CHECK(here.error_of(set_attribute(here.path, "user.note", bytes_of("1"), attribute_change::replace)) ==
        std::errc::no_message_available);
  CHECK(!here.error_of(set_attribute(here.path, "user.note", bytes_of("1"), attribute_change::create)));
  CHECK(here.error_of(set_attribute(here.path, "user.note", bytes_of("2"), attribute_change::create)) ==
        std::errc::file_exists);
  CHECK(!here.error_of(set_attribute(here.path, "user.note", bytes_of("2"), attribute_change::replace)));
  CHECK(text_of(*here.loop.run(get_attribute(here.path, "user.note"))) == "2");
}

TEST_CASE("what cannot be an attribute is an error") {
  place here;
  if (!here.has_attributes()) return;
  const std::string much(65537, 'x');

  CHECK(here.error_of(set_attribute(here.path, "user.much", bytes_of(much))) == std::errc::argument_list_too_long);
  CHECK(here.error_of(set_attribute(here.path, std::string{"user.\0x", 7}, {})) == std::errc::invalid_argument);
  CHECK(here.error_of(get_attribute(here.path, "nobodys.note")) == std::errc::operation_not_supported);
  CHECK(here.error_of(get_attribute(here.path + "x", "user.note")) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(list_attributes(here.path + "x")) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(remove_attribute(here.path + "x", "user.note")) == std::errc::no_such_file_or_directory);
}

TEST_CASE("a task that reads an attribute is stopped at any moment") {
  place here;
  if (!here.has_attributes()) return;

  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    auto begun = here.loop.start(get_attribute(here.path, "user.note"));
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/false);
    begun.cancel();
    turn_until_done(here.loop, begun);
    if (turns_before == 0) CHECK(begun.stopped());
    if (!begun.stopped()) CHECK(!begun.get());
  }
}

}  // namespace gyre::fs
