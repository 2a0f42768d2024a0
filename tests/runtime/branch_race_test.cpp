// SPDX-License-Identifier: MIT
// when_all(), when_any(), race(), first_success() and a stream's next() against every pair of what can happen to them:
// the completion that they wait for, a stop from outside, one of a scope around them, a deadline. Both orders of each
// pair, with time for everything in between, with one turn, and with none; then each answer of the kernel.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>

#include "../support/branches.hpp"
#include "../support/captured_log.hpp"
#include "../support/scripted.hpp"

#include <doctest/doctest.h>
#include <liburing.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::scripted_ring;

constexpr int fd_a = 1'000'000;
constexpr int fd_b = 1'000'001;

// Its buffer is on the heap, so that it shows under AddressSanitizer when it goes before the kernel is done.
task<std::size_t> read_from(int fd) {
  const auto buffer = std::make_unique<std::array<std::byte, 4>>();
  co_return co_await ops::recv(fd, *buffer);
}

stream<std::size_t> reads_from(int fd) {
  for (;;) co_yield co_await read_from(fd);
}

const scripted_ring::request* in_flight(const scripted_executor& on, int fd) {
  for (const auto& each : on.script.in_flight())
    if (each.opcode == IORING_OP_RECV && each.fd == fd) return &each;
  return nullptr;
}

void answer(scripted_executor& on, int fd, std::int32_t res) {
  const auto* const asked = in_flight(on, fd);
  REQUIRE(asked != nullptr);
  on.script.complete(scripted_ring::request{*asked}, res);
}

// ----------------------------------------------------------------------------------------------- what is awaited

struct subject {
  const char* name;
  task<std::size_t> (*read)();  // one read of fd_a, and what stands beside it
};

task<std::size_t> in_when_all() { co_return std::get<1>(co_await when_all(value_after(1), read_from(fd_a))); }
task<std::size_t> in_list_of_all() {
  std::vector<task<std::size_t>> tasks;
  tasks.push_back(read_from(fd_a));
  co_return (co_await when_all(std::move(tasks)))[0];
}
task<std::size_t> in_when_any() { co_return std::get<1>((co_await when_any(sleep_for(1h), read_from(fd_a))).value); }
task<std::size_t> in_race() { co_return *std::get<1>((co_await race(sleep_for(1h), read_from(fd_a))).values); }
task<std::size_t> in_first_success() {
  co_return std::get<1>((co_await first_success(fails_at_once(1), read_from(fd_a), sleep_for(1h))).value);
}
task<std::size_t> in_stream() {
  auto reads = reads_from(fd_a);
  co_return *co_await reads.next();
}
task<std::size_t> in_all_of_them() {
  co_return std::get<0>(co_await when_all([]() -> task<std::size_t> {
    auto reads = []() -> stream<std::size_t> { co_yield co_await in_when_any(); }();
    co_return *co_await reads.next();
  }()));
}

constexpr std::array subjects{
    subject{"when_all", &in_when_all},  subject{"when_all of a list", &in_list_of_all},
    subject{"when_any", &in_when_any},  subject{"race", &in_race},
    subject{"stream", &in_stream},      subject{"first_success", &in_first_success},
    subject{"nested", &in_all_of_them},
};

// --------------------------------------------------------------------------------------------- what happens to it

enum class event { nothing, completion, deadline, cancel_inside, cancel_outside };
enum class meanwhile { everything, one_turn, nothing };

constexpr std::array events{event::nothing, event::completion, event::deadline, event::cancel_inside,
                            event::cancel_outside};
constexpr std::array gaps{meanwhile::everything, meanwhile::one_turn, meanwhile::nothing};
constexpr auto deadline = 10ms;

struct seen {
  std::optional<std::size_t> value;
  bool timed_out = false;
  bool went_on = false;  // behind the scope that is around it
};

// A subject with a deadline, in a scope, in a root task.
class setting {
 public:
  explicit setting(const subject& chosen) : root_{on_.loop.start(run(chosen, seen_, inside_))} { on_.loop.run_ready(); }

  void cause(event what) {
    if (what == event::completion && in_flight(on_, fd_a) != nullptr) answer(on_, fd_a, 4);
    if (what == event::deadline) on_.script.advance(deadline);
    if (what == event::cancel_inside && inside_ != nullptr) inside_->cancel();
    if (what == event::cancel_outside) root_.cancel();
  }

  void let_pass(meanwhile how_much) {
    if (how_much == meanwhile::everything) on_.loop.run_ready();
    if (how_much == meanwhile::one_turn) on_.loop.turn(/*may_park=*/false);
  }

  // Whether the kernel still has the read.
  bool waits() const { return in_flight(on_, fd_a) != nullptr; }
  void end_by(std::int32_t res) {
    if (waits()) answer(on_, fd_a, res);
    on_.loop.run_ready();
  }

  const seen& what_came() const { return seen_; }
  bool done() const { return root_.done(); }
  bool stopped() const { return root_.stopped(); }

