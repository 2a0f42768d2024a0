// SPDX-License-Identifier: MIT
// Walks: what they come to beside what the standard library finds, links and round trips, what cannot be read, stops.
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/sync/event.hpp>

#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"
#include "../support/unprivileged.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace std::chrono_literals;
using namespace test;

using paths = std::multiset<std::string>;

struct place {
  place() {
    for (const char* directory : {"a/b/c", "d", "e/f"}) files::create_directories(folder.file(directory));
    for (const char* file : {"1", "a/2", "a/b/3", "a/b/c/4", "e/f/5", "e/f/6"}) folder.file(file, file);
  }
  [[nodiscard]] paths expected() const {
    paths found;
    for (const auto& each : files::recursive_directory_iterator{folder.path()})
      found.insert(each.path().lexically_relative(folder.path()).string());
    return found;
  }
  paths walked(walk_options options = {}) { return loop.run(collect(folder.path(), std::move(options))); }
  paths walked_side_by_side(std::size_t width, walk_options options = {}) {
    paths found;
    loop.run(walk_side_by_side(folder.path(), std::move(options), width, [&](const walk_entry& entry) -> task<> {
      found.insert(entry.path);
      co_await this_task::yield();
    }));
    return found;
  }
  static task<paths> collect(path_at root, walk_options options) {
    paths found;
    auto all = walk(std::move(root), std::move(options));
    while (auto entry = co_await all.next()) found.insert(entry->path + (entry->error ? "!" : ""));
    co_return found;
  }

  temp_folder folder;
  executor loop;
};

}  // namespace

TEST_CASE("a walk comes to all that is below, one by one or side by side") {
  place here;
  for (int each = 0; each < 300; ++each) {
    files::create_directory(here.folder.file("d/" + std::to_string(each)));
    here.folder.file("d/" + std::to_string(each) + "/file", "");
  }

  CHECK(here.walked() == here.expected());
  for (const std::size_t width : {1, 2, 16}) CHECK(here.walked_side_by_side(width) == here.expected());
}

TEST_CASE("a directory comes before what is in it, with depth, kind and name") {
  place here;
  std::set<std::string> seen{""};

  here.loop.run([&]() -> task<> {
    auto all = walk(here.folder.path());
    while (auto entry = co_await all.next()) {
      const files::path path{entry->path};
      CHECK(seen.contains(path.parent_path().string()));
      CHECK(entry->name() == path.filename().string());
      CHECK(entry->depth == static_cast<std::size_t>(std::distance(path.begin(), path.end())));
      CHECK((entry->kind == file_kind::directory) == files::is_directory(here.folder.file(entry->path)));
      const auto about = co_await metadata_of(entry->place(), links::keep);
      CHECK(about.inode == entry->inode);
      seen.insert(entry->path);
    }
  });

  CHECK(seen.size() == here.expected().size() + 1);
}

TEST_CASE("a walk goes as deep, and where, it is told to") {
  place here;

  CHECK(here.walked({.depth_max = 1}) == paths{"1", "a", "d", "e"});
  CHECK(here.walked({.enter = [](const walk_entry& entry) { return entry.name() != "b"; }}) ==
        paths{"1", "a", "a/2", "a/b", "d", "e", "e/f", "e/f/5", "e/f/6"});
  CHECK(here.walked_side_by_side(4, {.depth_max = 2}) == here.walked({.depth_max = 2}));
}

TEST_CASE("links are given as links, or followed, but not in a circle") {
  place here;
  files::create_symlink("../e", here.folder.file("d/to_e"));
  files::create_symlink("..", here.folder.file("e/f/round"));
  files::create_symlink("nowhere", here.folder.file("d/dangling"));

  CHECK(here.walked() == here.expected());
  auto followed = here.expected();
  for (const char* each : {"d/to_e/f", "d/to_e/f/5", "d/to_e/f/6", "d/to_e/f/round"}) followed.insert(each);
  CHECK(here.walked({.at_links = links::follow}) == followed);
  CHECK(here.walked_side_by_side(3, {.at_links = links::follow}) == followed);
}

TEST_CASE("a link that is followed is given as what it leads to, one in a circle as a link") {
  place here;
  files::create_symlink("../1", here.folder.file("d/file"));
  files::create_symlink(".", here.folder.file("d/round"));

  here.loop.run([&]() -> task<> {
    auto all = walk(here.folder.file("d"), {.at_links = links::follow});
    while (auto entry = co_await all.next())
      CHECK(entry->kind == (entry->path == "file" ? file_kind::regular : file_kind::symbolic_link));
  });
}

