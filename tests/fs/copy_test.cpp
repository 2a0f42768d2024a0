// SPDX-License-Identifier: MIT
// Files and trees copied: contents, holes, metadata; what fails half way, changes meanwhile, or is stopped.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/copy.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/outcome.hpp"
#include "../support/small_disk.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;

constexpr std::uint64_t mega = std::uint64_t{1} << 20U;

std::string letters(std::size_t count) {
  std::string made(count, '\0');
  for (std::size_t each = 0; each < count; ++each) made[each] = static_cast<char>('a' + each * 7 % 26 + each / mega);
  return made;
}

struct place {
  copy_result copied(const std::string& from, const std::string& to, copy_options options = {},
                     copy_watcher progress = {}) {
    return loop.run(fs::copy(at(from), at(to), options, std::move(progress)));
  }
  template <class T>
  std::error_code error_of(task<T> failing) {
    return loop.run(as_result(std::move(failing))).error();
  }
  [[nodiscard]] std::string at(const std::string& name) const {
    return name.starts_with('/') ? name : folder.file(name);
  }
  [[nodiscard]] std::size_t names_count() const {
    return static_cast<std::size_t>(std::distance(files::directory_iterator{folder.path()}, {}));
  }
  [[nodiscard]] metadata about(const std::string& name) { return loop.run(metadata_of(at(name), links::keep)); }

  temp_folder folder;
  executor loop;
};

// What is in a tree: contents, targets of links, and permissions.
std::map<std::string, std::string> inventory(const std::string& root) {
  std::map<std::string, std::string> found;
  for (const auto& each : files::recursive_directory_iterator{root}) {
    const auto path = each.path().lexically_relative(root).string();
    const auto bits = std::to_string(static_cast<unsigned>(each.symlink_status().permissions()));
    if (each.is_symlink()) found[path] = "link " + files::read_symlink(each.path()).string();
    else if (each.is_directory()) found[path] = "directory " + bits;
    else found[path] = "file " + bits + content_of(each.path().string());
  }
  return found;
}

struct tree : place {
  tree() {
    files::create_directories(at("from/a/b"));
    files::create_directories(at("from/empty"));
    for (const char* each : {"from/1", "from/a/2", "from/a/b/3"}) folder.file(each, each);
    files::create_symlink("../1", at("from/a/link"));
    files::create_symlink("nowhere", at("from/dangling"));
    files::permissions(at("from/1"), files::perms(0604));
  }
};

}  // namespace

TEST_CASE("a copy has the contents and the permissions, and tells how far it is") {
  place here;
  const auto contents = letters(20 * mega + 123);
  here.folder.file("from", contents);
  REQUIRE(::chmod(here.at("from").c_str(), 0741) == 0);
  std::vector<std::uint64_t> told;

  const auto copied = here.copied("from", "to", {.reflink = false}, [&](const copy_progress& now) {
    CHECK(now.bytes_total == contents.size());
    told.push_back(now.bytes_done);
  });

  CHECK(copied.bytes == contents.size());
  CHECK(copied.method != copy_method::reflink);
  CHECK(content_of(here.at("to")) == contents);
  CHECK(here.about("to").permissions == 0741);
  REQUIRE(told.size() >= 3);
  CHECK(std::ranges::is_sorted(told));
  CHECK(told.back() == contents.size());
  CHECK(here.names_count() == 2);
}

TEST_CASE("a copy that may share what is on the device has the contents, whether it could or not") {
  place here;
  const auto contents = letters(mega);
  here.folder.file("from", contents);

  here.copied("from", "to");

  CHECK(content_of(here.at("to")) == contents);
}

TEST_CASE("nothing is replaced unless the options say so") {
  place here;
  here.folder.file("from", "new");
  here.folder.file("to", "old");

  CHECK(here.error_of(fs::copy(here.at("from"), here.at("to"))) == std::errc::file_exists);
  CHECK(here.error_of(fs::copy(here.at("from"), here.at("to"), {.keep_partial = true})) == std::errc::file_exists);
  CHECK(content_of(here.at("to")) == "old");
  here.copied("from", "to", {.replace = true, .durability = durability::full});
  CHECK(content_of(here.at("to")) == "new");
  here.folder.file("from", "newer");
  here.copied("from", "to", {.replace = true, .keep_partial = true, .durability = durability::full});
  CHECK(content_of(here.at("to")) == "newer");
  CHECK(here.names_count() == 2);
}

