// SPDX-License-Identifier: MIT
// FIFOs on the real kernel: made, opened from both sides in each order, and waits for nobody that are given up.
#include <gyre/fs/fifo.hpp>
#include <gyre/fs/metadata.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"
#include "../support/unprivileged.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;

struct place {
  template <class T>
  std::error_code error_of(task<T> failing) {
    return loop.run(as_result(std::move(failing))).error();
  }
  std::string fifo(const std::string& name = "fifo") {
    loop.run(make_fifo(folder.file(name)));
    return folder.file(name);
  }

  temp_folder folder;
  executor loop;
};

task<> send(std::string path, std::string text) {
  auto writer = co_await open_fifo_writer(std::move(path));
  co_await writer.write_all(bytes_of(text));
  co_await writer.close();
}

task<std::string> receive_all(std::string path) {
  auto reader = co_await open_fifo_reader(std::move(path));
  std::string all;
  std::array<std::byte, 64> buffer{};
  while (const auto count = co_await reader.read(buffer)) all += text_of(std::span{buffer}.first(count));
  co_return all;
}

task<> wait_for_writer(std::string path) { (void)co_await open_fifo_reader(std::move(path)); }
task<> wait_for_reader(std::string path) { (void)co_await open_fifo_writer(std::move(path)); }

// Starts it, and stops it after so many turns. It was going to wait for ever.
template <class T>
bool is_stopped_after(executor& loop, task<T> waits, int turns_count) {
  auto root = loop.start(std::move(waits));
  for (int turn = 0; turn < turns_count; ++turn) loop.turn(/*may_park=*/turn > 3);
  root.cancel();
  turn_until_done(loop, root);
  return root.stopped();
}

}  // namespace

TEST_CASE("a FIFO is made with the permissions that it is given, less the umask") {
  place here;
  const ::mode_t mask_before = ::umask(027);

  here.loop.run(make_fifo(here.folder.file("fifo"), 0666));

  ::umask(mask_before);
  const auto about = here.loop.run(metadata_of(here.folder.file("fifo")));
  CHECK(about.kind == file_kind::fifo);
  CHECK(about.permissions == 0640);
}

