// SPDX-License-Identifier: MIT
// Streams over a pool: what becomes of each buffer when readers are slow or stopped, streams and pools go, buffers run
// out, and the kernel ends requests by itself. At the end of each test all buffers are where they belong.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../../support/bytes.hpp"
#include "../../support/modes.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int some_socket = 1'000'123;

// Takes what comes, and notes it. Keeps the leases, as long as it is told to.
struct reader_notes {
  std::vector<std::string> texts;
  std::vector<buffer_lease> leases;
  outcome last;
  bool keeps_leases = false;
};

template <class Stream>
task<> read_all(Stream& incoming, reader_notes& noted) {
  for (;;) {
    const stop_watch watch{noted.last};
    auto got = co_await as_result(incoming.next());
    noted.last.how = got ? ended::with_value : ended::with_error;
    noted.last.error = got.error();
    if (!got || !*got) co_return;
    noted.texts.emplace_back(text_of((*got)->bytes()));
    if (noted.keeps_leases) noted.leases.push_back(std::move(**got));
  }
}

// A pool on a scripted ring, and a stream over it that somebody reads.
struct scripted_stream {
  explicit scripted_stream(const buffer_pool_options& options, const ops::pool_stream_options& of_stream = {})
      : pool{buffer_pool{on.loop, options}}, group{on.script.buffer_groups().front()} {
    incoming.emplace(some_socket, *pool, of_stream);
  }
  ~scripted_stream() {
    if (root && !root->done()) on.stop(*root);
    incoming.reset();
    on.loop.run_ready();
    end_all();
  }

  void read() {
    root.emplace(on.loop, read_all(*incoming, noted));
    on.loop.run_ready();
  }
  scripted_ring::request receiving() const { return on.script.only(IORING_OP_RECV); }
  void deliver(std::string_view bytes, bool more = true) {
    on.script.deliver_selected(receiving(), bytes, more);
    on.loop.run_ready();
  }
  void end(int res) {
    on.script.complete(receiving(), res);
    on.loop.run_ready();
  }
  void end_all() {
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
    for (const auto& each : on.script.in_flight(IORING_OP_RECV)) on.script.complete(each, -ECANCELED);
    on.loop.run_ready();
  }
  std::size_t free_buffers() { return on.script.buffers_in(group); }

  scripted_executor on{by_hand};
  std::optional<buffer_pool> pool;
  std::uint16_t group;
  std::optional<ops::recv_stream> incoming;
  reader_notes noted;
  std::optional<root_task<void>> root;
};

}  // namespace

// ------------------------------------------------------------------------------------------------ who ends when