TEST_CASE("holes stay holes, in a file of 10 GiB too") {
  place here;
  constexpr std::uint64_t size = 10 * 1024 * mega;
  here.loop.run([&]() -> task<> {
    const open_options making{.access = file_access::write, .create = file_creation::must_be_new};
    const auto sparse = co_await file::open(here.at("from"), making);
    co_await sparse.truncate(size);
    co_await sparse.write_all_at(bytes_of("one"), 3 * 1024 * mega);
    co_await sparse.write_all_at(bytes_of("two"), 7 * 1024 * mega + 5);
  });

  const auto copied = here.copied("from", "to", {.reflink = false});

  CHECK(copied.bytes == size);
  CHECK(here.about("to").size_bytes == size);
  CHECK(here.about("to").allocated_bytes <= here.about("from").allocated_bytes + mega);
  here.loop.run([&]() -> task<> {
    const auto to = co_await file::open(here.at("to"));
    std::string one(5, 'x');
    std::string two(3, 'x');
    co_await to.read_exactly_at(std::as_writable_bytes(std::span{one}), 3 * 1024 * mega - 1);
    co_await to.read_exactly_at(std::as_writable_bytes(std::span{two}), 7 * 1024 * mega + 5);
    CHECK(one == std::string{"\0one\0", 5});
    CHECK(two == "two");
  });
}

TEST_CASE("what tells no size, or has none, is copied to its end") {
  place here;
  here.folder.file("empty", "");

  CHECK(here.copied("empty", "empty too").bytes == 0);
  CHECK(files::file_size(here.at("empty too")) == 0);
  CHECK(here.copied("/proc/version", "version").bytes > 10);
  CHECK(content_of(here.at("version")) == content_of("/proc/version"));
}

TEST_CASE("a copy goes over to another file system") {
  place here;
  const auto contents = letters(3 * mega);
  here.folder.file("from", contents);
  if (::access("/dev/shm", W_OK) != 0) return;
  const std::string made = "/dev/shm/" + files::path{here.folder.path()}.filename().string();

  here.copied("from", made);

  CHECK(content_of(made) == contents);
  files::remove(made);
}

