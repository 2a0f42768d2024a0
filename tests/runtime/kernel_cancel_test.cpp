// SPDX-License-Identifier: MIT
// Cancels on the kernel, in every order that it can be brought into. What the kernel decides differently from run to
// run is checked for what holds in each case: nothing is lost, nothing is leaked, everybody ends.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/advise.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/epoll.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/file_flags.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/pipe.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/process.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/ops/xattr.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/child.hpp"
#include "../support/huge_memory.hpp"
#include "../support/kernel_has.hpp"
#include "../support/modes.hpp"
#include "../support/outcome.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Descriptors of every sort, and a place for files.
struct world {
  world() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    pipe_out.reset(ends[0]);
    pipe_in.reset(ends[1]);

    listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    REQUIRE(::listen(listener.get(), 512) == 0);

    std::string name = std::filesystem::temp_directory_path() / "gyre-cancel-XXXXXX";
    file.reset(::mkostemp(name.data(), O_CLOEXEC));
    REQUIRE(static_cast<bool>(file));
    path = name;
  }
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  ~world() { ::unlink(path.c_str()); }

  // A client that has connected, or is about to.
  unique_fd connect_now() const {
    unique_fd client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    static_cast<void>(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
    return client;
  }

  // So that nothing more can be written to it.
  static void fill(const unique_fd& end) {
    const std::vector<char> bytes(1 << 16);
    const int flags = ::fcntl(end.get(), F_GETFL);
    ::fcntl(end.get(), F_SETFL, flags | O_NONBLOCK);
    while (::write(end.get(), bytes.data(), bytes.size()) > 0) {
    }
    ::fcntl(end.get(), F_SETFL, flags);
  }

  unique_fd here, there;        // two ends of a connection
  unique_fd pipe_out, pipe_in;  // what is written to the second comes out of the first
  unique_fd listener;
  unique_fd file;
  sockaddr_in address{};
  std::string path;
};

struct kernel_operation {
  const char* name;
  task<> (*observed)(world& in, outcome& noted);
  int needed_opcode = IORING_OP_NOP;  // which an older kernel may lack
};

std::vector<std::byte> four_bytes() { return std::vector<std::byte>(4); }

std::vector<iovec> two_parts(std::vector<std::byte>& bytes) {
  return {{.iov_base = bytes.data(), .iov_len = 2}, {.iov_base = bytes.data() + 2, .iov_len = 2}};
}

// Those that wait for something that does not come.
task<> recv_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::recv(in.here, buffer), noted);
}
task<> recv_all_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::recv_all(in.here, buffer), noted);
}
task<> read_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::read(in.pipe_out, buffer), noted);
}
task<> readv_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  auto parts = two_parts(buffer);
  co_await observe(ops::readv(in.pipe_out, parts), noted);
}
task<> write_full(world& in, outcome& noted) {
  world::fill(in.pipe_in);
  auto bytes = four_bytes();
  co_await observe(ops::write(in.pipe_in, bytes), noted);
}
task<> writev_full(world& in, outcome& noted) {
  world::fill(in.pipe_in);
  auto bytes = four_bytes();
  auto parts = two_parts(bytes);
  co_await observe(ops::writev(in.pipe_in, parts), noted);
}
task<> send_full(world& in, outcome& noted) {
  world::fill(in.here);
  auto bytes = four_bytes();
  co_await observe(ops::send(in.here, bytes), noted);
}
task<> send_all_full(world& in, outcome& noted) {
  world::fill(in.here);
  auto bytes = four_bytes();
  co_await observe(ops::send_all(in.here, bytes), noted);
}
task<> accept_idle(world& in, outcome& noted) { co_await observe(ops::accept(in.listener), noted); }
task<> poll_idle(world& in, outcome& noted) { co_await observe(ops::poll(in.here, POLLIN), noted); }
task<> recv_poll_first_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::recv_poll_first(in.here, buffer), noted);
}
task<> send_poll_first_full(world& in, outcome& noted) {
  world::fill(in.here);
  auto bytes = four_bytes();
  co_await observe(ops::send_poll_first(in.here, bytes), noted);
}
task<> recvmsg_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  auto parts = two_parts(buffer);
  const ops::incoming_message message{.parts = parts};
  co_await observe(ops::recvmsg(in.here, message), noted);
}
task<> sendmsg_full(world& in, outcome& noted) {
  world::fill(in.here);
  auto bytes = four_bytes();
  auto parts = two_parts(bytes);
  const ops::outgoing_message message{.parts = parts};
  co_await observe(ops::sendmsg(in.here, message), noted);
}
task<> events_idle(world& in, outcome& noted) {
  ops::poll_stream events(in.here, POLLIN);
  co_await observe(events.next(), noted);
}
task<> level_idle(world& in, outcome& noted) {
  ops::poll_stream events(in.here, POLLIN, ops::poll_trigger::level);
  co_await observe(events.next(), noted);
}
task<> count_far(world&, outcome& noted) { co_await observe(ops::timeout_or_count(1'000'000, 1h), noted); }
task<> timeout_far(world&, outcome& noted) { co_await observe(ops::timeout(1h), noted); }
task<> sleep_far(world&, outcome& noted) { co_await observe(sleep_for(1h), noted); }
task<> next_idle(world& in, outcome& noted) {
  ops::accept_stream incoming(in.listener);
  co_await observe(incoming.next(), noted);
}