 private:
  struct known_scope {
    known_scope(cancel_scope*& where, cancel_scope& scope) noexcept : where_{where} { where_ = &scope; }
    known_scope(const known_scope&) = delete;
    known_scope& operator=(const known_scope&) = delete;
    ~known_scope() { where_ = nullptr; }
    cancel_scope*& where_;
  };

  static task<> run(const subject& chosen, seen& noted, cancel_scope*& inside) {
    static_cast<void>(co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      const known_scope known{inside, scope};
      const auto got = co_await as_result(with_timeout(deadline, chosen.read()));
      if (got) noted.value = *got;
      else noted.timed_out = got.error() == std::errc::timed_out;
    }));
    noted.went_on = true;
  }

  scripted_executor on_{by_hand};
  seen seen_;
  cancel_scope* inside_ = nullptr;
  root_task<void> root_;
};

}  // namespace

TEST_CASE("every pair of completion, deadline and stops, in every order and at every distance, ends as it should") {
  for (const auto& chosen : subjects) {
    for (const event first : events) {
      for (const event second : events) {
        for (const meanwhile gap : gaps) {
          for (const std::int32_t last_answer : {-ECANCELED, 4}) {
            if (first == second) continue;
            CAPTURE(chosen.name);
            CAPTURE(static_cast<int>(first));
            CAPTURE(static_cast<int>(second));
            CAPTURE(static_cast<int>(gap));
            CAPTURE(last_answer);
            const auto came = [&](event what) { return first == what || second == what; };
            setting at{chosen};
            REQUIRE(at.waits());

            at.cause(first);
            at.let_pass(gap);
            at.cause(second);
            at.let_pass(meanwhile::everything);
            CHECK(at.done() == came(event::completion));  // nobody goes on while the kernel has the buffer
            at.end_by(last_answer);

            REQUIRE(at.done());
            const bool has_result = came(event::completion) || last_answer == 4;
            const bool is_stopped = !has_result && came(event::cancel_outside);
            const bool is_absorbed = !has_result && !is_stopped && came(event::cancel_inside);
            CHECK(at.what_came().value == (has_result ? std::optional<std::size_t>{4} : std::nullopt));
            CHECK(at.what_came().timed_out == (!has_result && !is_stopped && !is_absorbed));
            CHECK(at.what_came().went_on == !is_stopped);
            CHECK(at.stopped() == is_stopped);
          }
        }
      }
    }
  }
}

TEST_CASE("a result and a failure that come in one turn: who is first decides where the first decides") {
  for (const bool failure_first : {false, true}) {
    CAPTURE(failure_first);
    const auto code_of = [&](auto await_both) {
      const captured_log logged;
      scripted_executor on;
      std::error_code code;
      auto root = on.loop.start([](auto both, std::error_code& to) -> task<> {
        const auto ended = co_await as_result(both(read_from(fd_a), read_from(fd_b)));
        to = ended.error();
      }(await_both, code));
      on.loop.run_ready();
      if (failure_first) answer(on, fd_b, -EIO);
      answer(on, fd_a, 4);
      if (!failure_first) answer(on, fd_b, -EIO);
      on.loop.run_ready();
      REQUIRE(root.done());
      return code;
    };
    const auto of_all = [](auto a, auto b) { return when_all(std::move(a), std::move(b)); };
    const auto of_any = [](auto a, auto b) { return when_any(std::move(a), std::move(b)); };
    const auto of_race = [](auto a, auto b) { return race(std::move(a), std::move(b)); };
    const auto of_success = [](auto a, auto b) { return first_success(std::move(a), std::move(b)); };

    CHECK(code_of(of_all) == std::errc::io_error);
    CHECK((code_of(of_any) == std::errc::io_error) == failure_first);
    CHECK((code_of(of_race) == std::errc::io_error) == failure_first);
    CHECK(!code_of(of_success));
  }
}

TEST_CASE("an inner and an outer decision that come in one turn: each region takes the first of its own") {
  for (const bool outer_first : {false, true}) {
    CAPTURE(outer_first);
    scripted_executor on;
    std::size_t winner = 99;
    bool inner_has_value = false;
    auto root = on.loop.start([](std::size_t& index, bool& inner) -> task<> {
      const auto ended = co_await race(when_any(read_from(fd_a), sleep_for(1h)), read_from(fd_b));
      index = ended.index;
      inner = std::get<0>(ended.values).has_value();
      CHECK(std::get<1>(ended.values) == 4);
    }(winner, inner_has_value));
    on.loop.run_ready();

    if (outer_first) answer(on, fd_b, 4);
    answer(on, fd_a, 4);
    if (!outer_first) answer(on, fd_b, 4);
    on.loop.run_ready();

    // The inner region goes on only when its sleep has ended, which it does in the next turn.
    REQUIRE(root.done());
    CHECK(winner == 1);
    CHECK(inner_has_value);
  }
}

}  // namespace gyre
