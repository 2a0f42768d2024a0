// SPDX-License-Identifier: MIT
// Streams over a device's receive queue. The script plays the device: what it puts where, and what comes back to it, in
// which order, when readers are slow or stopped, streams, queues and executors go, and there is no room. The kernel of
// this machine is asked for a queue that no device has.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/capabilities.hpp>
#include <gyre/runtime/ops/recv_zc.hpp>
#include <gyre/runtime/zero_copy_queue.hpp>

#include "../../support/bytes.hpp"
#include "../../support/outcome.hpp"
#include "../../support/scripted.hpp"
#include "../../support/skip.hpp"
#include "../../support/unprivileged.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr unsigned op_recv_zc = 58;  // IORING_OP_RECV_ZC
constexpr int some_socket = 1'000'123;
constexpr std::uint64_t token = std::uint64_t{1} << 48;  // the script's, of an area that is not the first
const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));

constexpr scripted_executor::ring_options with_wide_completions{.on_cancel = scripted_ring::cancels::by_hand,
                                                                .modes = {.big = true}};

// Takes what comes, and notes it. Keeps the leases, as long as it is told to.
struct reader_notes {
  std::vector<std::string> texts;
  std::vector<zero_copy_lease> leases;
  outcome last;
  bool keeps_leases = false;
};

