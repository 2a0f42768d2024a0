// SPDX-License-Identifier: MIT
// Files on the real kernel: opening, reading, writing, what they are, and each of it failing or stopped.
#include <gyre/fs/file.hpp>
#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;

// The error that a task ends with; success when it ends with none.
template <class T>
std::error_code error_of(executor& loop, task<T> failing) {
  return loop.run(as_result(std::move(failing))).error();
}

struct failed_transfer {
  std::error_code why;
  std::size_t bytes = 0;
};

failed_transfer failure_of(executor& loop, task<> transfer) {
  try {
    loop.run(std::move(transfer));
  } catch (const transfer_error& error) {
    return {error.code(), error.bytes()};
  }
  return {};
}

template <class Operation>
task<std::error_code> error_from(Operation failing) {
  const auto got = co_await as_result(std::move(failing));
  co_return got.error();
}

}  // namespace

TEST_CASE("a file is read at any position") {
  const temp_folder folder;
  executor loop;

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(folder.file("letters", "abcdef"));
    std::array<std::byte, 3> buffer{};

    CHECK(co_await opened.read_at(buffer, /*offset=*/2) == 3);
    CHECK(text_of(buffer) == "cde");
  });
}

TEST_CASE("reading at end of file yields zero bytes, not an error") {
  const temp_folder folder;
  executor loop;

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(folder.file("letters", "abc"));
    std::array<std::byte, 8> buffer{};

    CHECK(co_await opened.read_at(buffer, /*offset=*/3) == 0);
    CHECK(co_await opened.read_at(buffer, /*offset=*/1) == 2);
  });
}

TEST_CASE("a file that does not exist is made when the options say so") {
  const temp_folder folder;
  executor loop;

  loop.run([&]() -> task<> {
    const open_options making{.access = file_access::write, .create = file_creation::if_missing, .permissions = 0640};
    auto made = co_await file::open(folder.file("new"), making);
    co_await made.write_all_at(bytes_of("hello"), /*offset=*/0);
    co_await made.sync();
    co_await made.close();
  });

  CHECK(content_of(folder.file("new")) == "hello");
  CHECK((files::status(folder.file("new")).permissions() & files::perms::others_all) == files::perms::none);
}

TEST_CASE("a file that must be new is not opened when it is there") {
  const temp_folder folder;
  executor loop;
  const open_options new_only{.access = file_access::write, .create = file_creation::must_be_new};

  CHECK(error_of(loop, file::open(folder.file("old", "kept"), new_only)) == std::errc::file_exists);
  CHECK(content_of(folder.file("old")) == "kept");
}

TEST_CASE("a file is emptied when it is opened with truncate, and kept otherwise") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("file", "contents");

  loop.run([&]() -> task<> {
    const open_options writing{.access = file_access::write};
    (void)co_await file::open(path, writing);
    CHECK(content_of(folder.file("file")) == "contents");

    const open_options replacing{.access = file_access::write, .truncate = true};
    (void)co_await file::open(path, replacing);
    CHECK(content_of(folder.file("file")).empty());
  });
}

TEST_CASE("truncate without access to write is refused, and empties nothing") {
  const temp_folder folder;
  executor loop;
  const open_options wrong{.truncate = true};

  CHECK(error_of(loop, file::open(folder.file("file", "contents"), wrong)) == std::errc::invalid_argument);
  CHECK(content_of(folder.file("file")) == "contents");
}

TEST_CASE("a path with a NUL in it is refused instead of cut short") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("secret", "contents");

  CHECK(error_of(loop, file::open(path + '\0' + ".txt")) == std::errc::invalid_argument);
}

