// SPDX-License-Identifier: MIT
// Operations on names, on the kernel: what they do, and how they fail. Cancels: kernel_cancel_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/path.hpp>

#include "../../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace gyre {
namespace {

using namespace test;

}  // namespace

TEST_CASE("openat opens what is there, close-on-exec, and makes what is not") {
  const temp_folder folder;
  const auto there = folder.file("there", "text");
  const auto made = folder.file("made");
  executor loop;

  loop.run([&]() -> task<> {
    const auto first = co_await ops::openat(AT_FDCWD, there.c_str(), O_RDONLY);
    CHECK((::fcntl(first.get(), F_GETFD) & FD_CLOEXEC) != 0);
    const auto second = co_await ops::openat(AT_FDCWD, made.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0640);
    CHECK(::write(second.get(), "made", 4) == 4);
  });

  CHECK(content_of(made) == "made");
  CHECK((std::filesystem::status(made).permissions() & std::filesystem::perms::others_all) ==
        std::filesystem::perms::none);
}

TEST_CASE("openat begins at a directory, and says what is wrong") {
  const temp_folder folder;
  folder.file("there", "text");
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    const auto found = co_await ops::openat(directory, "there", O_RDONLY);
    CHECK(static_cast<bool>(found));
    const auto missing = co_await as_result(ops::openat(directory, "not there", O_RDONLY));
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
    const auto twice = co_await as_result(ops::openat(directory, "there", O_WRONLY | O_CREAT | O_EXCL, 0600));
    CHECK(twice.error() == std::errc::file_exists);
  });
}

TEST_CASE("openat2 keeps a path inside its directory") {
  const temp_folder folder;
  folder.file("there", "text");
  std::filesystem::create_symlink("/etc/passwd", folder.file("out"));
  std::filesystem::create_symlink("there", folder.file("in"));
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    const auto open = [&](const char* path, std::uint64_t resolve) {
      return as_result(ops::openat2(directory, path, O_RDONLY, resolve));
    };
    CHECK((co_await open("there", RESOLVE_BENEATH)).has_value());
    CHECK((co_await open("in", RESOLVE_BENEATH)).has_value());
    CHECK((co_await open("out", RESOLVE_BENEATH)).error() == std::errc::cross_device_link);
    CHECK((co_await open("../there", RESOLVE_BENEATH)).error() == std::errc::cross_device_link);
    CHECK((co_await open("in", RESOLVE_NO_SYMLINKS)).error() == std::errc::too_many_symbolic_link_levels);
    const auto descriptor = co_await open("there", 0);
    CHECK((::fcntl(descriptor->get(), F_GETFD) & FD_CLOEXEC) != 0);
  });
}

TEST_CASE("openat2 knows every limit that the kernel knows, and refuses what it does not") {
  const temp_folder folder;
  folder.file("there", "text");
  std::filesystem::create_symlink("/there", folder.file("from the root"));
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const unique_fd root{::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    const auto open = [](fd_ref at, const char* path, std::uint64_t resolve) {
      return as_result(ops::openat2(at, path, O_RDONLY, resolve));
    };
    CHECK((co_await open(directory, "from the root", RESOLVE_IN_ROOT)).has_value());
    CHECK((co_await open(directory, "../../there", RESOLVE_IN_ROOT)).has_value());
    const auto magic = co_await open(root, "proc/self/exe", RESOLVE_NO_MAGICLINKS);
    CHECK(magic.error() == std::errc::too_many_symbolic_link_levels);
    const auto elsewhere = co_await open(root, "proc/self/status", RESOLVE_NO_XDEV);
    CHECK(elsewhere.error() == std::errc::cross_device_link);
    const auto cached = co_await open(directory, "there", RESOLVE_CACHED);  // written a moment ago
    CHECK((cached.has_value() || cached.error() == std::errc::resource_unavailable_try_again));
    CHECK((co_await open(directory, "there", std::uint64_t{1} << 40)).error() == std::errc::invalid_argument);
    const auto odd_mode = co_await as_result(ops::openat2(directory, "there", O_RDONLY, 0, 0600));
    CHECK(odd_mode.error() == std::errc::invalid_argument);
  });
}

TEST_CASE("statx tells size and type, of a name and of an open file") {
  const temp_folder folder;
  const auto path = folder.file("there", "text");
  const unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    const auto by_name = co_await ops::statx(AT_FDCWD, path.c_str());
    CHECK(by_name.stx_size == 4);
    CHECK(S_ISREG(by_name.stx_mode));
    CHECK((by_name.stx_mask & STATX_SIZE) != 0);
    const auto opened = co_await ops::statx(file, "", AT_EMPTY_PATH);
    CHECK(opened.stx_ino == by_name.stx_ino);
    const auto directory = co_await ops::statx(AT_FDCWD, folder.path().c_str());
    CHECK(S_ISDIR(directory.stx_mode));
    const auto missing = co_await as_result(ops::statx(AT_FDCWD, "/not/there"));
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("unlinkat removes files and empty directories, and nothing else") {
  const temp_folder folder;
  const auto file = folder.file("file", "text");
  const auto empty = folder.file("empty");
  const auto full = folder.file("full");
  std::filesystem::create_directory(empty);
  std::filesystem::create_directory(full);
  folder.file("full/file", "text");
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::unlinkat(AT_FDCWD, file.c_str());
    co_await ops::unlinkat(AT_FDCWD, empty.c_str(), AT_REMOVEDIR);
    const auto refused = co_await as_result(ops::unlinkat(AT_FDCWD, full.c_str(), AT_REMOVEDIR));
    CHECK(refused.error() == std::errc::directory_not_empty);
    const auto missing = co_await as_result(ops::unlinkat(AT_FDCWD, file.c_str()));
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
  });

  CHECK(!std::filesystem::exists(file));
  CHECK(!std::filesystem::exists(empty));
}

