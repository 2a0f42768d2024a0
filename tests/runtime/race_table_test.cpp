// SPDX-License-Identifier: MIT
// Who wins, as tables: every pair of a result, a failure, a cancel and a deadline, and of what comes to an inner and to
// an outer scope, in both orders and at every distance, for all that can wait. The tables are the rules; a driver steps
// the scripted ring through each of their cells. Nothing sleeps.
//
// A row is what waits: see support/every_wait.hpp. A cell is how it ends, as the task sees it that waits:
//
//   value        with what was waited for
//   error        with the kernel's error; +4: a transfer that says that four bytes were moved
//   timed_out    with the error of its deadline, likewise
//   stopped      not at all: it was unwound
//   -            that order cannot be, for the reason that stands below the table
//
// A column is when the second of the two comes, seen from the first:
//
//   turns        when the executor has nothing left to do but wait
//   turn         one turn later
//   same         at once: both come between two turns, and the turn that follows sees both
//   inside       in the turn that sees the first: a coroutine that runs in it causes the second
//
// What ends on another thread or executor has its orders elsewhere: a visit in on_test.cpp, which steps both sides; a
// call on a thread in offload_test.cpp, and both in the random programs of stress_test.cpp.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/captured_log.hpp"
#include "../support/every_wait.hpp"
#include "../support/modes.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using std::chrono::nanoseconds;

// -------------------------------------------------------------------------------------------------- what happens to it

enum class event { result, failure, cancel, deadline, outer_cancel, outer_deadline };
enum class distance { turns, turn, same, inside };

// Two events, in their order and at their distance.
struct order {
  event first;
  event second;
  distance how;
};

// What comes by the clock comes at one of these times: the first of the two events at the first.
constexpr std::array<nanoseconds, 2> times{10ms, 20ms};

/// A row and two events: brings about the one and the other, and what has to come after them.
class cell {
 public:
  cell(const subject& chosen, const order& in_order)
      : what_{chosen}, order_{in_order}, on_{by_hand, {.linked_timeout_max = chosen.linked_timeout_max}} {
    stage_.limit = time_of(event::deadline);
    stage_.nap = time_of(event::result);
  }

  /// Runs all of it in `body`. Whether the order can be.
  bool run(task<> body, bool result_at_last) {
    root_.emplace(on_.loop, std::move(body));
    if (order_.how == distance::inside) helper_.emplace(on_.loop, help());
    on_.loop.run_ready();
    if (what_.is_begun) on_.script.complete(on_.script.only(what_.opcode), 4);
    on_.loop.run_ready();

    cause(order_.first, times[0]);
    let_pass();
    if (order_.how != distance::inside) cause(order_.second, times[1]);
    on_.loop.run_ready();
    CHECK((what_.is_multishot || !has_requests() || !root_->done()));  // whose memory the kernel has
    if (result_at_last && has_requests()) give_results();
    end();
    return is_possible_;
  }

  [[nodiscard]] stage& at() noexcept { return stage_; }
  [[nodiscard]] cancel_scope*& outer_scope() noexcept { return outer_scope_; }

  /// When it comes, if it comes by the clock.
  [[nodiscard]] nanoseconds time_of(event what) const noexcept {
    if (order_.first == what) return times[0];
    return order_.second == what ? times[1] : never;
  }

 private:
  // Waits for a completion that lies behind those of the first event: it runs in the turn that sees them.
  task<> help() {
    co_await ops::nop();
    cause(order_.second, times[1]);
    on_.loop.now();  // as anybody who runs there may look at the clock
  }

  void let_pass() {
    if (order_.how == distance::turns) on_.loop.run_ready();
    if (order_.how == distance::turn) on_.loop.turn(/*may_park=*/false);
    if (order_.how == distance::inside) {
      on_.script.complete(on_.script.only(IORING_OP_NOP), 0);
      on_.loop.run_ready();
    }
  }

