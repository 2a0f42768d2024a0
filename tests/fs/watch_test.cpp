// SPDX-License-Identifier: MIT
// Changes told as they happen: of a file, of a directory, of trees that grow and move; too many; and stops.
#include <gyre/fs/directory.hpp>
#include <gyre/fs/watch.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;

std::string text_of(const watch_event& event) {
  static constexpr const char* names[] = {"created", "removed",   "renamed", "written",
                                          "closed",  "described", "overflow"};
  std::string text = names[static_cast<int>(event.what)];
  if (event.is_directory) text += " directory";
  if (!event.old_path.empty()) text += " " + event.old_path + " ->";
  return text + " " + event.path;
}

struct place {
  watcher begin(const std::string& name = {}, watch_options options = {}) {
    return loop.run(watch(name.empty() ? folder.path() : at(name), options));
  }
  // Up to the event that is named.
  std::vector<std::string> until(watcher& changes, const std::string& last) {
    std::vector<std::string> told;
    while (told.empty() || told.back() != last) {
      const auto event = loop.run(changes.next());
      REQUIRE(event);
      told.push_back(text_of(*event));
    }
    return told;
  }
  [[nodiscard]] std::string at(const std::string& name) const { return folder.file(name); }

  temp_folder folder;
  executor loop;
};

using events = std::vector<std::string>;

bool holds(const events& told, const std::string& one) { return std::ranges::find(told, one) != told.end(); }

}  // namespace

TEST_CASE("what happens in a directory is told in its order") {
  place here;
  auto changes = here.begin();

  here.folder.file("file", "contents");
  files::permissions(here.at("file"), files::perms::owner_all);
  files::rename(here.at("file"), here.at("other"));
  files::remove(here.at("other"));
  files::create_directory(here.at("below"));

  CHECK(here.until(changes, "created directory below") == events{"created file", "written file", "closed file",
                                                                 "described file", "renamed file -> other",
                                                                 "removed other", "created directory below"});
}

TEST_CASE("a directory that is not watched as a tree tells nothing of what is below") {
  place here;
  files::create_directory(here.at("below"));
  auto changes = here.begin();

  here.folder.file("below/file", "");
  here.folder.file("last", "");

  CHECK(here.until(changes, "created last") == events{"created last"});
}

TEST_CASE("a file that is watched tells of itself") {
  place here;
  here.folder.file("file", "");
  auto changes = here.begin("file");

  std::ofstream{here.at("file"), std::ios::app} << "more";
  CHECK(here.until(changes, "closed ") == events{"written ", "closed "});
  files::rename(here.at("file"), here.at("other"));
  CHECK(here.until(changes, "removed ") == events{"removed "});
}

TEST_CASE("a watch ends when what is watched is removed") {
  place here;
  files::create_directory(here.at("below"));
  auto changes = here.begin("below");
  files::remove(here.at("below"));

  CHECK(here.until(changes, "removed ").size() == 1);
  CHECK(!here.loop.run(changes.next()));
  CHECK(!here.loop.run(changes.next()));
}

TEST_CASE("a tree is watched however deep, and goes on when it grows") {
  place here;
  files::create_directories(here.at("a/b/c"));
  auto changes = here.begin({}, {.recursive = true});

  here.folder.file("a/b/c/file", "");
  CHECK(holds(here.until(changes, "closed a/b/c/file"), "created a/b/c/file"));
  files::create_directories(here.at("new/d/e"));
  here.folder.file("new/d/e/file", "");
  const auto told = here.until(changes, "created new/d/e/file");
  for (const char* each : {"created directory new", "created directory new/d", "created directory new/d/e"})
    CHECK(holds(told, each));
  here.folder.file("new/d/e/another", "");
  CHECK(holds(here.until(changes, "closed new/d/e/another"), "created new/d/e/another"));
}

TEST_CASE("a directory that is renamed within a tree goes on to be watched, under its new name") {
  place here;
  files::create_directories(here.at("a/b"));
  files::create_directories(here.at("c"));
  auto changes = here.begin({}, {.recursive = true});

  files::rename(here.at("a"), here.at("c/a"));
  CHECK(here.until(changes, "renamed directory a -> c/a").size() == 1);
  here.folder.file("c/a/b/file", "");

  CHECK(holds(here.until(changes, "closed c/a/b/file"), "created c/a/b/file"));
}

