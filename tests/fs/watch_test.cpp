// SPDX-License-Identifier: MIT
// Changes told as they happen: of a file, of a directory, of trees that grow and move; too many; and stops.
#include <gyre/fs/directory.hpp>
#include <gyre/fs/watch.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/outcome.hpp"
#include "../support/skip.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"
#include "../support/unprivileged.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
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

std::string text_of(const watch_event& event) {
  static constexpr const char* names[] = {"created", "removed",   "renamed",  "written",
                                          "closed",  "described", "overflow", "unwatched"};
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
  // More changes than the queue holds, if nobody reads them.
  void fill_queue(const std::string& directory, unsigned long limit) {
    const std::string one = folder.file(directory + "/one", "");
    const std::string other = at(directory + "/other");
    for (unsigned long each = 0; each < limit / 2 + 100; ++each)
      REQUIRE(::rename((each % 2 == 0 ? one : other).c_str(), (each % 2 == 0 ? other : one).c_str()) == 0);
  }
  [[nodiscard]] std::string at(const std::string& name) const { return folder.file(name); }

  temp_folder folder;
  executor loop;
};

// How many changes the kernel keeps, where a test can make more.
std::optional<unsigned long> queue_limit() {
  std::string limit;
  std::ifstream{"/proc/sys/fs/inotify/max_queued_events"} >> limit;
  if (!limit.empty() && std::stoul(limit) <= 100'000) return std::stoul(limit);
  SAY_SKIPPED("fs.inotify.max_queued_events is large, or cannot be read");
  return std::nullopt;
}

using events = std::vector<std::string>;

// Those of watchers are closed on threads.
void wait_until_closed(std::size_t descriptors_before) {
  while (open_descriptors_count() > descriptors_before) std::this_thread::yield();
}

// How often this thread gave way because it had to wait for something.
long waits_count() {
  ::rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  return used.ru_nvcsw;
}

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

TEST_CASE("a directory that is renamed before it could be watched is watched under its new name") {
  for (int turns_before = 0; turns_before < 6; ++turns_before) {
    CAPTURE(turns_before);
    place here;
    auto changes = here.begin({}, {.recursive = true});
    files::create_directory(here.at("a"));
    auto waiting = here.loop.start(changes.next());
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/false);
    waiting.cancel();
    turn_until_done(here.loop, waiting);

    files::rename(here.at("a"), here.at("b"));
    files::create_directories(here.at("b/c"));
    const auto told = here.until(changes, "renamed directory a -> b");
    here.folder.file("b/c/file", "");

    CHECK(holds(here.until(changes, "closed b/c/file"), "created b/c/file"));
  }
}

TEST_CASE("a directory whose name another one has by the time that it is to be watched is watched, as is the other") {
  place here;
  auto changes = here.begin({}, {.recursive = true});
  files::create_directory(here.at("a"));
  auto waiting = here.loop.start(changes.next());
  here.loop.turn(/*may_park=*/false);
  waiting.cancel();
  turn_until_done(here.loop, waiting);

  files::create_directory(here.at("a/below"));
  files::rename(here.at("a"), here.at("b"));
  files::create_directory(here.at("a"));
  files::create_directory(here.at("last"));
  here.until(changes, "created directory last");
  here.folder.file("a/file", "");
  here.until(changes, "closed a/file");
  here.folder.file("b/file", "");
  here.until(changes, "closed b/file");
  here.folder.file("b/below/file", "");

  CHECK(holds(here.until(changes, "closed b/below/file"), "created b/below/file"));
}

TEST_CASE("a directory that leaves a tree and comes back is removed and created, and is watched") {
  place here;
  files::create_directories(here.at("tree/a/b"));
  files::create_directories(here.at("outside"));
  for (const char* comes_back_as : {"tree/a", "tree/c"}) {
    auto changes = here.begin("tree", {.recursive = true});
    const std::string name = files::path{comes_back_as}.filename();

    files::rename(here.at("tree/a"), here.at("outside/a"));
    files::rename(here.at("outside/a"), here.at(comes_back_as));
    const auto told = here.until(changes, "created directory " + name + "/b");
    here.folder.file(comes_back_as + std::string{"/b/file"}, "");
    const auto later = here.until(changes, "closed " + name + "/b/file");

    CHECK(holds(told, "created directory " + name));
    if (name == "a") CHECK(told.front() == "removed directory a");
    else if (!holds(told, "removed directory a") && !holds(later, "removed directory a"))
      here.until(changes, "removed directory a");  // when its other half has not come
  }
}