task<> read_all(ops::recv_zc_stream& incoming, reader_notes& noted) {
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

// A stream over a queue, and somebody who reads it.
struct reader_of_one {
  reader_of_one(scripted_executor& at, const zero_copy_queue& queue, int socket, const ops::recv_zc_options& options)
      : on{at}, fd{socket} {
    incoming.emplace(socket, queue, options);
  }
  ~reader_of_one() {
    if (root && !root->done()) on.stop(*root);
    incoming.reset();
    on.loop.run_ready();
    end_all(-ECANCELED);
  }
  reader_of_one(const reader_of_one&) = delete;
  reader_of_one& operator=(const reader_of_one&) = delete;

  void read() {
    root.emplace(on.loop, read_all(*incoming, noted));
    on.loop.run_ready();
  }
  bool is_armed() const { return find() != std::nullopt; }
  scripted_ring::request receiving() const { return find().value(); }
  void deliver(std::uint64_t offset, std::string_view bytes, bool more = true) {
    on.script.deliver_zero_copy(receiving(), offset, bytes, more);
    on.loop.run_ready();
  }
  void end(int res) {
    on.script.complete(receiving(), res);
    on.loop.run_ready();
  }
  void end_all(int res) {
    for (const auto& each : on.script.in_flight(IORING_OP_ASYNC_CANCEL)) on.script.complete(each, 0);
    if (const auto receiving = find()) on.script.complete(*receiving, res);
    on.loop.run_ready();
  }

  scripted_executor& on;
  const int fd;
  std::optional<ops::recv_zc_stream> incoming;
  reader_notes noted;
  std::optional<root_task<void>> root;

 private:
  std::optional<scripted_ring::request> find() const {
    for (const auto& each : on.script.in_flight(op_recv_zc))
      if (each.fd == fd) return each;
    return std::nullopt;
  }
};

// The same with an executor and a queue of its own.
struct scripted_device {
  explicit scripted_device(const ops::recv_zc_options& of_stream = {}, const zero_copy_queue_options& of_queue = {},
                           const scripted_executor::ring_options& of_ring = with_wide_completions)
      : on{of_ring}, queue{std::in_place, on.loop, "eth0", 3U, of_queue} {
    one.emplace(on, *queue, some_socket, of_stream);
  }

  std::vector<std::uint64_t> offsets_back() const {
    std::vector<std::uint64_t> offsets;
    for (const auto& each : on.script.refills()) offsets.push_back(each.offset);
    return offsets;
  }

  // The kernel reads so many of what has come back. Returns their offsets.
  std::vector<std::uint64_t> fetch(std::uint32_t count) {
    std::vector<std::uint64_t> oldest = offsets_back();
    oldest.resize(count);
    on.script.take_refills(count);
    return oldest;
  }

  scripted_executor on;
  std::optional<zero_copy_queue> queue;
  std::optional<reader_of_one> one;
};

using offsets = std::vector<std::uint64_t>;
using texts = std::vector<std::string>;

std::string refusal_of(executor& loop, const std::string& interface, const zero_copy_queue_options& options = {}) {
  try {
    const zero_copy_queue queue{loop, interface, 0, options};
  } catch (const std::system_error& error) {
    return error.what();
  }
  return "granted";
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- what comes

TEST_CASE("one request brings what a device has put into memory, on the scripted ring, and nobody copies it") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  const auto asked = subject.one->receiving();

  subject.one->deliver(5 * page + 8, "first");
  subject.one->deliver(2 * page, "second");

  CHECK(subject.one->noted.texts == texts{"first", "second"});
  const std::byte* const area = subject.on.script.zero_copy_queue().area.data();
  CHECK(subject.one->noted.leases.at(0).data() == area + 5 * page + 8);
  CHECK(subject.one->noted.leases.at(1).data() == area + 2 * page);
  CHECK(subject.on.script.taken_count(op_recv_zc) == 1);
  CHECK(asked.ioprio == IORING_RECV_MULTISHOT);
  CHECK((asked.addr | asked.len | asked.op_flags | asked.off | asked.addr3) == 0);
  CHECK(subject.queue->statistics().fillings == 2);
  CHECK(subject.queue->statistics().on_loan == 2);
}

TEST_CASE("a queue is asked for by name and number, with whole pages and a ring of two places a page") {
  const scripted_device subject{{}, {.area_bytes = 10 * page - 1}};

  const detail::zero_copy_request& asked = subject.on.script.zero_copy_queue();
  CHECK(asked.rx_queue == 3);
  CHECK(asked.area.size() == 10 * page);
  CHECK(subject.queue->area_bytes() == 10 * page);
  CHECK(asked.refill_entries == 32);
  CHECK(asked.refill_ring.size() % page == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(asked.area.data()) % page == 0);
}

TEST_CASE("streams name the queue whose they are, on the scripted ring, where an executor has several") {
  scripted_executor on{with_wide_completions};
  const zero_copy_queue first{on.loop, "eth0"};
  const zero_copy_queue second{on.loop, "eth1"};
  reader_of_one one{on, first, some_socket, {}};
  reader_of_one other{on, second, some_socket + 1, {}};

  one.read();
  other.read();

  CHECK(one.receiving().file_index == first.area().number());
  CHECK(other.receiving().file_index == second.area().number());
  CHECK(first.area().number() != second.area().number());
}

TEST_CASE("a request that the kernel ended without an error, on the scripted ring, is made again") {
  scripted_device subject;
  subject.one->read();

  subject.one->deliver(0, "last of it", /*more=*/false);

  CHECK(subject.one->noted.texts == texts{"last of it"});
  CHECK(subject.on.script.taken_count(op_recv_zc) == 2);
  CHECK(subject.one->noted.last.how == ended::not_yet);
}

TEST_CASE("an end, and an error, are told after what came before them, on the scripted ring") {
  for (const int last : {0, -ECONNRESET, -EPROTONOSUPPORT, -EFAULT, -ECANCELED}) {
    scripted_device subject;
    subject.one->read();
    subject.on.script.deliver_zero_copy(subject.one->receiving(), 0, "before");
    subject.one->end(last);

    CHECK(subject.one->noted.texts == texts{"before"});
    CHECK(subject.one->noted.last.error.value() == -last);
    CHECK(subject.one->root->done());
  }
}

// ---------------------------------------------------------------------------------------------------- what goes back

TEST_CASE("leases go back to the device in the order in which they are destroyed, on the scripted ring, each once") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  for (const std::uint64_t at : {0U, 1U, 2U}) subject.one->deliver(at * page + at, "bytes");
  CHECK(subject.offsets_back().empty());

  auto& leases = subject.one->noted.leases;
  leases[1].reset();
  leases[2].reset();
  leases[2].reset();
  leases[0] = std::move(leases[1]);  // an empty one, so that the third goes

  CHECK(subject.offsets_back() == offsets{token | (page + 1), token | (2 * page + 2), token | 0U});
  CHECK(subject.on.script.refills().front().bytes == 5);
  CHECK(subject.queue->statistics().on_loan == 0);
  CHECK(subject.queue->statistics().on_its_way == 3);
  subject.on.script.take_refills(3);
  CHECK(subject.queue->statistics().on_its_way == 0);
}

