// SPDX-License-Identifier: MIT
// Chains of three in every order: each answer of the kernel to the members, each order in which these answers come, a
// cancel or a deadline at each moment between them, and each answer to each cancel. On the scripted ring.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include "../support/every_order.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

namespace gyre {
namespace {

using namespace test;
using namespace std::chrono_literals;
using detail::scripted_ring;

constexpr int some_number = 1'000'123;  // of a descriptor that is not open
constexpr int whole = 4;                // bytes

using answers = std::array<int, 3>;
using codes = std::array<std::error_code, 3>;

std::string told(const answers& given) {
  return std::to_string(given[0]) + ", " + std::to_string(given[1]) + ", " + std::to_string(given[2]);
}

struct noted_chain {
  outcome how;
  codes errors;
};

// Memory on the heap, so that AddressSanitizer sees whether it goes before the last completion.
struct three_buffers {
  std::unique_ptr<std::array<std::byte, 4>> each[3] = {std::make_unique<std::array<std::byte, 4>>(),
                                                       std::make_unique<std::array<std::byte, 4>>(),
                                                       std::make_unique<std::array<std::byte, 4>>()};
  ops::recv into(int index) const { return ops::recv(some_number, *each[index]); }
};

template <class Results>
codes errors_of(const Results& results) {
  return {std::get<0>(results).error(), std::get<1>(results).error(), std::get<2>(results).error()};
}

template <class Chain>
task<> note(Chain chain, noted_chain& noted) {
  const stop_watch watch{noted.how};
  noted.errors = errors_of(co_await std::move(chain));
  noted.how.how = ended::with_value;
}

task<> await_links(bool hard, noted_chain& noted) {
  const three_buffers memory;
  if (hard) co_await note(ops::hard_link(memory.into(0), memory.into(1), memory.into(2)), noted);
  else co_await note(ops::link(memory.into(0), memory.into(1), memory.into(2)), noted);
}

task<> await_links_in_time(bool hard, noted_chain& noted) {
  const three_buffers memory;
  if (hard) co_await note(with_timeout(5s, ops::hard_link(memory.into(0), memory.into(1), memory.into(2))), noted);
  else co_await note(with_timeout(5s, ops::link(memory.into(0), memory.into(1), memory.into(2))), noted);
}

// What the kernel can come to. -ECANCELED: cancelled, or never run.
constexpr answers soft_outcomes[] = {
    {whole, whole, whole},                 // all well
    {-EIO, -ECANCELED, -ECANCELED},        // the first failed
    {whole, -EIO, -ECANCELED},             // the second
    {whole, whole, -ECANCELED},            // the second was cut short, or the last cancelled
    {whole, -ECANCELED, -ECANCELED},       // the same of those before
    {-ECANCELED, -ECANCELED, -ECANCELED},  // the first was cancelled
    {-512, -ECANCELED, -ECANCELED},        // in a worker
    {-ECANCELED, -EINVAL, -ECANCELED},     // the second was refused before any ran
};
constexpr answers hard_outcomes[] = {
    {whole, whole, whole},           {-EIO, whole, whole},
    {-ECANCELED, whole, whole},      {-EIO, -ECANCELED, whole},
    {-ECANCELED, -ECANCELED, whole}, {-ECANCELED, -ECANCELED, -ECANCELED},
    {whole, -ECANCELED, -EIO},       {-ECANCELED, -EINVAL, -ECANCELED},
};

std::error_code told_as(int error) { return {error, std::system_category()}; }

bool was_cancelled(int answer) { return answer == -ECANCELED || answer == -512; }

// What a user is to see, said once more, from the tables in detail/chain.hpp and the docstring of ops::link().
struct expected_end {
  bool stopped = false;
  codes errors;
};

expected_end expected(const answers& given, bool hard, bool asked, std::error_code when_asked) {
  expected_end end;
  const bool none_ran = std::all_of(given.begin(), given.end(), [](int each) { return each < 0; });
  const bool refused = none_ran && std::find(given.begin(), given.end(), -EINVAL) != given.end();
  bool failed_before = false;
  for (std::size_t i = 0; i < 3; ++i) {
    const int answer = given[i];
    const bool never_ran = answer == -ECANCELED && (refused || (!hard && (failed_before || (i > 0 && !asked))));
    if (answer < 0) failed_before = true;
    if (answer >= 0) continue;
    if (never_ran) end.errors[i] = errc::link_broken;
    else if (!was_cancelled(answer)) end.errors[i] = told_as(-answer);
    else if (asked && !when_asked) end.stopped = true;
    else if (asked) end.errors[i] = when_asked;
    else end.errors[i] = told_as(answer == -512 ? EINTR : ECANCELED);
  }
  return end;
}

// One run: members are answered in any order, cancels with anything, and `strike` comes at some time or not at all.
struct run_of_three {
  run_of_three(choices& chosen, bool is_hard, const answers& its_answers, task<> (*awaited)(bool, noted_chain&))
      : choose{chosen}, hard{is_hard}, given{its_answers}, root{on.loop.start(awaited(is_hard, noted))} {
    on.script.links_by_hand = true;
    on.loop.run_ready();
    members = on.script.in_flight(IORING_OP_RECV);
    REQUIRE(members.size() == 3);
  }