  void cause(event what, nanoseconds time) {
    switch (what) {
      case event::result:
        return what_.waits_for_time() ? reach(time) : give_results();
      case event::failure:
        return fail();
      case event::cancel:
        return stage_.scope != nullptr ? stage_.scope->cancel() : root_->cancel();
      case event::outer_cancel:
        return outer_scope_->cancel();
      case event::deadline:
      case event::outer_deadline:
        return reach(time);
    }
  }

  void reach(nanoseconds time) { on_.script.advance(time - nanoseconds{on_.script.now() - began_}); }

  [[nodiscard]] bool has_requests() const { return !on_.script.in_flight(what_.opcode).empty(); }

  void give_results() {
    is_possible_ = has_requests();
    for (const auto& each : on_.script.in_flight(what_.opcode)) {
      if (what_.accepts()) on_.script.complete(each, ::dup(STDERR_FILENO), IORING_CQE_F_MORE);
      else if (what_.is_multishot) on_.script.deliver_selected(each, "four");
      else on_.script.complete(each, 4);
    }
  }

  void fail() {
    is_possible_ = has_requests();
    if (is_possible_) on_.script.complete(on_.script.in_flight(what_.opcode).front(), -EIO);
  }

  // The kernel says its last word. It has nothing any more that it was not asked to stop; and then nothing at all.
  void end() {
    on_.loop.run_ready();
    for (int rounds = 0; !on_.script.in_flight().empty() && rounds < 5; ++rounds) {
      for (const auto& each : std::vector{on_.script.in_flight()}) {
        const bool is_cancel = each.opcode == IORING_OP_ASYNC_CANCEL;
        CHECK((is_cancel || each.stop_asked));
        on_.script.complete(each, is_cancel ? -ENOENT : -ECANCELED);
      }
      on_.loop.run_ready();
    }
    CHECK(on_.script.in_flight().empty());
    CHECK(on_.loop.timers().empty());
    CHECK(root_->done());
    CHECK(stage_.begun_count > 0);
    CHECK(stage_.ended_count == stage_.begun_count);
  }

  const subject& what_;
  const order order_;
  stage stage_;
  scripted_executor on_;
  const detail::clock_ns began_ = on_.script.now();
  cancel_scope* outer_scope_ = nullptr;
  std::optional<root_task<void>> root_;
  std::optional<root_task<void>> helper_;
  bool is_possible_ = true;
};

// ---------------------------------------------------------------------------------------------------------- the tables

// Rules as text: the name of a row, and its cells. Lines that begin with # are for who reads them.
struct table {
  event one;  // comes first in the first four columns
  event other;
  std::string_view rules;
  bool without_inside = false;  // three columns each
};

constexpr std::array distances{distance::turns, distance::turn, distance::same, distance::inside};

struct row {
  std::string name;
  std::vector<std::string> cells;
};

std::vector<row> rows_of(const table& rules) {
  std::vector<row> rows;
  std::istringstream lines{std::string{rules.rules}};
  for (std::string line; std::getline(lines, line);) {
    std::erase(line, '|');
    std::istringstream words{line};
    row read;
    if (!(words >> read.name) || read.name.front() == '#') continue;
    for (std::string word; words >> word;) read.cells.push_back(word);
    rows.push_back(std::move(read));
  }
  return rows;
}

// The cells of `what`: in a row of its own, or in that of those that have none.
const std::vector<std::string>& cells_of(const subject& what, const std::vector<row>& rows) {
  const auto is_called = [](std::string_view name) { return [name](const row& each) { return each.name == name; }; };
  const auto own = std::find_if(rows.begin(), rows.end(), is_called(what.name));
  const auto found = own != rows.end() ? own : std::find_if(rows.begin(), rows.end(), is_called("others"));
  REQUIRE(found != rows.end());
  return found->cells;
}