TEST_CASE("a reader that lets its leases go has the device's memory go round and round, on the scripted ring") {
  scripted_device subject{{}, {.area_bytes = 4 * page}};  // eight places in the refill ring
  subject.one->read();

  for (std::uint64_t lap = 0; lap < 100; ++lap) {
    subject.one->deliver(lap % 4 * page, "round");
    REQUIRE(subject.offsets_back() == offsets{token | (lap % 4 * page)});
    subject.on.script.take_refills(1);
  }

  CHECK(subject.one->noted.texts.size() == 100);
  CHECK(subject.queue->statistics().late_refills == 0);
}

TEST_CASE("what finds the refill ring full waits for a place, on the scripted ring, and is not lost") {
  scripted_device subject{{}, {.area_bytes = page}};  // two places
  subject.one->read();
  for (std::uint64_t at = 0; at < 6; ++at) subject.one->deliver(8 * at, "part");

  CHECK(subject.offsets_back() == offsets{token | 0U, token | 8U});
  CHECK(subject.queue->statistics().late_refills == 4);
  CHECK(subject.queue->statistics().on_its_way == 6);
  std::size_t came_back = 0;
  for (int look = 0; look < 3; ++look) {  // the timer's, as nothing comes and nothing goes
    came_back += subject.on.script.refills().size();
    subject.on.script.take_refills(static_cast<std::uint32_t>(subject.on.script.refills().size()));
    subject.on.advance(1ms);
  }

  CHECK(came_back == 6);
  CHECK(subject.offsets_back().empty());
  CHECK(subject.queue->statistics().on_its_way == 0);
}

TEST_CASE("a loan that begins or ends finds places for what waits for one, on the scripted ring, page for page") {
  scripted_device subject{{}, {.area_bytes = 2 * page}};  // four places
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  for (std::uint64_t at = 0; at < 4; ++at)
    for (const std::uint64_t each : {std::uint64_t{0}, page}) subject.one->deliver(each + 8 * at, "part");
  subject.one->noted.leases.clear();
  CHECK(subject.queue->statistics().late_refills == 4);

  offsets back = subject.fetch(3);
  subject.one->deliver(0, "begins");
  CHECK(subject.on.script.refills().size() == 4);
  std::ranges::copy(subject.fetch(4), std::back_inserter(back));
  subject.one->noted.leases.clear();
  std::ranges::copy(subject.fetch(2), std::back_inserter(back));

  CHECK(std::ranges::count_if(back, [](std::uint64_t each) { return each - token < page; }) == 5);
  CHECK(back.size() == 9);
  CHECK(subject.queue->statistics().on_its_way == 0);
}

// ---------------------------------------------------------------------------------------------------- cancels

TEST_CASE("a reader that is stopped before it has begun, on the scripted ring, leaves the stream to the next one") {
  scripted_device subject;
  subject.one->root.emplace(subject.on.loop, read_all(*subject.one->incoming, subject.one->noted));

  subject.on.stop(*subject.one->root);

  CHECK(subject.one->noted.texts.empty());
  CHECK(subject.one->root->done());
  subject.one->read();
  subject.one->deliver(0, "taken");
  CHECK(subject.one->noted.texts == texts{"taken"});
}