TEST_CASE("stream, pool, lease and bytes end in any order on the scripted ring, and no buffer and no group is left") {
  enum step { stream_goes, pool_goes, lease_goes, bytes_come };
  std::array<step, 4> order{stream_goes, pool_goes, lease_goes, bytes_come};
  do {
    for (const bool lease_outlives_all : {false, true}) {
      scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
      subject.noted.keeps_leases = true;
      subject.read();
      subject.deliver("one");
      REQUIRE(subject.noted.leases.size() == 1);
      subject.on.stop(*subject.root);
      subject.on.script.deliver_selected(subject.receiving(), "stored");
      subject.on.loop.run_ready();
      const auto receiving = subject.receiving();

      for (const step each : order) {
        if (each == stream_goes) subject.incoming.reset();
        if (each == pool_goes) subject.pool.reset();
        if (each == lease_goes && !lease_outlives_all) subject.noted.leases.clear();
        if (each == bytes_come) subject.on.script.deliver_selected(receiving, "late");
        subject.on.loop.run_ready();
        CHECK(subject.on.script.buffer_groups().size() == 1);  // the request may still take a buffer
      }
      subject.end_all();

      CHECK(subject.on.script.buffer_groups().empty());
      if (lease_outlives_all) CHECK(text_of(subject.noted.leases.front().bytes()) == "one");
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a lease that outlives the executor keeps its bytes, and frees them on any thread") {
  buffer_lease kept;
  {
    scripted_stream subject{{.buffers_count = 2, .buffer_bytes = 8}};
    subject.noted.keeps_leases = true;
    subject.read();
    subject.deliver("stays");
    kept = std::move(subject.noted.leases.front());
  }
  CHECK(text_of(kept.bytes()) == "stays");
}

TEST_CASE(
    "what is in store goes back with its stream at once, on the scripted ring, before the kernel is done with it") {
  scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
  subject.read();
  subject.on.stop(*subject.root);
  for (int i = 0; i < 3; ++i) subject.deliver("stored");
  CHECK(subject.free_buffers() == 1);

  subject.incoming.reset();

  CHECK(subject.free_buffers() == 4);
}

TEST_CASE("bytes that cross the stop of their reader, on the scripted ring, stay in store for the next one") {
  scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
  subject.read();
  subject.on.stop(*subject.root);
  CHECK(subject.noted.last.how == ended::stopped);
  subject.on.script.deliver_selected(subject.receiving(), "first");
  subject.on.script.deliver_selected(subject.receiving(), "second");

  subject.read();

  CHECK(subject.noted.texts == std::vector<std::string>{"first", "second"});
  CHECK(subject.free_buffers() == 4);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
}

TEST_CASE("bytes and a stop that are taken together, on the scripted ring: they are delivered") {
  scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
  subject.read();

  subject.on.script.deliver_selected(subject.receiving(), "won");
  subject.on.stop(*subject.root);

  CHECK(subject.noted.texts.size() <= 1);
  CHECK(subject.noted.last.how == ended::stopped);
  subject.incoming.reset();
  CHECK(subject.free_buffers() == 4);
}

TEST_CASE("a stream that was never read, or was moved from, goes without a trace") {
  scripted_executor on;
  const buffer_pool pool{on.loop, {.buffers_count = 1, .buffer_bytes = 8}};
  ops::recv_stream first{some_socket, pool};
  const ops::recv_stream second{std::move(first)};
}

// -------------------------------------------------------------------------------------------- how a request ends

TEST_CASE("one request brings many chunks, on the scripted ring, and each buffer is free when its lease goes") {
  scripted_stream subject{{.buffers_count = 2, .buffer_bytes = 8}};
  subject.read();

  for (int i = 0; i < 10; ++i) subject.deliver("chunk");

  CHECK(subject.noted.texts.size() == 10);
  CHECK(subject.free_buffers() == 2);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
}

TEST_CASE(
    "a request that the kernel ended without an error, on the scripted ring, is made again when it is waited for") {
  scripted_stream subject{{.buffers_count = 2, .buffer_bytes = 8}};
  subject.read();

  subject.deliver("last of it", /*more=*/false);

  CHECK(subject.noted.texts == std::vector<std::string>{"last of "});
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 2);
}

TEST_CASE("an end, and an error, are told after what came before them, on the scripted ring") {
  for (const int last : {0, -ECONNRESET, -ECANCELED}) {
    scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
    subject.read();
    subject.on.script.deliver_selected(subject.receiving(), "before");
    subject.end(last);

    CHECK(subject.noted.texts == std::vector<std::string>{"before"});
    CHECK(subject.noted.last.error.value() == -last);
    CHECK(subject.root->done());
  }
}

TEST_CASE("an end, or an error, that took a buffer for nothing gives it back, on the scripted ring") {
  for (const int last : {0, -EIO}) {
    scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
    subject.read();

    subject.on.script.complete_with_buffer(subject.receiving(), last);
    subject.on.loop.run_ready();

    CHECK(subject.root->done());
    CHECK(subject.free_buffers() == 4);
  }
}

// ------------------------------------------------------------------------------------------------- a slow reader

TEST_CASE("a reader that is slow pauses the request, on the scripted ring; it is made again when all was taken") {
  scripted_stream subject{{.buffers_count = 16, .buffer_bytes = 8}, {.pause_at = 3}};
  subject.read();
  subject.on.stop(*subject.root);

  for (int i = 0; i < 2; ++i) subject.deliver("stored");
  CHECK(!subject.receiving().stop_asked);
  subject.deliver("stored");
  CHECK(subject.receiving().stop_asked);
  subject.deliver("under way");
  subject.end_all();
  CHECK(subject.on.script.in_flight(IORING_OP_RECV).empty());
  CHECK(subject.free_buffers() == 12);
  subject.read();

  CHECK(subject.noted.texts.size() == 4);
  CHECK(subject.noted.last.how == ended::not_yet);
  CHECK(subject.free_buffers() == 16);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 2);
}

TEST_CASE("a reader that is about to take what has come, on the scripted ring, is not slow") {
  scripted_stream subject{{.buffers_count = 16, .buffer_bytes = 8}, {.pause_at = 3}};
  subject.read();
  const auto receiving = subject.receiving();

  for (int i = 0; i < 10; ++i) subject.on.script.deliver_selected(receiving, "at once");
  subject.on.loop.run_ready();

  CHECK(subject.noted.texts.size() == 10);
  CHECK(!subject.receiving().stop_asked);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
}

// ------------------------------------------------------------------------------------------------ no buffer is left