task<> read2_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::read2(in.pipe_out, buffer, ops::current_position, 0), noted);
}
task<> readv2_idle(world& in, outcome& noted) {
  auto buffer = four_bytes();
  auto parts = two_parts(buffer);
  co_await observe(ops::readv2(in.pipe_out, parts, ops::current_position, 0), noted);
}
task<> write2_full(world& in, outcome& noted) {
  world::fill(in.pipe_in);
  auto bytes = four_bytes();
  co_await observe(ops::write2(in.pipe_in, bytes, ops::current_position, 0), noted);
}
task<> writev2_full(world& in, outcome& noted) {
  world::fill(in.pipe_in);
  auto bytes = four_bytes();
  auto parts = two_parts(bytes);
  co_await observe(ops::writev2(in.pipe_in, parts, ops::current_position, 0), noted);
}
task<> splice_idle(world& in, outcome& noted) {
  co_await observe(ops::splice(in.pipe_out, ops::current_position, in.file, 0, 4), noted);
}
task<> splice_full(world& in, outcome& noted) {
  world::fill(in.pipe_in);
  REQUIRE(::write(in.file.get(), "text", 4) == 4);
  co_await observe(ops::splice(in.file, 0, in.pipe_in, ops::current_position, 4), noted);
}
task<> tee_idle(world& in, outcome& noted) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd out{ends[0]};
  const unique_fd copy{ends[1]};
  co_await observe(ops::tee(in.pipe_out, copy, 4), noted);
}
task<> epoll_idle(world& in, outcome& noted) {
  const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  epoll_event wanted{.events = EPOLLIN, .data = {}};
  REQUIRE(::epoll_ctl(set.get(), EPOLL_CTL_ADD, in.here.get(), &wanted) == 0);
  std::array<epoll_event, 1> events{};
  co_await observe(ops::epoll_wait(set, events), noted);
}
task<> waitid_idle(world&, outcome& noted) {
  const child asleep{[] { return ::pause(); }};
  co_await observe(ops::waitid(P_ALL, 0), noted);
}

constexpr std::array waiting_operations{
    kernel_operation{"recv", &recv_idle},
    kernel_operation{"recv_all", &recv_all_idle},
    kernel_operation{"read", &read_idle},
    kernel_operation{"readv", &readv_idle},
    kernel_operation{"write", &write_full},
    kernel_operation{"writev", &writev_full},
    kernel_operation{"send", &send_full},
    kernel_operation{"send_all", &send_all_full},
    kernel_operation{"accept", &accept_idle},
    kernel_operation{"poll", &poll_idle},
    kernel_operation{"timeout", &timeout_far},
    kernel_operation{"sleep", &sleep_far},
    kernel_operation{"accept_stream", &next_idle},
    kernel_operation{"read2", &read2_idle},
    kernel_operation{"readv2", &readv2_idle},
    kernel_operation{"write2", &write2_full},
    kernel_operation{"writev2", &writev2_full},
    kernel_operation{"splice from a pipe", &splice_idle},
    kernel_operation{"splice to a pipe", &splice_full},
    kernel_operation{"tee", &tee_idle},
    kernel_operation{"epoll_wait", &epoll_idle, op_epoll_wait},
    kernel_operation{"waitid", &waitid_idle, IORING_OP_WAITID},
    kernel_operation{"recv_poll_first", &recv_poll_first_idle},
    kernel_operation{"send_poll_first", &send_poll_first_full},
    kernel_operation{"recvmsg", &recvmsg_idle},
    kernel_operation{"sendmsg", &sendmsg_full},
    kernel_operation{"poll_stream", &events_idle},
    kernel_operation{"poll_stream, level", &level_idle},
    kernel_operation{"timeout_or_count", &count_far},
};