// Calls check(subject, order, what the cell says) for each cell, of all that can wait.
template <class Check>
void for_each_cell(const table& rules, Check check) {
  const std::vector<row> rows = rows_of(rules);
  const std::size_t distances_count = distances.size() - (rules.without_inside ? 1 : 0);
  for (const row& each : rows) {
    CAPTURE(each.name);
    const bool is_known =
        std::any_of(subjects.begin(), subjects.end(), [&](auto& one) { return one.name == each.name; });
    CHECK((is_known || each.name == "others"));
    REQUIRE(each.cells.size() == 2 * distances_count);
  }
  for (const subject& what : subjects) {
    auto cell = cells_of(what, rows).begin();
    for (const bool is_swapped : {false, true})
      for (const distance how : std::span{distances}.first(distances_count))
        check(what, is_swapped ? order{rules.other, rules.one, how} : order{rules.one, rules.other, how}, *cell++);
  }
}

std::string outcome_of(const subject& chosen, const order& in_order, bool result_at_last) {
  cell one{chosen, in_order};
  return one.run(chosen.wait(one.at()), result_at_last) ? one.at().said : "-";
}

void check(const table& rules, bool result_at_last = false) {
  const captured_log quiet;  // of what fails beside something that was decided
  const std::size_t open_before = open_descriptors_count();
  for_each_cell(rules, [&](const subject& chosen, const order& in_order, const std::string& expected) {
    CAPTURE(chosen.name);
    CAPTURE(in_order.first == rules.one);
    CAPTURE(static_cast<int>(in_order.how));
    CHECK(outcome_of(chosen, in_order, result_at_last) == expected);
  });
  CHECK(open_descriptors_count() == open_before);
}

}  // namespace

// ------------------------------------------------------------------------- a result, a failure, a cancel, a deadline

