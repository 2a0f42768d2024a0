// SPDX-License-Identifier: MIT
// Relays between TCP connections on loopback: bytes, ends, errors and stops in each state; the pipes and the system
// calls that they take; and what happens where the kernel does not splice.
#include <gyre/net/detail/pipe_cache.hpp>
#include <gyre/net/relay.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/detail/scripted_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/bytes.hpp"
#include "../support/counted_calls.hpp"
#include "../support/forbidden.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/scripted.hpp"
#include "../support/skip.hpp"
#include "../support/tcp_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

// A client and a server, by plain socket calls, and what stands between them.
struct relayed_pair {
  explicit relayed_pair(relay_options options = {}) {
    options.counts = &counts;
    running.emplace(loop, relay(first, second, options));
    settle();
  }

  relayed_pair(const relayed_pair&) = delete;
  relayed_pair& operator=(const relayed_pair&) = delete;
  ~relayed_pair() {
    running->cancel();
    turn_until_over();
  }

  // Turns until nothing more happens by itself.
  void settle() { loop.run_ready(); }

  void turn_until(const std::function<bool()>& holds) {
    while (!holds()) {
      settle();
      std::array<::pollfd, 2> ends{{{client.get(), POLLIN, 0}, {server.get(), POLLIN, 0}}};
      ::poll(ends.data(), ends.size(), 1);  // what is on its way over loopback comes by itself
    }
  }

  void turn_until_over() {
    while (!running->done()) loop.turn(/*may_park=*/true);
  }

  relay_outcome outcome_of_all() {
    turn_until_over();
    return running->get();
  }

  // Those bytes, as they arrive.
  std::string take(const unique_fd& from, std::size_t count) {
    std::string taken(count, '\0');
    std::size_t came_count = 0;
    turn_until([&] {
      const auto came = ::recv(from.get(), taken.data() + came_count, count - came_count, MSG_DONTWAIT);
      if (came == 0) taken.resize(count = came_count);
      if (came > 0) came_count += static_cast<std::size_t>(came);
      return came_count == count;
    });
    return taken;
  }

  bool has_ended(const unique_fd& from) {
    ::ssize_t came = -1;
    char byte = 0;
    turn_until([&] { return (came = ::recv(from.get(), &byte, 1, MSG_DONTWAIT)) >= 0 || errno != EAGAIN; });
    return came == 0;
  }

  tcp_pair here;
  tcp_pair there;
  const unique_fd& client = here.here;
  const unique_fd& server = there.there;
  tcp_stream first{std::move(here.there)};
  tcp_stream second{std::move(there.here)};
  relay_counts counts;
  executor loop;
  std::optional<root_task<relay_outcome>> running;
};

void give(const unique_fd& to, std::string_view bytes) {
  REQUIRE(::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<::ssize_t>(bytes.size()));
}

void end(const unique_fd& writing) { REQUIRE(::shutdown(writing.get(), SHUT_WR) == 0); }

