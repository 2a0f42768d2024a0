// SPDX-License-Identifier: MIT
// Listening on paths and names: the file, who may connect, what an earlier server has left, and closing.
#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_listener.hpp>
#include <gyre/net/unix_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/captured_log.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace test;

// A path where nothing is yet, and who listens there.
struct on_path {
  unix_listener listens(unix_listen_options options = {}) {
    options.at = at;
    return loop.run(unix_listener::bind(options));
  }
  std::error_code fails(unix_listen_options options = {}) {
    options.at = at;
    outcome noted;
    loop.run(observe(unix_listener::bind(options), noted));
    return noted.error;
  }
  bool exists() const { return std::filesystem::exists(std::filesystem::symlink_status(path)); }
  ::mode_t permissions() const {
    struct ::stat found{};
    REQUIRE(::lstat(path.c_str(), &found) == 0);
    return found.st_mode & 07777U;
  }

  temp_folder folder;
  std::string path = folder.file("a.sock");
  unix_address at = unix_address::path(path).value();
  executor loop;
};

unique_fd plain_socket(int type, const unix_address& at) {
  unique_fd made{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)};
  REQUIRE(::bind(made.get(), at.data(), at.size()) == 0);
  return made;
}

unique_fd connect_to(const unix_address& at) {
  unique_fd made{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  REQUIRE(::connect(made.get(), at.data(), at.size()) == 0);
  return made;
}

task<> accept_one(unix_listener& listener, outcome& noted) { co_await observe(listener.accept(), noted); }

task<> take(incoming_unix_connections& incoming, std::vector<unix_stream>& taken, std::size_t count) {
  while (taken.size() < count) taken.push_back((co_await incoming.next()).value());
}

// The umask of this process, while it lives.
class umask_is {
 public:
  explicit umask_is(::mode_t mask) : before_{::umask(mask)} {}
  umask_is(const umask_is&) = delete;
  umask_is& operator=(const umask_is&) = delete;
  ~umask_is() { ::umask(before_); }

 private:
  ::mode_t before_;
};

}  // namespace

// ------------------------------------------------------------------------------------------------------------ bind()

