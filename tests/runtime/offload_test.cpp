// SPDX-License-Identifier: MIT
// Functions on a pool's threads: what comes back, how many run and in which order, and a cancel in each state.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/child.hpp"
#include "../support/foreign_task.hpp"
#include "../support/gate.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Turns until something outside of the executor is so.
template <class Condition>
void turn_until(executor& loop, Condition is_so) {
  while (!is_so()) {
    loop.turn(/*may_park=*/false);
    std::this_thread::yield();
  }
}

template <class Condition>
void wait_until(Condition is_so) {
  while (!is_so()) std::this_thread::yield();
}

// How an offloaded call ended, and what of it ran.
struct call {
  std::atomic<bool> begun = false;
  bool resumed = false;
  outcome noted;
};

// What a function keeps: it is seen when that goes.
class keepsake {
 public:
  explicit keepsake(bool& gone) noexcept : gone_{&gone} {}
  keepsake(keepsake&& other) noexcept : gone_{std::exchange(other.gone_, nullptr)} {}
  keepsake& operator=(keepsake&&) = delete;
  ~keepsake() {
    if (gone_ != nullptr) *gone_ = true;
  }

 private:
  bool* gone_;
};

// Runs until the gate is open.
task<> pass(offload_pool& pool, gate& held, call& noted) {
  co_await observe(offload(pool,
                           [&] {
                             noted.begun = true;
                             held.pass();
                           }),
                   noted.noted);
  noted.resumed = true;
}

task<> note_order(offload_pool& pool, std::vector<int>& order, int number, outcome& noted) {
  co_await observe(offload(pool, [&order, number] { order.push_back(number); }), noted);
}

// A pool of one thread that is busy until the gate opens.
struct busy_pool {
  explicit busy_pool(offload_pool_options options = {.threads_max = 1}, const executor_options& of_loop = {})
      : loop{of_loop}, pool{std::move(options)} {
    busy.emplace(loop, pass(pool, held, first));
    loop.run_ready();
    held.wait_for_arrivals(1);
  }

  void finish() {
    held.open();
    turn_until_done(loop, *busy);
  }

  gate held;
  call first;
  executor loop;
  offload_pool pool;
  std::optional<root_task<void>> busy;
};

// A call that is asked to stop waits for that, and then does as it is told.
enum class answer { value, gives_up, another_error };
task<> wait_for_stop(offload_pool& pool, gate& arrived, answer then, outcome& noted) {
  co_await observe(offload(pool,
                           [&arrived, then](std::stop_token stop) {
                             arrived.open();
                             std::mutex guard;
                             std::condition_variable_any never;
                             std::unique_lock lock{guard};
                             never.wait(lock, stop, [] { return false; });
                             if (then == answer::gives_up)
                               throw std::system_error{std::make_error_code(std::errc::operation_canceled)};
                             if (then == answer::another_error)
                               throw std::system_error{std::make_error_code(std::errc::io_error)};
                           }),
                   noted);
}

}  // namespace

// ------------------------------------------------------------------------------------------------- what comes back

TEST_CASE("an offloaded function runs on another thread, and its coroutine goes on here with its value") {
  std::thread::id ran_on;

  const auto value = run_now([](std::thread::id& where) -> task<int> {
    const int given = co_await offload([&where] {
      where = std::this_thread::get_id();
      return 42;
    });
    CHECK(executor::current().belongs_to_this_thread());
    co_return given;
  }(ran_on));

  CHECK(value == 42);
  CHECK(ran_on != std::this_thread::get_id());
}

TEST_CASE("what an offloaded function returns can be nothing, a reference, or something that is only moved") {
  int number = 1;
  bool ran = false;

  run_now([](int& to, bool& noted) -> task<> {
    co_await offload([&noted] { noted = true; });
    int& same = co_await offload([&to]() -> int& { return to; });
    CHECK(&same == &to);
    const std::unique_ptr<int> owned = co_await offload([] { return std::make_unique<int>(7); });
    CHECK(*owned == 7);
  }(number, ran));

  CHECK(ran);
}

TEST_CASE("an offloaded function is called once, as an rvalue, and may own what can only be moved") {
  struct gives_itself_away {
    std::unique_ptr<int> owned;
    std::unique_ptr<int> operator()() && { return std::move(owned); }
  };

  const auto value = run_now([]() -> task<int> {
    const auto owned = co_await offload(gives_itself_away{std::make_unique<int>(3)});
    co_return *owned;
  }());

  CHECK(value == 3);
}

