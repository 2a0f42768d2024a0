// SPDX-License-Identifier: MIT
// Direct descriptors on one executor: made, used by every kind of operation, closed in every way, and refused.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/direct_slots.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

static_assert(std::is_nothrow_move_constructible_v<direct_fd> && !std::is_copy_constructible_v<direct_fd>);

// So many slots that a test which leaks one is noticed by the next.
executor_options with_slots(unsigned count = 4) { return {.direct_descriptors = count}; }

// Turns until what goes by itself has gone.
std::size_t used_slots_at_rest(executor& loop) {
  loop.run_ready();
  return used_slots_count(loop);
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

task<std::string> receive_text(fd_ref from) {
  std::array<std::byte, 16> buffer;
  const auto count = co_await ops::recv{from, buffer};
  co_return std::string{reinterpret_cast<const char*>(buffer.data()), count};
}

task<direct_fd> direct_of(unique_fd plain) { co_return co_await ops::to_direct{plain}; }

bool peer_has_closed(const unique_fd& peer) {
  char byte = 0;
  return ::recv(peer.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

// What the text of the exception says that the operation ends with.
template <class Awaitable>
task<std::string> text_of_failure(Awaitable failing) {
  try {
    static_cast<void>(co_await std::move(failing));
  } catch (const std::system_error& error) {
    co_return error.what();
  }
  co_return "no failure";
}

bool says(const std::string& text, const char* words) { return text.find(words) != std::string::npos; }

}  // namespace

TEST_CASE("a connection is accepted, read and written as a direct descriptor, and takes no number of the process") {
  executor loop{with_slots()};
  auto listener = net::tcp_listener::bind({.at = net::address::loopback(0)});
  const auto client = connect_to(listener.local_address());
  const auto open_before = open_descriptors_count();

  loop.run([&]() -> task<> {
    const direct_fd connection = co_await ops::accept_direct{listener.fd()};
    CHECK(open_descriptors_count() == open_before);
    CHECK(used_slots_count(loop) == 1);
    CHECK(loop.statistics().direct_fds == 1);
    co_await ops::send_all{connection, bytes_of("from direct")};
    REQUIRE(::send(client.get(), "to direct", 9, 0) == 9);
    CHECK(co_await receive_text(connection) == "to direct");
    co_await ops::shutdown{connection, SHUT_WR};
  });

  std::array<char, 16> answer{};
  CHECK(::recv(client.get(), answer.data(), answer.size(), 0) == 11);
  CHECK(used_slots_at_rest(loop) == 0);
  CHECK(loop.statistics().direct_fds == 0);
}

TEST_CASE("a file is opened, written, synced and read as a direct descriptor") {
  const temp_folder folder;
  const auto path = folder.file("made");
  executor loop{with_slots()};

  loop.run([&]() -> task<> {
    const direct_fd file = co_await ops::openat_direct{AT_FDCWD, path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600};
    CHECK(co_await ops::write{file, bytes_of("some text"), 0} == 9);
    co_await ops::fsync{file};
    std::array<std::byte, 4> buffer;
    CHECK(co_await ops::read{file, buffer, 5} == 4);
    CHECK(buffer[0] == std::byte{'t'});
    std::array<::iovec, 1> parts{{{.iov_base = buffer.data(), .iov_len = 2}}};
    CHECK(co_await ops::readv{file, parts, 0} == 2);
    CHECK(buffer[0] == std::byte{'s'});
    CHECK(co_await ops::writev{file, parts, 9} == 2);
  });

  CHECK(content_of(path) == "some textso");
  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("a path that may not lead out is opened as a direct descriptor, or refused") {
  const temp_folder folder;
  folder.file("there", "text");
  const unique_fd directory{::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  executor loop{with_slots(1)};

  loop.run([&]() -> task<> {
    const auto open = [&](const char* path) {
      return ops::openat2_direct{directory, path, O_RDONLY | O_CLOEXEC, RESOLVE_BENEATH};
    };
    {
      const direct_fd file = co_await open("there");
      std::array<std::byte, 4> buffer;
      CHECK(co_await ops::read{file, buffer, 0} == 4);
      CHECK(says(co_await text_of_failure(open("there")), "raise executor_options::direct_descriptors"));
    }
    const auto out = co_await as_result(open("../there"));
    CHECK(out.error() == std::errc::cross_device_link);
  });
  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("a socket is made and connected as a direct descriptor, and polled") {
  auto listener = net::tcp_listener::bind({.at = net::address::loopback(0)});
  const auto at = listener.local_address();
  executor loop{with_slots()};

  loop.run([&]() -> task<> {
    const direct_fd client = co_await ops::socket_direct{AF_INET, SOCK_STREAM | SOCK_CLOEXEC};
    co_await ops::connect{client, at.data(), at.size()};
    const auto ready = co_await ops::poll{client, POLLOUT};
    CHECK((ready & POLLOUT) != 0);
    const auto accepted = co_await listener.accept();
    co_await ops::send_all{client, bytes_of("hello")};
    CHECK(co_await receive_text(accepted.fd()) == "hello");
  });
}

TEST_CASE("a listener may be direct itself, for one connection and for a stream of them") {
  executor loop{with_slots()};
  auto listener = net::tcp_listener::bind({.at = net::address::loopback(0)});
  const auto first = connect_to(listener.local_address());
  const auto second = connect_to(listener.local_address());

  loop.run([&]() -> task<> {
    const direct_fd direct = co_await ops::to_direct{listener.fd()};
    CHECK(static_cast<bool>(co_await ops::accept{direct}));
    ops::accept_stream incoming{direct};
    CHECK(static_cast<bool>(co_await incoming.next()));
  });
}

TEST_CASE("a plain descriptor becomes a direct one, and a direct one a plain one, of the same file") {
  socket_pair pair;
  executor loop{with_slots()};

  loop.run([&]() -> task<> {
    const direct_fd direct = co_await direct_of(std::move(pair.here));
    CHECK(!peer_has_closed(pair.there));
    const unique_fd plain = co_await ops::to_plain{direct};
    CHECK((::fcntl(plain.get(), F_GETFD) & FD_CLOEXEC) != 0);
    REQUIRE(::send(pair.there.get(), "ab", 2, 0) == 2);
    std::array<std::byte, 1> one;
    CHECK(co_await ops::recv{direct, one} == 1);
    CHECK(one[0] == std::byte{'a'});
    CHECK(co_await receive_text(plain) == "b");
  });

  CHECK(used_slots_at_rest(loop) == 0);
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("where no slot is free the error says which option to raise, and nothing is leaked") {
  for (const unsigned slots : {0U, 1U}) {
    CAPTURE(slots);
    executor loop{with_slots(slots)};
    auto listener = net::tcp_listener::bind({.at = net::address::loopback(0)});
    const auto open_before = open_descriptors_count();
    loop.run([&]() -> task<> {
      socket_pair pair;
      direct_fd held;
      if (slots == 1) held = co_await ops::to_direct{pair.here};
      const auto client = connect_to(listener.local_address());
      for (const std::string& text : {co_await text_of_failure(ops::accept_direct{listener.fd()}),
                                      co_await text_of_failure(ops::openat_direct{AT_FDCWD, "/", O_RDONLY}),
                                      co_await text_of_failure(ops::socket_direct{AF_UNIX, SOCK_STREAM}),
                                      co_await text_of_failure(ops::to_direct{pair.here})})
        CHECK_MESSAGE(says(text, "raise executor_options::direct_descriptors"), text);
      const auto again = co_await as_result(ops::to_direct{pair.here});
      CHECK(again.error() == std::errc::too_many_files_open_in_system);
    });
    CHECK(open_descriptors_count() == open_before);
    if (slots > 0) CHECK(used_slots_at_rest(loop) == 0);
  }
}

TEST_CASE("what is no open file makes no direct descriptor, and the text is the kernel's own") {
  const temp_folder folder;
  executor loop{with_slots()};

  loop.run([&]() -> task<> {
    CHECK((co_await as_result(ops::to_direct{1'000'000})).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::to_plain{direct_fd{}})).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::close_direct{direct_fd{}})).error() == std::errc::bad_file_descriptor);
    std::array<std::byte, 1> buffer;
    CHECK((co_await as_result(ops::recv{direct_fd{}, buffer})).error() == std::errc::bad_file_descriptor);
    const auto text = co_await text_of_failure(ops::openat_direct{AT_FDCWD, folder.file("none").c_str(), O_RDONLY});
    CHECK(says(text, "No such file"));
    CHECK(says(co_await text_of_failure(ops::socket_direct{-1, SOCK_STREAM}), "socket_direct: "));
    CHECK(says(co_await text_of_failure(ops::accept_direct{1'000'000}), "Bad file descriptor"));
    CHECK(says(co_await text_of_failure(ops::to_direct{1'000'000}), "Bad file descriptor"));
  });
}

TEST_CASE("no path begins at a direct descriptor: the error says what to do, and absolute paths do not mind") {
  const temp_folder folder;
  const auto path = folder.file("there", "text");
  executor loop{with_slots()};

  loop.run([&]() -> task<> {
    const direct_fd at = co_await ops::openat_direct{AT_FDCWD, folder.path().c_str(), O_RDONLY | O_DIRECTORY};
    for (const std::string& text : {co_await text_of_failure(ops::openat{at, "there", O_RDONLY}),
                                    co_await text_of_failure(ops::openat2{at, "there", O_RDONLY, 0}),
                                    co_await text_of_failure(ops::statx{at, "there"}),
                                    co_await text_of_failure(ops::openat_direct{at, "there", O_RDONLY}),
                                    co_await text_of_failure(ops::openat2_direct{at, "there", O_RDONLY, 0}),
                                    co_await text_of_failure(ops::unlinkat{at, "there"}),
                                    co_await text_of_failure(ops::mkdirat{at, "made", 0700}),
                                    co_await text_of_failure(ops::symlinkat{"there", at, "link"}),
                                    co_await text_of_failure(ops::linkat{at, "there", AT_FDCWD, "link"}),
                                    co_await text_of_failure(ops::linkat{AT_FDCWD, path.c_str(), at, "link"}),
                                    co_await text_of_failure(ops::renameat{at, "there", AT_FDCWD, "here"}),
                                    co_await text_of_failure(ops::renameat{AT_FDCWD, path.c_str(), at, "here"})})
      CHECK_MESSAGE(says(text, "make a plain one of it by ops::to_plain"), text);
    const auto removed = co_await as_result(ops::unlinkat{at, "there"});
    CHECK(removed.error() == std::errc::operation_not_supported);
    const auto linked = co_await as_result(ops::linkat{AT_FDCWD, path.c_str(), at, "link"});
    CHECK(linked.error() == std::errc::operation_not_supported);
    const auto renamed = co_await as_result(ops::renameat{at, "there", AT_FDCWD, "here"});
    CHECK(renamed.error() == std::errc::operation_not_supported);
    CHECK((co_await ops::statx{at, path.c_str()}).stx_size == 4);
    const unique_fd plain = co_await ops::to_plain{at};
    CHECK((co_await ops::statx{plain, "there"}).stx_size == 4);
  });
}

TEST_CASE("what is in flight on a direct descriptor is found by it") {
  socket_pair pair;
  executor loop{with_slots()};
  const auto receive_and_note = [](const direct_fd& from, outcome& noted) -> task<> {
    std::array<std::byte, 4> buffer;
    co_await observe(ops::recv{from, buffer}, noted);
  };
  outcome awaited;
  outcome blocked;
  direct_fd direct;
  loop.run([&]() -> task<> { direct = co_await ops::to_direct{pair.here}; });

  auto reading = loop.start(receive_and_note(direct, awaited));
  loop.run_ready();
  CHECK(says(dump_tasks(loop), "recv on direct fd 0"));
  loop.run([&]() -> task<> { CHECK(co_await ops::cancel_fd{direct} == 1); });
  loop.run_ready();
  CHECK(awaited.error == std::errc::operation_canceled);

  auto again = loop.start(receive_and_note(direct, blocked));
  loop.run_ready();
  loop.run([&]() -> task<> {
    const auto found = loop.cancel_sync(direct, 1s);
    CHECK(found.value() == 1);
    co_return;
  });
  loop.run_ready();
  CHECK(blocked.error == std::errc::operation_canceled);
  direct = {};
}

TEST_CASE("a system call sees no direct descriptor") {
  socket_pair pair;
  executor loop{with_slots()};

  loop.run([&]() -> task<> {
    const direct_fd direct = co_await ops::to_direct{pair.here};
    CHECK(fd_ref{direct}.is_direct());
    CHECK(fd_ref{direct}.get() == -1);
    CHECK(fd_ref{direct}.slot() == direct.slot());
    CHECK(&direct.owner() == &loop);
  });
  CHECK(!fd_ref{AT_FDCWD}.is_direct());
  CHECK(!fd_ref{-4095}.is_direct());
}

TEST_CASE("a direct descriptor closes by itself: in a turn, outside of one, and with a full queue") {
  socket_pair pair;
  executor loop{{.sq_entries = 2, .direct_descriptors = 64}};
  std::vector<direct_fd> many;
  loop.run([&]() -> task<> {
    for (int i = 0; i < 64; ++i) many.push_back(co_await ops::to_direct{pair.here});
    CHECK(used_slots_count(loop) == 64);
    for (int i = 0; i < 32; ++i) many.pop_back();
    co_return;
  });
  CHECK(used_slots_at_rest(loop) == 32);

  many.clear();

  CHECK(used_slots_at_rest(loop) == 0);
  CHECK(loop.statistics().direct_fds == 0);
  CHECK(loop.in_kernel_count() == 0);
}

TEST_CASE("an executor that ends closes what was given up before, and nothing is left open") {
  socket_pair pair;
  {
    executor loop{with_slots()};
    direct_fd direct;
    loop.run([&]() -> task<> { direct = co_await ops::to_direct{pair.here}; });
    pair.here.reset();
    CHECK(!peer_has_closed(pair.there));
    direct = {};
  }
  pollfd end{.fd = pair.there.get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&end, 1, -1) == 1);
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("a descriptor that is moved over another closes that one, and a slot can be taken again at once") {
  socket_pair first;
  socket_pair second;
  executor loop{with_slots(2)};

  loop.run([&]() -> task<> {
    direct_fd kept = co_await direct_of(std::move(first.here));
    kept = co_await direct_of(std::move(second.here));
    for (int i = 0; i < 100; ++i) {
      const direct_fd taken = co_await ops::to_direct{second.there};
      CHECK(static_cast<bool>(taken));
    }
    CHECK(peer_has_closed(first.there));
    CHECK(!peer_has_closed(second.there));
  });

  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("close_direct frees the slot before it is over") {
  socket_pair pair;
  executor loop{with_slots(1)};

  loop.run([&]() -> task<> {
    direct_fd direct = co_await ops::to_direct{pair.here};
    co_await ops::close_direct{std::move(direct)};
    CHECK(!direct);
    CHECK(loop.statistics().direct_fds == 0);
    direct = co_await ops::to_direct{pair.here};
    CHECK(direct.slot() == 0);
  });
}

TEST_CASE("a close_direct that is stopped before it began closes all the same") {
  socket_pair pair;
  executor loop{with_slots(1)};
  direct_fd direct;
  loop.run([&]() -> task<> { direct = co_await ops::to_direct{pair.here}; });
  auto closing =
      loop.start([](direct_fd closed) -> task<> { co_await ops::close_direct{std::move(closed)}; }(std::move(direct)));

  closing.cancel();
  loop.run_ready();

  CHECK(closing.stopped());
  CHECK(used_slots_at_rest(loop) == 0);
}

TEST_CASE("a slot that is owned anew before its close was heard of is closed once more, on the scripted ring") {
  scripted_executor on{by_hand, with_slots()};
  const auto own_slot_3 = [&] {
    direct_fd owned;
    auto root = on.loop.start(
        [](direct_fd& made) -> task<> { made = co_await ops::socket_direct{AF_UNIX, SOCK_STREAM}; }(owned));
    on.loop.run_ready();
    on.script.complete(on.script.only(IORING_OP_SOCKET), 3);
    on.loop.run_ready();
    return owned;
  };
  own_slot_3() = {};
  on.loop.run_ready();
  const auto first = on.script.only(IORING_OP_CLOSE);

  own_slot_3() = {};
  on.loop.run_ready();
  CHECK(on.script.only(IORING_OP_CLOSE).id == first.id);
  CHECK(on.loop.statistics().direct_fds == 0);

  on.script.complete(first, 0);
  on.loop.run_ready();
  const auto second = on.script.only(IORING_OP_CLOSE);
  CHECK(second.id != first.id);
  on.script.complete(second, 0);
  on.loop.run_ready();
  CHECK(on.script.in_flight(IORING_OP_CLOSE).empty());
}

TEST_CASE("a composed operation tells of its descriptor's kind in each of its requests, on the scripted ring") {
  scripted_executor on{by_hand, with_slots()};
  std::array<std::byte, 4> buffer;
  auto root = on.loop.start([](std::span<std::byte> into) -> task<> {
    const direct_fd made = co_await ops::socket_direct{AF_UNIX, SOCK_STREAM};
    co_await ops::recv_all{made, into};
  }(buffer));
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_SOCKET), 2);
  on.loop.run_ready();

  for (const int rest : {4, 3}) {
    const auto asked = on.script.only(IORING_OP_RECV);
    CHECK(asked.len == static_cast<unsigned>(rest));
    CHECK(asked.fd == 2);
    CHECK((asked.flags & IOSQE_FIXED_FILE) != 0);
    on.script.complete(asked, rest == 4 ? 1 : 3);
    on.loop.run_ready();
  }
  CHECK(root.done());
}

TEST_CASE("a table that cannot be had is refused with cause and cure") {
  const auto text_of = [](auto make) -> std::string {
    try {
      make();
    } catch (const std::system_error& error) {
      return error.what();
    }
    return "no failure";
  };
  const auto on_script = [&](int error) {
    return text_of([error] { scripted_executor{{.direct_table_error = error}, with_slots(16)}; });
  };

  CHECK(says(text_of([] { executor{with_slots(2'000'000)}; }), "Ask for fewer"));
  CHECK(says(on_script(EMFILE), "RLIMIT_NOFILE"));
  CHECK(says(on_script(ENOMEM), "memory"));
  CHECK(says(on_script(EINVAL), "Leave out executor_options::direct_descriptors"));
  CHECK(says(text_of([] { executor{{.iopoll = iopoll_mode::busy, .direct_descriptors = 1}}; }), "iopoll"));
}

}  // namespace gyre