TEST_CASE("what cannot be read ends the walk, or is reported while it goes on") {
  place here;
  files::permissions(here.folder.path(), files::perms::all);
  files::permissions(here.folder.file("e/f"), files::perms::none);

  CHECK(holds_for_nobody([&] {
    executor loop;
    const auto failed = loop.run(as_result(place::collect(here.folder.path(), {})));
    if (failed.error() != std::errc::permission_denied) return false;
    const walk_options reporting{.on_unreadable = unreadable::report, .enter = {}};
    const auto found = loop.run(place::collect(here.folder.path(), reporting));
    std::error_code reported;
    loop.run(walk_side_by_side(here.folder.path(), reporting, 4, [&](const walk_entry& entry) -> task<> {
      if (entry.error && entry.path == "e/f") reported = entry.error;
      co_return;
    }));
    return found.contains("e/f") && found.contains("e/f!") && found.contains("a/b/c/4") &&
           reported == std::errc::permission_denied;
  }));
  files::permissions(here.folder.file("e/f"), files::perms::owner_all);
}

TEST_CASE("a root that is none is an error") {
  place here;

  for (const auto& [name, error] :
       {std::pair{"nothing", std::errc::no_such_file_or_directory}, std::pair{"1", std::errc::not_a_directory}}) {
    CHECK(here.loop.run(as_result(place::collect(here.folder.file(name), {}))).error() == error);
    auto side_by_side =
        walk_side_by_side(here.folder.file(name), {}, 2, [](const walk_entry&) -> task<> { co_return; });
    CHECK(here.loop.run(as_result(std::move(side_by_side))).error() == error);
  }
}

TEST_CASE("what is removed, or replaced, under a walk is passed over") {
  place here;
  paths found;

  here.loop.run([&]() -> task<> {
    auto all = walk(here.folder.path());
    while (auto entry = co_await all.next()) {
      found.insert(entry->path);
      if (entry->path == "a") files::remove_all(here.folder.file("a"));
      if (entry->path != "e") continue;
      files::rename(here.folder.file("e"), here.folder.file("d/e"));
      files::create_symlink("/", here.folder.file("e"));
    }
  });

  CHECK(found.contains("a"));
  CHECK(!found.contains("a/2"));
  CHECK(!found.contains("e/f"));
  CHECK(std::ranges::none_of(found, [](const std::string& each) { return each.starts_with("e/"); }));
}

TEST_CASE("a walk side by side keeps to its width") {
  place here;
  std::size_t now = 0;
  std::size_t most = 0;
  sync::event is_full;
  for (int each = 0; each < 20; ++each) {
    files::create_directory(here.folder.file("d/" + std::to_string(each)));
    here.folder.file("d/" + std::to_string(each) + "/file", "");
  }

  // What is in a directory comes when its own turn is over: the 20 are the first of whom three can be there at a time.
  here.loop.run(walk_side_by_side(here.folder.path(), {}, 3, [&](const walk_entry& entry) -> task<> {
    most = std::max(most, ++now);
    if (now == 3) is_full.set();
    if (entry.path.starts_with("d/")) co_await move_on_after(10s, is_full.wait());
    for (int turn = 0; turn < 20; ++turn) co_await this_task::yield();
    --now;
  }));

  CHECK(most == 3);
}

TEST_CASE("a call that throws ends a walk side by side, which leaks nothing") {
  place here;
  const auto before = open_descriptors_count();

  CHECK_THROWS_AS(here.loop.run(walk_side_by_side(here.folder.path(), {}, 4,
                                                  [](const walk_entry& entry) -> task<> {
                                                    co_await this_task::yield();
                                                    if (entry.path == "a/b/3") throw std::runtime_error{"enough"};
                                                  })),
                  std::runtime_error);

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a walk is stopped at any moment, and leaks nothing") {
  place here;
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 12; ++turns_before) {
    auto one_by_one = here.loop.start(place::collect(here.folder.path(), {}));
    auto side_by_side = here.loop.start(
        walk_side_by_side(here.folder.path(), {}, 4, [](const walk_entry&) -> task<> { co_await this_task::yield(); }));
    for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/turn > 2);
    one_by_one.cancel();
    side_by_side.cancel();
    turn_until_done(here.loop, one_by_one);
    turn_until_done(here.loop, side_by_side);
    if (turns_before == 0) CHECK(one_by_one.stopped());
    if (turns_before == 0) CHECK(side_by_side.stopped());
  }

  CHECK(open_descriptors_count() == before);
}

}  // namespace gyre::fs