TEST_CASE("an exception that leaves an offloaded function arrives with its type and text") {
  std::string text;

  run_now([](std::string& to) -> task<> {
    try {
      co_await offload([]() -> int { throw std::out_of_range{"too far"}; });
    } catch (const std::out_of_range& error) {
      to = error.what();
    }
  }(text));

  CHECK(text == "too far");
}

TEST_CASE("as_result() makes a code of the system_error that an offloaded function throws") {
  const auto got = run_now([]() -> task<result<int>> {
    co_return co_await as_result(
        offload([]() -> int { throw std::system_error{std::make_error_code(std::errc::no_link)}; }));
  }());

  CHECK(got.error() == std::errc::no_link);
}

TEST_CASE("the executor goes on while a function blocks") {
  busy_pool subject;
  int turns_count = 0;

  subject.loop.run([](int& counted) -> task<> {
    for (; counted < 10; ++counted) co_await this_task::yield();
  }(turns_count));

  CHECK(turns_count == 10);
  CHECK(!subject.first.resumed);
  subject.finish();
  CHECK(subject.first.resumed);
}

TEST_CASE("an executor sleeps while it waits for a function, and is woken by its end") {
  busy_pool subject;
  std::thread opens{[&] {
    wait_until([&] { return subject.pool.statistics().running == 1; });
    subject.held.open();
  }};

  turn_until_done(subject.loop, *subject.busy);

  opens.join();
  CHECK(subject.first.noted.how == ended::with_value);
}

TEST_CASE("a coroutine of another library can await an offloaded function") {
  const auto value = run_now([]() -> task<int> {
    co_return co_await
        [](int number) -> foreign_task { co_return co_await offload([number] { return number + 1; }); }(4);
  }());

  CHECK(value == 5);
}

// --------------------------------------------------------------------------------------------- threads, and the line

TEST_CASE("calls one after the other use one thread") {
  offload_pool pool{{.threads_max = 4}};

  run_now([](offload_pool& its_pool) -> task<> {
    for (int i = 0; i < 20; ++i) {
      co_await offload(its_pool, [] {});
      // Its thread has delivered the call, and is on its way to be idle.
      while (its_pool.statistics().idle == 0) co_await this_task::yield();
    }
  }(pool));

  CHECK(pool.statistics().threads_started == 1);
  CHECK(pool.statistics().finished == 20);
}

TEST_CASE("no more calls run at a time than a pool has threads, and all of them run") {
  constexpr int calls_count = 40;
  constexpr std::size_t threads_max = 3;
  offload_pool pool{{.threads_max = threads_max}};
  gate held;
  std::atomic<int> running_count = 0;
  std::atomic<int> most = 0;
  executor loop;
  const auto one = [](offload_pool& its_pool, gate& its_gate, std::atomic<int>& running,
                      std::atomic<int>& highest) -> task<> {
    co_await offload(its_pool, [&] {
      highest = std::max(highest.load(), ++running);
      its_gate.pass();
      --running;
    });
  };
  auto root = loop.start([](auto make, auto&... args) -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int i = 0; i < calls_count; ++i) group.start(make(args...));
      co_return;
    });
  }(one, pool, held, running_count, most));
  loop.run_ready();

  held.wait_for_arrivals(threads_max);
  CHECK(pool.statistics().running == threads_max);
  CHECK(pool.statistics().queued == calls_count - threads_max);
  held.open();
  turn_until_done(loop, root);

  CHECK(most <= static_cast<int>(threads_max));
  CHECK(pool.statistics().finished == calls_count);
  CHECK(pool.statistics().threads_started == threads_max);
}

TEST_CASE("calls run in the order in which they came") {
  busy_pool subject;
  std::vector<int> order;
  std::deque<outcome> noted(5);
  std::deque<root_task<void>> roots;
  for (int i = 0; i < 5; ++i)
    roots.emplace_back(subject.loop, note_order(subject.pool, order, i, noted[static_cast<std::size_t>(i)]));
  subject.loop.run_ready();

  subject.finish();
  for (auto& each : roots) turn_until_done(subject.loop, each);

  CHECK(order == std::vector{0, 1, 2, 3, 4});
}