TEST_CASE("bytes that cross the stop of their reader, on the scripted ring, stay in store for the next one") {
  scripted_device subject;
  subject.one->read();
  subject.on.stop(*subject.one->root);
  CHECK(subject.one->noted.last.how == ended::stopped);
  subject.on.script.deliver_zero_copy(subject.one->receiving(), 0, "first");
  subject.on.script.deliver_zero_copy(subject.one->receiving(), page, "second");
  subject.on.loop.run_ready();
  CHECK(subject.queue->statistics().on_loan == 2);

  subject.one->read();

  CHECK(subject.one->noted.texts == texts{"first", "second"});
  CHECK(subject.offsets_back() == offsets{token | 0U, token | page});
  CHECK(subject.on.script.taken_count(op_recv_zc) == 1);
}

TEST_CASE("bytes and a stop that are taken together, on the scripted ring: they are delivered or go back") {
  scripted_device subject;
  subject.one->read();

  subject.on.script.deliver_zero_copy(subject.one->receiving(), 0, "won");
  subject.on.stop(*subject.one->root);

  CHECK(subject.one->noted.last.how == ended::stopped);
  subject.one->incoming.reset();
  CHECK(subject.offsets_back() == offsets{token | 0U});
}

TEST_CASE("a reader that is stopped while there is no page, on the scripted ring, makes no request when one is back") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  subject.one->deliver(0, "kept");
  subject.one->end(-ENOMEM);
  REQUIRE(!subject.one->is_armed());

  subject.on.stop(*subject.one->root);
  subject.one->noted.leases.clear();
  subject.on.loop.run_ready();

  CHECK(subject.one->noted.last.how == ended::stopped);
  CHECK(subject.on.script.taken_count(op_recv_zc) == 1);
}

TEST_CASE("a stream that is ended, on the scripted ring, gives what it has and asks for nothing, also without a page") {
  for (const bool has_no_page : {false, true}) {
    CAPTURE(has_no_page);
    scripted_device subject;
    subject.one->noted.keeps_leases = true;
    subject.one->read();
    subject.one->deliver(0, "kept");
    if (has_no_page) subject.one->end(-ENOMEM);

    subject.one->incoming->end();
    subject.on.loop.run_ready();
    if (!has_no_page) {
      CHECK(subject.one->receiving().stop_asked);
      subject.one->deliver(page, "crossing");
      subject.one->end_all(-ECANCELED);
    }
    CHECK(subject.one->noted.last.error == std::errc::operation_canceled);
    CHECK(subject.one->noted.texts == (has_no_page ? texts{"kept"} : texts{"kept", "crossing"}));
    subject.one->noted.leases.clear();
    subject.one->read();

    CHECK(subject.one->noted.last.error == std::errc::operation_canceled);
    CHECK(subject.on.script.taken_count(op_recv_zc) == 1);
  }
}

// ---------------------------------------------------------------------------------------------------- who goes when

TEST_CASE("a stream that goes gives back its store at once, and what still comes then, on the scripted ring") {
  scripted_device subject;
  subject.one->read();
  subject.on.stop(*subject.one->root);
  subject.one->deliver(0, "stored");
  const auto receiving = subject.one->receiving();

  subject.one->incoming.reset();
  CHECK(subject.offsets_back() == offsets{token | 0U});
  subject.on.loop.run_ready();
  CHECK(subject.on.script.in_flight(IORING_OP_ASYNC_CANCEL).size() == 1);
  subject.on.script.deliver_zero_copy(receiving, page, "late");
  subject.on.loop.run_ready();
  subject.one->end_all(-ECANCELED);

  CHECK(subject.offsets_back() == offsets{token | 0U, token | page});
  CHECK(!subject.one->is_armed());
}