TEST_CASE("a result and a cancel") {
  check({.one = event::result, .other = event::cancel, .rules = R"(
#                the result first                    | the cancel first
#                turns    turn     same     inside   | turns    turn     same     inside
operation        value    value    value    value    | value    value    value    value
operation,linked value    value    value    value    | value    value    value    value
last_part        value    value    value    value    | value    value    value    value
next_part        stopped  stopped  stopped  stopped  | stopped  stopped  stopped  stopped
sleep            value    value    stopped  stopped  | stopped  stopped  stopped  stopped
interval         value    value    stopped  stopped  | stopped  stopped  stopped  stopped
task             value    value    value    value    | value    value    value    value
visit_at_home    value    value    value    value    | value    value    value    value
child's_result   value    value    stopped  value    | stopped  stopped  stopped  stopped
room             value    value    stopped  value    | stopped  stopped  stopped  stopped
permit           value    value    stopped  value    | stopped  stopped  stopped  stopped
mutex            value    value    stopped  value    | stopped  stopped  stopped  stopped
channel          value    value    stopped  value    | stopped  stopped  stopped  stopped
select           value    value    stopped  value    | stopped  stopped  stopped  stopped
group            value    value    stopped  value    | stopped  stopped  stopped  stopped
stream           value    value    value    value    | value    value    value    value
merged_streams   value    value    stopped  value    | stopped  stopped  stopped  stopped
accept_stream    value    value    stopped  value    | stopped  stopped  stopped  stopped
recv_stream      value    value    stopped  value    | stopped  stopped  stopped  stopped
when_all         value    value    value    value    | value    value    value    value
when_any         value    value    value    value    | value    value    value    value
race             value    value    value    value    | value    value    value    value
# What the kernel has is delivered, however late. A transfer that goes on is a new wait, which does not begin.
# What waits here, and not in the kernel, is stopped at once: a result is seen in a turn, and a time at the turn's end.
# A group gives no value that could be lost.
)"});
}

TEST_CASE("a result and a deadline") {
  check({.one = event::result, .other = event::deadline, .rules = R"(
#                the result first                                | the deadline first
#                turns       turn        same        inside      | turns       turn        same        inside
operation        value       value       value       value       | value       value       value       value
operation,linked value       value       value       value       | value       value       value       value
last_part        value       value       value       value       | value       value       value       value
next_part        timed_out+8 timed_out+8 timed_out+8 timed_out+8 | timed_out+8 timed_out+8 timed_out+8 timed_out+8
sleep            value       value       value       value       | timed_out   timed_out   timed_out   timed_out
interval         value       value       value       value       | timed_out   timed_out   timed_out   timed_out
task             value       value       value       value       | value       value       value       value
visit_at_home    value       value       value       value       | value       value       value       value
child's_result   value       value       value       value       | timed_out   timed_out   value       timed_out
room             value       value       value       value       | timed_out   timed_out   value       timed_out
permit           value       value       value       value       | timed_out   timed_out   value       timed_out
mutex            value       value       value       value       | timed_out   timed_out   value       timed_out
channel          value       value       value       value       | timed_out   timed_out   value       timed_out
select           value       value       value       value       | timed_out   timed_out   value       timed_out
group            value       value       value       value       | timed_out   timed_out   value       timed_out
stream           value       value       value       value       | value       value       value       value
merged_streams   value       value       value       value       | timed_out   timed_out   value       timed_out
accept_stream    value       value       value       value       | timed_out   timed_out   value       timed_out
recv_stream      value       value       value       value       | timed_out   timed_out   value       timed_out
when_all         value       value       value       value       | value       value       value       value
when_any         value       value       value       value       | value       value       value       value
race             value       value       value       value       | value       value       value       value
# A time is seen at a turn's end, behind the results that the turn has taken. Of two times the earlier one comes first.
)"});
}

TEST_CASE("a failure and a cancel") {
  check({.one = event::failure, .other = event::cancel, .rules = R"(
#                the failure first                   | the cancel first
#                turns    turn     same     inside   | turns    turn     same     inside
operation        error    error    error    error    | error    error    error    error
operation,linked error    error    error    error    | error    error    error    error
last_part        error+4  error+4  error+4  error+4  | error+4  error+4  error+4  error+4
next_part        error+4  error+4  error+4  error+4  | error+4  error+4  error+4  error+4
sleep            -        -        -        -        | -        -        -        -
interval         -        -        -        -        | -        -        -        -
task             error    error    error    error    | error    error    error    error
visit_at_home    error    error    error    error    | error    error    error    error
child's_result   error    error    stopped  error    | stopped  stopped  stopped  stopped
room             stopped  stopped  stopped  stopped  | stopped  stopped  stopped  stopped
permit           stopped  stopped  stopped  stopped  | stopped  stopped  stopped  stopped
mutex            value    value    stopped  value    | stopped  stopped  stopped  stopped
channel          stopped  stopped  stopped  stopped  | stopped  stopped  stopped  stopped
select           stopped  stopped  stopped  stopped  | stopped  stopped  stopped  stopped
group            error    error    error    error    | error    error    error    error
stream           error    error    error    error    | error    error    error    error
merged_streams   stopped  stopped  stopped  stopped  | stopped  stopped  stopped  stopped
accept_stream    error    error    stopped  error    | stopped  stopped  stopped  stopped
recv_stream      error    error    stopped  error    | stopped  stopped  stopped  stopped
when_all         error    error    error    error    | error    error    error    error
when_any         error    error    error    error    | error    error    error    error
race             error    error    error    error    | error    error    error    error
# -: a time comes, and cannot fail.
# Where a child or a source has failed, who waits beside it is stopped, and the region around both throws the failure.
# Who has failed unlocks the mutex as it unwinds: who waits has it then.
)"});
}

TEST_CASE("a failure and a deadline") {
  check({.one = event::failure, .other = event::deadline, .rules = R"(
#                the failure first                       | the deadline first
#                turns     turn      same      inside    | turns     turn      same      inside
operation        error     error     error     error     | error     error     error     error
operation,linked error     error     error     error     | error     error     error     error
last_part        error+4   error+4   error+4   error+4   | error+4   error+4   error+4   error+4
next_part        error+4   error+4   error+4   error+4   | error+4   error+4   error+4   error+4
sleep            -         -         -         -         | -         -         -         -
interval         -         -         -         -         | -         -         -         -
task             error     error     error     error     | error     error     error     error
visit_at_home    error     error     error     error     | error     error     error     error
child's_result   error     error     error     error     | timed_out timed_out error     timed_out
room             stopped   stopped   stopped   stopped   | timed_out timed_out stopped   timed_out
permit           stopped   stopped   stopped   stopped   | timed_out timed_out stopped   timed_out
mutex            value     value     value     value     | timed_out timed_out value     timed_out
channel          stopped   stopped   stopped   stopped   | timed_out timed_out stopped   timed_out
select           stopped   stopped   stopped   stopped   | timed_out timed_out stopped   timed_out
group            error     error     error     error     | error     error     error     error
stream           error     error     error     error     | error     error     error     error
merged_streams   stopped   stopped   stopped   stopped   | timed_out timed_out stopped   timed_out
accept_stream    error     error     error     error     | timed_out timed_out error     timed_out
recv_stream      error     error     error     error     | timed_out timed_out error     timed_out
when_all         error     error     error     error     | error     error     error     error
when_any         error     error     error     error     | error     error     error     error
race             error     error     error     error     | error     error     error     error
# -: as above.
# Where a child or a source has failed, who waits beside it is stopped, and the region around both throws the failure.
# The mutex: as above.
)"});
}

TEST_CASE("a cancel and a deadline") {
  check({.one = event::cancel, .other = event::deadline, .rules = R"(
#                the cancel first                        | the deadline first
#                turns     turn      same      inside    | turns     turn      same      inside
sleep            stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
interval         stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
child's_result   stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
room             stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
permit           stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
mutex            stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
channel          stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
select           stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
merged_streams   stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
accept_stream    stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
recv_stream      stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
others           stopped   stopped   stopped   stopped   | stopped   stopped   stopped   stopped
# Who has ended at its deadline has ended. Until then the cancel wins, also over a deadline that has been seen.
)"});
}

TEST_CASE("a cancel and a deadline, and then a result comes all the same") {
  check({.one = event::cancel, .other = event::deadline, .rules = R"(
#                the cancel first                        | the deadline first
#                turns     turn      same      inside    | turns     turn      same      inside
next_part        stopped   stopped   stopped   stopped   | stopped   stopped   stopped   stopped
sleep            stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
interval         stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
child's_result   stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
room             stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
permit           stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
mutex            stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
channel          stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
select           stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
group            stopped   stopped   stopped   stopped   | stopped   stopped   stopped   stopped
merged_streams   stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
accept_stream    stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
recv_stream      stopped   stopped   stopped   stopped   | timed_out stopped   stopped   stopped
others           value     value     value     value     | value     value     value     value
# Who has ended has ended, as above. What the kernel still had is delivered.
)"},
        /*result_at_last=*/true);
}

// ------------------------------------------------------------------------------------------------- inner and outer

namespace {

// Two regions, one inside the other, around a wait; behind the inner one the outer one waits for something else. What
// comes to them is a cancel of the region's scope, or its deadline. A cell is where the stop of the wait ends:
//
//   inner   the inner region says so, with what it says below; the other one then stops what is behind it
//   outer   the inner region is unwound as well: only the outer one says so
struct nesting {
  event inner;
  event outer;
  std::string_view inner_says;
  std::string_view outer_says;
};

constexpr nesting cancel_in_cancel{event::cancel, event::outer_cancel, "empty", "empty"};
constexpr nesting deadline_in_deadline{event::deadline, event::outer_deadline, "timed_out", "timed_out"};
constexpr nesting cancel_in_deadline{event::cancel, event::outer_deadline, "empty", "timed_out"};
constexpr nesting deadline_in_cancel{event::deadline, event::outer_cancel, "timed_out", "empty"};

// What the two regions said, and "nothing" from one that was unwound.
struct regions {
  const subject& what;
  const nesting& how;
  bool shielded;  // the inner one, and all in it, from the outer one
  cell& in;
  std::string inner_said = "nothing";
  std::string outer_said = "nothing";
};

task<> inner_region(regions& told) {
  stage& at = told.in.at();
  if (told.how.inner == event::deadline) {
    co_await told.what.wait(at);
    told.inner_said = at.said.substr(0, at.said.find('+'));
  } else {
    const bool whole = co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      const known_scope known{at.scope, scope};
      co_await told.what.wait(at);
    });
    told.inner_said = whole ? "whole" : "empty";
  }
}

task<> within_outer(regions& told) {
  if (told.shielded) co_await shield(inner_region(told));
  else co_await inner_region(told);
  co_await sleep_for(never);
}

task<> outer_region(regions& told) {
  if (told.how.outer == event::outer_deadline) {
    const auto ended = co_await as_result(with_timeout(told.in.time_of(event::outer_deadline), within_outer(told)));
    told.outer_said = ended ? "whole" : told_by(ended.error());
  } else {
    const bool whole = co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      const known_scope known{told.in.outer_scope(), scope};
      co_await within_outer(told);
    });
    told.outer_said = whole ? "whole" : "empty";
  }
}

void check(const nesting& how, std::string_view rules, bool shielded = false) {
  for_each_cell({how.inner, how.outer, rules},
                [&](const subject& chosen, const order& in_order, const std::string& end) {
                  CAPTURE(chosen.name);
                  CAPTURE((in_order.first == how.inner));
                  CAPTURE(static_cast<int>(in_order.how));
                  REQUIRE((end == "inner" || end == "outer"));
                  cell one{chosen, in_order};
                  regions told{chosen, how, shielded, one};
                  one.run(outer_region(told), /*result_at_last=*/false);
                  CHECK(told.inner_said == (end == "inner" ? how.inner_says : "nothing"));
                  CHECK(told.outer_said == how.outer_says);
                });
}

}  // namespace

TEST_CASE("a cancel of the inner scope and one of the outer") {
  check(cancel_in_cancel, R"(
#                the inner cancel first      | the outer cancel first
#                turns  turn   same   inside | turns  turn   same   inside
sleep            inner  inner  outer  inner  | outer  outer  outer  outer
interval         inner  inner  outer  inner  | outer  outer  outer  outer
accept_stream    inner  inner  outer  inner  | outer  outer  outer  outer
recv_stream      inner  inner  outer  inner  | outer  outer  outer  outer
others           outer  outer  outer  outer  | outer  outer  outer  outer
# As long as the kernel has not answered, the later cancel counts as well, and the outer one is where the stop ends.
# What waits here has ended by then, unless both come at once.
)");
}

TEST_CASE("a deadline of the inner scope and one of the outer") {
  check(deadline_in_deadline, R"(
#                the inner deadline first    | the outer deadline first
#                turns  turn   same   inside | turns  turn   same   inside
sleep            inner  inner  outer  outer  | outer  outer  outer  outer
interval         inner  inner  outer  outer  | outer  outer  outer  outer
accept_stream    inner  inner  outer  outer  | outer  outer  outer  outer
recv_stream      inner  inner  outer  outer  | outer  outer  outer  outer
others           outer  outer  outer  outer  | outer  outer  outer  outer
# inside: both times have come when the turn that is to see the first looks at the clock, at its end.
)");
}

TEST_CASE("a cancel of the inner scope and a deadline of the outer") {
  check(cancel_in_deadline, R"(
#                the inner cancel first      | the outer deadline first
#                turns  turn   same   inside | turns  turn   same   inside
sleep            inner  inner  inner  inner  | outer  outer  inner  inner
interval         inner  inner  inner  inner  | outer  outer  inner  inner
accept_stream    inner  inner  inner  inner  | outer  outer  inner  inner
recv_stream      inner  inner  inner  inner  | outer  outer  inner  inner
others           outer  outer  outer  outer  | outer  outer  outer  outer
# A time is seen at a turn's end: a cancel that comes after it, in the same turn, is the first.
)");
}

TEST_CASE("a deadline of the inner scope and a cancel of the outer") {
  check(deadline_in_cancel, R"(
#                the inner deadline first    | the outer cancel first
#                turns  turn   same   inside | turns  turn   same   inside
sleep            inner  outer  outer  outer  | outer  outer  outer  outer
interval         inner  outer  outer  outer  | outer  outer  outer  outer
accept_stream    inner  outer  outer  outer  | outer  outer  outer  outer
recv_stream      inner  outer  outer  outer  | outer  outer  outer  outer
others           outer  outer  outer  outer  | outer  outer  outer  outer
# turn: the deadline has been seen, and what it stopped runs in the next turn, before which the cancel comes.
)");
}

TEST_CASE("through a shield comes nothing of the outer scope, in any order: it stops what is behind") {
  for (const nesting& how : {cancel_in_cancel, deadline_in_deadline, cancel_in_deadline, deadline_in_cancel}) {
    CAPTURE(how.inner_says);
    CAPTURE(how.outer_says);
    check(how, R"(
#                the inner one first         | the outer one first
#                turns  turn   same   inside | turns  turn   same   inside
others           inner  inner  inner  inner  | inner  inner  inner  inner
)",
          /*shielded=*/true);
  }
}