TEST_CASE("behind a full queue calls wait in line, and the statistics tell them apart") {
  busy_pool subject{{.threads_max = 1, .queue_max = 2}};
  std::vector<int> order;
  std::deque<outcome> noted(4);
  std::deque<root_task<void>> roots;
  for (int i = 0; i < 4; ++i)
    roots.emplace_back(subject.loop, note_order(subject.pool, order, i, noted[static_cast<std::size_t>(i)]));
  subject.loop.run_ready();
  CHECK(subject.pool.statistics().queued == 2);
  CHECK(subject.pool.statistics().waiting_for_room == 2);

  roots[0].cancel();
  roots[3].cancel();
  subject.loop.run_ready();
  CHECK(roots[0].stopped());
  CHECK(roots[3].stopped());
  CHECK(subject.pool.statistics().queued == 2);
  CHECK(subject.pool.statistics().waiting_for_room == 0);

  subject.finish();
  for (auto& each : roots) turn_until_done(subject.loop, each);
  CHECK(order == std::vector{1, 2});
}

TEST_CASE("a pool that refuses fails a call at once when the queue is full, and takes one when it no longer is") {
  busy_pool subject{{.threads_max = 1, .queue_max = 1, .on_full = when_queue_full::refuse}};
  std::vector<int> order;
  std::array<outcome, 3> noted;
  auto queued = subject.loop.start(note_order(subject.pool, order, 0, noted[0]));
  auto refused = subject.loop.start(note_order(subject.pool, order, 1, noted[1]));
  subject.loop.run_ready();

  CHECK(refused.done());
  CHECK(noted[1].error == std::errc::resource_unavailable_try_again);
  CHECK(subject.pool.statistics().refused == 1);

  queued.cancel();
  subject.loop.run_ready();
  auto again = subject.loop.start(note_order(subject.pool, order, 2, noted[2]));
  subject.finish();
  turn_until_done(subject.loop, again);
  CHECK(noted[2].how == ended::with_value);
  CHECK(order == std::vector{2});
}

TEST_CASE("a pool without a queue that refuses takes the next call as soon as the one before it is back") {
  offload_pool pool{{.threads_max = 1, .queue_max = 0, .on_full = when_queue_full::refuse}};

  run_now([](offload_pool& its_pool) -> task<> {
    for (int i = 0; i < 1000; ++i) co_await offload(its_pool, [] {});
  }(pool));

  CHECK(pool.statistics().refused == 0);
  CHECK(pool.statistics().finished == 1000);
}

TEST_CASE("a thread without work ends after its idle time, and another one is started for the next call") {
  offload_pool pool{{.idle_time = 0ns}};
  const auto call_once = [](offload_pool& its_pool) -> task<> { co_await offload(its_pool, [] {}); };

  run_now(call_once(pool));
  wait_until([&] { return pool.statistics().threads == 0; });
  run_now(call_once(pool));

  CHECK(pool.statistics().threads_started == 2);
}

TEST_CASE("a call that comes while the only thread gives up waiting for one finds that thread, or another") {
  constexpr int calls_count = 4000;
  offload_pool pool{{.threads_max = 1, .idle_time = 1us}};

  // Each comes a little later after the one before it, from at once to after the thread has surely gone.
  run_now([](offload_pool& its_pool) -> task<> {
    for (int i = 0; i < calls_count; ++i) {
      const auto next = std::chrono::steady_clock::now() + (i % 1000) * 100ns;
      while (std::chrono::steady_clock::now() < next) {
      }
      co_await offload(its_pool, [] {});
    }
  }(pool));

  CHECK(pool.statistics().finished == calls_count);
}

TEST_CASE("calls that are awaited side by side run at the same time") {
  offload_pool pool{{.threads_max = 2}};
  std::barrier<> both{2};

  const auto [first, second] = run_now([](offload_pool& its_pool, std::barrier<>& meet) -> task<std::tuple<int, int>> {
    const auto meet_and_give = [&](int given) {
      return offload(its_pool, [&meet, given] {
        meet.arrive_and_wait();
        return given;
      });
    };
    co_return co_await when_all(meet_and_give(1), meet_and_give(2));
  }(pool, both));

  CHECK(first == 1);
  CHECK(second == 2);
}

TEST_CASE("a pool that never ran anything has no thread, and goes at once") {
  const offload_pool pool;

  CHECK(pool.statistics().threads_started == 0);
}

TEST_CASE("the common pool is one and the same, and several executors use it") {
  constexpr int executors_count = 3;
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;

  for (int i = 0; i < executors_count; ++i) {
    threads.emplace_back([&sum] {
      run_now([](std::atomic<int>& to) -> task<> {
        for (int j = 0; j < 50; ++j) to += co_await offload([] { return 1; });
      }(sum));
    });
  }
  for (auto& each : threads) each.join();

  CHECK(sum == executors_count * 50);
  CHECK(&offload_pool::common() == &offload_pool::common());
  CHECK(offload_pool::common().options().threads_max == 32);
}