// Those that end by themselves, at once or in a kernel worker.
task<> nop_now(world&, outcome& noted) { co_await observe(ops::nop(), noted); }
task<> read_file(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::read(in.file, buffer, 0), noted);
}
task<> write_file(world& in, outcome& noted) {
  auto bytes = four_bytes();
  co_await observe(ops::write(in.file, bytes, 0), noted);
}
task<> sync_file(world& in, outcome& noted) { co_await observe(ops::fsync(in.file), noted); }
task<> open_file(world& in, outcome& noted) {
  co_await observe(ops::openat(AT_FDCWD, in.path.c_str(), O_RDONLY), noted);
}
task<> open_file_2(world& in, outcome& noted) {
  co_await observe(ops::openat2(AT_FDCWD, in.path.c_str(), O_RDWR | O_TRUNC, 0), noted);
}
task<> stat_file(world& in, outcome& noted) { co_await observe(ops::statx(AT_FDCWD, in.path.c_str()), noted); }
task<> unlink_file(world& in, outcome& noted) { co_await observe(ops::unlinkat(AT_FDCWD, in.path.c_str()), noted); }
task<> close_socket(world&, outcome& noted) {
  unique_fd made{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  co_await observe(ops::close(std::move(made)), noted);
}
task<> make_socket(world&, outcome& noted) { co_await observe(ops::socket(AF_INET, SOCK_STREAM), noted); }
task<> connect_socket(world& in, outcome& noted) {
  const unique_fd made{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  co_await observe(ops::connect(made, reinterpret_cast<sockaddr*>(&in.address), sizeof in.address), noted);
}
task<> shut_down(world& in, outcome& noted) { co_await observe(ops::shutdown(in.here, SHUT_WR), noted); }
task<> remove_no_poll(world& in, outcome& noted) {
  ops::poll_stream events(in.here, POLLIN);
  co_await observe(ops::poll_remove(events), noted);
}
task<> cancel_nothing(world& in, outcome& noted) { co_await observe(ops::cancel_fd(in.here), noted); }

task<> read2_file(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::read2(in.file, buffer, 0, 0), noted);
}
task<> write2_file(world& in, outcome& noted) {
  auto bytes = four_bytes();
  co_await observe(ops::write2(in.file, bytes, 0, RWF_DSYNC), noted);
}
task<> sync_part_of_file(world& in, outcome& noted) {
  co_await observe(ops::sync_file_range(in.file, 0, 0, SYNC_FILE_RANGE_WRITE), noted);
}
task<> allocate_file(world& in, outcome& noted) { co_await observe(ops::fallocate(in.file, 0, 0, 4096), noted); }
task<> cut_file(world& in, outcome& noted) { co_await observe(ops::ftruncate(in.file, 0), noted); }
task<> advise_on_file(world& in, outcome& noted) {
  co_await observe(ops::fadvise(in.file, 0, 0, POSIX_FADV_WILLNEED), noted);
}
task<> advise_on_memory(world&, outcome& noted) {
  const huge_memory memory{4096};
  co_await observe(ops::madvise(memory.bytes(), MADV_WILLNEED), noted);
}
task<> rename_file(world& in, outcome& noted) {
  co_await observe(ops::renameat(AT_FDCWD, in.path.c_str(), AT_FDCWD, in.path.c_str()), noted);
}
task<> make_folder(world&, outcome& noted) {
  const temp_folder folder;
  co_await observe(ops::mkdirat(AT_FDCWD, folder.file("made").c_str(), 0700), noted);
}
task<> make_symbolic_link(world&, outcome& noted) {
  const temp_folder folder;
  co_await observe(ops::symlinkat("target", AT_FDCWD, folder.file("link").c_str()), noted);
}
task<> make_link(world& in, outcome& noted) {
  const temp_folder folder;
  co_await observe(ops::linkat(AT_FDCWD, in.path.c_str(), AT_FDCWD, folder.file("link").c_str()), noted);
}
// Errors are ends as well: not each file system has attributes of users.
task<> attribute_of_file(world& in, outcome& noted) {
  co_await observe(ops::fsetxattr(in.file, "user.name", four_bytes()), noted);
  if (noted.how == ended::with_error) noted.how = ended::with_value;
}
task<> attribute_of_path(world& in, outcome& noted) {
  auto buffer = four_bytes();
  co_await observe(ops::getxattr(in.path.c_str(), "user.name", buffer), noted);
  if (noted.how == ended::with_error) noted.how = ended::with_value;
}
task<> make_pipe(world&, outcome& noted) { co_await observe(ops::pipe(), noted); }
task<> splice_file(world& in, outcome& noted) {
  co_await observe(ops::splice(in.file, 0, in.pipe_in, ops::current_position, 4), noted);
}
task<> add_to_epoll(world& in, outcome& noted) {
  const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
  const epoll_event wanted{.events = EPOLLIN, .data = {}};
  co_await observe(ops::epoll_ctl(set, EPOLL_CTL_ADD, in.here, wanted), noted);
}
task<> wait_for_nobody(world&, outcome& noted) {
  const child gone{[] { return 0; }};
  co_await observe(ops::waitid(P_ALL, 0, WEXITED | WNOWAIT), noted);
}

constexpr std::array ending_operations{
    kernel_operation{"nop", &nop_now},
    kernel_operation{"read", &read_file},
    kernel_operation{"write", &write_file},
    kernel_operation{"fsync", &sync_file},
    kernel_operation{"openat", &open_file},
    kernel_operation{"openat2", &open_file_2},
    kernel_operation{"statx", &stat_file},
    kernel_operation{"unlinkat", &unlink_file},
    kernel_operation{"close", &close_socket},
    kernel_operation{"socket", &make_socket},
    kernel_operation{"connect", &connect_socket},
    kernel_operation{"shutdown", &shut_down},
    kernel_operation{"cancel_fd", &cancel_nothing},
    kernel_operation{"read2", &read2_file},
    kernel_operation{"write2", &write2_file},
    kernel_operation{"sync_file_range", &sync_part_of_file},
    kernel_operation{"fallocate", &allocate_file},
    kernel_operation{"ftruncate", &cut_file, IORING_OP_FTRUNCATE},
    kernel_operation{"fadvise", &advise_on_file},
    kernel_operation{"madvise", &advise_on_memory},
    kernel_operation{"renameat", &rename_file},
    kernel_operation{"mkdirat", &make_folder},
    kernel_operation{"symlinkat", &make_symbolic_link},
    kernel_operation{"linkat", &make_link},
    kernel_operation{"fsetxattr", &attribute_of_file},
    kernel_operation{"getxattr", &attribute_of_path},
    kernel_operation{"pipe", &make_pipe, op_pipe},
    kernel_operation{"splice", &splice_file},
    kernel_operation{"epoll_ctl", &add_to_epoll},
    kernel_operation{"waitid", &wait_for_nobody, IORING_OP_WAITID},
    kernel_operation{"poll_remove", &remove_no_poll},
};

enum class moment { before_it_began, before_submission, after_submission };

}  // namespace