TEST_CASE("a stream that finds no buffer, on the scripted ring, makes no request before one comes back") {
  scripted_stream subject{{.buffers_count = 2, .buffer_bytes = 8}};
  subject.noted.keeps_leases = true;
  subject.read();
  for (int i = 0; i < 2; ++i) subject.deliver("kept");

  subject.deliver("no room");
  CHECK(subject.on.script.in_flight(IORING_OP_RECV).empty());
  CHECK(subject.pool->statistics().shortages == 1);
  CHECK(subject.on.loop.statistics().buffer_shortages == 1);
  CHECK(subject.pool->statistics().on_loan == 2);
  subject.noted.leases.pop_back();
  subject.on.loop.run_ready();

  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 2);
  subject.deliver("room");
  CHECK(subject.noted.texts.back() == "room");
  CHECK(subject.pool->statistics().shortages == 1);
}

TEST_CASE("a shortage that a buffer has crossed on its way back, on the scripted ring, holds nobody up") {
  scripted_stream subject{{.buffers_count = 1, .buffer_bytes = 8}};
  subject.noted.keeps_leases = true;
  subject.read();
  subject.deliver("kept");

  subject.on.script.deliver_selected(subject.receiving(), "no room");  // posted, and not looked at
  subject.noted.leases.clear();
  subject.on.loop.run_ready();

  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 2);
  subject.deliver("room");
  CHECK(subject.noted.texts.back() == "room");
}

namespace {

// Several streams over a pool of one buffer, which somebody else has on loan.
struct hungry_streams {
  explicit hungry_streams(int count) : pool{on.loop, {.buffers_count = 1, .buffer_bytes = 8}} {
    for (int i = 0; i < count; ++i) {
      streams.emplace_back(some_socket + i, pool);
      roots.emplace_back(on.loop, read_all(streams.back(), noted.emplace_back()));
      on.loop.run_ready();
      if (i > 0) continue;
      noted.front().keeps_leases = true;
      on.script.deliver_selected(on.script.only(IORING_OP_RECV), "first");
      on.loop.run_ready();
      on.script.complete(on.script.only(IORING_OP_RECV), -ENOBUFS);
      on.loop.run_ready();
    }
  }
  ~hungry_streams() {
    for (auto& each : roots)
      if (!each.done()) on.stop(each);
    streams.clear();
    on.loop.run_ready();
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
    for (const auto& each : on.script.in_flight(IORING_OP_RECV)) on.script.complete(each, -ECANCELED);
    on.loop.run_ready();
  }

  std::vector<int> armed() const {
    std::vector<int> found;
    for (const auto& each : on.script.in_flight(IORING_OP_RECV)) found.push_back(each.fd - some_socket);
    return found;
  }
  void give_back(std::size_t which) {
    noted[which].leases.clear();
    on.loop.turn(/*may_park=*/false);
  }

  scripted_executor on{by_hand};
  buffer_pool pool;
  std::deque<reader_notes> noted;
  std::deque<ops::recv_stream> streams;
  std::deque<root_task<void>> roots;
};

}  // namespace

TEST_CASE("those that wait for a buffer get one in the order in which they came, on the scripted ring") {
  hungry_streams subject{4};
  for (auto& each : subject.noted) each.keeps_leases = true;
  REQUIRE(subject.armed().empty());

  std::size_t has_it = 0;
  for (const int expected : {0, 1, 2, 3, 0, 1}) {
    subject.give_back(has_it);
    CHECK(subject.armed() == std::vector{expected});
    has_it = static_cast<std::size_t>(expected);
    subject.on.script.deliver_selected(subject.on.script.only(IORING_OP_RECV), "bytes", /*more=*/false);
    subject.on.loop.run_ready();
  }
}

TEST_CASE("a buffer that the first in the queue does not need, on the scripted ring, is there for the next") {
  hungry_streams subject{3};

  subject.give_back(0);
  CHECK(subject.armed() == std::vector{0});
  subject.on.loop.run_ready();

  CHECK(subject.armed() == std::vector{0, 1, 2});
}

TEST_CASE("a reader that is stopped in the queue for buffers, on the scripted ring, leaves its place to the next") {
  hungry_streams subject{3};

  subject.on.stop(subject.roots[0]);
  CHECK(subject.noted[0].last.how == ended::stopped);
  subject.give_back(0);

  CHECK(subject.armed() == std::vector{1});
}

// -------------------------------------------------------------------------------------------------------------- end()

