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

}  // namespace gyre