TEST_CASE("a pool's threads have its name, and no signal of the program's comes to them") {
  offload_pool pool{{.thread_name = "a name of more than 15 bytes"}};
  ::sigset_t blocked;
  std::array<char, 64> name{};

  run_now([](offload_pool& its_pool, ::sigset_t& mask, std::array<char, 64>& its_name) -> task<> {
    co_await offload(its_pool, [&] {
      ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
      ::pthread_getname_np(::pthread_self(), its_name.data(), its_name.size());
    });
  }(pool, blocked, name));

  CHECK(std::string{name.data()} == "a name of more ");
  CHECK(::sigismember(&blocked, SIGINT) == 1);
  CHECK(::sigismember(&blocked, SIGTERM) == 1);
  CHECK(::sigismember(&blocked, SIGSEGV) == 0);
  ::sigset_t here;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &here);
  CHECK(::sigismember(&here, SIGINT) == 0);
}

TEST_CASE("dump_tasks() shows who waits for an offloaded function") {
  busy_pool subject;

  CHECK(dump_tasks(subject.loop).find("offload") != std::string::npos);

  subject.finish();
}

TEST_CASE("the child of a fork leaves the pools of its parent alone, and has a common pool of its own") {
  if (sanitizer_forbids_threads_in_child) return;
  busy_pool subject;
  run_now([]() -> task<> { co_await offload([] {}); }());  // there is a common pool
  auto idle = std::make_unique<offload_pool>();
  run_now([](offload_pool& pool) -> task<> { co_await offload(pool, [] {}); }(*idle));

  child forked{[&] {
    idle.reset();
    const int value = run_now([]() -> task<int> { co_return co_await offload([] { return 5; }); }());
    return value == 5 && offload_pool::common().statistics().threads_started == 1 ? 0 : 1;
  }};
  const auto ended = forked.wait();

  CHECK(ended.exit_status == 0);
  CHECK(ended.errors == "");
  subject.finish();
}

TEST_CASE("the child of a fork that uses a pool of its parent's is stopped with a sentence") {
  if (sanitizer_forbids_threads_in_child) return;
  offload_pool pool;

  child forked{[&] {
    run_now([](offload_pool& its_pool) -> task<> { co_await offload(its_pool, [] {}); }(pool));
    return 0;
  }};
  const auto ended = forked.wait();

  CHECK(ended.killed_by == SIGABRT);
  CHECK(ended.errors.find("an offload pool of its parent's") != std::string::npos);
}

// ------------------------------------------------------------------------------------------------------------ cancels

TEST_CASE("in a scope that is cancelled already a function does not run") {
  offload_pool pool;
  executor loop;
  call noted;
  gate open;
  open.open();
  auto root = loop.start(pass(pool, open, noted));

  root.cancel();
  turn_until_done(loop, root);

  CHECK(root.stopped());
  CHECK(!noted.begun);
  CHECK(pool.statistics().threads_started == 0);
}

TEST_CASE("a call that is cancelled in line ends stopped at once, and its function is destroyed unrun") {
  busy_pool subject;
  bool gone = false;
  bool ran = false;
  auto waiting = subject.loop.start([](offload_pool& pool, keepsake kept, bool& noted) -> task<> {
    co_await offload(pool, [kept = std::move(kept), &noted] { noted = true; });
  }(subject.pool, keepsake{gone}, ran));
  subject.loop.run_ready();
  CHECK(subject.pool.statistics().queued == 1);
  CHECK(!gone);

  waiting.cancel();
  subject.loop.run_ready();

  CHECK(waiting.stopped());
  CHECK(gone);
  CHECK(subject.pool.statistics().queued == 0);
  subject.finish();
  CHECK(!ran);
}

TEST_CASE("a cancel in the midst of the line leaves the others in their order") {
  busy_pool subject;
  std::vector<int> order;
  std::deque<outcome> noted(4);
  std::deque<root_task<void>> roots;
  for (int i = 0; i < 4; ++i)
    roots.emplace_back(subject.loop, note_order(subject.pool, order, i, noted[static_cast<std::size_t>(i)]));
  subject.loop.run_ready();

  roots[1].cancel();
  subject.loop.run_ready();
  subject.finish();
  for (auto& each : roots) turn_until_done(subject.loop, each);

  CHECK(order == std::vector{0, 2, 3});
  CHECK(noted[1].how == ended::stopped);
}