  // Returns whether `strike` came before the end.
  template <class Strike>
  bool take_all(Strike strike) {
    steps next;
    for (std::size_t i = 0; i < 3; ++i) {
      next.once("answer " + std::to_string(i), [this, i] {
        on.script.complete(members[i], given[i]);
        on.loop.run_ready();
      });
    }
    bool has_struck = false;
    next.perhaps("strike", [&] {
      has_struck = noted.how.how == ended::not_yet;
      strike(*this);
      on.loop.run_ready();
    });
    next.whenever("cancel", [this] { return !cancels().empty(); }, [this] { answer_cancel(); });
    next.take_all(choose, [this] { check_nothing_is_left_behind(); });
    return has_struck;
  }

  std::vector<scripted_ring::request> cancels() const { return on.script.in_flight(IORING_OP_ASYNC_CANCEL); }

  // The kernel does not find the one that it is asked for a few times at most.
  void answer_cancel() {
    const auto asking = cancels();
    CHECK(asking.size() == 1);
    const bool is_over = std::none_of(members.begin(), members.end(), [&](const auto& each) {
      const auto left = on.script.in_flight(IORING_OP_RECV);
      return std::any_of(left.begin(), left.end(), [&](const auto& one) { return one.id == each.id; });
    });
    constexpr int said[] = {0, -EALREADY, -ENOENT};
    const std::size_t which = is_over ? 2 : choose.pick(not_found_count < 2 ? 3 : 2);
    if (which == 2) ++not_found_count;
    on.script.complete(asking.front(), said[which]);
    on.loop.run_ready();
  }

  void check_nothing_is_left_behind() const {
    const bool has_ended = noted.how.how != ended::not_yet;
    if (has_ended) CHECK(on.script.in_flight().empty());
  }

  choices& choose;
  bool hard;
  answers given;
  scripted_executor on{by_hand};
  noted_chain noted;
  root_task<void> root;
  std::vector<scripted_ring::request> members;
  int not_found_count = 0;
};

void check(const run_of_three& run, bool asked, std::error_code when_asked) {
  const expected_end end = expected(run.given, run.hard, asked, when_asked);
  CHECK(run.noted.how.how == (end.stopped ? ended::stopped : ended::with_value));
  if (end.stopped) return;
  for (std::size_t i = 0; i < 3; ++i) CHECK(run.noted.errors[i] == end.errors[i]);
}

}  // namespace

TEST_CASE("a chain ends with its last completion, in every order of answers and of a stop") {
  for (const bool hard : {false, true}) {
    for (const answers& given : hard ? hard_outcomes : soft_outcomes) {
      const std::size_t count = for_every_order([&](choices& choose) {
        run_of_three run{choose, hard, given, &await_links};
        const bool asked = run.take_all([](run_of_three& mine) { mine.root.cancel(); });

        CAPTURE(choose);
        CAPTURE(hard);
        CAPTURE(told(given));
        check(run, asked, {});
        CHECK(run.root.done());
      });
      CHECK(count > 100);
    }
  }
}

TEST_CASE("a chain ends with its last completion, in every order of answers and of its deadline") {
  for (const bool hard : {false, true}) {
    for (const answers& given : hard ? hard_outcomes : soft_outcomes) {
      for_every_order([&](choices& choose) {
        run_of_three run{choose, hard, given, &await_links_in_time};
        CHECK(run.on.script.taken_count(IORING_OP_LINK_TIMEOUT) == 0);
        const bool asked = run.take_all([](run_of_three& mine) { mine.on.advance(5s); });

        CAPTURE(choose);
        CAPTURE(hard);
        CAPTURE(told(given));
        check(run, asked, told_as(ETIMEDOUT));
        CHECK(run.root.done());
      });
    }
  }
}

}  // namespace gyre
