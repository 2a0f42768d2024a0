// SPDX-License-Identifier: MIT
// The scripted ring itself: that it takes, answers, refuses and overflows as io_uring does, so that what is shown on it
// holds on the kernel. The second half compares the two.
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/scripted_ring.hpp>

#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <compare>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace gyre::detail {
namespace {

struct answered {
  std::uint64_t user_data;
  std::int32_t res;
  auto operator<=>(const answered&) const = default;
};

std::vector<answered> taken_from(ring& from) {
  std::vector<answered> all;
  while (const unsigned count = from.ready_completions()) {
    const auto batch = from.oldest_completions(count);
    for (const auto& each : batch) all.push_back({each.user_data, each.res});
    from.free_oldest(static_cast<unsigned>(batch.size()));
  }
  return all;
}

io_uring_sqe& new_entry(ring& into, std::uint64_t user_data) {
  io_uring_sqe* const sqe = into.try_sqe();
  REQUIRE(sqe != nullptr);
  std::memset(sqe, 0, sizeof *sqe);
  sqe->user_data = user_data;
  return *sqe;
}

void nop(ring& into, std::uint64_t user_data) {
  io_uring_sqe& sqe = new_entry(into, user_data);
  io_uring_prep_nop(&sqe);
  sqe.user_data = user_data;
}

void recv(ring& into, std::uint64_t user_data, int fd, std::span<std::byte> buffer, unsigned flags = 0) {
  io_uring_sqe& sqe = new_entry(into, user_data);
  io_uring_prep_recv(&sqe, fd, buffer.data(), buffer.size(), 0);
  sqe.flags |= static_cast<std::uint8_t>(flags);
  sqe.user_data = user_data;
}

void cancel(ring& into, std::uint64_t user_data, std::uint64_t victim, unsigned flags = 0) {
  io_uring_sqe& sqe = new_entry(into, user_data);
  io_uring_prep_cancel64(&sqe, victim, 0);
  sqe.flags |= static_cast<std::uint8_t>(flags);
  sqe.user_data = user_data;
}

// How many answers lie there to be taken. The head of a link that was left alone goes to a worker of the kernel's: a
// cancel that finds it running says -EALREADY, and it ends all the same, a little later.
std::size_t answers_count(const ring& of) {
  const auto all = of.oldest_completions(of.cq_entries());
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [](const completion& each) { return each.res != -EALREADY; }));
}

// The same on both rings: sockets that nobody writes to.
struct two_rings {
  // Calls `use` with each, and compares what completes; those after the first in any order, when `in_order` is false.
  std::vector<answered> both(const std::function<void(ring&)>& use, bool in_order = true) {
    kernel_ring kernel{{.sq_entries = 8, .cq_entries = 16}};
    scripted_ring script{{.sq_entries = 8, .cq_entries = 16}};
    script.answer = [](const auto& each) { return each.opcode == IORING_OP_NOP ? std::optional{0} : std::nullopt; };
    use(kernel);
    use(script);
    auto real = taken_from(kernel);
    auto scripted = taken_from(script);
    std::erase_if(real, [](const answered& each) { return each.res == -EALREADY; });
    for (answered& each : real)
      if (each.res == -EINTR) each.res = -ECANCELED;  // so says what a worker was running
    if (!in_order) {
      std::sort(real.begin() + 1, real.end());
      std::sort(scripted.begin() + 1, scripted.end());
    }
    CHECK(real == scripted);
    return real;
  }

  test::socket_pair pair;
  std::array<std::byte, 4> buffer{};
};

}  // namespace

TEST_CASE("entries are taken in their order, when the ring is entered") {
  scripted_ring script;
  for (std::uint64_t i = 1; i <= 3; ++i) nop(script, i);
  CHECK(script.in_flight().empty());
  CHECK(script.unsubmitted() == 3);

  CHECK(script.enter(0) == 0);

  REQUIRE(script.in_flight().size() == 3);
  CHECK(script.unsubmitted() == 0);
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(script.in_flight()[i].user_data == i + 1);
  for (const auto& each : script.in_flight(IORING_OP_NOP)) script.complete(each, 0);
  CHECK(taken_from(script) == std::vector<answered>{{1, 0}, {2, 0}, {3, 0}});
}

