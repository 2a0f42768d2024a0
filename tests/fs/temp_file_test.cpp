// SPDX-License-Identifier: MIT
// Temporary files: made, gone however their task or their process ends, and kept where somebody says so.
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/temp_file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/this_task.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

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
  [[nodiscard]] temp_file_options here() const { return {.directory = folder.path()}; }

  temp_folder folder;
  executor loop;
};

task<> write_and_persist(temp_file& made, std::string to, persist_options options) {
  co_await made.opened.write_all_at(bytes_of("new"), /*offset=*/0);
  co_await made.persist(std::move(to), options);
}

task<> make_persistent(temp_file_options where, std::string to, persist_options options) {
  co_await with_temp_file([&](temp_file& made) { return write_and_persist(made, to, options); }, std::move(where));
}

task<> use_for_ever(temp_file_options where) {
  co_await with_temp_file(
      [](temp_file& made) -> task<> {
        co_await made.opened.write_all_at(bytes_of("text"), /*offset=*/0);
        for (;;) co_await this_task::yield();
      },
      std::move(where));
}

// Starts it, and stops it after so many turns.
template <class T>
bool is_stopped_after(executor& loop, task<T> running, int turns_count) {
  auto root = loop.start(std::move(running));
  for (int turn = 0; turn < turns_count && !root.done(); ++turn) loop.turn(/*may_park=*/false);
  root.cancel();
  turn_until_done(loop, root);
  return root.stopped();
}

}  // namespace