TEST_CASE("a function that runs when its scope is cancelled is waited for, and what it gives is delivered") {
  busy_pool subject;
  bool gone = false;
  gate inner;
  std::optional<int> value;
  // The pool's only thread is busy with the first; this one has another pool.
  offload_pool another;
  auto running = subject.loop.start([](offload_pool& pool, keepsake kept, gate& held, auto& to) -> task<> {
    to = co_await offload(pool, [kept = std::move(kept), &held] {
      held.pass();
      return 5;
    });
  }(another, keepsake{gone}, inner, value));
  subject.loop.run_ready();
  inner.wait_for_arrivals(1);

  running.cancel();
  for (int i = 0; i < 10; ++i) subject.loop.run_ready();
  CHECK(!running.done());
  CHECK(!gone);
  inner.open();
  turn_until_done(subject.loop, running);

  CHECK(value == 5);
  CHECK(gone);
  subject.finish();
}

TEST_CASE("a cancel of a function that is over, and whose coroutine has not resumed, delivers its value") {
  busy_pool subject;
  subject.held.open();
  wait_until([&] { return subject.pool.statistics().finished == 1; });

  subject.busy->cancel();
  turn_until_done(subject.loop, *subject.busy);

  CHECK(subject.first.noted.how == ended::with_value);
}

TEST_CASE("a cancel between the delivery and the resumption delivers the value") {
  busy_pool subject{{.threads_max = 1}, one_at_a_time};  // so that each step of the way back is a turn
  subject.held.open();
  const auto is_delivered = [&] { return dump_tasks(subject.loop).find("runs, or is about to") != std::string::npos; };
  turn_until(subject.loop, [&] { return is_delivered() || subject.busy->done(); });
  REQUIRE(!subject.busy->done());
  CHECK(subject.first.noted.how == ended::not_yet);

  subject.busy->cancel();
  turn_until_done(subject.loop, *subject.busy);

  CHECK(subject.first.noted.how == ended::with_value);
  CHECK(!subject.busy->stopped());
}

TEST_CASE("a function that takes a stop token is asked, and what it returns is delivered") {
  offload_pool pool;
  executor loop;
  gate arrived;
  outcome noted;
  auto root = loop.start(wait_for_stop(pool, arrived, answer::value, noted));
  loop.run_ready();
  arrived.pass();

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("a function that was asked to stop, and says that it was cancelled, ends stopped") {
  offload_pool pool;
  executor loop;
  gate arrived;
  outcome noted;
  auto root = loop.start(wait_for_stop(pool, arrived, answer::gives_up, noted));
  loop.run_ready();
  arrived.pass();

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::stopped);
  CHECK(root.stopped());
}

TEST_CASE("a function that was asked to stop, and fails for another reason, has failed") {
  offload_pool pool;
  executor loop;
  gate arrived;
  outcome noted;
  auto root = loop.start(wait_for_stop(pool, arrived, answer::another_error, noted));
  loop.run_ready();
  arrived.pass();

  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.error == std::errc::io_error);
}

TEST_CASE("a function that says that it was cancelled, and that nobody has asked, has failed") {
  executor loop;
  outcome noted;
  const auto gives_up = [](std::stop_token) -> int {
    throw std::system_error{std::make_error_code(std::errc::operation_canceled)};
  };

  loop.run(observe(offload(gives_up), noted));

  CHECK(noted.error == std::errc::operation_canceled);
}

TEST_CASE("a callback of the token runs on the executor's thread, after the cancel and not inside it") {
  offload_pool pool;
  executor loop;
  gate arrived;
  gate called;
  std::thread::id called_on;
  const auto calls_back = [&](std::stop_token stop) {
    const std::stop_callback callback{stop, [&] {
                                        called_on = std::this_thread::get_id();
                                        called.open();
                                      }};
    arrived.open();
    called.pass();
  };
  auto root =
      loop.start([](offload_pool& its_pool, auto fn) -> task<> { co_await offload(its_pool, fn); }(pool, calls_back));
  loop.run_ready();
  arrived.pass();

  root.cancel();
  root.cancel();
  CHECK(called_on == std::thread::id{});
  turn_until_done(loop, root);

  CHECK(called_on == std::this_thread::get_id());
}

