// SPDX-License-Identifier: MIT
// Asio and gyre await each other: values, errors and stops cross, both ways, whenever the stop comes.
#include "../../examples/asio_interop.hpp"

#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>

#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

namespace {

using namespace std::chrono_literals;
using asio::local::stream_protocol;

struct both {
  // Steps Asio's loop, with gyre inside, until it has come about.
  template <class Condition>
  void until(Condition has_come_about) {
    while (!has_come_about()) io.run_one();
  }

  // Everything that can be done without waiting.
  void settle() {
    while (io.poll() > 0) continue;
  }

  gyre::executor loop;
  asio::io_context io{1};
  gyre_in_asio inside{io, loop};
};

struct sockets {
  explicit sockets(both& on) : here{on.io}, there{on.io} { asio::local::connect_pair(here, there); }
  stream_protocol::socket here;
  stream_protocol::socket there;
};

// An operation of Asio's form that ends when the test says so, and how.
template <class... Told>
struct by_hand {
  template <class Token>
  auto async_wait(Token&& token) {
    return asio::async_initiate<Token, void(Told...)>(
        [this](auto handler) {
          auto slot = asio::get_associated_cancellation_slot(handler);
          if (slot.is_connected()) slot.assign([this](asio::cancellation_type) { ++cancels_count; });
          auto kept = std::make_shared<decltype(handler)>(std::move(handler));
          end = [kept](Told... told) { std::move (*kept)(std::move(told)...); };
        },
        token);
  }

  std::function<void(Told...)> end;
  int cancels_count = 0;
};

struct note_on_leaving {
  bool& left;
  ~note_on_leaving() { left = true; }
};

gyre::task<int> forty_two() {
  co_await gyre::sleep_for(1ms);
  co_return 42;
}

gyre::task<int> fail() {
  co_await gyre::sleep_for(1ms);
  throw std::runtime_error{"as it is"};
}

gyre::task<> sleep_long(bool& left) {
  const note_on_leaving noted{left};
  co_await gyre::sleep_for(24h);
}

std::string text_of(const std::exception_ptr& thrown) {
  if (!thrown) return "none";
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  }
}

bool is_aborted(const std::exception_ptr& thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    return error.code() == asio::error::operation_aborted;
  }
  return false;
}

// ------------------------------------------------------------------------------------- a gyre task, awaited in Asio

asio::awaitable<int> await_gyre(gyre_in_asio& inside, gyre::task<int> awaited) {
  co_return co_await async_gyre(inside, std::move(awaited), asio::use_awaitable);
}

TEST_CASE("an Asio coroutine gets the value of a gyre task, and its exception as it was thrown") {
  both on;
  std::optional<int> value;
  std::exception_ptr thrown;

  asio::co_spawn(on.io, await_gyre(on.inside, forty_two()), [&](std::exception_ptr, int got) { value = got; });
  asio::co_spawn(on.io, await_gyre(on.inside, fail()), [&](std::exception_ptr error, int) { thrown = error; });
  on.until([&] { return value && thrown; });

  CHECK(value == 42);
  CHECK(text_of(thrown) == "as it is");
}

TEST_CASE("a handler is told the same, and of a task without a value only whether it has failed") {
  both on;
  std::optional<int> value;
  int ended_count = 0;

  async_gyre(on.inside, forty_two(), [&](std::exception_ptr error, int got) {
    CHECK_FALSE(error);
    value = got;
  });
  async_gyre(
      on.inside, []() -> gyre::task<> { co_return; }(),
      [&](std::exception_ptr error) { ended_count += error ? 0 : 1; });
  CHECK_FALSE(value);  // nobody is called inside the call
  CHECK(ended_count == 0);
  on.until([&] { return value && ended_count == 1; });

  CHECK(value == 42);
}

TEST_CASE("a cancel of Asio's stops the gyre task, whose frames are unwound before Asio hears of it") {
  for (const bool has_begun : {false, true}) {
    CAPTURE(has_begun);
    both on;
    asio::cancellation_signal cancel;
    bool left = false;
    bool was_left_before = false;
    std::exception_ptr told;
    bool ended = false;

    async_gyre(on.inside, sleep_long(left), asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr error) {
                 was_left_before = left;
                 told = error;
                 ended = true;
               }));
    if (has_begun) on.settle();
    CHECK_FALSE(ended);
    cancel.emit(asio::cancellation_type::terminal);
    on.until([&] { return ended; });

    CHECK(is_aborted(told));
    CHECK(was_left_before);  // one that had not begun has come to its first wait
  }
}