// ------------------------------------------------------------------------------------------------- on the kernel

namespace {

// Both ends of a connection; or a listener, and who connects to it.
class peer {
 public:
  explicit peer(const subject& chosen) : what_{chosen} {
    if (!what_.accepts()) return;
    here_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address_.sun_family = AF_UNIX;  // and no name: the kernel finds one
    socklen_t size = sizeof address_.sun_family;
    REQUIRE(::bind(here_.get(), reinterpret_cast<const sockaddr*>(&address_), size) == 0);
    size = sizeof address_;
    REQUIRE(::getsockname(here_.get(), reinterpret_cast<sockaddr*>(&address_), &size) == 0);
    address_size_ = size;
    REQUIRE(::listen(here_.get(), 1) == 0);
  }

  [[nodiscard]] int socket() const noexcept { return what_.accepts() ? here_.get() : ends_.here.get(); }

  void send(std::string_view bytes) {
    REQUIRE(::send(ends_.there.get(), bytes.data(), bytes.size(), 0) > 0);
    sent_bytes_ += bytes.size();
  }

  // Those that nobody has received.
  [[nodiscard]] std::size_t bytes_left() const {
    int count = 0;
    REQUIRE(::ioctl(ends_.here.get(), FIONREAD, &count) == 0);
    return static_cast<std::size_t>(count);
  }
  [[nodiscard]] std::size_t sent_bytes() const noexcept { return sent_bytes_; }