TEST_CASE("renameat renames, replaces, refuses to, and exchanges") {
  const temp_folder folder;
  folder.file("a", "of a");
  folder.file("b", "of b");
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::renameat(directory, "a", directory, "c");
    CHECK(content_of(folder.file("c")) == "of a");
    const auto kept = co_await as_result(ops::renameat(directory, "c", directory, "b", RENAME_NOREPLACE));
    CHECK(kept.error() == std::errc::file_exists);
    co_await ops::renameat(directory, "c", AT_FDCWD, folder.file("b").c_str(), RENAME_EXCHANGE);
    CHECK(content_of(folder.file("b")) == "of a");
    CHECK(content_of(folder.file("c")) == "of b");
    co_await ops::renameat(AT_FDCWD, folder.file("c").c_str(), directory, "b");
    CHECK(content_of(folder.file("b")) == "of b");
    const auto missing = co_await as_result(ops::renameat(directory, "c", directory, "d"));
    CHECK(missing.error() == std::errc::no_such_file_or_directory);
    const auto odd = co_await as_result(ops::renameat(directory, "b", directory, "d", 1U << 20));
    CHECK(odd.error() == std::errc::invalid_argument);
    const auto closed = co_await as_result(ops::renameat(-1, "b", directory, "d"));
    CHECK(closed.error() == std::errc::bad_file_descriptor);
    const auto away = co_await as_result(ops::renameat(directory, "b", AT_FDCWD, "/proc/b"));
    CHECK(away.error() == std::errc::cross_device_link);
  });
}

TEST_CASE("mkdirat makes a directory, less what the umask takes") {
  const temp_folder folder;
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::mkdirat(directory, "made", 0700);
    CHECK(std::filesystem::is_directory(folder.file("made")));
    const auto mode = std::filesystem::status(folder.file("made")).permissions();
    CHECK(mode == std::filesystem::perms::owner_all);
    const auto twice = co_await as_result(ops::mkdirat(directory, "made", 0700));
    CHECK(twice.error() == std::errc::file_exists);
    const auto deep = co_await as_result(ops::mkdirat(AT_FDCWD, folder.file("no/such").c_str(), 0700));
    CHECK(deep.error() == std::errc::no_such_file_or_directory);
    CHECK((co_await as_result(ops::mkdirat(directory, "", 0700))).error() == std::errc::no_such_file_or_directory);
    CHECK((co_await as_result(ops::mkdirat(-1, "a", 0700))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("symlinkat makes a link, to what there is and to what there is not") {
  const temp_folder folder;
  folder.file("there", "text");
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::symlinkat("there", directory, "link");
    CHECK(content_of(folder.file("link")) == "text");
    co_await ops::symlinkat("/not/there", AT_FDCWD, folder.file("dangling").c_str());
    CHECK(std::filesystem::read_symlink(folder.file("dangling")) == "/not/there");
    const auto twice = co_await as_result(ops::symlinkat("there", directory, "link"));
    CHECK(twice.error() == std::errc::file_exists);
    const auto empty = co_await as_result(ops::symlinkat("", directory, "empty"));
    CHECK(empty.error() == std::errc::no_such_file_or_directory);
    CHECK((co_await as_result(ops::symlinkat("there", -1, "a"))).error() == std::errc::bad_file_descriptor);
  });
}

TEST_CASE("linkat gives a file one more name, and one to a file that has none") {
  const temp_folder folder;
  folder.file("there", "text");
  std::filesystem::create_symlink("there", folder.file("link"));
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    co_await ops::linkat(directory, "there", directory, "same");
    CHECK(std::filesystem::hard_link_count(folder.file("there")) == 2);
    co_await ops::linkat(directory, "link", directory, "same link");
    CHECK(std::filesystem::is_symlink(folder.file("same link")));
    co_await ops::linkat(directory, "link", AT_FDCWD, folder.file("same file").c_str(), AT_SYMLINK_FOLLOW);
    CHECK(std::filesystem::hard_link_count(folder.file("there")) == 3);
    const auto twice = co_await as_result(ops::linkat(directory, "there", directory, "same"));
    CHECK(twice.error() == std::errc::file_exists);
    const auto folders = co_await as_result(ops::linkat(AT_FDCWD, folder.path().c_str(), directory, "me"));
    CHECK(folders.error() == std::errc::operation_not_permitted);
    const auto odd = co_await as_result(ops::linkat(directory, "there", directory, "odd", 1 << 20));
    CHECK(odd.error() == std::errc::invalid_argument);
    const auto closed = co_await as_result(ops::linkat(directory, "there", -1, "closed"));
    CHECK(closed.error() == std::errc::bad_file_descriptor);

    const unique_fd nameless{::open(folder.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!nameless) co_return;  // the file system has none
    REQUIRE(::write(nameless.get(), "named", 5) == 5);
    const auto named = co_await as_result(ops::linkat(nameless, "", directory, "named", AT_EMPTY_PATH));
    if (named) CHECK(content_of(folder.file("named")) == "named");
    else CHECK(named.error() == std::errc::no_such_file_or_directory);  // before Linux 6.10, and not root
  });
}

}  // namespace gyre