TEST_CASE("a ring gives as many entries as it has, until it is entered") {
  scripted_ring script{{.sq_entries = 4}};
  script.answer = [](const auto&) { return 0; };
  for (int round = 0; round < 5; ++round) {
    for (std::uint64_t i = 0; i < 4; ++i) nop(script, i);
    CHECK(script.free_sqes() == 0);
    CHECK(script.try_sqe() == nullptr);
    CHECK(script.enter(0) == 0);
    CHECK(script.free_sqes() == 4);
    CHECK(taken_from(script).size() == 4);
  }
}

TEST_CASE("a refusal takes as many as it says, and the rest stays") {
  scripted_ring script;
  script.answer = [](const auto&) { return 0; };
  for (std::uint64_t i = 0; i < 3; ++i) nop(script, i);
  script.refuse(EAGAIN, 1);

  CHECK(script.enter(0) == EAGAIN);
  CHECK(script.unsubmitted() == 2);
  CHECK(script.enter(0) == 0);
  CHECK(script.unsubmitted() == 0);
  CHECK(taken_from(script).size() == 3);
}

TEST_CASE("completions beyond the queue's size wait for an enter, and keep their order") {
  scripted_ring script{{.cq_entries = 2}};
  for (std::uint64_t i = 1; i <= 5; ++i) nop(script, i);
  CHECK(script.enter(0) == 0);
  for (const auto& each : script.in_flight(IORING_OP_NOP)) script.complete(each, 0);

  CHECK(script.overflowed());
  CHECK(taken_from(script) == std::vector<answered>{{1, 0}, {2, 0}});
  CHECK(script.wants_enter());
  CHECK(script.enter(0) == 0);
  CHECK(taken_from(script) == std::vector<answered>{{3, 0}, {4, 0}});
  CHECK(script.enter(0) == 0);
  CHECK(taken_from(script) == std::vector<answered>{{5, 0}});
  CHECK(!script.overflowed());
}

TEST_CASE("what is left to the next enter is announced, and seen by nobody before") {
  scripted_ring script;
  nop(script, 1);
  CHECK(script.enter(0) == 0);
  CHECK(!script.wants_enter());

  script.complete_on_enter(script.only(IORING_OP_NOP), 0);
  CHECK(script.wants_enter());
  CHECK(!script.has_completions());
  CHECK(script.enter(0) == 0);
  CHECK(taken_from(script).size() == 1);
}

// --------------------------------------------------------------------------------------------- beside the kernel

TEST_CASE(
    "as on the kernel, a cancel that finds its victim is told of before it, or not at all when it is to be skipped") {
  two_rings rings;
  for (const unsigned flags : {0u, unsigned{IOSQE_CQE_SKIP_SUCCESS}}) {
    const auto seen = rings.both([&](ring& on) {
      recv(on, 1, rings.pair.here.get(), rings.buffer);
      cancel(on, 2, 1, flags);
      while (!on.has_completions()) CHECK(on.enter(0) == 0);
      CHECK(on.enter(0) == 0);
    });
    CHECK(seen.back() == answered{1, -ECANCELED});
    CHECK(seen.size() == (flags == 0 ? 2 : 1));
  }
}

TEST_CASE("as on the kernel, a cancel that finds nothing says so, although success is to be skipped") {
  two_rings rings;
  const auto seen = rings.both([&](ring& on) {
    cancel(on, 2, 1, IOSQE_CQE_SKIP_SUCCESS);
    CHECK(on.enter(0) == 0);
  });
  CHECK(seen == std::vector<answered>{{2, -ENOENT}});
}

TEST_CASE("as on the kernel, a linked timeout that is over ends its operation and says nothing itself") {
  two_rings rings;
  __kernel_timespec past{.tv_sec = 0, .tv_nsec = 1};
  const auto seen = rings.both([&](ring& on) {
    recv(on, 1, rings.pair.here.get(), rings.buffer, IOSQE_IO_LINK);
    io_uring_sqe& sqe = new_entry(on, 2);
    io_uring_prep_link_timeout(&sqe, &past, IORING_TIMEOUT_ABS);
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe.user_data = 2;
    while (!on.has_completions()) CHECK(on.enter(0) == 0);
  });
  CHECK(seen == std::vector<answered>{{1, -ECANCELED}});
}