TEST_CASE("opening what is not there tells so, and leaks nothing") {
  const temp_folder folder;
  executor loop;
  const auto before = open_descriptors_count();

  CHECK(error_of(loop, file::open(folder.file("nothing"))) == std::errc::no_such_file_or_directory);
  CHECK(error_of(loop, file::open(folder.file("file", "") + "/below")) == std::errc::not_a_directory);
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("opening without a wait returns at once for a FIFO that nobody writes to") {
  const temp_folder folder;
  executor loop;
  REQUIRE(::mkfifo(folder.file("fifo").c_str(), 0600) == 0);

  loop.run([&]() -> task<> {
    const open_options at_once{.no_wait = true};
    const auto opened = co_await file::open(folder.file("fifo"), at_once);
    const auto found = co_await opened.metadata();
    CHECK(found.kind == file_kind::fifo);
  });
}

TEST_CASE("no path leads out of a folder that files are opened beneath") {
  const temp_folder folder;
  executor loop;
  files::create_directory(folder.file("inside"));
  folder.file("secret", "secret");
  folder.file("inside/file", "file");
  files::create_symlink("../secret", folder.file("inside/out"));
  files::create_symlink(folder.file("inside/file"), folder.file("inside/absolute"));
  files::create_symlink("file", folder.file("inside/within"));
  files::create_symlink("round", folder.file("inside/round"));
  files::create_symlink("/proc/self/root", folder.file("inside/magic"));
  const unique_fd inside{::open(folder.file("inside").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const auto error_beneath = [&](std::string path) {
    return error_of(loop, file::open_beneath(inside, std::move(path)));
  };

  CHECK(error_beneath("file") == std::error_code{});
  CHECK(error_beneath("within") == std::error_code{});
  CHECK(error_beneath(".") == std::error_code{});
  CHECK(error_beneath("../secret") == std::errc::cross_device_link);
  CHECK(error_beneath(folder.file("secret")) == std::errc::cross_device_link);
  CHECK(error_beneath("out") == std::errc::cross_device_link);
  CHECK(error_beneath("absolute") == std::errc::cross_device_link);
  CHECK(error_beneath("magic") == std::errc::cross_device_link);
  CHECK(error_beneath("round") == std::errc::too_many_symbolic_link_levels);
  CHECK(error_beneath(std::string{"file\0.txt", 9}) == std::errc::invalid_argument);
}

TEST_CASE("a file tells its size, kind, permissions and time") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("file", "12345");
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  const std::array<::timespec, 2> times{{{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 784'111'777, .tv_nsec = 25}}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times.data(), 0) == 0);

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(path);
    const auto found = co_await opened.metadata();
    const auto known = opened.try_metadata().value();

    CHECK(co_await opened.size() == 5);
    CHECK(found.size_bytes == 5);
    CHECK(found.is_regular());
    CHECK(found.permissions == 0640);
    CHECK(found.links_count == 1);
    CHECK(found.modified.time_since_epoch() == std::chrono::seconds{784'111'777} + std::chrono::nanoseconds{25});
    CHECK(known.size_bytes == found.size_bytes);
    CHECK(known.inode == found.inode);
    CHECK(known.device == found.device);
    CHECK(known.modified == found.modified);
  });
}

TEST_CASE("asking a file that was given away what it is, is an error") {
  const temp_folder folder;
  executor loop;
  auto opened = loop.run(file::open(folder.file("file", "")));

  const auto taken = opened.release();

  CHECK(taken);
  CHECK(opened.try_metadata().error() == std::errc::bad_file_descriptor);
  CHECK(error_of(loop, opened.metadata()) == std::errc::bad_file_descriptor);
}

TEST_CASE("reading exactly more than there is says how much there was") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("letters", "abcdef")));
  std::array<std::byte, 8> buffer{};

  const auto failure = failure_of(loop, opened.read_exactly_at(buffer, /*offset=*/2));

  CHECK(failure.why == errc::end_of_stream);
  CHECK(failure.bytes == 4);
  CHECK(text_of(buffer).starts_with("cdef"));
}