TEST_CASE("a stream that is ended in the queue for buffers, on the scripted ring, tells so, and asks for nothing") {
  hungry_streams subject{3};

  subject.streams[0].end();
  CHECK(subject.noted[0].last.how == ended::not_yet);  // not inside the call
  subject.on.loop.run_ready();
  CHECK(subject.noted[0].last.error == std::errc::operation_canceled);
  subject.give_back(0);

  CHECK(subject.armed() == std::vector{1});
}

TEST_CASE("a stream that is ended with its request in flight, on the scripted ring, gives what crosses the cancel") {
  scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
  subject.read();

  subject.incoming->end();
  subject.on.loop.run_ready();
  CHECK(subject.receiving().stop_asked);
  CHECK(subject.noted.last.how == ended::not_yet);
  subject.deliver("crossing");
  CHECK(subject.noted.texts == std::vector<std::string>{"crossing"});
  CHECK(subject.noted.last.how == ended::not_yet);
  subject.end_all();

  CHECK(subject.noted.last.error == std::errc::operation_canceled);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
  subject.read();
  CHECK(subject.noted.last.error == std::errc::operation_canceled);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
  CHECK(subject.free_buffers() == 4);
}

TEST_CASE("a stream that is ended as its request ends by itself, on the scripted ring, tells its reader all the same") {
  for (const int res : {-ENOBUFS, -ECANCELED, -ECONNRESET}) {
    CAPTURE(res);
    scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};
    subject.read();

    subject.incoming->end();
    subject.end(res);

    const auto expected = res == -ECONNRESET ? std::errc::connection_reset : std::errc::operation_canceled;
    CHECK(subject.noted.last.error == expected);
    CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 1);
  }
}

TEST_CASE("a stream that is ended before it was read, on the scripted ring, asks for nothing") {
  scripted_stream subject{{.buffers_count = 4, .buffer_bytes = 8}};

  subject.incoming->end();
  subject.incoming->end();
  subject.read();

  CHECK(subject.noted.last.error == std::errc::operation_canceled);
  CHECK(subject.on.script.taken_count(IORING_OP_RECV) == 0);
}

// -------------------------------------------------------------------------------------------------------- until_free()

TEST_CASE("until_free() waits in the same queue, on the scripted ring, and can be stopped there") {
  hungry_streams subject{1};
  outcome first;
  outcome second;
  auto stopped = subject.on.loop.start(observe(subject.pool.until_free(), first));
  auto waiting = subject.on.loop.start(observe(subject.pool.until_free(), second));
  subject.on.loop.run_ready();

  subject.on.stop(stopped);
  CHECK(first.how == ended::stopped);
  CHECK(second.how == ended::not_yet);
  subject.give_back(0);
  subject.on.loop.run_ready();

  CHECK(second.how == ended::with_value);
  CHECK(subject.armed() == std::vector{0});
}

// -------------------------------------------------------------------------------------- bundles and incremental ones

TEST_CASE("a bundle is one chain over the buffers that it fills, on the scripted ring, in whatever order they lie") {
  scripted_executor on{by_hand};
  {
    const buffer_pool pool{on.loop, {.buffers_count = 8, .buffer_bytes = 4}};
    const auto group = on.script.buffer_groups().front();
    ops::recv_bundle_stream incoming{some_socket, pool};
    std::vector<buffer_chain> chains;
    auto root = on.loop.start([](ops::recv_bundle_stream& from, std::vector<buffer_chain>& to) -> task<> {
      while (auto chain = co_await from.next()) to.push_back(std::move(*chain));
    }(incoming, chains));
    on.loop.run_ready();
    const auto text_in = [](const buffer_chain& chain) {
      std::string text;
      for (const auto part : chain) text += text_of(part);
      return text;
    };
    const std::string_view words = "0123456789abcdefghijklmnopqrstuvwxyz";
    const auto deliver = [&](std::size_t bytes) {
      on.script.deliver_selected(on.script.only(IORING_OP_RECV), words.substr(0, bytes));
      on.loop.run_ready();
    };
    for (const std::size_t bytes : {9U, 4U, 1U}) deliver(bytes);  // 3, 1, and 1 buffers
    REQUIRE(chains.size() == 3);
    CHECK(chains[0].parts_count() == 3);

    chains.erase(chains.begin() + 1);
    chains.erase(chains.begin());  // they go back in another order than they came
    CHECK(on.script.buffers_in(group) == 7);
    deliver(27);

    CHECK(text_in(chains[1]) == words.substr(0, 27));
    CHECK(chains[1].parts_count() == 7);
    CHECK(chains[1].bytes_count() == 27);
    std::array<iovec, 8> parts{};
    CHECK(chains[1].describe_in(parts) == 7);
    CHECK(chains[1].describe_in(std::span{parts}.first(2)) == 2);
    CHECK(parts[6].iov_len == 3);
    chains.clear();
    CHECK(on.script.buffers_in(group) == 8);
    on.stop(root);
  }
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_ASYNC_CANCEL), 0);
  on.script.deliver_selected(on.script.only(IORING_OP_RECV), "nobody takes these");
  on.loop.run_ready();
  on.script.complete(on.script.only(IORING_OP_RECV), -ECANCELED);
  on.loop.run_ready();
  CHECK(on.script.buffer_groups().empty());
}