  // What the row waits for.
  void give_result() {
    if (!what_.accepts()) return send(what_.is_begun ? "part" : "two four");
    client_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client_.get(), reinterpret_cast<const sockaddr*>(&address_), address_size_) == 0);
  }

 private:
  const subject& what_;
  socket_pair ends_;
  unique_fd here_;
  unique_fd client_;
  std::size_t sent_bytes_ = 0;
  sockaddr_un address_{};
  socklen_t address_size_ = 0;
};

// A row on the kernel, in a scope that the cancel is for, and whose deadline the deadline is: it is set to a time that
// has passed, so that nobody waits for it.
class kernel_cell {
 public:
  kernel_cell(const subject& chosen, const order& in_order)
      : what_{chosen},
        order_{in_order},
        peer_{chosen},
        loop_{options_under_test({.linked_timeout_max = chosen.linked_timeout_max})} {
    stage_.socket = peer_.socket();
    root_.emplace(loop_, within(stage_, chosen));
    loop_.run_ready();
    if (chosen.is_begun) peer_.send("part");
    loop_.run_ready();
  }

  std::string run() {
    cause(order_.first);
    if (order_.how == distance::turns) loop_.run_ready();
    if (order_.how == distance::turn) loop_.turn(/*may_park=*/false);
    cause(order_.second);
    turn_until_done(loop_, *root_);
    CHECK(loop_.timers().empty());
    CHECK(stage_.ended_count == stage_.begun_count);
    const bool has_store = what_.is_multishot;  // which goes with the stream
    if (!what_.is_begun && !has_store) CHECK(stage_.received_bytes + peer_.bytes_left() == peer_.sent_bytes());
    return stage_.said;
  }