TEST_CASE("a position that there is not is refused, and is not taken for the file's own") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("file", "contents"), {.access = file_access::read_write}));
  std::array<std::byte, 4> buffer{};
  std::array<::iovec, 1> parts{{{.iov_base = buffer.data(), .iov_len = buffer.size()}}};
  const auto error_of_operation = [&](auto operation) { return loop.run(error_from(std::move(operation))); };

  for (const std::uint64_t nowhere : {UINT64_MAX, UINT64_MAX - 1, std::uint64_t{INT64_MAX} + 1}) {
    CHECK(failure_of(loop, opened.read_exactly_at(buffer, nowhere)).why == std::errc::invalid_argument);
    CHECK(failure_of(loop, opened.write_all_at(buffer, nowhere)).why == std::errc::invalid_argument);
    CHECK(error_of_operation(opened.readv_at(parts, nowhere)) == std::errc::invalid_argument);
    CHECK(error_of_operation(opened.writev_at(parts, nowhere)) == std::errc::invalid_argument);
    CHECK(error_of_operation(opened.truncate(nowhere)) == std::errc::invalid_argument);
    CHECK(error_of_operation(opened.allocate(nowhere, 1)) == std::errc::invalid_argument);
    CHECK(error_of_operation(opened.punch_hole(0, nowhere)) == std::errc::invalid_argument);
    CHECK(!loop.run(opened.seek_data(nowhere)));
  }
  CHECK(failure_of(loop, opened.write_all_at(buffer, INT64_MAX)).why);  // one or the other, by file system
  CHECK(!error_of_operation(opened.read(buffer)));                      // its own position is where it was
  CHECK(text_of(buffer) == "cont");
  CHECK(content_of(folder.file("file")) == "contents");
}