TEST_CASE("an incremental buffer comes back when the kernel and all leases are done with it, on the scripted ring") {
  scripted_stream subject{{.buffers_count = 2, .buffer_bytes = 8, .incremental = true}};
  REQUIRE(subject.pool->is_incremental());
  subject.noted.keeps_leases = true;
  subject.read();

  for (const std::string_view piece : {"abc", "def", "ghi"}) subject.deliver(piece);  // of the third two bytes fit
  CHECK(subject.noted.texts == std::vector<std::string>{"abc", "def", "gh"});
  CHECK(subject.noted.leases[1].data() == subject.noted.leases[0].data() + 3);
  CHECK(subject.free_buffers() == 1);
  subject.deliver("jkl");
  CHECK(text_of(subject.noted.leases[0].bytes()) == "abc");

  subject.noted.leases.erase(subject.noted.leases.begin(), subject.noted.leases.begin() + 2);
  CHECK(subject.free_buffers() == 1);
  subject.noted.leases.erase(subject.noted.leases.begin());
  CHECK(subject.free_buffers() == 2);
  subject.noted.leases.clear();
  CHECK(subject.free_buffers() == 2);  // the kernel still has the rest of it
  CHECK(subject.pool->statistics().on_loan == 0);
}

TEST_CASE("pieces of incremental buffers outlive stream and pool, on the scripted ring") {
  buffer_lease of_used_buffer;
  buffer_lease of_free_buffer;
  {
    scripted_stream subject{{.buffers_count = 2, .buffer_bytes = 4, .incremental = true}};
    subject.noted.keeps_leases = true;
    subject.read();
    subject.deliver("full");
    subject.deliver("3of");
    of_used_buffer = std::move(subject.noted.leases[0]);
    of_free_buffer = std::move(subject.noted.leases[1]);
  }
  CHECK(text_of(of_used_buffer.bytes()) == "full");
  of_used_buffer.reset();
  CHECK(text_of(of_free_buffer.bytes()) == "3of");
}

TEST_CASE("a kernel that is not trusted with them gets no incremental pool and no bundles, on the scripted ring") {
  scripted_executor on{{.on_cancel = scripted_ring::cancels::like_the_kernel, .trusted_with_buffers = false}};
  const buffer_pool pool{on.loop, {.buffers_count = 4, .buffer_bytes = 4, .incremental = true}};
  CHECK(!pool.is_incremental());
  ops::recv_bundle_stream incoming{some_socket, pool};
  outcome noted;
  auto root = on.loop.start(observe(incoming.next(), noted));
  on.loop.run_ready();

  CHECK((on.script.only(IORING_OP_RECV).ioprio & IORING_RECVSEND_BUNDLE) == 0);
  on.stop(root);
}

// ----------------------------------------------------------------------------------------------------- the kernel's

namespace {

struct two_ends {
  explicit two_ends(int type = SOCK_STREAM) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) == 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
  }
  void send(std::string_view text) const {
    REQUIRE(::send(there.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }

  unique_fd here;
  unique_fd there;
};

// Runs the group, until all of its tasks have ended.
template <class Fn>
void run_group(executor& loop, Fn fn) {
  loop.run([&]() -> task<> { co_await with_task_group(fn); });
}

// As many bytes as are asked for, of which none is like its neighbours.
std::string some_text(std::size_t bytes) {
  std::string text(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('!' + i * 7 % 89);
  return text;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& each : parts) all += each;
  return all;
}

}  // namespace

TEST_CASE("recv_stream gives all bytes in their order, and then the end, through few buffers") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 100}};
  const two_ends pair;
  const std::string sent = some_text(20'000);
  pair.send(sent);
  ::shutdown(pair.there.get(), SHUT_WR);
  ops::recv_stream incoming{pair.here, pool};
  reader_notes noted;

  loop.run(read_all(incoming, noted));

  CHECK(joined(noted.texts) == sent);
  CHECK(noted.last.how == ended::with_value);
  CHECK(pool.statistics().on_loan == 0);
  CHECK(pool.ask_kernel().value() == 4);
}