TEST_CASE("what happens to a directory after it has left is not told, whenever it is read") {
  place here;
  files::create_directories(here.at("tree/a"));
  files::create_directories(here.at("outside"));
  auto changes = here.begin("tree", {.recursive = true});

  files::rename(here.at("tree/a"), here.at("outside/a"));
  CHECK(here.until(changes, "removed directory a").size() == 1);
  here.folder.file("outside/a/never told", "");
  files::create_directory(here.at("tree/last"));

  CHECK(here.until(changes, "created directory last").size() == 1);
}

TEST_CASE("the halves of several renames are paired, however they are mixed, and what replaces a name comes after it") {
  place here;
  for (const char* each : {"a", "b", "c"}) here.folder.file(each, "");
  files::create_directory(here.at("outside"));
  auto changes = here.begin();

  files::rename(here.at("a"), here.at("outside/a"));
  files::rename(here.at("b"), here.at("d"));
  here.folder.file("a", "");
  files::rename(here.at("c"), here.at("e"));
  here.folder.file("last", "");

  CHECK(here.until(changes, "created last") ==
        events{"renamed b -> d", "removed a", "created a", "closed a", "renamed c -> e", "created last"});
}

TEST_CASE("a directory that may not be read is told, the others are watched, and so is it when it may be read") {
  CHECK(holds_for_nobody([] {
    place here;
    files::create_directories(here.at("open"));
    files::create_directories(here.at("secret/below"));
    files::permissions(here.at("secret"), files::perms::none);
    auto changes = here.begin({}, {.recursive = true});
    const auto first = here.loop.run(changes.next());
    bool holds_all = text_of(*first) == "unwatched directory secret" && first->error == std::errc::permission_denied;

    here.folder.file("open/file", "");
    holds_all = holds_all && holds(here.until(changes, "closed open/file"), "created open/file");
    files::create_directory(here.at("new"));
    files::permissions(here.at("new"), files::perms::none);
    const auto told = here.until(changes, "described directory new");
    files::permissions(here.at("secret"), files::perms::owner_all);
    holds_all = holds_all && holds(here.until(changes, "created directory secret/below"), "described directory secret");
    here.folder.file("secret/below/file", "");
    holds_all = holds_all && holds(here.until(changes, "closed secret/below/file"), "created secret/below/file");
    files::permissions(here.at("new"), files::perms::owner_all);
    return holds_all;
  }));
}

TEST_CASE("a watcher that goes does not have its thread wait for what the kernel waits for") {
  if (sanitizer_forbids_threads_in_child) {
    SAY_SKIPPED("ThreadSanitizer has who starts a thread wait for it");
    return;
  }
  place here;
  const auto before = open_descriptors_count();
  long fewest_waits = 1000;

  for (int each = 0; each < 10; ++each) {
    std::optional<watcher> changes{here.begin()};
    const long waits_before = waits_count();
    changes.reset();
    fewest_waits = std::min(fewest_waits, waits_count() - waits_before);
  }

  CHECK(fewest_waits == 0);
  wait_until_closed(before);
}

TEST_CASE("changes that are too many are an overflow, and the watch goes on") {
  place here;
  files::create_directory(here.at("below"));
  const auto limit = queue_limit();
  if (!limit) return;
  auto changes = here.begin({}, {.recursive = true});
  here.fill_queue(".", *limit);

  CHECK(here.until(changes, "overflow ").size() > 100);
  files::create_directory(here.at("later"));
  CHECK(holds(here.until(changes, "created directory later"), "created directory later"));
}

TEST_CASE("a watch whose end is lost among too many changes ends all the same") {
  place here;
  const auto limit = queue_limit();
  if (!limit) return;
  files::create_directory(here.at("tree"));
  auto changes = here.begin("tree");
  here.fill_queue("tree", *limit);
  files::remove_all(here.at("tree"));

  CHECK(here.until(changes, "overflow ").size() > 100);
  const auto last = here.loop.run(changes.next());
  REQUIRE(last);
  CHECK(text_of(*last) == "removed ");
  CHECK(!here.loop.run(changes.next()));
}

TEST_CASE("what cannot be watched says why, and leaks nothing") {
  place here;
  const auto before = open_descriptors_count();

  CHECK(here.loop.run(as_result(watch(here.at("nothing")))).error() == std::errc::no_such_file_or_directory);
  CHECK(here.loop.run(as_result(watch(here.at("x") + '\0'))).error() == std::errc::invalid_argument);
  wait_until_closed(before);
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

  wait_until_closed(before);
}

}  // namespace gyre::fs