// The peer goes without a goodbye.
void reset(const unique_fd& gone) {
  const ::linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(gone.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  ::close(const_cast<unique_fd&>(gone).release());
}

bool blocks(const stream_socket& socket) { return (::fcntl(socket.fd().get(), F_GETFL) & O_NONBLOCK) == 0; }

// So much that no buffer on the way takes it all.
std::size_t give_until_full(relayed_pair& pair, const unique_fd& to) {
  const std::string piece(std::size_t{1} << 16U, 'x');
  std::size_t given_count = 0;
  for (int refused_count = 0; refused_count < 3; pair.settle()) {
    const auto took = ::send(to.get(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (took > 0) given_count += static_cast<std::size_t>(took);
    refused_count = took > 0 ? 0 : refused_count + 1;
  }
  return given_count;
}

// Bytes in which a piece that was lost, doubled or moved shows.
std::string telling_bytes(std::size_t count) {
  std::string made(count, '\0');
  std::uint32_t state = 1;
  for (char& each : made) {
    state = state * 1'664'525 + 1'013'904'223;
    each = static_cast<char>(state >> 24U);
  }
  return made;
}

struct failure {
  std::error_code why;
  relay_side side{};
  relay_step step{};
  relay_counts counts;
};

std::optional<failure> failure_of(relayed_pair& pair) {
  pair.turn_until_over();
  try {
    static_cast<void>(pair.running->get());
  } catch (const relay_error& error) {
    return failure{error.code(), error.side(), error.step(), error.counts()};
  }
  return std::nullopt;
}

task<> write_and_end(tcp_stream& to, std::string_view bytes) {
  co_await to.write_all(bytes_of(bytes));
  to.shutdown_write();
}

task<> read_to_end(tcp_stream& from, std::string& all) {
  std::array<std::byte, 10'000> buffer;
  while (const auto count = co_await from.read(buffer)) all += text_of(std::span{buffer}.first(count));
}

}  // namespace

// ------------------------------------------------------------------------------------------------------ bytes and ends

TEST_CASE("what one side sends comes to the other, both ways, and is counted while the relay runs") {
  relayed_pair pair;

  give(pair.client, "a question");
  CHECK(pair.take(pair.server, 10) == "a question");
  give(pair.server, "an answer");
  CHECK(pair.take(pair.client, 9) == "an answer");

  CHECK(pair.counts.forth.read_bytes == 10);
  CHECK(pair.counts.forth.written_bytes == 10);
  CHECK(pair.counts.back.read_bytes == 9);
  CHECK(pair.counts.back.written_bytes == 9);
  CHECK(!pair.counts.forth.ended);
  CHECK(!pair.running->done());
}

TEST_CASE("large amounts arrive byte by byte as they were sent, both ways at once") {
  relayed_pair pair;
  tcp_stream client{unique_fd{::dup(pair.client.get())}};
  tcp_stream server{unique_fd{::dup(pair.server.get())}};
  const std::string question = telling_bytes(std::size_t{9} << 20U);
  const std::string answer = telling_bytes((std::size_t{7} << 20U) + 12'345);
  std::string got_there;
  std::string got_here;

  auto asking = pair.loop.start(write_and_end(client, question));
  auto answering = pair.loop.start(write_and_end(server, answer));
  auto hearing = pair.loop.start(read_to_end(client, got_here));
  auto heard = pair.loop.start(read_to_end(server, got_there));
  turn_until_done(pair.loop, hearing);
  turn_until_done(pair.loop, heard);
  const auto done = pair.outcome_of_all();

  CHECK((got_there == question));
  CHECK((got_here == answer));
  CHECK(done.how == relay_ending::both_ended);
  CHECK(done.counts.forth.written_bytes == question.size());
  CHECK(done.counts.back.written_bytes == answer.size());
}

TEST_CASE("the end of one direction is passed on, and the other direction goes on") {
  relayed_pair pair;

  give(pair.client, "the last word");
  end(pair.client);
  CHECK(pair.take(pair.server, 13) == "the last word");
  CHECK(pair.has_ended(pair.server));
  CHECK(pair.counts.forth.ended);
  CHECK(!pair.counts.back.ended);

  give(pair.server, "is not the end");
  CHECK(pair.take(pair.client, 14) == "is not the end");
  end(pair.server);
  CHECK(pair.has_ended(pair.client));
  const auto done = pair.outcome_of_all();
  CHECK(done.how == relay_ending::both_ended);
  CHECK(done.counts.forth.written_bytes == 13);
  CHECK(done.counts.back.written_bytes == 14);
}

TEST_CASE("the end of a side waits for the bytes before it, where the other does not take them") {
  relayed_pair pair;
  const std::size_t given_count = give_until_full(pair, pair.client);
  end(pair.client);
  pair.settle();
  CHECK(!pair.counts.forth.ended);

  CHECK(pair.take(pair.server, given_count).size() == given_count);

  CHECK(pair.has_ended(pair.server));
  CHECK(pair.counts.forth.written_bytes == given_count);
}

TEST_CASE("sides that had ended before the relay began are passed on at once") {
  executor loop;
  tcp_pair here;
  tcp_pair there;
  give(here.here, "early");
  end(here.here);
  end(there.there);
  tcp_stream first{std::move(here.there)};
  tcp_stream second{std::move(there.here)};

  const auto done = loop.run(relay(first, second));

  CHECK(done.how == relay_ending::both_ended);
  CHECK(done.counts.forth.written_bytes == 5);
  CHECK(done.counts.back.read_bytes == 0);
}

TEST_CASE("a target that has ended its own direction and takes nothing costs no turn after turn") {
  const auto counted = count_calls({SYS_splice}, [] {
    relayed_pair pair;
    end(pair.server);
    CHECK(pair.has_ended(pair.client));
    give_until_full(pair, pair.client);
    const auto before = pair.loop.statistics().turns;

    for (int i = 0; i < 100; ++i) pair.settle();

    CHECK(pair.loop.statistics().turns - before <= 101);  // each has its one, and none is a round of its own
    CHECK(!pair.running->done());
  });
  if (!counted.were_counted) SAY_LEFT_OUT("system calls cannot be counted here");
  else CHECK(counted.of(SYS_splice) < 2000);  // those that filled the way, and none of the hundred
}

TEST_CASE("a target that has ended its own direction gets the rest when it takes again") {
  relayed_pair pair;
  end(pair.server);
  CHECK(pair.has_ended(pair.client));
  const std::size_t given_count = give_until_full(pair, pair.client);

  CHECK(pair.take(pair.server, given_count).size() == given_count);

  CHECK(pair.counts.forth.written_bytes == given_count);
}

TEST_CASE("urgent data is left out, and what comes after it is not held up by it") {
  const auto counted = count_calls({SYS_splice}, [] {
    relayed_pair pair;
    give(pair.client, "abc");
    REQUIRE(::send(pair.client.get(), "!", 1, MSG_OOB) == 1);
    give(pair.client, "def");

    CHECK(pair.take(pair.server, 6) == "abcdef");
    CHECK(pair.counts.forth.written_bytes == 6);
  });
  if (!counted.were_counted) SAY_LEFT_OUT("system calls cannot be counted here");
  else CHECK(counted.of(SYS_splice) < 20);
}

TEST_CASE("urgent data before the end of a side does not hide what lies between the two") {
  relayed_pair pair;
  REQUIRE(::send(pair.client.get(), "abc!", 4, MSG_OOB) == 4);
  give(pair.client, "def");
  end(pair.client);

  CHECK(pair.take(pair.server, 6) == "abcdef");

  CHECK(pair.has_ended(pair.server));
}

// ------------------------------------------------------------------------------------------------------ the idle limit

namespace {

// The same on a ring that a test answers: the sockets are the kernel's, the polls and the clock are the test's.
struct scripted_pair : scripted_executor {
  explicit scripted_pair(std::chrono::nanoseconds idle_max)
      : running{loop, relay(first, second, {.idle_max = idle_max, .counts = &counts})} {
    loop.run_ready();
  }

  ~scripted_pair() { stop(running); }

  // Says that a socket can be read, or written, to the direction that waits for it.
  void tell_ready(const stream_socket& socket, std::uint32_t events) {
    for (const auto& each : script.in_flight(IORING_OP_POLL_ADD)) {
      if (each.fd != socket.fd().get()) continue;
      script.complete(each, static_cast<std::int32_t>(events));
      break;
    }
    loop.run_ready();
  }

  void send_and_tell(const unique_fd& from, std::string_view bytes, const stream_socket& at) {
    give(from, bytes);
    ::pollfd arrived{at.fd().get(), POLLIN, 0};
    REQUIRE(::poll(&arrived, 1, -1) == 1);
    tell_ready(at, POLLIN);
  }

  tcp_pair here;
  tcp_pair there;
  const unique_fd& client = here.here;
  const unique_fd& server = there.there;
  tcp_stream first{std::move(here.there)};
  tcp_stream second{std::move(there.here)};
  relay_counts counts;
  root_task<relay_outcome> running;
};

}  // namespace

TEST_CASE("a relay in which nothing is moved for long enough ends as idle, on the scripted ring") {
  scripted_pair pair{10s};

  pair.advance(9s);
  CHECK(!pair.running.done());
  pair.advance(2s);

  REQUIRE(pair.running.done());
  const auto done = pair.running.get();
  CHECK(done.how == relay_ending::idle);
  CHECK(done.counts.forth.read_bytes == 0);
}

TEST_CASE("bytes in either direction put the idle limit off, and are in the counts, on the scripted ring") {
  scripted_pair pair{10s};

  pair.advance(9s);
  pair.send_and_tell(pair.client, "abc", pair.first);
  pair.advance(9s);
  pair.send_and_tell(pair.server, "de", pair.second);
  pair.advance(9s);
  CHECK(!pair.running.done());
  pair.advance(2s);

  REQUIRE(pair.running.done());
  const auto done = pair.running.get();
  CHECK(done.how == relay_ending::idle);
  CHECK(done.counts.forth.written_bytes == 3);
  CHECK(done.counts.back.written_bytes == 2);
}

TEST_CASE("a side that does not take what it is sent is idle too, and what was held for it is told") {
  relayed_pair pair{{.idle_max = 20ms}};
  const std::size_t given_count = give_until_full(pair, pair.client);

  const auto done = pair.outcome_of_all();

  CHECK(done.how == relay_ending::idle);
  CHECK(done.counts.forth.read_bytes > done.counts.forth.written_bytes);
  CHECK(done.counts.forth.read_bytes <= given_count);
}

// -------------------------------------------------------------------------------------------------------------- errors

TEST_CASE("a reset of one side ends the relay with its error and the side's name") {
  for (const auto side : {relay_side::first, relay_side::second}) {
    relayed_pair pair;
    give(pair.client, "abc");
    REQUIRE(pair.take(pair.server, 3) == "abc");
    reset(side == relay_side::first ? pair.client : pair.server);

    const auto failed = failure_of(pair);

    REQUIRE(failed);
    CHECK(failed->why == std::errc::connection_reset);
    CHECK(failed->side == side);
    CHECK(failed->step == relay_step::reading);
    CHECK(failed->counts.forth.written_bytes == 3);
  }
}

TEST_CASE("a side that is gone when something is to be written to it is told as that, and no SIGPIPE is raised") {
  relayed_pair pair;
  end(pair.server);
  CHECK(pair.has_ended(pair.client));
  reset(pair.server);
  give(pair.client, "to nobody");
  pair.turn_until([&] { return pair.running->done() || pair.counts.forth.written_bytes > 0; });
  if (!pair.running->done()) give(pair.client, "or to whom");

  const auto failed = failure_of(pair);

  REQUIRE(failed);
  CHECK((failed->why == std::errc::broken_pipe || failed->why == std::errc::connection_reset));
  CHECK(failed->side == relay_side::second);
  CHECK(failed->step == relay_step::writing);
  CHECK(failed->counts.forth.read_bytes > failed->counts.forth.written_bytes);
  ::sigset_t pending;
  REQUIRE(::sigpending(&pending) == 0);
  CHECK(sigismember(&pending, SIGPIPE) == 0);
}

TEST_CASE("the text of an error says which side it was and what was done there") {
  const relay_error error{std::make_error_code(std::errc::broken_pipe), relay_side::second, relay_step::writing, {}};

  CHECK(std::string_view{error.what()}.starts_with("relay: writing to the second"));
}

TEST_CASE("close() of a stream that is relayed ends the relay with an error of that side") {
  relayed_pair pair;

  pair.loop.run(pair.second.close());

  const auto failed = failure_of(pair);
  REQUIRE(failed);
  CHECK(failed->side == relay_side::second);
  CHECK(pair.has_ended(pair.server));
}

// --------------------------------------------------------------------------------------------------------------- stops

TEST_CASE("a stop ends a relay that waits for bytes, and leaves the connections as they were") {
  const std::size_t before = open_descriptors_count();
  {
    relayed_pair pair;
    CHECK(!blocks(pair.first));
    pair.running->cancel();
    pair.turn_until_over();

    CHECK(pair.running->stopped());
    CHECK(blocks(pair.first));
    CHECK(blocks(pair.second));
    give(pair.client, "still there");
    std::array<char, 11> buffer{};
    CHECK(::recv(pair.first.fd().get(), buffer.data(), buffer.size(), MSG_WAITALL) == 11);
  }
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a stop ends a relay that waits for room, and the pipe with bytes in it is nobody else's") {
  const std::size_t before = open_descriptors_count();
  {
    relayed_pair pair;
    const std::size_t idle = open_descriptors_count();  // with the pipe that the first look has left in the cache
    give_until_full(pair, pair.client);
    CHECK(open_descriptors_count() == idle);

    pair.running->cancel();
    pair.turn_until_over();

    CHECK(pair.running->stopped());
    CHECK(pair.counts.forth.read_bytes > pair.counts.forth.written_bytes);
    CHECK(open_descriptors_count() == idle - 2);
  }
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a stop ends a relay of which one direction has ended, or is about to begin") {
  relayed_pair half;
  end(half.client);
  CHECK(half.has_ended(half.server));
  half.running->cancel();
  half.turn_until_over();
  CHECK(half.running->stopped());
  CHECK(half.counts.forth.ended);

  executor loop;
  tcp_pair here;
  tcp_pair there;
  tcp_stream first{std::move(here.there)};
  tcp_stream second{std::move(there.here)};
  auto early = loop.start(relay(first, second));
  early.cancel();
  turn_until_done(loop, early);
  CHECK(early.stopped());
  CHECK(blocks(first));
}

TEST_CASE("a stop that comes with bytes loses none of those that were not read yet, on the scripted ring") {
  scripted_pair pair{1h};
  give(pair.client, "abc");

  pair.stop(pair.running);

  CHECK(pair.running.stopped());
  CHECK(pair.counts.forth.read_bytes == 0);
  std::array<char, 3> buffer{};
  CHECK(::recv(pair.first.fd().get(), buffer.data(), buffer.size(), MSG_WAITALL) == 3);
}

// -------------------------------------------------------------------------------------------------- pipes and the rest

TEST_CASE("relays that wait have no pipe, and those that move bytes one after the other share one") {
  executor loop;
  struct connection {
    tcp_pair here;
    tcp_pair there;
    tcp_stream first{std::move(here.there)};
    tcp_stream second{std::move(there.here)};
  };
  std::vector<connection> connections(20);
  const std::size_t before = open_descriptors_count();
  std::deque<root_task<relay_outcome>> running;
  for (auto& each : connections) running.emplace_back(loop, relay(each.first, each.second));
  loop.run_ready();

  for (auto& each : connections) {
    give(each.here.here, "abc");
    ::pollfd arrived{each.there.there.get(), POLLIN, 0};
    while (::poll(&arrived, 1, 1) == 0) loop.run_ready();
  }

  CHECK(open_descriptors_count() == before + 2);
  for (auto& each : running) each.cancel();
  for (auto& each : running) turn_until_done(loop, each);
}

TEST_CASE("of many pipes that come back at once, a few are kept") {
  executor loop;
  detail::pipe_cache& pipes = loop.local<detail::pipe_cache>();
  std::vector<detail::splice_pipe> taken;
  for (std::size_t i = 0; i < 2 * detail::pipe_cache::kept_max; ++i) taken.push_back(pipes.take());
  const std::size_t before = open_descriptors_count();

  for (auto& each : taken) pipes.give_back(std::move(each));

  CHECK(pipes.kept_count() == detail::pipe_cache::kept_max);
  CHECK(open_descriptors_count() == before - 2 * detail::pipe_cache::kept_max);
}

TEST_CASE("a message costs two splices, and a relay eight calls for its modes and its pipe") {
  const std::vector<unsigned> calls{SYS_splice, SYS_pipe2, SYS_fcntl,        SYS_recvfrom,      SYS_sendto,
                                    SYS_read,   SYS_write, SYS_rt_sigaction, SYS_rt_sigprocmask};
  std::array<counted_calls, 2> counted;
  for (const std::size_t messages_count : {std::size_t{1}, std::size_t{4}}) {
    counted[messages_count / 4] = count_calls(calls, [messages_count] {
      relayed_pair pair;
      for (std::size_t i = 0; i < messages_count; ++i) {
        ::write(pair.client.get(), "abc", 3);
        pair.turn_until([&] { return pair.counts.forth.written_bytes == 3 * (i + 1); });
      }
    });
  }
  if (!counted[0].were_counted) {
    SAY_SKIPPED("system calls cannot be counted here");
    return;
  }

  // Both sides are tried at the beginning; each message is read and written; each pipe is made and sized.
  CHECK(counted[0].of(SYS_splice) == 2 + 2);
  CHECK(counted[1].of(SYS_splice) == 2 + 4 * 2);
  CHECK(counted[0].of(SYS_pipe2) == 1);
  CHECK(counted[1].of(SYS_pipe2) == 1);
  CHECK(counted[0].of(SYS_fcntl) == 2 * 3 + 2);  // the mode of each socket: asked, set, set back; the pipe's size
  CHECK(counted[1].of(SYS_fcntl) == 2 * 3 + 2);
  CHECK(counted[1].of(SYS_recvfrom) == 0);
  CHECK(counted[1].of(SYS_sendto) == 0);
}

// --------------------------------------------------------------------------------------------- where splice is not had

TEST_CASE("a process that gets no descriptor for a pipe relays all the same") {
  relayed_pair pair;
  const no_descriptor_left none_left;

  give(pair.client, "abc");
  CHECK(pair.take(pair.server, 3) == "abc");
  const std::size_t given_count = give_until_full(pair, pair.client);
  CHECK(pair.take(pair.server, given_count).size() == given_count);

  end(pair.client);
  CHECK(pair.has_ended(pair.server));
}

TEST_CASE("a kernel that does not splice has every byte copied, and ends and errors are the same") {
  for (const int refusal : {ENOSYS, EPERM, EINVAL}) {
    where_calls_fail(refusal, {SYS_splice}, [] {
      relayed_pair pair;
      const std::string question = telling_bytes(std::size_t{1} << 17U);
      give(pair.client, question.substr(0, 100'000));
      CHECK((pair.take(pair.server, 100'000) == question.substr(0, 100'000)));
      const std::size_t given_count = give_until_full(pair, pair.server);
      CHECK(pair.take(pair.client, given_count).size() == given_count);
      end(pair.client);
      CHECK(pair.has_ended(pair.server));
      reset(pair.server);
      const auto failed = failure_of(pair);
      CHECK((failed && failed->why == std::errc::connection_reset && failed->side == relay_side::second));
      return true;
    });
  }
}

// ------------------------------------------------------------------------------------------------ streams of all sorts

namespace {

// Somebody's own stream over a connection: it turns every byte over.
class inverting_stream {
 public:
  explicit inverting_stream(tcp_stream& over) : over_{&over} {}

  task<std::size_t> read(std::span<std::byte> buffer) {
    const auto count = co_await over_->read(buffer);
    for (auto& each : buffer.first(count)) each = ~each;
    co_return count;
  }
  task<std::size_t> write(std::span<const std::byte> bytes) {
    std::vector<std::byte> turned(bytes.begin(), bytes.end());
    for (auto& each : turned) each = ~each;
    co_return co_await over_->write(turned);
  }
  task<> shutdown_write() {
    over_->shutdown_write();
    co_return;
  }

 private:
  tcp_stream* over_;
};

// A stream that always has bytes and takes all, without ever waiting.
struct endless_stream {
  task<std::size_t> read(std::span<std::byte> buffer) {
    if (left_count == 0) co_return 0;
    const std::size_t count = std::min(buffer.size(), left_count);
    left_count -= count;
    co_return count;
  }
  task<std::size_t> write(std::span<const std::byte> bytes) {
    taken_count += bytes.size();
    co_return bytes.size();
  }
  void shutdown_write() { was_told_of_the_end = true; }

  std::size_t left_count = 0;
  std::size_t taken_count = 0;
  bool was_told_of_the_end = false;
};

// A stream that fails.
struct failing_stream {
  task<std::size_t> read(std::span<std::byte>) {
    if (!fails_to_read) co_await sleep_for(24h);
    throw std::system_error{std::make_error_code(std::errc::io_error), "read"};
  }
  task<std::size_t> write(std::span<const std::byte>) {
    if (takes_nothing) co_return 0;
    throw std::system_error{std::make_error_code(std::errc::no_space_on_device), "write"};
  }
  void shutdown_write() const { throw std::system_error{std::make_error_code(std::errc::timed_out), "shutdown"}; }

  bool fails_to_read = false;
  bool takes_nothing = false;
};

task<> count_turns(bool& over, std::size_t& turns_count) {
  while (!over) {
    ++turns_count;
    co_await this_task::yield();
  }
}

failure failure_between(endless_stream first, failing_stream second) {
  executor loop;
  try {
    static_cast<void>(loop.run(relay(first, second)));
  } catch (const relay_error& error) {
    return {error.code(), error.side(), error.step(), error.counts()};
  }
  return {};
}

}  // namespace

TEST_CASE("a stream of somebody's own is relayed by its read() and write(), half-close and all") {
  tcp_pair here;
  tcp_pair there;
  tcp_stream over{std::move(here.there)};
  inverting_stream first{over};
  tcp_stream second{std::move(there.here)};
  executor loop;
  auto running = loop.start(relay(first, second));

  give(here.here, "abc");
  end(here.here);
  give(there.there, "de");
  end(there.there);
  turn_until_done(loop, running);

  const auto done = running.get();
  CHECK(done.how == relay_ending::both_ended);
  CHECK(done.counts.forth.written_bytes == 3);
  CHECK(done.counts.back.written_bytes == 2);
  std::array<char, 4> got{};
  CHECK(::recv(there.there.get(), got.data(), got.size(), MSG_WAITALL) == 3);
  CHECK(std::string_view{got.data(), 3} == std::string{'\x9e', '\x9d', '\x9c'});
}

TEST_CASE(
    "a target that has closed before it could be told of an end needs no telling, in whatever way it is relayed") {
  for (const bool by_splice : {true, false}) {
    CAPTURE(by_splice);
    tcp_pair here;
    tcp_pair there;
    tcp_stream over{std::move(here.there)};
    inverting_stream inverted{over};
    tcp_stream second{std::move(there.here)};
    executor loop;
    auto running = loop.start(by_splice ? relay(over, second) : relay(inverted, second));
    end(there.there);
    const auto told_client = [&] {
      char byte = 0;
      return ::recv(here.here.get(), &byte, 1, MSG_DONTWAIT) == 0;
    };
    while (!told_client()) loop.turn(/*may_park=*/false);
    reset(there.there);
    ::pollfd target{.fd = second.fd().get(), .events = 0, .revents = 0};
    REQUIRE(::poll(&target, 1, -1) == 1);  // the reset has come, and nobody has looked

    end(here.here);
    turn_until_done(loop, running);

    const auto done = running.get();
    CHECK(done.how == relay_ending::both_ended);
    CHECK(done.counts.forth.ended);
    CHECK(done.counts.back.ended);
  }
}

TEST_CASE("streams that never wait leave others their turns") {
  executor loop;
  endless_stream first{.left_count = 10 * relay_turn_bytes_max};
  endless_stream second;
  bool over = false;
  std::size_t turns_count = 0;
  auto other = loop.start(count_turns(over, turns_count));
  auto running = loop.start(relay(first, second));

  turn_until_done(loop, running);
  over = true;
  turn_until_done(loop, other);

  CHECK(running.get().counts.forth.written_bytes == 10 * relay_turn_bytes_max);
  CHECK(second.was_told_of_the_end);
  CHECK(first.was_told_of_the_end);
  CHECK(turns_count >= 10);
}

TEST_CASE("errors of streams of all sorts are told with their side and step") {
  const auto reading = failure_between({}, {.fails_to_read = true});
  CHECK(reading.side == relay_side::second);
  CHECK(reading.counts.back.read_bytes == 0);

  const auto writing = failure_between({.left_count = 10}, {});
  CHECK(writing.why == std::errc::no_space_on_device);
  CHECK(writing.side == relay_side::second);
  CHECK(writing.step == relay_step::writing);
  CHECK(writing.counts.forth.read_bytes == 10);
  CHECK(writing.counts.forth.written_bytes == 0);

  CHECK(failure_between({.left_count = 10}, {.takes_nothing = true}).why == errc::no_progress);
  CHECK(failure_between({}, {}).why == std::errc::timed_out);  // it cannot be told of the end
}

}  // namespace gyre::net
