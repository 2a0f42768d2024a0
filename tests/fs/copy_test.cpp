// SPDX-License-Identifier: MIT
// Files and trees copied: contents, holes, metadata; what fails half way, changes meanwhile, or is stopped.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/copy.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/remove_all.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/skip.hpp"
#include "../support/small_disk.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"
#include "../support/unprivileged.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
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
  CHECK(copied.method == copy_method::program);  // copy_file_range(2) may share, too
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

  const auto copied = here.copied("from", "to");

  CHECK(copied.method != copy_method::program);
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

TEST_CASE("the source is not emptied, whatever somebody makes of the target's name meanwhile") {
  place here;
  here.folder.file("from", "contents");
  here.folder.file("to", "another file");
  files::create_hard_link(here.at("from"), here.at("one more name"));
  std::atomic<bool> is_over = false;
  std::thread swapper{[&, one = here.at("to"), other = here.at("one more name")] {
    while (!is_over.load()) ::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
  }};

  for (int round = 0; round < 500; ++round) {
    const auto failed =
        here.error_of(fs::copy(here.at("from"), here.at("to"), {.replace = true, .keep_partial = true}));
    CHECK((!failed || failed == std::errc::invalid_argument));
    REQUIRE(content_of(here.at("from")) == "contents");
  }
  is_over.store(true);
  swapper.join();
}