TEST_CASE("a shared pool of few buffers serves many connections, and who keeps leases for a while starves nobody") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 64}};
  constexpr std::size_t connections_count = 50;
  const std::string sent = some_text(3'000);
  std::deque<two_ends> pairs;
  std::vector<std::string> received(connections_count);

  run_group(loop, [&](task_group& group) -> task<> {
    for (std::size_t i = 0; i < connections_count; ++i) {
      pairs.emplace_back().send(sent);
      ::shutdown(pairs.back().there.get(), SHUT_WR);
      group.start([](const two_ends& pair, const buffer_pool& from, std::string& to) -> task<> {
        ops::recv_stream incoming{pair.here, from};
        while (auto chunk = co_await incoming.next()) {
          to += text_of(chunk->bytes());
          co_await ops::nop();
        }
      }(pairs.back(), pool, received[i]));
    }
    co_return;
  });

  for (const std::string& each : received) CHECK(each == sent);
  CHECK(pool.statistics().on_loan == 0);
  CHECK(pool.statistics().shortages > 0);
  CHECK(loop.statistics().buffer_shortages == pool.statistics().shortages);
}

TEST_CASE("recv_bundle_stream gives all bytes in their order") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 16, .buffer_bytes = 100}};
  const two_ends pair;
  const std::string sent = some_text(50'000);
  pair.send(sent);
  ::shutdown(pair.there.get(), SHUT_WR);
  std::string received;
  std::size_t parts_max = 0;

  loop.run([&]() -> task<> {
    ops::recv_bundle_stream incoming{pair.here, pool};
    buffer_chain kept;  // so that buffers go back in another order than they came; never all of them
    while (auto chain = co_await incoming.next()) {
      for (const auto part : *chain) received += text_of(part);
      parts_max = std::max(parts_max, chain->parts_count());
      if (chain->parts_count() < 8) kept = std::move(*chain);
    }
  });

  CHECK(received == sent);
  if (detail::kernel_is_at_least(6, 16)) CHECK(parts_max > 1);
  else SAY_LEFT_OUT("whether bundles are taken, as this kernel is not trusted with them");
  CHECK(pool.statistics().on_loan == 0);
}

TEST_CASE("an incremental pool gives all bytes in their order, of several connections at a time") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 1000, .incremental = true}};
  const std::string sent = some_text(20'000);
  std::deque<two_ends> pairs(3);
  std::array<reader_notes, 3> noted;
  std::deque<ops::recv_stream> streams;

  run_group(loop, [&](task_group& group) -> task<> {
    for (std::size_t i = 0; i < pairs.size(); ++i)
      group.start(read_all(streams.emplace_back(pairs[i].here, pool), noted[i]));
    for (std::size_t at = 0; at < sent.size(); at += 50) {
      for (const two_ends& each : pairs) each.send(std::string_view{sent}.substr(at, 50));
      co_await ops::nop();
    }
    for (const two_ends& each : pairs) ::shutdown(each.there.get(), SHUT_WR);
  });

  for (const reader_notes& each : noted) CHECK(joined(each.texts) == sent);
  CHECK(pool.statistics().on_loan == 0);
}

TEST_CASE("a reader of a real socket that is stopped leaves what has come, and the next one takes it") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 16}};
  const two_ends pair;
  ops::recv_stream incoming{pair.here, pool};
  reader_notes noted;
  {
    auto root = loop.start(read_all(incoming, noted));
    loop.run_ready();
    root.cancel();
    loop.run_ready();
    CHECK(root.stopped());
  }
  pair.send("after the stop");
  ::shutdown(pair.there.get(), SHUT_WR);

  loop.run(read_all(incoming, noted));

  CHECK(joined(noted.texts) == "after the stop");
}

TEST_CASE("a stream in flight goes, and its pool with it: nothing is left, and no byte of the socket is lost") {
  executor loop{options_under_test()};
  const two_ends pair;
  loop.run([&]() -> task<> {
    const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 16}};
    ops::recv_stream incoming{pair.here, pool};
    pair.send("one");
    const auto chunk = co_await incoming.next();
    CHECK(text_of(chunk->bytes()) == "one");
  });
  loop.run_ready();
  if (submits_by_itself()) return;  // it is not known when the kernel has heard that nobody wants more

  CHECK(loop.in_kernel_count() <= 1);  // the executor's own poll
  pair.send("two");
  std::array<char, 8> rest{};
  CHECK(::recv(pair.here.get(), rest.data(), rest.size(), 0) == 3);
}