TEST_CASE("a cancel of Asio's that comes when the gyre task has ended changes nothing, told or not") {
  both on;
  asio::cancellation_signal cancel;
  std::optional<int> value;
  bool has_run = false;
  const auto note = [](bool& noted) -> gyre::task<int> {
    noted = true;
    co_return 42;
  };

  async_gyre(on.inside, note(has_run),
             asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr error, int got) {
               CHECK_FALSE(error);
               value = got;
             }));
  on.until([&] { return has_run; });
  cancel.emit(asio::cancellation_type::terminal);
  on.until([&] { return value.has_value(); });
  cancel.emit(asio::cancellation_type::terminal);
  on.settle();

  CHECK(value == 42);
}

TEST_CASE("a stop of everything in gyre is operation_aborted in the Asio coroutines that await it") {
  both on;
  bool left = false;
  std::exception_ptr told;
  const auto wait = [](gyre_in_asio& inside, bool& noted) -> asio::awaitable<void> {
    co_await async_gyre(inside, sleep_long(noted), asio::use_awaitable);
  };
  asio::co_spawn(on.io, wait(on.inside, left), [&](std::exception_ptr error) { told = error; });
  on.settle();

  on.loop.root_scope().cancel("the program ends");
  on.inside.wake();
  on.until([&] { return told != nullptr; });

  CHECK(is_aborted(told));
  CHECK(left);
}

// ----------------------------------------------------------------------------- an operation of Asio's, awaited in gyre

TEST_CASE("a gyre task gets what an operation of Asio's tells: nothing, a value, or several as a tuple") {
  both on;
  by_hand<std::error_code> nothing;
  by_hand<std::error_code, int> value;
  by_hand<std::error_code, int, std::string> several;
  by_hand<> no_error_at_all;
  by_hand<std::unique_ptr<int>> moved;
  const auto await_all = [&]() -> gyre::task<std::string> {
    co_await nothing.async_wait(use_gyre);
    const int one = co_await value.async_wait(use_gyre);
    const auto two = co_await several.async_wait(use_gyre);
    co_await no_error_at_all.async_wait(use_gyre);
    const std::unique_ptr<int> own = co_await moved.async_wait(use_gyre);
    co_return std::to_string(one) + std::to_string(std::get<0>(two)) + std::get<1>(two) + std::to_string(*own);
  };
  auto root = on.loop.start(await_all());
  on.inside.wake();

  on.until([&] { return nothing.end != nullptr; });
  nothing.end({});
  on.until([&] { return value.end != nullptr; });
  value.end({}, 1);
  on.until([&] { return several.end != nullptr; });
  several.end({}, 2, "x");
  on.until([&] { return no_error_at_all.end != nullptr; });
  no_error_at_all.end();
  on.until([&] { return moved.end != nullptr; });
  moved.end(std::make_unique<int>(3));
  on.until([&] { return root.done(); });

  CHECK(root.get() == "12x3");
}

TEST_CASE("an error of Asio's is thrown with its code, and an exception as it is") {
  both on;
  sockets pair{on};
  const auto read = [&]() -> gyre::task<std::error_code> {
    std::array<char, 4> buffer;
    try {
      co_await pair.here.async_read_some(asio::buffer(buffer), use_gyre);
    } catch (const std::system_error& error) {
      co_return error.code();
    }
    co_return std::error_code{};
  };
  const auto throws = []() -> asio::awaitable<int> {
    throw std::runtime_error{"thrown in Asio"};
    co_return 1;
  };
  const auto gives = []() -> asio::awaitable<int> { co_return 7; };
  const auto await_them = [&]() -> gyre::task<std::string> {
    const int given = co_await asio::co_spawn(on.io, gives(), use_gyre);
    CHECK(given == 7);
    try {
      co_await asio::co_spawn(on.io, throws(), use_gyre);
    } catch (const std::runtime_error& error) {
      co_return error.what();
    }
    co_return "nothing";
  };

  auto reads = on.loop.start(read());
  auto awaits = on.loop.start(await_them());
  on.inside.wake();
  on.settle();
  pair.there.close();
  on.until([&] { return reads.done() && awaits.done(); });

  CHECK(reads.get() == asio::error::eof);
  CHECK(awaits.get() == "thrown in Asio");
}

TEST_CASE("an operation of Asio's that cannot begin throws where it is awaited") {
  both on;
  const auto await_it = []() -> gyre::task<> {
    co_await asio::async_initiate<const use_gyre_t, void()>([](auto&&) { throw std::runtime_error{"it cannot begin"}; },
                                                            use_gyre);
  };

  auto root = on.loop.start(await_it());
  on.inside.wake();
  on.until([&] { return root.done(); });

  CHECK_THROWS_WITH_AS(root.get(), "it cannot begin", std::runtime_error);
}

gyre::task<> read_and_note(stream_protocol::socket& from, bool& left, std::size_t& got) {
  const note_on_leaving noted{left};
  auto buffer = std::make_unique<std::array<char, 4>>();  // on the heap: AddressSanitizer sees one that went too early
  got = co_await from.async_read_some(asio::buffer(*buffer), use_gyre);
}

