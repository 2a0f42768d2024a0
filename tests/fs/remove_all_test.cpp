// SPDX-License-Identifier: MIT
// Trees removed, whatever is in them, however deep, and whoever swaps what meanwhile; and temporary directories.
#include <gyre/fs/remove_all.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"
#include "../support/unprivileged.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;
using namespace std::chrono_literals;

// A tree, and beside it a directory that nothing may happen to.
struct place {
  place() {
    files::create_directories(folder.file("tree/a/b"));
    folder.file("tree/one", "");
    folder.file("tree/a/two", "");
    folder.file("tree/a/b/three", "");
    files::create_directory(folder.file("precious"));
    folder.file("precious/file", "contents");
  }
  [[nodiscard]] std::string tree() const { return folder.file("tree"); }
  [[nodiscard]] bool is_precious_whole() const { return content_of(folder.file("precious/file")) == "contents"; }
  std::error_code error_of(std::string path) { return loop.run(as_result(remove_all(std::move(path)))).error(); }

  temp_folder folder;
  executor loop;
};

}  // namespace

TEST_CASE("a tree is removed, with all that is in it, and links as links") {
  place here;
  files::create_symlink(here.folder.file("precious"), here.folder.file("tree/a/link"));
  REQUIRE(::mkfifo(here.folder.file("tree/fifo").c_str(), 0600) == 0);

  CHECK(here.loop.run(remove_all(here.tree() + "/")) == 8);

  CHECK(!files::exists(here.tree()));
  CHECK(here.is_precious_whole());
}

TEST_CASE("a file, a link, and nothing at all are removed as well") {
  place here;
  files::create_symlink("precious", here.folder.file("link"));

  CHECK(here.loop.run(remove_all(here.folder.file("tree/one"))) == 1);
  CHECK(here.loop.run(remove_all(here.folder.file("link/"))) == 1);
  CHECK(here.loop.run(remove_all(here.folder.file("nothing"))) == 0);
  CHECK(here.loop.run(remove_all(here.folder.file("nothing/below"))) == 0);

  CHECK(!files::is_symlink(here.folder.file("link")));
  CHECK(here.is_precious_whole());
}

TEST_CASE("what would remove where one stands is refused before anything is") {
  place here;

  for (const std::string path : {"/", "//", "", ".", "..", "/.", "x/.."})
    CHECK(here.error_of(path) == std::errc::invalid_argument);
  CHECK(here.error_of(here.tree() + "/.") == std::errc::invalid_argument);
  CHECK(here.error_of(here.tree() + '\0' + "x") == std::errc::invalid_argument);
  CHECK(files::exists(here.folder.file("tree/one")));
}

TEST_CASE("a tree below a directory that is open is removed") {
  place here;
  const auto folder = here.loop.run(directory::open(here.folder.path()));

  CHECK(here.loop.run(remove_all(folder.at("tree/a"))) == 4);

  CHECK(!files::exists(here.folder.file("tree/a")));
  CHECK(files::exists(here.folder.file("tree/one")));
}

