// SPDX-License-Identifier: MIT
// Names on the real kernel: asking, renaming, linking, making, removing; each of it failing, and stopped.
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;

struct place {
  template <class T>
  T run(task<T> body) {
    return loop.run(std::move(body));
  }
  template <class T>
  std::error_code error_of(task<T> failing) {
    return loop.run(as_result(std::move(failing))).error();
  }
  [[nodiscard]] std::string at(const std::string& name) const { return folder.file(name); }

  temp_folder folder;
  executor loop;
};

}  // namespace

TEST_CASE("a path tells what it leads to, and a link what it is itself") {
  place here;
  here.folder.file("file", "12345");
  files::create_symlink("file", here.at("link"));

  CHECK(here.run(metadata_of(here.at("link"))).is_regular());
  CHECK(here.run(metadata_of(here.at("link"))).size_bytes == 5);
  CHECK(here.run(metadata_of(here.at("link"), links::keep)).is_symbolic_link());
  CHECK(here.run(metadata_of(here.folder.path())).is_directory());
  CHECK(here.error_of(metadata_of(here.at("nothing"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(metadata_of(here.at("file") + '\0' + "x")) == std::errc::invalid_argument);
}

TEST_CASE("what is there exists; what cannot be looked at is an error, and no absence") {
  place here;
  here.folder.file("file", "");
  files::create_symlink("nowhere", here.at("dangling"));
  files::create_symlink("loop", here.at("loop"));

  CHECK(here.run(exists(here.at("file"))));
  CHECK(!here.run(exists(here.at("nothing"))));
  CHECK(!here.run(exists(here.at("file/below"))));
  CHECK(!here.run(exists(here.at("dangling"))));
  CHECK(here.run(exists(here.at("dangling"), links::keep)));
  CHECK(here.error_of(exists(here.at("loop"))) == std::errc::too_many_symbolic_link_levels);
  CHECK(here.error_of(exists(here.at(std::string(300, 'x')))) == std::errc::filename_too_long);
}

TEST_CASE("two names of a file are equivalent, two files are not") {
  place here;
  here.folder.file("file", "");
  here.folder.file("other", "");
  files::create_symlink("file", here.at("link"));

  CHECK(here.run(equivalent(here.at("file"), here.at("link"))));
  CHECK(!here.run(equivalent(here.at("file"), here.at("other"))));
  CHECK(here.error_of(equivalent(here.at("file"), here.at("nothing"))) == std::errc::no_such_file_or_directory);
}

TEST_CASE("a canonical path has no links and no dots, wherever it begins") {
  place here;
  files::create_directory(here.at("real"));
  here.folder.file("real/file", "");
  files::create_symlink("real", here.at("link"));
  const unique_fd real{::open(here.at("real").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const std::string expected = files::canonical(here.at("real/file")).string();

  CHECK(here.run(canonical(here.at("link/../link/./file"))) == expected);
  CHECK(here.run(canonical(path_at{real, "file"})) == expected);
  CHECK(here.error_of(canonical(here.at("nothing"))) == std::errc::no_such_file_or_directory);
}

TEST_CASE("a rename replaces, refuses to, or exchanges, as it is told") {
  place here;
  here.folder.file("a", "A");
  here.folder.file("b", "B");

  CHECK(here.error_of(rename(here.at("a"), here.at("b"), rename_how::no_replace)) == std::errc::file_exists);
  CHECK(content_of(here.at("b")) == "B");
  here.run(rename(here.at("a"), here.at("b"), rename_how::exchange));
  CHECK(content_of(here.at("a")) == "B");
  CHECK(content_of(here.at("b")) == "A");
  here.run(rename(here.at("a"), here.at("b")));
  CHECK(content_of(here.at("b")) == "B");
  CHECK(!files::exists(here.at("a")));
  CHECK(here.error_of(rename(here.at("a"), here.at("b"))) == std::errc::no_such_file_or_directory);
}

TEST_CASE("where a file system knows no rename that replaces nothing, a second name does for it") {
  struct answers {
    int to_link = 0;
    int to_unlink = 0;
  };
  using opcodes = std::vector<int>;
  const auto renamed = [](answers given, opcodes& asked) {
    scripted_executor on;
    on.script.answer = [&](const auto& request) -> std::optional<std::int32_t> {
      asked.push_back(request.opcode);
      switch (request.opcode) {
        case IORING_OP_RENAMEAT:
          return -EINVAL;
        case IORING_OP_LINKAT:
          return given.to_link;
        default:
          return asked.size() == 4 ? given.to_unlink : 0;
      }
    };
    return on.loop.run(as_result(rename("from", "to", rename_how::no_replace))).error();
  };
  const opcodes all{IORING_OP_RENAMEAT, IORING_OP_STATX, IORING_OP_LINKAT, IORING_OP_UNLINKAT};
  const opcodes linked{IORING_OP_RENAMEAT, IORING_OP_STATX, IORING_OP_LINKAT};
  opcodes undone = all;
  undone.push_back(IORING_OP_UNLINKAT);
  opcodes asked;

  CHECK(!renamed({}, asked));
  CHECK(std::exchange(asked, {}) == all);
  CHECK(renamed({.to_link = -EEXIST}, asked) == std::errc::file_exists);
  CHECK(std::exchange(asked, {}) == linked);
  CHECK(renamed({.to_link = -EPERM}, asked) == std::errc::operation_not_supported);
  CHECK(std::exchange(asked, {}) == linked);
  CHECK(renamed({.to_unlink = -EACCES}, asked) == std::errc::permission_denied);
  CHECK(std::exchange(asked, {}) == undone);
}

TEST_CASE("a directory is not renamed into itself, and no second name is tried for it") {
  place here;
  files::create_directories(here.at("a/b"));

  for (const auto how : {rename_how::replace, rename_how::no_replace})
    CHECK(here.error_of(rename(here.at("a"), here.at("a/b/c"), how)) == std::errc::invalid_argument);

  CHECK(files::exists(here.at("a/b")));
}

TEST_CASE("a rename by a second name that is stopped in between does not leave both") {
  scripted_executor on;
  std::size_t unlinks_count = 0;
  on.script.answer = [&](const auto& request) -> std::optional<std::int32_t> {
    if (request.opcode == IORING_OP_RENAMEAT) return -EINVAL;
    if (request.opcode == IORING_OP_LINKAT) return std::nullopt;  // a worker has it
    unlinks_count += request.opcode == IORING_OP_UNLINKAT ? 1 : 0;
    return 0;
  };
  auto renaming = on.loop.start(rename("from", "to", rename_how::no_replace));
  on.loop.run_ready();

  const auto link = on.script.only(IORING_OP_LINKAT);
  on.script.complete(link, 0);
  renaming.cancel();
  on.loop.run_ready();

  CHECK(renaming.done());
  CHECK(unlinks_count == 1);
}

TEST_CASE("a rename does not cross file systems") {
  place here;
  here.folder.file("file", "");
  if (files::space("/dev/shm").capacity == 0) return;

  CHECK(here.error_of(rename(here.at("file"), "/dev/shm/gyre-test-never-made")) == std::errc::cross_device_link);
}

TEST_CASE("names and links are made, read and removed, with any bytes but NUL and the slash") {
  place here;
  std::string every_byte;
  for (int each = 1; each < 256; ++each) {
    if (each != '/') every_byte += static_cast<char>(each);
  }
  here.folder.file("file", "contents");

  here.run(link(here.at("file"), here.at(every_byte)));
  CHECK(content_of(here.at(every_byte)) == "contents");
  CHECK(here.error_of(link(here.at("file"), here.at(every_byte))) == std::errc::file_exists);
  here.run(symlink(every_byte, here.at("link")));
  CHECK(here.run(read_link(here.at("link"))) == every_byte);
  CHECK(content_of(here.at("link")) == "contents");
  CHECK(here.error_of(read_link(here.at("file"))) == std::errc::invalid_argument);
  CHECK(here.error_of(symlink("x", here.at("link"))) == std::errc::file_exists);
  here.run(unlink(here.at(every_byte)));
  CHECK(!files::exists(here.at(every_byte)));
  CHECK(files::exists(here.at("file")));
}

TEST_CASE("one more name for a link is the link's own, or what it leads to") {
  place here;
  here.folder.file("file", "contents");
  files::create_symlink("file", here.at("link"));

  here.run(link(here.at("link"), here.at("of_link")));
  here.run(link(here.at("link"), here.at("of_file"), links::follow));

  CHECK(files::is_symlink(here.at("of_link")));
  CHECK(!files::is_symlink(here.at("of_file")));
}

TEST_CASE("removing tells files from directories, and empty ones from others") {
  place here;
  files::create_directories(here.at("directory/below"));
  here.folder.file("file", "");

  CHECK(here.error_of(unlink(here.at("directory"))) == std::errc::is_a_directory);
  CHECK(here.error_of(remove_directory(here.at("directory"))) == std::errc::directory_not_empty);
  CHECK(here.error_of(remove_directory(here.at("file"))) == std::errc::not_a_directory);
  here.run(remove_directory(here.at("directory/below")));
  here.run(remove_directory(here.at("directory")));
  here.run(unlink(here.at("file")));
  CHECK(files::is_empty(here.folder.path()));
}

TEST_CASE("a directory is made, with all that is missing above it when asked to") {
  place here;
  const ::mode_t mask_before = ::umask(022);

  CHECK(here.run(make_directory(here.at("one"), {.permissions = 0700})));
  CHECK(here.error_of(make_directory(here.at("one"))) == std::errc::file_exists);
  CHECK(here.error_of(make_directory(here.at("a/b/c"))) == std::errc::no_such_file_or_directory);
  CHECK(here.run(make_directory(here.at("a//b/c/"), {.parents = true, .permissions = 0700})));
  CHECK(!here.run(make_directory(here.at("a/b/c"), {.parents = true})));
  CHECK(here.run(make_directory(here.at("a/b/d/e"), {.parents = true})));
  ::umask(mask_before);
  CHECK(here.run(metadata_of(here.at("one"))).permissions == 0700);
  CHECK(here.run(metadata_of(here.at("a/b/c"))).permissions == 0700);
  CHECK(here.run(metadata_of(here.at("a/b"))).permissions == 0755);
  CHECK(files::is_directory(here.at("a/b/d/e")));
}

TEST_CASE("a directory is not made where, or below where, something else is") {
  place here;
  here.folder.file("file", "");

  CHECK(here.error_of(make_directory(here.at("file"), {.parents = true})) == std::errc::file_exists);
  CHECK(here.error_of(make_directory(here.at("file/a/b"), {.parents = true})) == std::errc::not_a_directory);
}

TEST_CASE("a directory is made below one that is open, with what is missing") {
  place here;
  const unique_fd folder{::open(here.folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};

  CHECK(here.run(make_directory(path_at{folder, "x/y/z"}, {.parents = true})));

  CHECK(files::is_directory(here.at("x/y/z")));
}

TEST_CASE("permissions, owner and times are set, and what is left out stays") {
  place here;
  here.folder.file("file", "");
  const metadata::time_point second{std::chrono::seconds{784'111'777} + std::chrono::nanoseconds{25}};
  const metadata::time_point before_1970{std::chrono::nanoseconds{-1'500'000'000}};

  here.run(set_permissions(here.at("file"), 0604));
  here.run(set_times(here.at("file"), {.accessed = second, .modified = before_1970}));
  here.run(set_times(here.at("file"), {.accessed = {}, .modified = second}));
  here.run(set_owner(here.at("file"), {.owner = ::geteuid(), .group = {}}));

  const auto found = here.run(metadata_of(here.at("file")));
  CHECK(found.permissions == 0604);
  CHECK(found.accessed == second);
  CHECK(found.modified == second);
  CHECK(found.owner == ::geteuid());
  here.run(set_times(here.at("file"), {.accessed = {}, .modified = before_1970}));
  CHECK(here.run(metadata_of(here.at("file"))).modified == before_1970);
  CHECK(here.error_of(set_permissions(here.at("nothing"), 0644)) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(set_times(here.at("nothing"), {.accessed = {}, .modified = second})) ==
        std::errc::no_such_file_or_directory);
  CHECK(here.error_of(set_owner(here.at("nothing"), {})) == std::errc::no_such_file_or_directory);
}

TEST_CASE("times of a link are its own when it is kept") {
  place here;
  here.folder.file("file", "");
  files::create_symlink("file", here.at("link"));
  const metadata::time_point second{std::chrono::seconds{784'111'777}};

  here.run(set_times(here.at("link"), {.accessed = {}, .modified = second}, links::keep));

  CHECK(here.run(metadata_of(here.at("link"), links::keep)).modified == second);
  CHECK(here.run(metadata_of(here.at("file"))).modified != second);
}

TEST_CASE("a file system tells its room") {
  place here;

  const auto found = here.run(space(here.folder.path()));

  CHECK(found.capacity_bytes >= found.free_bytes);
  CHECK(found.free_bytes >= found.available_bytes);
  CHECK(found.capacity_bytes == files::space(here.folder.path()).capacity);
  CHECK(here.error_of(space(here.at("nothing"))) == std::errc::no_such_file_or_directory);
}

TEST_CASE("what is done with names is stopped at any moment: it is done, or it is not") {
  place here;
  here.folder.file("file", "");
  files::create_symlink("file", here.at("link"));
  const auto before = open_descriptors_count();
  const std::vector<std::function<task<>()>> all{
      [&]() -> task<> { (void)co_await metadata_of(here.at("file")); },
      [&]() -> task<> { (void)co_await exists(here.at("file")); },
      [&]() -> task<> { (void)co_await canonical(here.at("link")); },
      [&]() -> task<> { (void)co_await read_link(here.at("link")); },
      [&]() -> task<> { co_await set_permissions(here.at("file"), 0600); },
      [&]() -> task<> { (void)co_await make_directory(here.at("a/b/c"), {.parents = true}); },
      [&]() -> task<> { (void)co_await space(here.folder.path()); },
  };

  for (const auto& each : all) {
    for (int turns_before = 0; turns_before < 4; ++turns_before) {
      auto begun = here.loop.start(each());
      for (int turn = 0; turn < turns_before; ++turn) here.loop.turn(/*may_park=*/false);
      begun.cancel();
      turn_until_done(here.loop, begun);
      if (turns_before == 0) CHECK(begun.stopped());
      if (!begun.stopped()) begun.get();
    }
  }

  CHECK(open_descriptors_count() == before);
}

}  // namespace gyre::fs