TEST_CASE("a temporary file has a name of its own, is its owner's alone, and goes with its task") {
  place test;
  const auto before = open_descriptors_count();

  const auto path = test.loop.run(with_temp_file(
      [&](temp_file& made) -> task<std::string> {
        CHECK(made.path().starts_with(test.at("mine-")));
        co_await made.opened.write_all_at(bytes_of("text"), /*offset=*/0);
        CHECK(content_of(made.path()) == "text");
        const auto about = co_await made.opened.metadata();
        CHECK(about.permissions == 0600);
        CHECK(test.names_count() == 1);
        co_return made.path();
      },
      {.directory = test.folder.path(), .prefix = "mine-"}));

  CHECK(!files::exists(path));
  CHECK(test.names_count() == 0);
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("where no directory is named it is TMPDIR") {
  place test;
  const char* const told = ::getenv("TMPDIR");
  const std::string before = told != nullptr ? told : "";
  REQUIRE(::setenv("TMPDIR", test.folder.path().c_str(), 1) == 0);

  test.loop.run(with_temp_file([&](temp_file& made) -> task<> {
    CHECK(made.path().starts_with(test.at("gyre-")));
    co_return;
  }));
  const auto unnamed = test.loop.run(open_unnamed());

  CHECK(files::read_symlink("/proc/self/fd/" + std::to_string(unnamed.fd().get()))
            .string()
            .starts_with(test.folder.path()));
  if (told != nullptr) ::setenv("TMPDIR", before.c_str(), 1);
  else ::unsetenv("TMPDIR");
}

TEST_CASE("a temporary file goes when its task throws, or cannot be begun") {
  place test;

  CHECK_THROWS_AS(test.loop.run(with_temp_file(
                      [](temp_file&) -> task<> {
                        throw std::out_of_range{"thrown"};
                        co_return;
                      },
                      test.here())),
                  std::out_of_range);
  CHECK_THROWS_AS(test.loop.run(with_temp_file(
                      [](temp_file& made) -> task<> {
                        if (!made.path().empty()) throw std::out_of_range{"before there is a task"};
                        return use_for_ever({});
                      },
                      test.here())),
                  std::out_of_range);
  CHECK(test.names_count() == 0);
}

TEST_CASE("a temporary file goes when its task is stopped, at any moment") {
  place test;
  const auto before = open_descriptors_count();

  for (int turns = 0; turns < 300; turns += turns < 20 ? 1 : 20)
    CHECK(is_stopped_after(test.loop, use_for_ever(test.here()), turns));

  CHECK(test.names_count() == 0);
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a temporary file that somebody else has removed is no error") {
  place test;

  test.loop.run(with_temp_file([](temp_file& made) { return unlink(made.path()); }, test.here()));

  CHECK(test.names_count() == 0);
}

TEST_CASE("a temporary file stays under the name that it has, or under another one") {
  place test;

  const auto kept = test.loop.run(with_temp_file(
      [](temp_file& made) -> task<std::string> {
        made.keep();
        co_return made.path();
      },
      test.here()));
  CHECK(files::exists(kept));
  CHECK(test.names_count() == 1);

  test.folder.file("file", "old");
  test.loop.run(make_persistent(test.here(), test.at("file"), {}));
  CHECK(content_of(test.at("file")) == "new");
  test.loop.run(make_persistent(test.here(), test.at("other"), {.durability = durability::full}));
  CHECK(content_of(test.at("other")) == "new");
  CHECK(test.names_count() == 3);
}

TEST_CASE("a temporary file that is not to replace anything, or cannot be renamed, goes") {
  place test;
  test.folder.file("file", "old");

  CHECK(test.error_of(make_persistent(test.here(), test.at("file"), {.how = rename_how::no_replace})) ==
        std::errc::file_exists);
  CHECK(test.error_of(make_persistent(test.here(), test.at("none/below"), {})) == std::errc::no_such_file_or_directory);
  CHECK(test.error_of(make_persistent(test.here(), "/proc/file", {})) == std::errc::cross_device_link);
  CHECK(test.error_of(make_persistent(test.here(), test.at("x") + '\0' + "y", {})) == std::errc::invalid_argument);
  CHECK(content_of(test.at("file")) == "old");
  CHECK(test.names_count() == 1);

  test.loop.run(make_persistent(test.here(), test.at("new"), {.how = rename_how::no_replace}));
  CHECK(content_of(test.at("new")) == "new");
}

TEST_CASE("of an exchange what was there before is the temporary one, and goes") {
  place test;
  test.folder.file("file", "old");

  test.loop.run(make_persistent(test.here(), test.at("file"), {.how = rename_how::exchange}));

  CHECK(content_of(test.at("file")) == "new");
  CHECK(test.names_count() == 1);
}

TEST_CASE("a temporary file that is made to stay, and stopped at any moment, is there whole or not at all") {
  place test;
  bool was_stopped = false;
  bool was_done = false;

  for (int turns = 0; turns < 400; turns += turns < 20 ? 1 : 10) {
    const auto path = test.at("file");
    const bool stopped =
        is_stopped_after(test.loop, make_persistent(test.here(), path, {.durability = durability::full}), turns);
    const bool is_there = files::exists(path);
    if (is_there) CHECK(content_of(path) == "new");
    if (!stopped) CHECK(is_there);
    CHECK(test.names_count() == (is_there ? 1 : 0));
    files::remove(path);
    was_stopped = was_stopped || stopped;
    was_done = was_done || is_there;
  }
  test.loop.run(make_persistent(test.here(), test.at("file"), {.durability = durability::full}));

  CHECK(was_stopped);
  CHECK(files::exists(test.at("file")));
}

TEST_CASE("where no file can be made that is told") {
  place test;
  const auto nothing = [](temp_file&) -> task<> { co_return; };

  CHECK(test.error_of(with_temp_file(nothing, {.directory = test.at("none")})) == std::errc::no_such_file_or_directory);
  CHECK(test.error_of(with_temp_file(nothing, {.directory = test.folder.path(), .prefix = "a/b"})) ==
        std::errc::invalid_argument);
  CHECK(test.error_of(with_temp_file(nothing, {.directory = test.folder.path(), .prefix = std::string(1, '\0')})) ==
        std::errc::invalid_argument);
  CHECK(test.error_of(open_unnamed({.directory = test.at("none")})) == std::errc::no_such_file_or_directory);
  CHECK(test.error_of(open_unnamed({.directory = "/proc"})));  // neither with a name nor without
  CHECK(test.names_count() == 0);
}

TEST_CASE("a file without a name is read and written, and may be given one") {
  place test;

  const auto opened = test.loop.run(open_unnamed({.directory = test.folder.path(), .permissions = 0640}));
  CHECK(test.names_count() == 0);
  CHECK((test.loop.run(opened.metadata()).permissions | 0040) == 0640);  // whatever the umask
  test.loop.run(opened.write_all_at(bytes_of("text"), /*offset=*/0));
  std::array<std::byte, 4> buffer{};
  test.loop.run(opened.read_exactly_at(buffer, /*offset=*/0));
  CHECK(text_of(buffer) == "text");

  test.loop.run(opened.link(test.at("named")));
  CHECK(content_of(test.at("named")) == "text");
}

TEST_CASE("where there are no files without a name one is made that has lost it") {
  place test;

  const auto opened = test.loop.run(detail::make_and_unlink(test.here()));
  CHECK(test.names_count() == 0);
  test.loop.run(opened.write_all_at(bytes_of("text"), /*offset=*/0));
  CHECK(test.loop.run(opened.size()) == 4);
  CHECK(test.error_of(opened.link(test.at("named"))) == std::errc::no_such_file_or_directory);

  const auto before = open_descriptors_count();
  for (int turns = 0; turns < 300; turns += turns < 20 ? 1 : 20) {
    (void)is_stopped_after(test.loop, detail::make_and_unlink(test.here()), turns);
    CHECK(test.names_count() == 0);
  }
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a process that is killed leaves nothing of a file without a name, and one name of a file that has one") {
  const place test;
  for (const bool named : {false, true}) {
    child user{[&] {
      executor loop;
      if (!named) {
        const auto opened = loop.run(open_unnamed(test.here()));
        loop.run(opened.write_all_at(bytes_of("text"), /*offset=*/0));
        say('.');
        return ::pause();
      }
      loop.run(with_temp_file(
          [](temp_file&) -> task<> {
            say('.');
            ::pause();
            co_return;
          },
          test.here()));
      return 0;
    }};
    CHECK(user.hears() == '.');
    CHECK(test.names_count() == (named ? 1 : 0));
    user.signal(SIGKILL);
    (void)user.wait();
    CHECK(test.names_count() == (named ? 1 : 0));
  }
  CHECK(files::directory_iterator { test.folder.path() } -> path().filename().string().starts_with("gyre-"));
}

}  // namespace gyre::fs