TEST_CASE("a tree deeper than any path, and than descriptors go, is removed") {
  place here;
  constexpr int depth = 1500;
  unique_fd at{::open(here.tree().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  for (int level = 0; level < depth; ++level) {
    REQUIRE(::mkdirat(at.get(), "deeper", 0700) == 0);
    REQUIRE(::symlinkat("nowhere", at.get(), "link") == 0);
    at = unique_fd{::openat(at.get(), "deeper", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  }
  const auto before = open_descriptors_count();

  CHECK(here.loop.run(remove_all(here.tree())) == 6 + 2 * depth);

  CHECK(!files::exists(here.tree()));
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a directory of many batches is removed") {
  place here;
  for (int each = 0; each < 5000; ++each) {
    const std::string path = here.folder.file("tree/a-name-of-some-length-" + std::to_string(each));
    const unique_fd opened{::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)};
  }

  CHECK(here.loop.run(remove_all(here.tree())) == 5006);
}

TEST_CASE("what may not be removed is told, with its name") {
  place here;
  files::permissions(here.folder.path(), files::perms::all);
  files::permissions(here.folder.file("tree/a"), files::perms(0555));

  CHECK(holds_for_nobody([&] {
    executor loop;
    try {
      loop.run(remove_all(here.folder.file("tree/a")));
    } catch (const std::system_error& error) {
      const std::string text = error.what();
      return error.code() == std::errc::permission_denied && text.find("tree/a/") != std::string::npos;
    }
    return false;
  }));
  CHECK(files::exists(here.folder.file("tree/a/two")));
}

TEST_CASE("a directory that is swapped for a link at any moment is not followed") {
  std::size_t swapped_while_removing = 0;
  for (int turns_before = 0; turns_before < 40; ++turns_before) {
    place here;
    auto removing = here.loop.start(remove_all(here.tree()));
    for (int turn = 0; turn < turns_before && !removing.done(); ++turn) here.loop.turn(/*may_park=*/true);
    std::error_code moved;
    files::rename(here.folder.file("tree/a"), here.folder.file("aside"), moved);
    if (!moved) {
      ++swapped_while_removing;
      files::create_symlink(here.folder.file("precious"), here.folder.file("tree/a"));
    }

    turn_until_done(here.loop, removing);

    CHECK(here.is_precious_whole());
    CHECK(!files::exists(here.tree()));
    (void)removing.get();
  }
  CHECK(swapped_while_removing > 3);
}

TEST_CASE("a directory that is swapped all the time is not followed") {
  for (int round = 0; round < 40; ++round) {
    place here;
    files::create_symlink(here.folder.file("precious"), here.folder.file("swap"));
    std::atomic<bool> over = false;
    std::thread swapping{[&] {
      while (!over)
        ::renameat2(AT_FDCWD, here.folder.file("swap").c_str(), AT_FDCWD, here.folder.file("tree/a").c_str(),
                    RENAME_EXCHANGE);
    }};

    (void)here.loop.run(as_result(remove_all(here.tree())));

    over = true;
    swapping.join();
    CHECK(here.is_precious_whole());
  }
}

TEST_CASE("a removal is stopped at any moment, leaks nothing, and can be begun again") {
  place here;
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 12; ++turns_before) {
    auto removing = here.loop.start(remove_all(here.tree()));
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/false);
    removing.cancel();
    turn_until_done(here.loop, removing);
    if (turns_before == 0) CHECK(removing.stopped());
  }
  here.loop.run(remove_all(here.tree()));

  CHECK(!files::exists(here.tree()));
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a temporary directory goes with who uses it, in each way to end") {
  place here;
  std::string path;
  const auto use = [&](const temp_directory& made) {
    path = made.path;
    CHECK(files::path{path}.parent_path() == here.folder.path());
    CHECK((files::status(path).permissions() & files::perms(077)) == files::perms::none);
    files::create_directories(path + "/a/b");
  };

  const int value = here.loop.run(with_temp_directory(
      [&](const temp_directory& made) -> task<int> {
        use(made);
        co_return 7;
      },
      here.folder.path()));
  CHECK(value == 7);
  CHECK(!files::exists(path));

  CHECK_THROWS_AS(here.loop.run(with_temp_directory(
                      [&](const temp_directory& made) -> task<> {
                        use(made);
                        throw std::runtime_error{"a failure of its user"};
                        co_return;
                      },
                      here.folder.path())),
                  std::runtime_error);
  CHECK(!files::exists(path));

  auto stopped = here.loop.start(with_temp_directory(
      [&](const temp_directory& made) -> task<> {
        use(made);
        co_await sleep_for(1h);
      },
      here.folder.path()));
  for (path.clear(); path.empty();) here.loop.turn(/*may_park=*/false);
  CHECK(files::exists(path + "/a/b"));
  stopped.cancel();
  turn_until_done(here.loop, stopped);
  CHECK(stopped.stopped());
  CHECK(!files::exists(path));
}

TEST_CASE("a temporary directory that is stopped at any moment leaves nothing behind") {
  place here;
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 10; ++turns_before) {
    auto begun = here.loop.start(
        with_temp_directory([](const temp_directory&) -> task<> { co_return; }, here.folder.file("precious")));
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/false);
    begun.cancel();
    turn_until_done(here.loop, begun);
    CHECK(std::distance(files::directory_iterator{here.folder.file("precious")}, {}) == 1);
  }

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a temporary directory cannot be made where there is no parent") {
  place here;
  auto wanted = with_temp_directory([](const temp_directory&) -> task<> { co_return; }, here.folder.file("nothing"));

  CHECK(here.loop.run(as_result(std::move(wanted))).error() == std::errc::no_such_file_or_directory);
}

}  // namespace gyre::fs