TEST_CASE("as on the kernel, a timeout that is over ends with -ETIME, and one that is gone cannot be moved") {
  two_rings rings;
  __kernel_timespec past{.tv_sec = 0, .tv_nsec = 1};
  const auto seen = rings.both([&](ring& on) {
    io_uring_sqe& sqe = new_entry(on, 1);
    io_uring_prep_timeout(&sqe, &past, 0, IORING_TIMEOUT_ABS);
    sqe.user_data = 1;
    while (!on.has_completions()) CHECK(on.enter(0) == 0);
    io_uring_sqe& move = new_entry(on, 2);
    io_uring_prep_timeout_update(&move, &past, 1, IORING_TIMEOUT_ABS);
    move.user_data = 2;
    CHECK(on.enter(0) == 0);
  });
  CHECK(seen == std::vector<answered>{{1, -ETIME}, {2, -ENOENT}});
}

TEST_CASE("as on the kernel, a span that moves a timeout counts from the move on") {
  two_rings rings;
  __kernel_timespec hour{.tv_sec = 3600, .tv_nsec = 0};
  __kernel_timespec no_time{};
  const auto seen = rings.both(
      [&](ring& on) {
        io_uring_sqe& sqe = new_entry(on, 1);
        io_uring_prep_timeout(&sqe, &hour, 0, 0);
        sqe.user_data = 1;
        CHECK(on.enter(0) == 0);
        io_uring_sqe& move = new_entry(on, 2);
        io_uring_prep_timeout_update(&move, &no_time, 1, 0);
        move.flags |= IOSQE_CQE_SKIP_SUCCESS;
        move.user_data = 2;
        while (!on.has_completions()) CHECK(on.enter(0) == 0);
      },
      /*in_order=*/false);
  CHECK(seen == std::vector<answered>{{1, -ETIME}});
}