TEST_CASE("a FIFO that cannot be made says why") {
  place here;
  const auto path = here.fifo();

  CHECK(here.error_of(make_fifo(path)) == std::errc::file_exists);
  CHECK(here.error_of(make_fifo(path + "/below")) == std::errc::not_a_directory);
  CHECK(here.error_of(make_fifo(here.folder.file("none/below"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(make_fifo(here.folder.file("x") + '\0' + "y")) == std::errc::invalid_argument);
}

TEST_CASE("who opens a FIFO and who opens its other end find each other, whoever comes first") {
  place here;
  const auto path = here.fifo();
  const std::string much(200'000, 'x');

  here.loop.run([&]() -> task<> {
    auto [got, nothing] = co_await when_all(receive_all(path), send(path, much));
    CHECK(got == much);
    auto [none, got_now] = co_await when_all(send(path, "short"), receive_all(path));
    CHECK(got_now == "short");
  });
}

TEST_CASE("a process that waits in open(2) is found") {
  place here;
  const auto path = here.fifo();

  child writer{[&] {
    const unique_fd opened{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    return ::write(opened.get(), "from open", 9) == 9 ? 0 : 1;
  }};
  CHECK(here.loop.run(receive_all(path)) == "from open");
  CHECK(writer.wait().exit_status == 0);

  child reader{[&] {
    const unique_fd opened{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    std::array<char, 16> bytes{};
    return ::read(opened.get(), bytes.data(), bytes.size()) == 4 ? 0 : 1;
  }};
  here.loop.run(send(path, "back"));
  CHECK(reader.wait().exit_status == 0);
}

TEST_CASE("a reader's open ends when a writer is there, before it has written anything") {
  place here;
  const auto path = here.fifo();
  auto opening = here.loop.start(open_fifo_reader(path));
  while (!opening.done()) {
    here.loop.turn(/*may_park=*/true);
    const unique_fd silent{::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)};  // refused until it is open
    if (!silent) continue;
    turn_until_done(here.loop, opening);
    const auto reader = opening.get();
    CHECK((::fcntl(reader.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(reader.fd().get(), F_GETFL) & O_NONBLOCK) == 0);
  }
}

TEST_CASE("a writer that has come and gone without a byte ends a reader's open, which is at the end then") {
  place here;
  const auto path = here.fifo();
  auto opening = here.loop.start(open_fifo_reader(path));
  bool came = false;
  while (!opening.done()) {
    here.loop.turn(/*may_park=*/true);
    if (!came) came = unique_fd{::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)}.get() >= 0;
  }

  const auto reader = opening.get();
  std::array<std::byte, 8> buffer{};
  CHECK(here.loop.run([&]() -> task<std::size_t> { co_return co_await reader.read(buffer); }) == 0);
}

TEST_CASE("what is no FIFO, or not to be opened, is refused and not waited for") {
  place here;
  const auto regular = here.folder.file("regular", "text");

  CHECK(here.error_of(open_fifo_reader(regular)) == std::errc::invalid_argument);
  CHECK(here.error_of(open_fifo_writer(regular)) == std::errc::invalid_argument);
  CHECK(here.error_of(open_fifo_writer(here.folder.path())) == std::errc::invalid_argument);
  CHECK(here.error_of(open_fifo_reader("/dev/null")) == std::errc::invalid_argument);
  CHECK(here.error_of(open_fifo_reader(here.folder.file("none"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(open_fifo_writer(here.folder.file("none"))) == std::errc::no_such_file_or_directory);
  CHECK(here.error_of(open_fifo_writer(regular + '\0' + "x")) == std::errc::invalid_argument);
  CHECK(content_of(regular) == "text");

  const auto closed_to_all = here.fifo();
  REQUIRE(::chmod(closed_to_all.c_str(), 0) == 0);
  REQUIRE(::chmod(here.folder.path().c_str(), 0755) == 0);
  CHECK(holds_for_nobody([&] {
    executor loop;
    return loop.run(as_result(open_fifo_reader(closed_to_all))).error() == std::errc::permission_denied &&
           loop.run(as_result(open_fifo_writer(closed_to_all))).error() == std::errc::permission_denied;
  }));
}

TEST_CASE("an open that waits for nobody is stopped at any moment, or times out, and leaks nothing") {
  place here;
  const auto path = here.fifo();
  (void)here.error_of(open_fifo_reader(here.folder.file("none")));  // whatever is opened once is open now
  const auto before = open_descriptors_count();

  for (int turns = 0; turns < 8; ++turns) {
    CHECK(is_stopped_after(here.loop, open_fifo_reader(path), turns));
    CHECK(is_stopped_after(here.loop, open_fifo_writer(path), turns));
  }
  here.loop.run([&]() -> task<> {
    CHECK((co_await as_result(with_timeout(3ms, open_fifo_reader(path)))).error() == std::errc::timed_out);
    CHECK((co_await as_result(with_timeout(3ms, open_fifo_writer(path)))).error() == std::errc::timed_out);
  });
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("many who wait for nobody keep no other file from being asked for") {
  place here;
  for (int each = 0; each < 40; ++each) here.fifo(std::to_string(each));

  here.loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int each = 0; each < 20; ++each) group.start(wait_for_writer(here.folder.file(std::to_string(each))));
      for (int each = 20; each < 40; ++each) group.start(wait_for_reader(here.folder.file(std::to_string(each))));
      co_await this_task::yield();
      const auto about = co_await metadata_of(here.folder.file("0"));
      CHECK(about.kind == file_kind::fifo);
      group.cancel();
    });
  });
}

}  // namespace gyre::fs