TEST_CASE("what ends a request of a real socket is told: its peer's reset, a cancel by somebody, no socket at all") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 16}};
  SUBCASE("no socket") {
    const unique_fd file{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    ops::recv_stream incoming{file, pool};
    reader_notes noted;
    loop.run(read_all(incoming, noted));
    CHECK(noted.last.error == std::errc::not_a_socket);
  }
  SUBCASE("closed") {
    ops::recv_stream incoming{-1, pool};
    reader_notes noted;
    loop.run(read_all(incoming, noted));
    CHECK(noted.last.error == std::errc::bad_file_descriptor);
  }
  SUBCASE("cancelled") {
    const two_ends pair;
    ops::recv_stream incoming{pair.here, pool};
    reader_notes noted;
    auto root = loop.start(read_all(incoming, noted));
    loop.run_ready();
    loop.run([&]() -> task<> { co_await ops::cancel_fd(pair.here); });
    while (!root.done()) loop.turn(/*may_park=*/true);
    CHECK(noted.last.error == std::errc::operation_canceled);
  }
  CHECK(pool.statistics().free_buffers == 4);
}

TEST_CASE("streams take direct descriptors") {
  executor loop{options_under_test({.direct_descriptors = 4})};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 16}};
  const two_ends pair;
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd out{ends[0]};
  unique_fd in{ends[1]};
  pair.send("socket");
  ::shutdown(pair.there.get(), SHUT_WR);
  REQUIRE(::write(in.get(), "pipe", 4) == 4);
  in.reset();

  loop.run([&]() -> task<> {
    const auto socket = co_await ops::to_direct(pair.here);
    const auto pipe = co_await ops::to_direct(out);
    ops::recv_stream from_socket{socket, pool};
    ops::read_stream from_pipe{pipe, pool};
    CHECK(text_of((co_await from_socket.next())->bytes()) == "socket");
    CHECK(text_of((co_await from_pipe.next())->bytes()) == "pipe");
    CHECK(!co_await from_pipe.next());
    CHECK(!co_await from_socket.next());
  });
}

TEST_CASE("a stream over a pool is read like any stream") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 4}};
  const two_ends pair;
  pair.send("abcdefghijkl");

  loop.run([&]() -> task<> {
    auto sizes = map(ops::recv_stream(pair.here, pool), [](buffer_lease chunk) { return chunk.size(); });
    auto two = take(std::move(sizes), 2);
    std::size_t total = 0;
    while (auto size = co_await two.next()) total += *size;
    CHECK(total == 8);
  });
}

TEST_CASE("read_stream reads a pipe to its end, wakes for an eventfd, and takes no regular file") {
  if (!detail::kernel_is_at_least(6, 7)) {
    SAY_SKIPPED("multishot reads are of Linux 6.7");
    return;
  }
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 2, .buffer_bytes = 64}};
  SUBCASE("pipe") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const unique_fd out{ends[0]};
    unique_fd in{ends[1]};
    const std::string sent = some_text(5'000);
    REQUIRE(::write(in.get(), sent.data(), sent.size()) == 5'000);
    in.reset();
    ops::read_stream incoming{out, pool};
    reader_notes noted;

    loop.run(read_all(incoming, noted));

    CHECK(joined(noted.texts) == sent);
  }
  SUBCASE("eventfd") {
    const unique_fd counter{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    run_group(loop, [&](task_group& group) -> task<> {
      group.start([](const unique_fd& written) -> task<> {
        for (std::uint64_t i = 1; i <= 3; ++i) {
          co_await sleep_for(1ms);
          CHECK(::write(written.get(), &i, sizeof i) == sizeof i);
        }
      }(counter));
      ops::read_stream incoming{counter, pool};
      for (std::uint64_t total = 0; total < 1 + 2 + 3;) {  // what comes together is one sum
        const auto chunk = co_await incoming.next();
        std::uint64_t count = 0;
        REQUIRE(chunk->size() == sizeof count);
        std::memcpy(&count, chunk->data(), sizeof count);
        total += count;
        CHECK(total <= 1 + 2 + 3);
      }
    });
  }
  SUBCASE("file") {
    const unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    ops::read_stream incoming{file, pool};
    reader_notes noted;
    loop.run(read_all(incoming, noted));
    CHECK(noted.last.error.value() == EBADFD);
  }
  CHECK(pool.statistics().on_loan == 0);
}

// -------------------------------------------------------------------------------------------------------- messages

namespace {

struct udp_pair {
  udp_pair() : receiver{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)}, sender{::socket(AF_INET, SOCK_DGRAM, 0)} {
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from = at;
    bind_to(receiver, at);
    bind_to(sender, from);
  }
  static void bind_to(const unique_fd& socket, sockaddr_in& address) {
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  }
  void send(std::string_view text) const {
    REQUIRE(::sendto(sender.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&at), sizeof at) ==
            static_cast<ssize_t>(text.size()));
  }

  unique_fd receiver;
  unique_fd sender;
  sockaddr_in at{};
  sockaddr_in from{};
};