TEST_CASE("times that nanoseconds cannot count are the first or the last that they can") {
  const auto modified_at = [](std::int64_t second, std::uint32_t nanosecond) {
    struct ::statx told{};
    told.stx_mtime.tv_sec = second;
    told.stx_mtime.tv_nsec = nanosecond;
    return metadata::from_kernel(told).modified;
  };
  const metadata::time_point in_1931{std::chrono::seconds{-1'200'000'000} + std::chrono::nanoseconds{1}};

  CHECK(modified_at(-1'200'000'000, 1) == in_1931);
  CHECK(modified_at(253'402'300'799, 0) == metadata::time_point::max());  // the year 9999
  CHECK(modified_at(INT64_MAX, 999'999'999) == metadata::time_point::max());
  CHECK(modified_at(9'223'372'035, 0) == metadata::time_point{std::chrono::seconds{9'223'372'035}});
  CHECK(modified_at(-9'223'372'036, 0) == metadata::time_point{std::chrono::seconds{-9'223'372'036}});
  CHECK(modified_at(-9'223'372'037, 0) == metadata::time_point::min());
  CHECK(modified_at(INT64_MIN, 0) == metadata::time_point::min());
}

TEST_CASE("reading exactly what there is fills the buffer") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("letters", "abcdef")));
  std::array<std::byte, 4> buffer{};

  loop.run(opened.read_exactly_at(buffer, /*offset=*/2));

  CHECK(text_of(buffer) == "cdef");
}

TEST_CASE("a read that the kernel refuses says so before any byte") {
  const temp_folder folder;
  executor loop;
  const auto directory = loop.run(file::open(folder.path()));
  std::array<std::byte, 4> buffer{};

  const auto failure = failure_of(loop, directory.read_exactly_at(buffer, /*offset=*/0));

  CHECK(failure.why == std::errc::is_a_directory);
  CHECK(failure.bytes == 0);
}

TEST_CASE("a write that does not fit says how much did") {
  const temp_folder folder;
  executor loop;
  const open_options making{.access = file_access::write, .create = file_creation::if_missing};
  const auto opened = loop.run(file::open(folder.file("small"), making));
  const std::string contents(3000, 'x');
  ::rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler_before = std::signal(SIGXFSZ, SIG_IGN);
  const ::rlimit small{.rlim_cur = 2000, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);

  const auto failure = failure_of(loop, opened.write_all_at(bytes_of(contents), /*offset=*/0));

  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler_before);
  CHECK(failure.why == std::errc::file_too_large);
  CHECK(failure.bytes == 2000);
  CHECK(content_of(folder.file("small")).size() == 2000);
}

TEST_CASE("a task that opens is stopped at any moment without leaking a descriptor") {
  const temp_folder folder;
  const auto path = folder.file("file", "");
  executor loop;
  const auto before = open_descriptors_count();

  for (int turns_before = 0; turns_before < 5; ++turns_before) {
    auto opening = loop.start(file::open(path));
    for (int turn = 0; turn < turns_before; ++turn) loop.turn(/*may_park=*/false);
    opening.cancel();
    turn_until_done(loop, opening);
    if (!opening.stopped()) (void)opening.get();
  }

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a transfer that waits is stopped") {
  executor loop;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd write_end{ends[1]};
  const file never_written{unique_fd{ends[0]}};
  std::array<std::byte, 4> buffer{};
  auto reading = loop.start(never_written.read_exactly_at(buffer, /*offset=*/0));

  loop.run_ready();
  CHECK(!reading.done());
  reading.cancel();
  turn_until_done(loop, reading);

  CHECK(reading.stopped());
}

TEST_CASE("a path can begin at a directory that is open, and go on to mean the same when that is renamed") {
  const temp_folder folder;
  executor loop;
  files::create_directory(folder.file("old"));
  folder.file("old/file", "contents");
  const unique_fd directory{::open(folder.file("old").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  files::rename(folder.file("old"), folder.file("new"));

  const auto opened = loop.run(file::open(path_at{directory, "file"}));

  CHECK(loop.run(opened.size()) == 8);
}

TEST_CASE("what is appended goes to the end, wherever it was told to go") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("log", "one ");

  loop.run([&]() -> task<> {
    const open_options appending{.access = file_access::write, .append = true};
    const auto opened = co_await file::open(path, appending);
    co_await opened.write_all_at(bytes_of("two "), /*offset=*/0);
    co_await opened.write_all(bytes_of("three"));
  });

  CHECK(content_of(path) == "one two three");
}

TEST_CASE("options that do not go together are refused, and change nothing") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("file", "contents");

  CHECK(error_of(loop, file::open(path, {.append = true})) == std::errc::invalid_argument);
  CHECK(error_of(loop, file::open(folder.path(), {.temporary = true})) == std::errc::invalid_argument);
  CHECK(error_of(loop, file::open(folder.path(), {.access = file_access::write,
                                                  .create = file_creation::must_be_new,
                                                  .temporary = true})) == std::errc::invalid_argument);
  CHECK(content_of(path) == "contents");
}

TEST_CASE("a temporary file has no name until it is given one") {
  const temp_folder folder;
  executor loop;

  loop.run([&]() -> task<> {
    const open_options nameless{.access = file_access::read_write, .temporary = true, .permissions = 0600};
    const auto made = co_await file::open(folder.path(), nameless);
    co_await made.write_all_at(bytes_of("contents"), /*offset=*/0);
    CHECK(files::is_empty(folder.path()));

    co_await made.link(folder.file("name"));
    const auto again = co_await as_result(made.link(folder.file("name")));
    CHECK(again.error() == std::errc::file_exists);
  });

  CHECK(content_of(folder.file("name")) == "contents");
}

TEST_CASE("a symbolic link is not followed when the options say so") {
  const temp_folder folder;
  executor loop;
  folder.file("file", "contents");
  files::create_symlink("file", folder.file("link"));

  CHECK(error_of(loop, file::open(folder.file("link"))) == std::error_code{});
  CHECK(error_of(loop, file::open(folder.file("link"), {.no_follow = true})) ==
        std::errc::too_many_symbolic_link_levels);
}

TEST_CASE("writes of a file that is written through end on the device") {
  const temp_folder folder;
  executor loop;

  for (const auto through : {write_through::data, write_through::everything}) {
    const open_options durable{
        .access = file_access::write, .create = file_creation::if_missing, .write_through = through};
    const auto opened = loop.run(file::open(folder.file("file"), durable));
    const int flags = ::fcntl(opened.fd().get(), F_GETFL);
    CHECK((flags & O_DSYNC) != 0);
    CHECK(((flags & O_SYNC) == O_SYNC) == (through == write_through::everything));
    loop.run(opened.write_all_at(bytes_of("contents"), /*offset=*/0));
  }
}

TEST_CASE("a name that is too long, a loop of links, and a name of any bytes") {
  const temp_folder folder;
  executor loop;
  files::create_symlink("loop", folder.file("loop"));
  std::string every_byte;
  for (int each = 1; each < 256; ++each) {
    if (each != '/') every_byte += static_cast<char>(each);
  }
  const open_options making{.access = file_access::write, .create = file_creation::must_be_new};

  CHECK(error_of(loop, file::open(folder.file(std::string(300, 'x')))) == std::errc::filename_too_long);
  CHECK(error_of(loop, file::open(folder.file("loop"))) == std::errc::too_many_symbolic_link_levels);
  CHECK(error_of(loop, file::open(folder.file(every_byte), making)) == std::error_code{});
  CHECK(files::exists(folder.file(every_byte)));
}

TEST_CASE("a file keeps a position of its own for reads and writes in order") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("letters", "abcdefgh");

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(path, {.access = file_access::read_write});
    std::array<std::byte, 3> buffer{};
    co_await opened.read_exactly(buffer);
    CHECK(text_of(buffer) == "abc");
    co_await opened.write_all(bytes_of("DE"));
    CHECK(co_await opened.read(buffer) == 3);
    CHECK(text_of(buffer) == "fgh");
    CHECK(co_await opened.read(buffer) == 0);
  });

  CHECK(content_of(path) == "abcDEfgh");
}