TEST_CASE("a listener tells what it is bound to, also a name that the kernel chose") {
  on_path subject;
  const auto listener = subject.listens();
  const auto by_kernel = subject.loop.run(unix_listener::bind({}));

  CHECK(listener.local_address() == subject.at);
  CHECK(by_kernel.local_address().is_abstract());
  CHECK(!by_kernel.local_address().name().empty());
  CHECK((::fcntl(listener.fd().get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("the file has the permissions that were asked for, whatever the umask") {
  for (const ::mode_t mask : {0000U, 0022U, 0777U}) {
    for (const ::mode_t asked : {0600U, 0666U, 0777U}) {
      on_path subject;
      const umask_is meanwhile{mask};

      const auto listener = subject.listens({.permissions = asked});

      CHECK(subject.permissions() == asked);
    }
  }
}

TEST_CASE("without permissions asked for the umask decides") {
  on_path subject;
  const umask_is meanwhile{0027};

  const auto listener = subject.listens();

  CHECK(subject.permissions() == 0750);
}

TEST_CASE("a path that cannot be bound is an error that names it, and leaves no descriptor open") {
  on_path subject;
  const auto nowhere = unix_address::path(subject.folder.file("no folder/a.sock")).value();
  const std::size_t open_before = open_descriptors_count();
  std::string text;
  try {
    static_cast<void>(subject.loop.run(unix_listener::bind({.at = nowhere})));
  } catch (const std::system_error& error) {
    text = error.what();
    CHECK(error.code() == std::errc::no_such_file_or_directory);
  }

  CHECK(text.find("bind " + nowhere.to_string()) != std::string::npos);
  subject.loop.run_ready();
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("a bind that is stopped before it began has made nothing") {
  on_path subject;
  const auto bind = [&]() -> task<> { static_cast<void>(co_await unix_listener::bind({.at = subject.at})); };
  auto binding = subject.loop.start(bind());

  binding.cancel();
  turn_until_done(subject.loop, binding);

  CHECK(binding.stopped());
  CHECK(!subject.exists());
}

// -------------------------------------------------------------------------------------------------------- stale files

TEST_CASE("a file that an earlier server left is in the way, unless it may be replaced") {
  on_path subject;
  {
    const auto gone = subject.listens();
  }
  CHECK(subject.exists());

  CHECK(subject.fails() == std::errc::address_in_use);
  auto listener = subject.listens({.replace_stale = true});
  const auto client = connect_to(subject.at);

  CHECK(subject.loop.run(listener.accept()).peer_credentials().process == ::getpid());
}

TEST_CASE("a server that is there is never replaced: one that accepts, is busy, or is of another sort") {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    on_path subject;
    const auto other = plain_socket(type, subject.at);
    if (type != SOCK_DGRAM) REQUIRE(::listen(other.get(), 0) == 0);
    std::vector<unique_fd> clients;
    if (type == SOCK_STREAM) clients.push_back(connect_to(subject.at));  // the backlog is full now

    CHECK(subject.fails({.replace_stale = true}) == std::errc::address_in_use);
    CHECK(subject.exists());
  }
  on_path subject;
  const auto idle = subject.listens();
  CHECK(subject.fails({.replace_stale = true}) == std::errc::address_in_use);
  CHECK(connect_to(subject.at));
}

TEST_CASE("what is no socket is never replaced") {
  on_path subject;
  SUBCASE("a file") { static_cast<void>(subject.folder.file("a.sock", "precious")); }
  SUBCASE("a folder") { std::filesystem::create_directory(subject.path); }
  SUBCASE("a link to a socket that is gone") {
    plain_socket(SOCK_STREAM, unix_address::path(subject.folder.file("gone")).value()).reset();
    std::filesystem::create_symlink(subject.folder.file("gone"), subject.path);
  }

  CHECK(subject.fails({.replace_stale = true}) == std::errc::file_exists);
  CHECK(subject.exists());
}

TEST_CASE("where nothing is, there is nothing to replace") {
  on_path subject;

  const auto listener = subject.listens({.replace_stale = true});

  CHECK(subject.exists());
}

TEST_CASE("of several servers that start at once on a stale file one wins, and the others hear it") {
  constexpr std::size_t servers_count = 8;
  for (int rounds = 0; rounds < 10; ++rounds) {
    on_path subject;
    {
      const auto gone = subject.listens();
    }
    std::vector<unix_listener> listening;
    std::size_t refused = 0;
    const auto serve = [&]() -> task<> {
      auto bound = co_await as_result(unix_listener::bind({.at = subject.at, .replace_stale = true}));
      if (bound) listening.push_back(std::move(*bound));
      else if (bound.error() == std::errc::address_in_use) ++refused;
    };

    const auto serve_all = [&]() -> task<> {
      co_await with_task_group([&](task_group& servers) -> task<> {
        for (std::size_t i = 0; i < servers_count; ++i) servers.start(serve());
        co_return;
      });
    };
    subject.loop.run(serve_all);

    CHECK(listening.size() == 1);
    CHECK(refused == servers_count - 1);
    CHECK(connect_to(subject.at));
  }
}

TEST_CASE("a folder that stays locked is told, and is not waited for without end") {
  on_path subject;
  const unique_fd folder{::open(subject.folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  REQUIRE(::flock(folder.get(), LOCK_EX) == 0);

  CHECK(subject.fails({.replace_stale = true}) == std::errc::resource_unavailable_try_again);
  CHECK(!subject.exists());
  CHECK(subject.fails() == std::error_code{});  // which needs no lock
}

// ---------------------------------------------------------------------------------------------------------- accepting

TEST_CASE("connections come one by one, and as a stream") {
  on_path subject;
  auto listener = subject.listens();
  std::vector<unique_fd> clients;
  for (int i = 0; i < 300; ++i) clients.push_back(connect_to(subject.at));
  auto incoming = listener.incoming();
  std::vector<unix_stream> taken;

  taken.push_back(subject.loop.run(listener.accept()));
  subject.loop.run(take(incoming, taken, clients.size()));

  CHECK(taken.size() == clients.size());
  for (const auto& each : taken) CHECK(each.local_address() == subject.at);
}

TEST_CASE("without a descriptor left a connection waits in the backlog until there is one") {
  on_path subject;
  const captured_log logged;
  log::warning("what is said before descriptors run out");  // UBSan opens a pipe at its first look at a type
  auto listener = subject.listens();
  const auto client = connect_to(subject.at);
  outcome noted;
  auto accepting = subject.loop.start(accept_one(listener, noted));
  {
    const no_descriptor_left meanwhile;
    while (subject.loop.timers().empty()) subject.loop.turn(/*may_park=*/true);
    CHECK(!accepting.done());
  }

  turn_until_done(subject.loop, accepting);

  CHECK(noted.how == ended::with_value);
  CHECK(logged.text().find("Too many open files") != std::string::npos);
}

TEST_CASE("an accept() can be stopped, and the listener goes on") {
  on_path subject;
  auto listener = subject.listens();
  outcome noted;
  auto accepting = subject.loop.start(accept_one(listener, noted));
  subject.loop.run_ready();

  accepting.cancel();
  turn_until_done(subject.loop, accepting);
  const auto client = connect_to(subject.at);
  static_cast<void>(subject.loop.run(listener.accept()));

  CHECK(noted.how == ended::stopped);
}

// ------------------------------------------------------------------------------------------------------------ close()

TEST_CASE("close() ends who waits, and removes the file") {
  on_path subject;
  auto listener = subject.listens();
  auto incoming = listener.incoming();
  outcome accepts;
  auto accepting = subject.loop.start(accept_one(listener, accepts));
  std::optional<bool> ended_well;
  const auto wait_for_the_end = [&]() -> task<> { ended_well = !(co_await incoming.next()).has_value(); };
  auto waiting = subject.loop.start(wait_for_the_end());
  subject.loop.run_ready();

  subject.loop.run(listener.close());
  turn_until_done(subject.loop, accepting);
  turn_until_done(subject.loop, waiting);

  CHECK(accepts.error == std::errc::operation_canceled);
  CHECK(ended_well == true);
  CHECK(!subject.exists());
  CHECK(listener.fd().get() == -1);
  subject.loop.run(listener.close());  // once more does nothing
}

TEST_CASE("a client that nobody has accepted hears that its listener is closed") {
  on_path subject;
  auto listener = subject.listens();
  const auto client = connect_to(subject.at);

  subject.loop.run(listener.close());

  char byte = 0;
  const auto count = ::read(client.get(), &byte, 1);
  CHECK((count == 0 || (count < 0 && errno == ECONNRESET)));
}

TEST_CASE("close() leaves the file where it was told to, and where it is another's") {
  on_path subject;
  auto keeps = subject.listens({.remove_on_close = false});
  subject.loop.run(keeps.close());
  CHECK(subject.exists());

  auto replaced = subject.listens({.replace_stale = true});
  std::filesystem::remove(subject.path);
  const auto other = plain_socket(SOCK_STREAM, subject.at);
  subject.loop.run(replaced.close());
  CHECK(subject.exists());

  std::filesystem::remove(subject.path);
  auto gone = subject.listens();
  std::filesystem::remove(subject.path);
  subject.loop.run(gone.close());
  CHECK(!subject.exists());
}

TEST_CASE("close() removes the file also where somebody keeps the folder locked") {
  on_path subject;
  auto listener = subject.listens();
  const unique_fd folder{::open(subject.folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  REQUIRE(::flock(folder.get(), LOCK_EX) == 0);

  subject.loop.run(listener.close());

  CHECK(!subject.exists());
}

TEST_CASE("a listener is closed in every case, also by a close() that is stopped") {
  on_path subject;
  const std::size_t open_before = open_descriptors_count();
  for (int turns = 0; turns < 6; ++turns) {
    auto listener = subject.listens({.replace_stale = true});
    auto closing = subject.loop.start(listener.close());
    for (int i = 0; i < turns; ++i) subject.loop.turn(/*may_park=*/false);

    closing.cancel();
    turn_until_done(subject.loop, closing);

    CHECK(listener.fd().get() == -1);
  }
  subject.loop.run_ready();
  CHECK(open_descriptors_count() == open_before);
}

}  // namespace gyre::net