TEST_CASE("a stop before the operation of Asio's begins keeps it from beginning") {
  both on;
  by_hand<std::error_code> never;
  const auto await_it = [&]() -> gyre::task<> {
    gyre::cancel_scope& mine = co_await gyre::this_task::scope();
    mine.cancel("by itself");
    co_await never.async_wait(use_gyre);
  };

  auto root = on.loop.start(await_it());
  on.inside.wake();
  on.until([&] { return root.done(); });

  CHECK(root.stopped());
  CHECK(never.end == nullptr);
}

TEST_CASE("a stop cancels the operation in Asio, and unwinds when Asio has let go") {
  both on;
  sockets pair{on};
  bool left = false;
  std::size_t got = 0;
  auto root = on.loop.start(read_and_note(pair.here, left, got));
  on.inside.wake();
  on.settle();
  REQUIRE_FALSE(root.done());

  root.cancel();
  CHECK_FALSE(left);  // its buffer is Asio's until then
  on.inside.wake();
  on.until([&] { return root.done(); });

  CHECK(root.stopped());
  CHECK(left);
  CHECK(got == 0);
}

TEST_CASE("what an operation brought before it was cancelled, or in spite of that, is delivered") {
  enum class comes { before_the_cancel, after_the_cancel };
  for (const auto when : {comes::before_the_cancel, comes::after_the_cancel}) {
    CAPTURE(static_cast<int>(when));
    both on;
    by_hand<std::error_code, int> slow;
    std::optional<int> value;
    const auto await_it = [&]() -> gyre::task<> { value = co_await slow.async_wait(use_gyre); };
    auto root = on.loop.start(await_it());
    on.inside.wake();
    on.until([&] { return slow.end != nullptr; });

    if (when == comes::before_the_cancel) slow.end({}, 5);
    root.cancel();
    CHECK(slow.cancels_count == (when == comes::before_the_cancel ? 0 : 1));
    if (when == comes::after_the_cancel) slow.end({}, 5);
    CHECK_FALSE(value);
    on.inside.wake();
    on.until([&] { return root.done(); });

    CHECK(value == 5);
    CHECK_FALSE(root.stopped());
  }
}

TEST_CASE("operation_aborted that nobody in gyre asked for is an error, and no stop") {
  both on;
  asio::steady_timer timer{on.io, 24h};
  const auto await_it = [&]() -> gyre::task<> { co_await timer.async_wait(use_gyre); };
  auto root = on.loop.start(await_it());
  on.inside.wake();
  on.settle();

  timer.cancel();
  on.until([&] { return root.done(); });

  CHECK_FALSE(root.stopped());
  CHECK_THROWS_AS(root.get(), std::system_error);
}

TEST_CASE("a deadline of gyre's ends an operation of Asio's") {
  both on;
  asio::steady_timer timer{on.io, 24h};
  const auto await_it = [&]() -> gyre::task<std::error_code> {
    try {
      co_await gyre::with_timeout(1ms, timer.async_wait(use_gyre));
    } catch (const std::system_error& error) {
      co_return error.code();
    }
    co_return std::error_code{};
  };
  auto root = on.loop.start(await_it());
  on.inside.wake();

  on.until([&] { return root.done(); });

  CHECK(root.get() == std::errc::timed_out);
}

// ---------------------------------------------------------------------------------------------------------- nested

asio::awaitable<int> count_down_in_asio(both& on, int from);

gyre::task<int> count_down_in_gyre(both& on, int from) {
  if (from == 0) co_return 0;
  const int rest = co_await asio::co_spawn(on.io, count_down_in_asio(on, from - 1), use_gyre);
  co_return rest + 1;
}

asio::awaitable<int> count_down_in_asio(both& on, int from) {
  if (from == 0) co_return 0;
  const int rest = co_await async_gyre(on.inside, count_down_in_gyre(on, from - 1), asio::use_awaitable);
  co_return rest + 1;
}

TEST_CASE("each awaits the other, a hundred times inside one another") {
  both on;
  auto root = on.loop.start(count_down_in_gyre(on, 100));
  on.inside.wake();

  on.until([&] { return root.done(); });

  CHECK(root.get() == 100);
}

gyre::task<> wait_in_asio_in_gyre(both& on, bool& left) {
  const auto in_asio = [](both& there, bool& noted) -> asio::awaitable<void> {
    co_await async_gyre(there.inside, sleep_long(noted), asio::use_awaitable);
  };
  co_await asio::co_spawn(on.io, in_asio(on, left), use_gyre);
}

TEST_CASE("a stop goes through Asio to the gyre task below, and comes back as a stop") {
  both on;
  bool left = false;
  auto root = on.loop.start(wait_in_asio_in_gyre(on, left));
  on.inside.wake();
  on.settle();
  REQUIRE_FALSE(root.done());

  root.cancel();
  on.inside.wake();
  on.until([&] { return root.done(); });

  CHECK(root.stopped());
  CHECK(left);
}

}  // namespace