TEST_CASE("permissions are the usual ones where none are copied, and no others for a moment") {
  place here;
  here.folder.file("from", "contents");
  REQUIRE(::chmod(here.at("from").c_str(), 0600) == 0);
  const ::mode_t mask_before = ::umask(027);

  here.copied("from", "one", {.metadata = copied_metadata::none});
  here.copied("from", "two", {.metadata = copied_metadata::none, .keep_partial = true});

  ::umask(mask_before);
  CHECK(here.about("one").permissions == 0640);
  CHECK(here.about("two").permissions == 0640);
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
  files::create_symlink("loop", here.at("loop"));
  CHECK(here.error_of(fs::copy(here.at("loop"), here.at("to"))) == std::errc::too_many_symbolic_link_levels);
  files::remove(here.at("loop"));
  CHECK(here.error_of(fs::copy(here.at("from"), here.at(std::string(256, 'n')))) == std::errc::filename_too_long);
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

TEST_CASE("times that nanoseconds cannot count come along, of files, directories and links") {
  tree here;
  const std::array<::timespec, 2> in_2286{
      {{.tv_sec = 10'000'000'000, .tv_nsec = 1}, {.tv_sec = 10'000'000'000, .tv_nsec = 2}}};
  const auto modified = [&](const std::string& name) {
    struct ::stat found{};
    REQUIRE(::lstat(here.at(name).c_str(), &found) == 0);
    return found.st_mtim.tv_sec;
  };
  const auto all = {"a/2", "a/link", "a/b", "a", ""};
  for (const char* each : all)
    REQUIRE(::utimensat(AT_FDCWD, here.at(std::string{"from/"} + each).c_str(), in_2286.data(), AT_SYMLINK_NOFOLLOW) ==
            0);
  if (modified("from") != 10'000'000'000) {
    SAY_SKIPPED("the file system of temporary files keeps no such times");
    return;
  }

  here.loop.run(copy_tree(here.at("from"), here.at("to"), {.metadata = copied_metadata::all}));
  here.copied("from/a/2", "file", {.metadata = copied_metadata::all});

  for (const char* each : all) CHECK(modified(std::string{"to/"} + each) == 10'000'000'000);
  CHECK(modified("file") == 10'000'000'000);
}

TEST_CASE("attributes of directories come along when all metadata does") {
  tree here;
  for (const char* each : {"from", "from/a"}) {
    if (here.error_of(set_attribute(here.at(each), "user.note", bytes_of(each)))) {
      SAY_SKIPPED("the file system of temporary files has no attributes");
      return;
    }
  }

  here.loop.run(copy_tree(here.at("from"), here.at("to"), {.metadata = copied_metadata::all}));

  for (const std::string each : {"", "/a"}) {
    const auto note = here.loop.run(get_attribute(here.at("to" + each), "user.note"));
    REQUIRE(note);
    CHECK(test::text_of(*note) == "from" + each);
  }
}

TEST_CASE("a tree is not copied into itself, however its path is written") {
  tree here;
  files::create_directory_symlink(here.at("from/a"), here.at("way in"));
  const auto before = inventory(here.at("from"));

  for (const char* into : {"from/copy", "from/a/b/copy", "way in/copy", "from/a/../copy"})
    CHECK(here.error_of(copy_tree(here.at("from"), here.at(into))) == std::errc::invalid_argument);
  CHECK(here.error_of(copy_tree(here.at("from"), here.at("from"))) == std::errc::file_exists);
  here.loop.run(copy_tree(here.at("from/a"), here.at("from/beside"), {.durability = durability::full}));

  CHECK(inventory(here.at("from/beside")) == inventory(here.at("from/a")));
  files::remove_all(here.at("from/beside"));
  CHECK(inventory(here.at("from")) == before);
}

TEST_CASE("a tree that is mounted below itself is not copied for ever") {
  tree here;
  files::create_directory(here.at("from/a/b/c"));
  child confined{[&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
    files::create_directory(here.at("from/parent"));
    if (::mount(here.folder.path().c_str(), here.at("from/parent").c_str(), nullptr, MS_BIND, nullptr) != 0) return 77;
    executor loop;
    const auto failed = loop.run(as_result(copy_tree(here.at("from"), here.at("to"))));
    return failed.error() == std::errc::invalid_argument && !files::exists(here.at("to")) ? 0 : 1;
  }};

  const int status = sanitizer_forbids_threads_in_child ? 77 : confined.wait().exit_status;
  if (status == 77) SAY_SKIPPED("a mount takes root; and ThreadSanitizer starts no threads in a child");
  else CHECK(status == 0);
}

TEST_CASE("links that somebody puts in the place of what is copied lead nowhere") {
  tree here;
  files::create_directory(here.at("secrets"));
  here.folder.file("secrets/2", "secret");
  files::create_symlink(here.at("secrets/2"), here.at("link to file"));
  files::create_directory_symlink(here.at("secrets"), here.at("link to directory"));
  std::atomic<bool> is_over = false;
  std::thread swapper{[&] {
    const auto swap = [&](const char* one, const char* other) {
      ::renameat2(AT_FDCWD, here.at(one).c_str(), AT_FDCWD, here.at(other).c_str(), RENAME_EXCHANGE);
    };
    while (!is_over.load()) {
      swap("from/a/2", "link to file");
      swap("from/a/2", "link to file");
      swap("from/a", "link to directory");
      swap("from/a", "link to directory");
    }
  }};

  for (int round = 0; round < 100; ++round) {
    const auto failed = here.error_of(copy_tree(here.at("from"), here.at("to"), {.keep_partial = true}));
    CHECK((!failed || failed == std::errc::resource_unavailable_try_again));
    const auto& copied = inventory(here.at("to"));
    CHECK(std::ranges::none_of(copied, [](const auto& each) { return each.second.ends_with("secret"); }));
    files::remove_all(here.at("to"));
  }
  is_over.store(true);
  swapper.join();
}

TEST_CASE("links that somebody puts in the place of what is being made lead nowhere") {
  tree here;
  files::create_directory(here.at("outside"));
  std::atomic<bool> is_over = false;
  std::thread swapper{[&, made = here.at("to/a"), aside = here.at("aside"), outside = here.at("outside")] {
    while (!is_over.load()) {
      if (::rename(made.c_str(), aside.c_str()) != 0) continue;
      (void)!::symlink(outside.c_str(), made.c_str());
      ::unlink(made.c_str());
      ::rename(aside.c_str(), made.c_str());
    }
  }};

  for (int round = 0; round < 100; ++round) {
    (void)here.error_of(copy_tree(here.at("from"), here.at("to"), {.keep_partial = true}));
    CHECK(files::is_empty(here.at("outside")));
    while (files::exists(here.at("to"))) (void)here.error_of(remove_all(here.at("to")));
  }
  is_over.store(true);
  swapper.join();
  CHECK(files::is_empty(here.at("outside")));
}

TEST_CASE("whoever is not root leaves nothing of a copy either, when its directories have their permissions by then") {
  CHECK(holds_for_nobody([] {
    tree here;
    for (const char* each : {"from/a/b", "from/a", "from/empty"}) files::permissions(here.at(each), files::perms(0555));
    bool leaves_nothing = true;
    for (int turns_before = 0; turns_before < 60; ++turns_before) {
      auto copying = here.loop.start(copy_tree(here.at("from"), here.at("to"), {.side_by_side = 1}));
      for (int turn = 0; turn < turns_before && !copying.done(); ++turn) here.loop.turn(/*may_park=*/turn > 3);
      copying.cancel();
      turn_until_done(here.loop, copying);
      leaves_nothing = leaves_nothing && files::exists(here.at("to")) == !copying.stopped();
      for (const char* each : {"to/a/b", "to/a", "to/empty"})
        if (files::exists(here.at(each))) files::permissions(here.at(each), files::perms(0755));
      files::remove_all(here.at("to"));
    }
    for (const char* each : {"from/a/b", "from/a", "from/empty"}) files::permissions(here.at(each), files::perms(0755));
    return leaves_nothing;
  }));
}

TEST_CASE("a full disk ends the copy of a tree, and nothing is left of it") {
  place here;
  const temp_folder large;
  files::create_directories(large.file("from/a/b"));
  for (const char* each : {"from/1", "from/a/2", "from/a/b/3"}) large.file(each, std::string(150'000, 'x'));

  CHECK(holds_on_small_disk(here.folder.path(), [&] {
    executor loop;
    const auto failed = loop.run(as_result(copy_tree(large.file("from"), here.at("to"))));
    return failed.error() == std::errc::no_space_on_device && here.names_count() == 0;
  }));
}

TEST_CASE("names of any bytes come along") {
  place here;
  files::create_directory(here.at("from"));
  std::string every_byte;
  for (int each = 1; each < 256; ++each)
    if (each != '/') every_byte += static_cast<char>(each);
  const std::vector<std::string> names{every_byte, std::string(255, '\xff'), "new\nline", " ", "...", "-rf", "\\"};
  for (const auto& each : names) here.folder.file("from/" + each, each);

  here.loop.run(copy_tree(here.at("from"), here.at("to")));

  CHECK(inventory(here.at("to")).size() == names.size());
  for (const auto& each : names) CHECK(content_of(here.at("to/" + each)) == each);
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