void send_descriptor(const unique_fd& over, int sent) {
  char byte = 'd';
  iovec part{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &sent, sizeof sent);
  REQUIRE(::sendmsg(over.get(), &message, 0) == 1);
}

}  // namespace

TEST_CASE("recvmsg_stream gives each datagram with its sender, its control messages, and whether it was cut off") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 256}};
  const udp_pair pair;
  const int on = 1;
  REQUIRE(::setsockopt(pair.receiver.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
  pair.send("whole");
  pair.send("");
  pair.send(some_text(300));

  loop.run([&]() -> task<> {
    ops::recvmsg_stream incoming{pair.receiver, pool, {.control_bytes = 64}};
    for (const std::string_view expected : {"whole", ""}) {
      const auto message = co_await incoming.next();
      REQUIRE(message.has_value());
      CHECK(text_of(message->payload()) == expected);
      CHECK(!message->is_truncated());
      REQUIRE(message->source().size() == sizeof(sockaddr_in));
      CHECK(std::memcmp(message->source().data(), &pair.from, sizeof(sa_family_t) + sizeof(in_port_t)) == 0);
      CHECK(!message->control().empty());
      CHECK(!message->is_control_truncated());
    }
    const auto cut_off = co_await incoming.next();
    CHECK(cut_off->is_truncated());
    CHECK(some_text(300).starts_with(text_of(cut_off->payload())));
  });
  CHECK(pool.statistics().on_loan == 0);
}

TEST_CASE("recvmsg_stream without room for them leaves out sender and control messages") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 2, .buffer_bytes = 64}};
  const udp_pair pair;
  pair.send("bare");

  loop.run([&]() -> task<> {
    ops::recvmsg_stream incoming{pair.receiver, pool, {.name_bytes = 0}};
    const auto message = co_await incoming.next();
    CHECK(text_of(message->payload()) == "bare");
    CHECK(message->source().empty());
    CHECK(message->control().empty());
  });
}

TEST_CASE("descriptors that are sent along are the reader's; those in messages that nobody takes are closed") {
  executor loop{options_under_test()};
  const buffer_pool pool{loop, {.buffers_count = 4, .buffer_bytes = 256}};
  const two_ends pair{SOCK_SEQPACKET};
  for (int i = 0; i < 3; ++i) send_descriptor(pair.there, STDERR_FILENO);
  const std::size_t open_before = open_descriptors_count();
  loop.run([&]() -> task<> {
    ops::recvmsg_stream incoming{pair.here, pool, {.control_bytes = 64}};
    const auto message = co_await incoming.next();
    REQUIRE(message->control().size() >= CMSG_LEN(sizeof(int)));
    int taken = -1;
    std::memcpy(&taken, message->control().data() + CMSG_LEN(0), sizeof taken);
    const unique_fd owner{taken};
    CHECK(::fcntl(taken, F_GETFD) == FD_CLOEXEC);
    co_await ops::nop();  // the others come into store
  });
  loop.run_ready();

  CHECK(open_descriptors_count() == open_before);
}

TEST_CASE("recvmsg_stream tells the end of a connection, and refuses pools that no message fits into") {
  executor loop{options_under_test()};
  const two_ends pair{SOCK_SEQPACKET};
  pair.send("last");
  ::shutdown(pair.there.get(), SHUT_WR);
  const buffer_pool small{loop, {.buffers_count = 1, .buffer_bytes = 16}};
  const buffer_pool pool{loop, {.buffers_count = 1, .buffer_bytes = 256}};
  const auto refusal_of = [&](const buffer_pool& refused) {
    try {
      const ops::recvmsg_stream made{pair.here, refused};
    } catch (const std::system_error& error) {
      return error.code();
    }
    return std::error_code{};
  };
  CHECK(refusal_of(small) == std::errc::message_size);
  CHECK(!refusal_of(pool));
  const buffer_pool bit_by_bit{loop, {.buffers_count = 1, .buffer_bytes = 256, .incremental = true}};
  if (bit_by_bit.is_incremental()) CHECK(refusal_of(bit_by_bit) == std::errc::invalid_argument);

  loop.run([&]() -> task<> {
    ops::recvmsg_stream incoming{pair.here, pool, {.empty_is_end = true}};
    CHECK(text_of((co_await incoming.next())->payload()) == "last");
    CHECK(!co_await incoming.next());
  });
}

}  // namespace gyre