 private:
  static task<> within(stage& at, const subject& chosen) {
    static_cast<void>(co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      const known_scope known{at.scope, scope};
      co_await chosen.wait(at);
    }));
  }

  void cause(event what) {
    if (what == event::result) return peer_.give_result();
    if (stage_.scope == nullptr) return;  // it has ended
    if (what == event::cancel) stage_.scope->cancel();
    else stage_.scope->set_deadline(std::chrono::steady_clock::time_point{});
  }

  const subject& what_;
  const order order_;
  stage stage_;
  peer peer_;
  executor loop_;
  std::optional<root_task<void>> root_;
};

void check_on_kernel(const table& rules) {
  const captured_log quiet;
  const std::size_t open_before = open_descriptors_count();
  for_each_cell(rules, [&](const subject& chosen, const order& in_order, const std::string& expected) {
    if (expected == "-") return;
    CAPTURE(chosen.name);
    CAPTURE((in_order.first == rules.one));
    CAPTURE(static_cast<int>(in_order.how));
    const std::string said = kernel_cell{chosen, in_order}.run();
    // Where the kernel submits by itself, whenever it gets to it, no turn is sure to see what came before it.
    if (expected == "either" || submits_by_itself()) CHECK((said == "value" || said == "stopped"));
    else CHECK(said == expected);
  });
  CHECK(open_descriptors_count() == open_before);
}

}  // namespace