TEST_CASE("what leaves a tree is removed, what comes from outside is created, and is watched") {
  place here;
  files::create_directories(here.at("tree/a/b"));
  files::create_directories(here.at("outside/d"));
  here.folder.file("outside/d/file", "");
  auto changes = here.begin("tree", {.recursive = true});

  files::rename(here.at("tree/a"), here.at("outside/a"));
  CHECK(here.until(changes, "removed directory a").size() == 1);
  here.folder.file("outside/a/b/never told", "");
  files::rename(here.at("outside/d"), here.at("tree/d"));

  CHECK(here.until(changes, "created d/file") == events{"created directory d", "created d/file"});
}

TEST_CASE("changes that are too many are an overflow, and the watch goes on") {
  place here;
  files::create_directory(here.at("below"));
  std::string limit;
  std::ifstream{"/proc/sys/fs/inotify/max_queued_events"} >> limit;
  if (limit.empty() || std::stoul(limit) > 100'000) {
    MESSAGE("skipped: fs.inotify.max_queued_events is large, or cannot be read");
    return;
  }
  auto changes = here.begin({}, {.recursive = true});
  const std::string one = here.at("one");
  const std::string other = here.at("other");
  here.folder.file("one", "");
  for (unsigned long each = 0; each < std::stoul(limit) / 2 + 100; ++each)
    REQUIRE(::rename((each % 2 == 0 ? one : other).c_str(), (each % 2 == 0 ? other : one).c_str()) == 0);

  CHECK(here.until(changes, "overflow ").size() > 100);
  files::create_directory(here.at("later"));
  CHECK(holds(here.until(changes, "created directory later"), "created directory later"));
}

TEST_CASE("what cannot be watched says why, and leaks nothing") {
  place here;
  const auto before = open_descriptors_count();

  CHECK(here.loop.run(as_result(watch(here.at("nothing")))).error() == std::errc::no_such_file_or_directory);
  CHECK(here.loop.run(as_result(watch(here.at("x") + '\0'))).error() == std::errc::invalid_argument);
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a path that begins at an open directory is watched") {
  place here;
  files::create_directory(here.at("below"));
  const auto folder = here.loop.run(directory::open(here.folder.path()));
  auto changes = here.loop.run(watch(folder.at("below"), {.recursive = true}));

  files::create_directories(here.at("below/a/b"));

  CHECK(holds(here.until(changes, "created directory a/b"), "created directory a"));
}

TEST_CASE("a wait for a change is stopped at any moment, and loses none") {
  place here;
  auto changes = here.begin({}, {.recursive = true});
  std::vector<std::string> told;

  for (int turns_before = 0; turns_before < 12; ++turns_before) {
    const auto name = "directory" + std::to_string(turns_before);
    files::create_directory(here.at(name));
    here.folder.file(name + "/file", "");
    auto waiting = here.loop.start(changes.next());
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/false);
    waiting.cancel();
    turn_until_done(here.loop, waiting);
    if (!waiting.stopped()) told.push_back(text_of(*waiting.get()));
  }
  here.folder.file("last", "");
  for (const auto& each : here.until(changes, "created last")) told.push_back(each);
  here.folder.file("end", "");  // what was found in new directories is told before anything that comes later
  for (const auto& each : here.until(changes, "created end")) told.push_back(each);

  for (int each = 0; each < 12; ++each) {
    const auto name = "directory" + std::to_string(each);
    CHECK(holds(told, "created directory " + name));
    CHECK(holds(told, "created " + name + "/file"));
  }
}

TEST_CASE("beginning to watch is stopped at any moment, and leaks nothing") {
  place here;
  files::create_directories(here.at("a/b"));
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 10; ++turns_before) {
    auto begun = here.loop.start(watch(here.folder.path(), {.recursive = true}));
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/turn > 3);
    begun.cancel();
    turn_until_done(here.loop, begun);
    if (turns_before == 0) CHECK(begun.stopped());
    if (!begun.stopped()) (void)begun.get();
  }

  CHECK(open_descriptors_count() == before);
}

}  // namespace gyre::fs