TEST_CASE("reading exactly from a pipe that ends says how much there was") {
  executor loop;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const file reading{unique_fd{ends[0]}};
  std::array<std::byte, 8> buffer{};
  {
    const file writing{unique_fd{ends[1]}};
    loop.run(writing.write_all(bytes_of("abc")));
  }

  const auto failure = failure_of(loop, reading.read_exactly(buffer));

  CHECK(failure.why == errc::end_of_stream);
  CHECK(failure.bytes == 3);
}

TEST_CASE("a write to a pipe that nobody reads is stopped, and one whose reader has gone fails") {
  executor loop;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  unique_fd reading{ends[0]};
  const file writing{unique_fd{ends[1]}};
  const std::string more_than_fits(1U << 20U, 'x');
  auto sending = loop.start(writing.write_all(bytes_of(more_than_fits)));
  loop.run_ready();

  sending.cancel();
  turn_until_done(loop, sending);
  reading.reset();
  const auto failure = failure_of(loop, writing.write_all(bytes_of(more_than_fits)));

  CHECK(sending.stopped());
  CHECK(failure.why == std::errc::broken_pipe);
  CHECK(failure.bytes == 0);
}

TEST_CASE("several buffers are read and written at a position") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("letters", "......");
  std::string first = "ab";
  std::string second = "cd";

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(path, {.access = file_access::read_write});
    const std::array<::iovec, 2> pieces{{{first.data(), 2}, {second.data(), 2}}};
    CHECK(co_await opened.writev_at(pieces, /*offset=*/1) == 4);
    CHECK(co_await opened.readv_at(pieces, /*offset=*/2) == 4);
  });

  CHECK(content_of(path) == ".abcd.");
  CHECK(first == "bc");
  CHECK(second == "d.");
}

TEST_CASE("a file that shrinks while it is read ends early, and says so") {
  const temp_folder folder;
  executor loop;
  const auto path = folder.file("file", std::string(8192, 'x'));
  const auto opened = loop.run(file::open(path));
  std::array<std::byte, 8192> buffer{};
  files::resize_file(path, 5000);

  const auto failure = failure_of(loop, opened.read_exactly_at(buffer, /*offset=*/4096));

  CHECK(failure.why == errc::end_of_stream);
  CHECK(failure.bytes == 904);
}