TEST_CASE("stream, queue, lease and bytes end in any order on the scripted ring, and every part goes back") {
  enum step { stream_goes, queue_goes, lease_goes, bytes_come };
  std::array<step, 4> order{stream_goes, queue_goes, lease_goes, bytes_come};
  do {
    scripted_device subject;
    subject.one->noted.keeps_leases = true;
    subject.one->read();
    subject.one->deliver(0, "one");
    subject.on.stop(*subject.one->root);
    const auto receiving = subject.one->receiving();

    for (const step each : order) {
      if (each == stream_goes) subject.one->incoming.reset();
      if (each == queue_goes) subject.queue.reset();
      if (each == lease_goes) subject.one->noted.leases.clear();
      if (each == bytes_come) subject.on.script.deliver_zero_copy(receiving, page, "late");
      subject.on.loop.run_ready();
    }
    subject.one->end_all(-ECANCELED);

    CHECK(subject.offsets_back().size() == 2);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a lease that outlives its executor keeps its bytes where they are, and no page of the device's") {
  zero_copy_lease kept;
  const std::byte* of_device = nullptr;
  const std::byte* where = nullptr;
  {
    scripted_device subject;
    subject.one->noted.keeps_leases = true;
    subject.one->read();
    subject.one->deliver(3 * page + 16, "stays");
    subject.one->deliver(7 * page, "goes");
    kept = std::move(subject.one->noted.leases.front());
    subject.one->noted.leases.clear();
    where = kept.data();
    of_device = subject.on.script.zero_copy_queue().area.data() + 7 * page;
  }
  CHECK(kept.data() == where);
  CHECK(text_of(kept.bytes()) == "stays");
  CHECK(*of_device == std::byte{0});  // another page, that nobody has written to
  kept.bytes().front() = std::byte{'S'};
  CHECK(text_of(kept.bytes()) == "Stays");
}

TEST_CASE("an executor that ends with a queue, late parts and no lease ends, on the scripted ring") {
  scripted_device subject{{}, {.area_bytes = page}};
  subject.one->read();
  for (std::uint64_t at = 0; at < 6; ++at) subject.one->deliver(8 * at, "part");
  CHECK(subject.queue->statistics().late_refills == 4);
}

TEST_CASE("a stream that was never read, a queue and a lease that were moved from, go without a trace") {
  scripted_executor on{with_wide_completions};
  zero_copy_queue first{on.loop, "eth0"};
  const zero_copy_queue queue{std::move(first)};
  ops::recv_zc_stream unread{some_socket, queue};
  const ops::recv_zc_stream moved{std::move(unread)};
  zero_copy_lease nothing;
  const zero_copy_lease nothing_too{std::move(nothing)};

  CHECK(!nothing_too);
  CHECK(nothing_too.empty());
}

// ---------------------------------------------------------------------------------------------------- no room

TEST_CASE("a stream for which there is no page, on the scripted ring, makes no request before one comes back") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  subject.one->deliver(0, "kept");

  for (const int none : {-ENOMEM, -ENOBUFS}) {
    subject.one->end(none);
    CHECK(!subject.one->is_armed());
    CHECK(subject.one->noted.last.how == ended::not_yet);
    subject.one->noted.leases.clear();
    subject.on.loop.run_ready();
    subject.one->deliver(page, "room");
  }

  CHECK(subject.one->noted.texts == texts{"kept", "room", "room"});
  CHECK(subject.queue->statistics().shortages == 2);
}

TEST_CASE("all streams for which there is no page try again when one comes back, on the scripted ring") {
  scripted_device subject;
  reader_of_one other{subject.on, *subject.queue, some_socket + 1, {}};
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  other.read();
  subject.one->deliver(0, "kept");
  subject.one->end(-ENOMEM);
  other.end(-ENOMEM);

  subject.one->noted.leases.clear();
  subject.on.loop.run_ready();

  CHECK(subject.one->is_armed());
  CHECK(other.is_armed());
}