TEST_CASE("what waits in the kernel is stopped by a cancel, whenever it comes") {
  const std::size_t open_before = open_descriptors_count();
  for (const auto& operation : waiting_operations) {
    if (!kernel_has(operation.needed_opcode, operation.name, without_it::goes_on)) continue;
    for (const auto when : {moment::before_it_began, moment::before_submission, moment::after_submission}) {
      CAPTURE(operation.name);
      CAPTURE(static_cast<int>(when));
      world in;
      executor loop{options_under_test()};
      outcome noted;
      auto root = loop.start(operation.observed(in, noted));
      std::optional<root_task<void>> canceller;

      if (when == moment::before_submission) canceller.emplace(loop, cancel_other(root));
      if (when == moment::after_submission) loop.run_ready();
      if (when != moment::before_submission) root.cancel();
      turn_until_done(loop, root);

      CHECK(noted.how == ended::stopped);
      CHECK(root.stopped());
    }
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("what ends by itself ends, stopped or with its result, whenever the cancel comes") {
  const std::size_t open_before = open_descriptors_count();
  for (const auto& operation : ending_operations) {
    if (!kernel_has(operation.needed_opcode, operation.name, without_it::goes_on)) continue;
    for (const bool before_submission : {true, false}) {
      CAPTURE(operation.name);
      CAPTURE(before_submission);
      world in;
      executor loop{options_under_test()};
      outcome noted;
      auto root = loop.start(operation.observed(in, noted));
      std::optional<root_task<void>> canceller;

      if (before_submission) canceller.emplace(loop, cancel_other(root));
      loop.turn(/*may_park=*/false);
      root.cancel();
      turn_until_done(loop, root);

      CHECK((noted.how == ended::stopped || noted.how == ended::with_value));
      CHECK(root.stopped() == (noted.how == ended::stopped));
    }
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("data that crosses a cancel is received, or still in the socket") {
  for (const char* order : {"data, cancel", "cancel, data", "data, reap, cancel", "cancel, submit, data"}) {
    CAPTURE(order);
    const std::string_view how{order};
    world in;
    executor loop{options_under_test()};
    outcome noted;
    auto root = loop.start(recv_idle(in, noted));
    loop.run_ready();
    const auto send = [&] { REQUIRE(::send(in.there.get(), "data", 4, 0) == 4); };

    if (how == "data, cancel") send(), root.cancel();
    if (how == "cancel, data") root.cancel(), send();
    if (how == "data, reap, cancel") send(), loop.turn(/*may_park=*/false), root.cancel();
    if (how == "cancel, submit, data") root.cancel(), loop.turn(/*may_park=*/false), send();
    turn_until_done(loop, root);

    std::array<char, 8> left{};
    const auto left_count = ::recv(in.here.get(), left.data(), left.size(), MSG_DONTWAIT);
    if (noted.how == ended::with_value) CHECK(left_count == -1);
    else CHECK(left_count == 4);
    CHECK((noted.how == ended::with_value || noted.how == ended::stopped));
    if (how == "data, reap, cancel") CHECK(noted.how == ended::with_value);
  }
}

TEST_CASE("accepts and cancels in each order leave no descriptor behind, and lose no connection") {
  constexpr int rounds_count = 2'000;
  world in;
  executor loop{options_under_test()};
  const std::size_t open_before = open_descriptors_count();
  int stopped_count = 0;

  for (int i = 0; i < rounds_count; ++i) {
    outcome noted;
    auto root = loop.start(accept_idle(in, noted));
    std::optional<root_task<void>> canceller;
    unique_fd client;
    const auto turn = [&] { loop.turn(/*may_park=*/false); };
    const auto connect = [&] { client = in.connect_now(); };
    switch (i % 5) {
      case 0:
        connect(), canceller.emplace(loop, cancel_other(root));
        break;
      case 1:
        turn(), connect(), root.cancel();
        break;
      case 2:
        turn(), root.cancel(), connect();
        break;
      case 3:
        turn(), root.cancel(), turn(), connect();
        break;
      case 4:
        connect(), turn(), root.cancel();
        break;
    }
    turn_until_done(loop, root);
    if (!root.stopped()) continue;

    // Not accepted: it is still there for the next.
    ++stopped_count;
    const unique_fd waiting{::accept4(in.listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    CHECK(static_cast<bool>(waiting));
  }

  CHECK(open_descriptors_count() == open_before);
  CHECK(stopped_count < rounds_count);
  if (!submits_by_itself()) CHECK(stopped_count > 0);  // else a cancel goes when its thread finds it
}

namespace {

// Connects and leaves, again and again on a thread of its own. Hardly ever does one wait to be accepted: so most
// accepts that are raced with find none, until they do.
class connecting_thread {
 public:
  explicit connecting_thread(const world& in) : in_{in} {}

  void accepted_one() noexcept { ++accepted_count_; }
  int connected_count() const noexcept { return connected_count_; }
  void end() {
    thread_.request_stop();
    thread_.join();
  }

 private:
  void connect_until(const std::stop_token& end) {
    while (!end.stop_requested()) {
      if (connected_count_ - accepted_count_ >= 2) {
        std::this_thread::yield();
        continue;
      }
      const unique_fd client = in_.connect_now();
      ::pollfd connected{.fd = client.get(), .events = POLLOUT, .revents = 0};
      if (::poll(&connected, 1, /*timeout=*/-1) == 1) ++connected_count_;
    }
  }

  const world& in_;
  std::atomic<int> connected_count_ = 0;
  std::atomic<int> accepted_count_ = 0;
  std::jthread thread_{[this](const std::stop_token& end) { connect_until(end); }};
};

}  // namespace

TEST_CASE("10,000 accepts raced with cancels leave no descriptor behind, and lose no connection") {
  constexpr int rounds_count = 10'000;
  constexpr int of_each_at_least = 100;
  world in;
  executor loop{options_under_test()};
  const std::size_t open_before = open_descriptors_count();
  connecting_thread connecting{in};
  int stopped_count = 0;
  int accepted_count = 0;

  for (int i = 0; i < rounds_count || stopped_count < of_each_at_least || accepted_count < of_each_at_least; ++i) {
    outcome noted;
    auto root = loop.start(accept_idle(in, noted));
    loop.turn(/*may_park=*/false);
    for (std::atomic<int> spin = 0; spin < i % 50 * 20; ++spin) {
    }
    root.cancel();
    turn_until_done(loop, root);
    if (root.stopped()) {
      ++stopped_count;
      continue;
    }
    ++accepted_count;
    connecting.accepted_one();
  }
  connecting.end();

  // Who was not accepted is still there.
  int waiting_count = 0;
  REQUIRE(::fcntl(in.listener.get(), F_SETFL, O_NONBLOCK) == 0);
  while (unique_fd{::accept4(in.listener.get(), nullptr, nullptr, SOCK_CLOEXEC)}) ++waiting_count;
  CHECK(accepted_count + waiting_count == connecting.connected_count());
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("connections that a stream has in store when it goes are closed") {
  world in;
  const std::size_t open_before = open_descriptors_count();
  {
    executor loop{options_under_test()};
    std::vector<unique_fd> clients;
    auto root = loop.start([](world& from) -> task<> {
      ops::accept_stream incoming(from.listener);
      static_cast<void>(co_await incoming.next());
      co_await sleep_for(1h);
    }(in));
    loop.run_ready();
    for (int i = 0; i < 10; ++i) clients.push_back(in.connect_now());
    for (int i = 0; i < 10; ++i) loop.turn(/*may_park=*/false);

    root.cancel();
    for (int i = 0; i < 10; ++i) clients.push_back(in.connect_now());
    turn_until_done(loop, root);
  }
  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("cancel_fd ends what is in flight on a descriptor, in every coroutine, as an error") {
  world in;
  executor loop{options_under_test()};
  std::array<outcome, 3> noted;
  auto first = loop.start(recv_idle(in, noted[0]));
  auto second = loop.start(poll_idle(in, noted[1]));
  auto other = loop.start(read_idle(in, noted[2]));
  loop.run_ready();

  const auto found = loop.run([&]() -> task<std::size_t> { co_return co_await ops::cancel_fd(in.here); });
  while (!first.done() || !second.done()) loop.turn(/*may_park=*/true);

  CHECK(found == 2);
  CHECK(noted[0].error == std::errc::operation_canceled);
  CHECK(noted[1].error == std::errc::operation_canceled);
  CHECK(noted[2].how == ended::not_yet);
  other.cancel();
  turn_until_done(loop, other);
}

}  // namespace gyre