TEST_CASE("holes are made, found, and cost no room") {
  const temp_folder folder;
  executor loop;
  constexpr std::uint64_t mega = 1U << 20U;

  loop.run([&]() -> task<> {
    const open_options making{.access = file_access::read_write, .create = file_creation::if_missing};
    const auto sparse = co_await file::open(folder.file("sparse"), making);
    co_await sparse.truncate(10 * mega);
    CHECK(co_await sparse.seek_data(0) == std::nullopt);
    co_await sparse.write_all_at(bytes_of(std::string(2 * mega, 'x')), 4 * mega);
    CHECK(co_await sparse.seek_data(0) == 4 * mega);
    CHECK(co_await sparse.seek_hole(4 * mega) == 6 * mega);
    CHECK(co_await sparse.seek_data(6 * mega) == std::nullopt);
    CHECK(co_await sparse.seek_hole(10 * mega) == std::nullopt);

    co_await sparse.punch_hole(4 * mega, mega);
    CHECK(co_await sparse.seek_data(0) == 5 * mega);
    const auto found = co_await sparse.metadata();
    CHECK(found.size_bytes == 10 * mega);
    CHECK(found.allocated_bytes < 2 * mega);
  });
}

TEST_CASE("a pipe has no holes to be looked for") {
  executor loop;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const file reading{unique_fd{ends[0]}};
  const file writing{unique_fd{ends[1]}};

  CHECK(error_of(loop, reading.seek_data(0)) == std::errc::invalid_seek);
}

TEST_CASE("room is made, given back, and what was written is synced in part") {
  const temp_folder folder;
  executor loop;

  loop.run([&]() -> task<> {
    const open_options making{.access = file_access::read_write, .create = file_creation::if_missing};
    const auto opened = co_await file::open(folder.file("file"), making);
    co_await opened.allocate(0, 65536);
    const auto found = co_await opened.metadata();
    CHECK(found.size_bytes == 65536);
    CHECK(found.allocated_bytes >= 65536);

    co_await opened.write_all_at(bytes_of("contents"), 0);
    co_await opened.sync_range(0, 4096);
    co_await opened.sync(ops::sync_what::data);
    co_await opened.truncate(8);
    CHECK(co_await opened.size() == 8);
  });

  CHECK(content_of(folder.file("file")) == "contents");
}

TEST_CASE("advice of each kind is taken, and a pipe takes none") {
  const temp_folder folder;
  executor loop;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const file pipe{unique_fd{ends[0]}};
  const unique_fd write_end{ends[1]};

  loop.run([&]() -> task<> {
    const auto opened = co_await file::open(folder.file("file", "contents"));
    for (const auto advice : {access_advice::normal, access_advice::sequential, access_advice::random,
                              access_advice::will_need, access_advice::wont_need})
      co_await opened.advise(advice);
    const auto refused = co_await as_result(pipe.advise(access_advice::sequential));
    CHECK(refused.error() == std::errc::invalid_seek);
  });
}

TEST_CASE("a file tells owner, room, mount and all its times, as far as its file system does") {
  const temp_folder folder;
  executor loop;
  const auto opened = loop.run(file::open(folder.file("file", "12345")));

  const auto found = loop.run(opened.metadata());
  const auto known = opened.try_metadata().value();

  CHECK(found.owner == ::geteuid());
  CHECK(found.best_block_bytes > 0);
  CHECK(found.changed >= found.modified);
  CHECK(found.mount_id.has_value());
  if (found.created) CHECK(*found.created <= found.changed);
  CHECK(known.is_same_file(found));
  CHECK(known.created == found.created);
}

TEST_CASE("closing a file frees its descriptor, and tells how that went") {
  const temp_folder folder;
  executor loop;
  const auto before = open_descriptors_count();
  auto opened = loop.run(file::open(folder.file("file", "")));

  loop.run([&]() -> task<> { co_await opened.close(); });

  CHECK(open_descriptors_count() == before);
  CHECK(opened.fd().get() == -1);
}

}  // namespace gyre::fs