TEST_CASE("no page though none is on loan is an error, on the scripted ring, and the next next() tries again") {
  scripted_device subject;
  subject.one->read();

  subject.one->end(-ENOMEM);

  CHECK(subject.one->noted.last.how == ended::with_error);
  CHECK(subject.one->noted.last.error == std::errc::no_buffer_space);
  subject.one->read();
  subject.one->deliver(0, "room");
  CHECK(subject.one->noted.texts == texts{"room"});
}

TEST_CASE("a shortage that a lease has crossed on its way back, on the scripted ring, holds nobody up") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  subject.one->deliver(0, "kept");
  subject.one->deliver(page, "kept");

  subject.on.script.complete(subject.one->receiving(), -ENOMEM);  // posted, and not looked at
  subject.one->noted.leases.pop_back();
  subject.on.loop.run_ready();
  CHECK(!subject.one->is_armed());
  subject.one->noted.leases.clear();
  subject.on.loop.run_ready();

  CHECK(subject.one->is_armed());
}

TEST_CASE(
    "a stream for which pages are on their way, on the scripted ring, tries again when the kernel has read them") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  subject.one->deliver(0, "kept");
  subject.one->end(-ENOMEM);
  subject.one->noted.leases.clear();
  subject.on.loop.run_ready();
  subject.one->end(-ENOMEM);  // the page lies in the refill ring

  CHECK(subject.one->noted.last.how == ended::not_yet);
  subject.on.run_for(5ms);
  CHECK(!subject.one->is_armed());
  subject.on.script.take_refills(1);
  subject.on.run_for(1ms);
  REQUIRE(subject.one->is_armed());
  subject.one->deliver(page, "room");

  CHECK(subject.one->noted.texts == texts{"kept", "room"});
  subject.on.run_for(2ms);
  CHECK(subject.on.loop.timers().empty());
}

TEST_CASE("a shortage that the kernel's reading has crossed, on the scripted ring, holds nobody up") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  subject.one->deliver(0, "kept");
  subject.one->deliver(page, "kept");
  subject.one->noted.leases.pop_back();
  subject.on.loop.run_ready();

  subject.on.script.complete(subject.one->receiving(), -ENOMEM);  // posted, and not looked at
  subject.on.script.take_refills(1);
  subject.on.loop.run_ready();

  CHECK(subject.one->is_armed());
}

TEST_CASE("a reader that is stopped while pages are on their way, on the scripted ring, leaves no timer behind") {
  scripted_device subject;
  subject.one->noted.keeps_leases = true;
  subject.one->read();
  subject.one->deliver(0, "kept");
  subject.one->noted.leases.clear();
  subject.on.loop.run_ready();
  subject.one->end(-ENOMEM);
  CHECK(subject.one->noted.last.how == ended::not_yet);

  subject.on.stop(*subject.one->root);
  subject.on.run_for(2ms);

  CHECK(subject.one->root->stopped());
  CHECK(subject.on.loop.timers().empty());
  CHECK(!subject.one->is_armed());
}

TEST_CASE(
    "a completion queue that is full ends a request, on the scripted ring, which is made again: nothing is lost") {
  scripted_device subject{
      {}, {}, {.cq_entries = 4, .on_cancel = scripted_ring::cancels::by_hand, .modes = {.big = true}}};
  subject.one->read();
  const auto receiving = subject.one->receiving();

  for (std::uint64_t at = 0; at < 5; ++at) subject.on.script.deliver_zero_copy(receiving, at * page, "chunk");
  subject.on.loop.run_ready();

  CHECK(subject.one->noted.texts.size() == 4);
  CHECK(subject.queue->statistics().full_queues == 1);
  CHECK(subject.one->noted.last.how == ended::not_yet);
  subject.one->deliver(4 * page, "chunk");
  CHECK(subject.one->noted.texts.size() == 5);
  CHECK(subject.on.script.taken_count(op_recv_zc) == 2);
}