TEST_CASE("a result and a cancel, on the kernel") {
  check_on_kernel({.one = event::result,
                   .other = event::cancel,
                   .rules = R"(
#                the result first        | the cancel first
#                turns   turn    same    | turns   turn    same
last_part        -       -       -       | -       -       -
next_part        stopped stopped stopped | stopped stopped stopped
sleep            -       -       -       | -       -       -
interval         -       -       -       | -       -       -
child's_result   value   stopped stopped | stopped stopped stopped
room             value   stopped stopped | stopped stopped stopped
permit           value   stopped stopped | stopped stopped stopped
mutex            value   stopped stopped | stopped stopped stopped
channel          value   stopped stopped | stopped stopped stopped
select           value   stopped stopped | stopped stopped stopped
group            value   stopped stopped | stopped stopped stopped
merged_streams   value   stopped stopped | stopped stopped stopped
accept_stream    value   stopped stopped | stopped stopped stopped
recv_stream      value   stopped stopped | stopped stopped stopped
others           value   value   either  | stopped stopped either
# either: the turn that sees both tells the kernel of the cancel, and the kernel says which of them was first.
# turn: the turn has fetched the result; nobody has seen it.
# -: a time comes by itself; and to send some bytes the kernel waits for nobody.
)",
                   .without_inside = true});
}

TEST_CASE("a result and a deadline, on the kernel: a time that has passed is a cancel at the end of the turn") {
  check_on_kernel({.one = event::result,
                   .other = event::deadline,
                   .rules = R"(
#                the result first        | the deadline first
#                turns   turn    same    | turns   turn    same
last_part        -       -       -       | -       -       -
next_part        stopped stopped stopped | stopped stopped stopped
sleep            -       -       -       | -       -       -
interval         -       -       -       | -       -       -
others           value   value   either  | stopped stopped either
# either, -: as above.
)",
                   .without_inside = true});
}

}  // namespace gyre