TEST_CASE("what cannot be copied says why, and leaves nothing") {
  place here;
  here.folder.file("from", "contents");

  CHECK(here.error_of(fs::copy(here.folder.path(), here.at("to"))) == std::errc::is_a_directory);
  CHECK(here.error_of(fs::copy(here.at("nothing"), here.at("to"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(fs::copy(here.at("from"), here.at("nothing/to"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(fs::copy("/proc/self/mem", here.at("to"))) == std::errc::io_error);
  const copy_options in_place{.replace = true, .keep_partial = true};
  CHECK(here.error_of(fs::copy(here.at("from"), here.at("from"), in_place)) == std::errc::invalid_argument);
  here.copied("from", "from", {.replace = true});
  CHECK(content_of(here.at("from")) == "contents");
  CHECK(here.names_count() == 1);
}

TEST_CASE("a file that becomes shorter while it is copied is copied as far as it goes") {
  place here;
  const auto contents = letters(20 * mega);
  here.folder.file("from", contents);

  const auto copied = here.copied("from", "to", {.reflink = false}, [&](const copy_progress& now) {
    if (now.bytes_done < 20 * mega) files::resize_file(here.at("from"), 12 * mega);
  });

  CHECK(copied.bytes == 12 * mega);
  CHECK(content_of(here.at("to")) == contents.substr(0, 12 * mega));
}

TEST_CASE("a full disk ends a copy, and nothing is left of it unless that was wanted") {
  place here;
  here.folder.file("from", "");
  const temp_folder large;
  large.file("from", letters(mega));

  CHECK(holds_on_small_disk(here.folder.path(), [&] {
    executor loop;
    const auto failed = loop.run(as_result(fs::copy(large.file("from"), here.at("to"))));
    if (failed.error() != std::errc::no_space_on_device || here.names_count() != 0) return false;
    const auto partly = loop.run(as_result(fs::copy(large.file("from"), here.at("to"), {.keep_partial = true})));
    return partly.error() == std::errc::no_space_on_device && files::exists(here.at("to"));
  }));
}

TEST_CASE("a copy is ended by what its watcher throws, and leaves nothing") {
  place here;
  here.folder.file("from", letters(20 * mega));

  CHECK_THROWS_AS(here.copied("from", "to", {}, [](const copy_progress&) { throw std::runtime_error{"enough"}; }),
                  std::runtime_error);

  CHECK(here.names_count() == 1);
}

TEST_CASE("a copy that is stopped at any moment is whole or gone, or partly there when that was wanted") {
  place here;
  const auto contents = letters(9 * mega);
  here.folder.file("from", contents);
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 30; ++turns_before) {
    for (const bool keep : {false, true}) {
      auto copying =
          here.loop.start(fs::copy(here.at("from"), here.at("to"), {.reflink = false, .keep_partial = keep}));
      for (int turn = 0; turn < turns_before && !copying.done(); ++turn) here.loop.turn(/*may_park=*/turn > 3);
      copying.cancel();
      turn_until_done(here.loop, copying);
      if (!copying.stopped()) CHECK(content_of(here.at("to")) == contents);
      if (copying.stopped() && !keep && files::exists(here.at("to"))) CHECK(content_of(here.at("to")) == contents);
      files::remove(here.at("to"));
      CHECK(here.names_count() == 1);
    }
  }

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("times and attributes come along when all metadata does") {
  place here;
  here.folder.file("from", "contents");
  const metadata::time_point long_ago{std::chrono::seconds{784'111'777}};
  here.loop.run(set_times(here.at("from"), {.accessed = long_ago, .modified = long_ago}));
  const bool has_attributes = !here.error_of(set_attribute(here.at("from"), "user.note", bytes_of("a word")));

  here.copied("from", "all", {.metadata = copied_metadata::all});
  here.copied("from", "none", {.metadata = copied_metadata::none});

  CHECK(here.about("all").modified == long_ago);
  CHECK(here.about("none").modified != long_ago);
  if (has_attributes) CHECK(here.loop.run(get_attribute(here.at("all"), "user.note")).has_value());
  if (has_attributes) CHECK(!here.loop.run(get_attribute(here.at("none"), "user.note")).has_value());
}

TEST_CASE("a tree is copied, links as links, with permissions that let nobody write") {
  tree here;
  files::permissions(here.at("from/a/b"), files::perms(0555));
  files::permissions(here.at("from"), files::perms(0700));

  for (const std::size_t width : {1, 8}) {
    const auto to = "to" + std::to_string(width);
    const auto copied = here.loop.run(copy_tree(here.at("from"), here.at(to), {.side_by_side = width}));
    CHECK(copied.directories_count == 4);
    CHECK(copied.files_count == 3);
    CHECK(copied.links_count == 2);
    CHECK(copied.bytes == 6 + 8 + 10);
    CHECK(inventory(here.at(to)) == inventory(here.at("from")));
    CHECK(here.about(to).permissions == 0700);
  }
}

TEST_CASE("a tree comes along with times when all metadata does") {
  tree here;
  const metadata::time_point long_ago{std::chrono::seconds{784'111'777}};
  for (const char* each : {"from/a/2", "from/a", "from"})
    here.loop.run(set_times(here.at(each), {.accessed = long_ago, .modified = long_ago}));

  here.loop.run(copy_tree(here.at("from"), here.at("to"), {.metadata = copied_metadata::all}));

  for (const char* each : {"to/a/2", "to/a", "to"}) CHECK(here.about(each).modified == long_ago);
}

TEST_CASE("a tree that cannot be copied leaves nothing, unless that was wanted") {
  tree here;
  REQUIRE(::mkfifo(here.at("from/a/fifo").c_str(), 0600) == 0);

  CHECK(here.error_of(copy_tree(here.at("from"), here.at("to"))) == std::errc::operation_not_supported);
  CHECK(!files::exists(here.at("to")));
  CHECK(here.error_of(copy_tree(here.at("from"), here.at("to"), {.keep_partial = true})) ==
        std::errc::operation_not_supported);
  CHECK(files::exists(here.at("to")));
  CHECK(here.error_of(copy_tree(here.at("from"), here.at("to"))) == std::errc::file_exists);
  CHECK(files::exists(here.at("to")));
  CHECK(here.error_of(copy_tree(here.at("from/1"), here.at("other"))) == std::errc::not_a_directory);
  CHECK(here.error_of(copy_tree(here.at("nothing"), here.at("other"))) == std::errc::no_such_file_or_directory);
}

TEST_CASE("a tree that is stopped at any moment leaves nothing") {
  tree here;
  const auto before = open_descriptors_count();
  bool was_stopped = false;

  for (int turns_before = 0; turns_before < 60; turns_before += 3) {
    auto copying = here.loop.start(copy_tree(here.at("from"), here.at("to")));
    for (int turn = 0; turn < turns_before && !copying.done(); ++turn) here.loop.turn(/*may_park=*/turn > 3);
    copying.cancel();
    turn_until_done(here.loop, copying);
    CHECK(files::exists(here.at("to")) == !copying.stopped());
    was_stopped = was_stopped || (copying.stopped() && turns_before > 3);
    files::remove_all(here.at("to"));
  }

  CHECK(was_stopped);
  CHECK(open_descriptors_count() == before);
}

}  // namespace gyre::fs