TEST_CASE("a reader that is slow pauses the request, on the scripted ring; it is made again when all was taken") {
  scripted_device subject{{.pause_at = 3}};
  subject.one->read();
  subject.on.stop(*subject.one->root);

  for (std::uint64_t at = 0; at < 2; ++at) subject.one->deliver(at * page, "stored");
  CHECK(!subject.one->receiving().stop_asked);
  subject.one->deliver(2 * page, "stored");
  CHECK(subject.one->receiving().stop_asked);
  subject.one->deliver(3 * page, "under way");
  subject.one->end_all(-ECANCELED);
  CHECK(!subject.one->is_armed());
  subject.one->read();

  CHECK(subject.one->noted.texts == texts{"stored", "stored", "stored", "under way"});
  CHECK(subject.one->is_armed());
  CHECK(subject.one->noted.last.how == ended::not_yet);
}

// ---------------------------------------------------------------------------------------------------- refusals

TEST_CASE("an executor that cannot be told of packets is refused with the option to make it with") {
  scripted_executor narrow;
  scripted_executor with_thread{{.modes = {.sqpoll = true, .big = true}}};

  CHECK(refusal_of(narrow.loop, "eth0").find("executor_options::big_entries") != std::string::npos);
  CHECK(refusal_of(with_thread.loop, "eth0").find("executor_options::sqpoll") != std::string::npos);
}

TEST_CASE("each refusal of a queue has cause and cure, on the scripted ring, and leaves the executor as it was") {
  const std::vector<std::pair<int, std::string>> refusals{{ENODEV, "There is no network device called eth0. ip link"},
                                                          {EPERM, "CAP_NET_ADMIN"},
                                                          {EOPNOTSUPP, "The driver of eth0"},
                                                          {ERANGE, "ethtool -l eth0"},
                                                          {EEXIST, "somebody else's. Take another one"},
                                                          {EBUSY, "somebody else's. Take another one"},
                                                          {EINVAL, "tcp-data-split on"},
                                                          {ENOMEM, "ulimit -l"},
                                                          {EIO, "Receive with a copy"}};
  for (const auto& [error, told] : refusals) {
    scripted_executor on{{.modes = {.big = true}, .zero_copy_error = error}};
    const std::string why = refusal_of(on.loop, "eth0");
    CAPTURE(why);
    CHECK(why.find("zero_copy_queue: ") == 0);
    CHECK(why.find(told) != std::string::npos);
  }
}

TEST_CASE("an area of nothing, and one that the kernel cannot count, are refused") {
  scripted_executor on{with_wide_completions};

  for (const std::size_t bytes : {std::size_t{0}, (std::size_t{1} << 32) + 1, SIZE_MAX})
    CHECK_THROWS_WITH(zero_copy_queue(on.loop, "eth0", 0, {.area_bytes = bytes}),
                      doctest::Contains("Invalid argument"));
}

TEST_CASE("the kernel refuses a queue of a device that has none, with the reason that capabilities has") {
  executor loop{{.big_entries = true}};
  for (const std::string name : {"lo", "no-such-device"}) {
    const auto told = capabilities::zero_copy_receive_refusal(name).value();
    const std::string why = refusal_of(loop, name, {.area_bytes = 16 * page});
    CAPTURE(why);
    CHECK(why.find("zero_copy_queue: " + told.cause + ". " + told.cure) == 0);
  }
  CHECK(refusal_of(loop, "no-such-device").find("no network device called no-such-device") != std::string::npos);
}

TEST_CASE("the kernel refuses a queue to who may not take one, and says which right it takes") {
  const bool has_opcode = executor{}.ring().knows(op_recv_zc);
  if (!has_opcode) {
    SAY_SKIPPED("this kernel has no zero-copy receive");
    return;
  }
  CHECK(holds_for_nobody([] {
    executor loop{{.big_entries = true}};
    return refusal_of(loop, "lo", {.area_bytes = 16 * page}).find("CAP_NET_ADMIN") != std::string::npos;
  }));
}

}  // namespace gyre