namespace {

// A recv, and a timeout linked to it that is heard.
void recv_until(two_rings& rings, ring& on, __kernel_timespec& when, unsigned flags) {
  recv(on, 1, rings.pair.here.get(), rings.buffer, IOSQE_IO_LINK);
  io_uring_sqe& sqe = new_entry(on, 2);
  io_uring_prep_link_timeout(&sqe, &when, flags);
  sqe.user_data = 2;
}

void move_link(ring& on, std::uint64_t id, __kernel_timespec& when, unsigned flags) {
  io_uring_sqe& sqe = new_entry(on, id);
  io_uring_prep_timeout_update(&sqe, &when, 2, flags | IORING_LINK_TIMEOUT_UPDATE);
  sqe.user_data = id;
}

struct clock_flags {
  unsigned timeout;
  unsigned move;
};
constexpr clock_flags every_clock[] = {
    {0, 0}, {IORING_TIMEOUT_BOOTTIME, 0}, {IORING_TIMEOUT_REALTIME | IORING_TIMEOUT_ABS, IORING_TIMEOUT_ABS}};

// An hour from now as a span, or a time of day that is far away.
__kernel_timespec far_away(unsigned flags) {
  return {.tv_sec = (flags & IORING_TIMEOUT_ABS) != 0 ? 9'000'000'000 : 3600, .tv_nsec = 0};
}

}  // namespace

TEST_CASE("as on the kernel, a linked timeout that is heard tells that it has fired before its operation ends") {
  for (const auto& [flags, ignored] : every_clock) {
    CAPTURE(flags);
    two_rings rings;
    __kernel_timespec no_time{};
    const auto seen = rings.both([&](ring& on) {
      recv_until(rings, on, no_time, flags);
      while (on.ready_completions() < 2) CHECK(on.enter(0) == 0);
    });
    CHECK(seen == std::vector<answered>{{2, -ETIME}, {1, -ECANCELED}});
  }
}

TEST_CASE("as on the kernel, a linked timeout that is heard ends behind an operation that was cancelled") {
  two_rings rings;
  __kernel_timespec hour{.tv_sec = 3600, .tv_nsec = 0};
  const auto seen = rings.both([&](ring& on) {
    recv_until(rings, on, hour, 0);
    CHECK(on.enter(0) == 0);
    cancel(on, 3, 1, IOSQE_CQE_SKIP_SUCCESS);
    while (on.ready_completions() < 2) CHECK(on.enter(0) == 0);
  });
  CHECK(seen == std::vector<answered>{{1, -ECANCELED}, {2, -ECANCELED}});
}

TEST_CASE("as on the kernel, a linked timeout is moved by its own user_data, on its own clock, also behind its entry") {
  for (const auto& [flags, move_flags] : every_clock) {
    CAPTURE(flags);
    two_rings rings;
    __kernel_timespec far = far_away(flags);
    __kernel_timespec no_time{};
    const auto seen = rings.both([&](ring& on) {
      recv_until(rings, on, far, flags);
      move_link(on, 3, no_time, move_flags);
      while (on.ready_completions() < 3) CHECK(on.enter(0) == 0);
    });
    CHECK(seen == std::vector<answered>{{3, 0}, {2, -ETIME}, {1, -ECANCELED}});
  }
}

TEST_CASE("as on the kernel, a move that names a clock is refused, and one of what has ended finds nothing") {
  two_rings rings;
  __kernel_timespec hour{.tv_sec = 3600, .tv_nsec = 0};
  const auto seen = rings.both([&](ring& on) {
    recv_until(rings, on, hour, IORING_TIMEOUT_BOOTTIME);
    move_link(on, 3, hour, IORING_TIMEOUT_BOOTTIME);
    CHECK(on.enter(0) == 0);
    cancel(on, 4, 1, IOSQE_CQE_SKIP_SUCCESS);
    while (on.ready_completions() < 3) CHECK(on.enter(0) == 0);
    move_link(on, 5, hour, 0);
    CHECK(on.enter(0) == 0);
  });
  CHECK(seen == std::vector<answered>{{3, -EINVAL}, {1, -ECANCELED}, {2, -ECANCELED}, {5, -ENOENT}});
}

TEST_CASE("as on the kernel, a timeout on any clock fires when its time has come, and can be moved") {
  for (const auto& [flags, move_flags] : every_clock) {
    CAPTURE(flags);
    two_rings rings;
    __kernel_timespec far = far_away(flags);
    __kernel_timespec no_time{};
    const auto seen = rings.both([&](ring& on) {
      io_uring_sqe& sqe = new_entry(on, 1);
      io_uring_prep_timeout(&sqe, &far, 0, flags);
      sqe.user_data = 1;
      CHECK(on.enter(0) == 0);
      io_uring_sqe& move = new_entry(on, 2);
      io_uring_prep_timeout_update(&move, &no_time, 1, move_flags);
      move.user_data = 2;
      while (on.ready_completions() < 2) CHECK(on.enter(0) == 0);
    });
    CHECK(seen == std::vector<answered>{{2, 0}, {1, -ETIME}});
  }
}

TEST_CASE("as on the kernel, a link ends with the enter: its timeout that comes later is refused") {
  two_rings rings;
  __kernel_timespec no_time{};
  const auto seen = rings.both([&](ring& on) {
    recv(on, 1, rings.pair.here.get(), rings.buffer, IOSQE_IO_LINK);
    CHECK(on.enter(0) == 0);
    io_uring_sqe& sqe = new_entry(on, 2);
    io_uring_prep_link_timeout(&sqe, &no_time, 0);
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe.user_data = 2;
    CHECK(on.enter(0) == 0);
    CHECK(on.has_completions());
    cancel(on, 3, 1, IOSQE_CQE_SKIP_SUCCESS);
    while (answers_count(on) < 2) CHECK(on.enter(0) == 0);
  });
  CHECK(seen == std::vector<answered>{{2, -EINVAL}, {1, -ECANCELED}});
}

TEST_CASE("as on the kernel, a cancel of a descriptor counts what it ended") {
  two_rings rings;
  const auto seen = rings.both(
      [&](ring& on) {
        for (std::uint64_t i = 1; i <= 3; ++i) recv(on, i, rings.pair.here.get(), rings.buffer);
        CHECK(on.enter(0) == 0);
        io_uring_sqe& sqe = new_entry(on, 9);
        io_uring_prep_cancel_fd(&sqe, rings.pair.here.get(), IORING_ASYNC_CANCEL_ALL);
        sqe.user_data = 9;
        CHECK(on.enter(0) == 0);
        CHECK(on.enter(0) == 0);
      },
      /*in_order=*/false);
  CHECK(seen.size() == 4);
  CHECK(seen.front() == answered{9, 3});
}

TEST_CASE("as on the kernel, completions overflow without loss") {
  two_rings rings;
  const auto seen = rings.both([&](ring& on) {
    for (std::uint64_t i = 0; i < 24; ++i) {
      if (on.free_sqes() == 0) CHECK(on.enter(0) == 0);
      nop(on, i);
    }
    CHECK(on.enter(0) == 0);
    CHECK(on.overflowed());
  });
  CHECK(seen.size() == 16);
}

}  // namespace gyre::detail