TEST_CASE("two scopes that are cancelled ask a function once") {
  offload_pool pool;
  executor loop;
  gate arrived;
  outcome noted;
  cancel_scope* inner = nullptr;
  auto root = loop.start([](offload_pool& its_pool, gate& its_gate, outcome& to, cancel_scope*& known) -> task<> {
    static_cast<void>(co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
      known = &scope;
      co_await wait_for_stop(its_pool, its_gate, answer::gives_up, to);
    }));
  }(pool, arrived, noted, inner));
  loop.run_ready();
  arrived.pass();

  inner->cancel();
  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::stopped);
}

TEST_CASE("a deadline takes a call out of the line, and stops a function that can be asked") {
  busy_pool subject;
  offload_pool another;
  gate arrived;
  outcome in_line;
  outcome asked;
  const auto limited = [](task<> body, outcome& noted) -> task<> {
    co_await observe(with_timeout(1ms, std::move(body)), noted);
  };
  outcome inner;
  auto first = subject.loop.start(
      limited([](offload_pool& pool) -> task<> { co_await offload(pool, [] {}); }(subject.pool), in_line));
  auto second = subject.loop.start(limited(wait_for_stop(another, arrived, answer::gives_up, inner), asked));

  turn_until_done(subject.loop, first);
  turn_until_done(subject.loop, second);

  CHECK(in_line.error == std::errc::timed_out);
  CHECK(asked.error == std::errc::timed_out);
  subject.finish();
}

TEST_CASE("a deadline on a function that cannot be asked waits for it, and delivers its value") {
  offload_pool pool;
  executor loop;
  gate held;
  outcome noted;
  auto root = loop.start([](offload_pool& its_pool, gate& its_gate, outcome& to) -> task<> {
    co_await observe(with_timeout(1ns, offload(its_pool, [&its_gate] { its_gate.pass(); })), to);
  }(pool, held, noted));
  loop.run_ready();
  held.wait_for_arrivals(1);
  turn_until(loop, [&] { return loop.timers().empty(); });

  CHECK(!root.done());
  held.open();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("stopped_as_error() throws where a call was taken out of the line") {
  busy_pool subject;
  outcome noted;
  auto root = subject.loop.start([](offload_pool& pool, outcome& to) -> task<> {
    co_await observe(stopped_as_error(offload(pool, [] {})), to);
  }(subject.pool, noted));
  subject.loop.run_ready();

  root.cancel();
  subject.loop.run_ready();

  CHECK(noted.error == std::errc::operation_canceled);
  subject.finish();
}

TEST_CASE("an executor whose root task is stopped ends only when the functions that it began have ended") {
  busy_pool subject;
  bool over = false;
  std::thread opens{[&] {
    over = true;
    subject.held.open();
  }};

  subject.busy->cancel();
  turn_until_done(subject.loop, *subject.busy);

  CHECK(over);
  opens.join();
}

// ------------------------------------------------------------------------------------------------- all of it at once

namespace {

// A random call: plain or with a token, short or until it is asked, with a deadline or without.
task<> random_call(offload_pool& pool, std::minstd_rand& random, std::atomic<int>& ran_count) {
  const auto limit = std::chrono::microseconds{random() % 200};
  if (random() % 2 == 0) {
    static_cast<void>(co_await move_on_after(limit, offload(pool, [&ran_count] { ++ran_count; })));
  } else {
    static_cast<void>(co_await move_on_after(limit, offload(pool, [&ran_count](std::stop_token stop) {
                                               ++ran_count;
                                               while (!stop.stop_requested()) std::this_thread::yield();
                                             })));
  }
}

task<> many_random_calls(offload_pool& pool, unsigned seed, std::atomic<int>& ran_count) {
  std::minstd_rand random{seed};
  co_await with_task_group([&](task_group& group) -> task<> {
    for (int i = 0; i < 150; ++i) {
      group.start(random_call(pool, random, ran_count));
      if (random() % 4 == 0) co_await this_task::yield();
    }
  });
}

}  // namespace

TEST_CASE("executors that share a pool, with cancels in every state: each call ends, and each that ran is counted") {
  offload_pool pool{{.threads_max = 3, .queue_max = 8, .idle_time = 50us}};
  std::atomic<int> ran_count = 0;
  std::vector<std::thread> threads;

  for (unsigned seed = 1; seed <= 3; ++seed)
    threads.emplace_back([&pool, &ran_count, seed] { run_now(many_random_calls(pool, seed, ran_count)); });
  for (auto& each : threads) each.join();

  const auto counted = pool.statistics();
  CHECK(counted.finished == static_cast<std::uint64_t>(ran_count));
  CHECK(counted.running + counted.queued + counted.waiting_for_room == 0);
}

}  // namespace gyre
