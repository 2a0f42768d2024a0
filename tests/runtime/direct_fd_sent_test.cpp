// SPDX-License-Identifier: MIT
// Direct descriptors that change executors: with room over there and without, and with a stop or an end on the way.
// After each of them both tables are looked at: nothing stays behind.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/send_to.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/direct_slots.hpp"
#include "../support/executor_thread.hpp"
#include "../support/loopback.hpp"
#include "../support/outcome.hpp"
#include "../support/sent_descriptors.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

static_assert(owns_descriptor<direct_fd>);

executor_options with_slots(unsigned count) { return {.direct_descriptors = count}; }

// Each with a table of direct descriptors.
struct two_tables : two_executors {
  explicit two_tables(unsigned slots_there = 4) : two_executors{with_slots(4), with_slots(slots_there)} {}

  // Whether neither table holds anything, by what the kernel says and by what the executors count.
  bool are_empty() {
    for (int i = 0; i < 4; ++i) turn_each();
    return used_slots_count(here) == 0 && here.statistics().direct_fds == 0 && used_slots_count(there) == 0 &&
           there.statistics().direct_fds == 0;
  }
};

task<direct_fd> direct_of(unique_fd plain) { co_return co_await ops::to_direct{plain}; }

direct_fd make_direct(executor& loop, unique_fd plain) { return loop.run(direct_of(std::move(plain))); }

// How a transfer to `there` ends whose task would only note that it was called.
task<> send_and_observe(executor& there, direct_fd socket, outcome& noted, bool& used) {
  const auto use = [&used](direct_fd) -> task<> {
    used = true;
    co_return;
  };
  co_await observe(send_to(there, std::move(socket), use), noted);
}

}  // namespace

TEST_CASE("a direct descriptor is used over there, in the table of that executor, and no longer here") {
  two_tables two;
  socket_pair pair;
  received<direct_fd> noted;
  const auto open_before = open_descriptors_count() - 1;
  auto root = two.here.start(send_and_note(two.there, make_direct(two.here, std::move(pair.here)), noted));
  two.turn_until([&] { return two.there.in_kernel_count() == 1; });
  two.turn_each();
  CHECK(open_descriptors_count() == open_before);
  CHECK(used_slots_count(two.here) == 0);
  CHECK(used_slots_count(two.there) == 1);

  write_byte(pair.there);
  two.turn_until([&] { return root.done(); });

  CHECK(noted.bytes_count == 1);
  CHECK(noted.on == &two.there);
  CHECK(&noted.socket.owner() == &two.there);
  CHECK(!peer_has_closed(pair.there));
  noted.socket = {};
  CHECK(two.are_empty());
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("what is in flight on a direct descriptor here ends before it is used there") {
  two_tables two;
  socket_pair pair;
  direct_fd direct = make_direct(two.here, std::move(pair.here));
  outcome reader;
  std::array<std::byte, 4> buffer;
  auto reading = two.here.start([](const direct_fd& socket, std::span<std::byte> into, outcome& to) -> task<> {
    co_await observe(ops::recv{socket, into}, to);
  }(direct, buffer, reader));
  two.here.run_ready();
  received<direct_fd> noted;

  auto root = two.here.start(send_and_note(two.there, std::move(direct), noted));
  two.turn_until([&] { return two.there.in_kernel_count() == 1; });

  CHECK(reading.done());
  CHECK(reader.error == std::errc::operation_canceled);
  write_byte(pair.there);
  two.turn_until([&] { return root.done(); });
  CHECK(noted.bytes_count == 1);
  noted.socket = {};
  CHECK(two.are_empty());
}

TEST_CASE("a direct descriptor that is sent to its own executor stays in its slot") {
  executor loop{with_slots(1)};
  socket_pair pair;
  write_byte(pair.there);
  received<direct_fd> noted;

  loop.run(send_and_note(loop, make_direct(loop, std::move(pair.here)), noted));

  CHECK(noted.on == &loop);
  CHECK(noted.socket.slot() == 0);
  noted.socket = {};
}

TEST_CASE("without a free slot over there, or a table at all, it is an error that names the option: nothing is used") {
  for (const unsigned slots : {0U, 1U}) {
    CAPTURE(slots);
    two_tables two{slots};
    socket_pair occupying;
    socket_pair pair;
    direct_fd held;
    if (slots == 1) held = make_direct(two.there, std::move(occupying.here));
    std::string text;
    auto root = two.here.start([](executor& there, direct_fd socket, std::string& told) -> task<> {
      try {
        static_cast<void>(co_await send_to(there, std::move(socket), &receive_byte<direct_fd>));
      } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::too_many_files_open_in_system);
        told = error.what();
      }
    }(two.there, make_direct(two.here, std::move(pair.here)), text));

    two.turn_until([&] { return root.done(); });

    CHECK_MESSAGE(text.find("on the other executor") != std::string::npos, text);
    CHECK_MESSAGE(text.find("raise executor_options::direct_descriptors") != std::string::npos, text);
    held = {};
    if (slots == 1) CHECK(two.are_empty());
    for (int i = 0; i < 4; ++i) two.turn_each();
    CHECK(peer_has_closed(pair.there));
  }
}

TEST_CASE("sending a direct descriptor of nobody's is an error") {
  two_tables two;
  outcome noted;
  bool used = false;
  auto root = two.here.start(send_and_observe(two.there, direct_fd{}, noted, used));

  two.turn_until([&] { return root.done(); });

  CHECK(noted.error == std::errc::bad_file_descriptor);
  CHECK(!used);
  CHECK(two.are_empty());
}

TEST_CASE("msg_ring_fd by itself leaves the descriptor here, and says no to its own executor and to nothing") {
  two_tables two;
  socket_pair pair;
  const unique_fd same{::dup(pair.here.get())};
  outcome to_itself;
  outcome of_nothing;
  std::array<std::size_t, 2> used{};
  auto root = two.here.start([](two_tables& both, unique_fd plain, outcome& itself, outcome& nothing,
                                std::array<std::size_t, 2>& slots) -> task<> {
    const direct_fd direct = co_await ops::to_direct{plain};
    const direct_fd copied = co_await ops::msg_ring_fd{both.there, direct};
    CHECK(&copied.owner() == &both.there);
    slots = {used_slots_count(both.here), used_slots_count(both.there)};
    co_await observe(ops::msg_ring_fd{both.here, direct}, itself);
    co_await observe(ops::msg_ring_fd{both.there, direct_fd{}}, nothing);
  }(two, std::move(pair.here), to_itself, of_nothing, used));

  two.turn_until([&] { return root.done(); });

  CHECK(used[0] == 1);
  CHECK(used[1] == 1);
  CHECK(to_itself.error == std::errc::invalid_argument);
  CHECK(of_nothing.error == std::errc::bad_file_descriptor);
  CHECK(two.are_empty());
}

TEST_CASE("what its use throws comes back, and the descriptor is closed over there") {
  two_tables two;
  socket_pair pair;
  outcome noted;
  auto root = two.here.start([](executor& there, direct_fd socket, outcome& to) -> task<> {
    const auto use = [](direct_fd) -> task<> {
      co_await sleep_for(0ns);
      throw std::system_error{std::make_error_code(std::errc::protocol_error)};
    };
    co_await observe(send_to(there, std::move(socket), use), to);
  }(two.there, make_direct(two.here, std::move(pair.here)), noted));

  two.turn_until([&] { return root.done(); });

  CHECK(noted.error == std::errc::protocol_error);
  CHECK(two.are_empty());
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("a stop at each moment of the way, whoever turns next, closes the descriptor and leaves no slot") {
  for (int turns_before = 0; turns_before < 14; ++turns_before) {
    for (const bool here_first : {true, false}) {
      CAPTURE(turns_before);
      CAPTURE(here_first);
      two_tables two;
      const auto open_before = open_descriptors_count();
      {
        socket_pair pair;
        received<direct_fd> noted;
        auto root = two.here.start(send_and_note(two.there, make_direct(two.here, std::move(pair.here)), noted));
        for (int i = 0; i < turns_before; ++i)
          ((i % 2 == 0) == here_first ? two.here : two.there).turn(/*may_park=*/false);

        root.cancel();
        two.turn_until([&] { return root.done(); });

        CHECK(root.stopped());
        CHECK(two.are_empty());
        CHECK(peer_has_closed(pair.there));
      }
      CHECK(open_descriptors_count() == open_before);
    }
  }
}

TEST_CASE("a stop while the other table is being asked is too late for that, and the descriptor is closed over there") {
  two_tables two;
  socket_pair pair;
  direct_fd direct = make_direct(two.here, std::move(pair.here));
  outcome noted;
  bool used = false;
  auto root = two.here.start(send_and_observe(two.there, std::move(direct), noted, used));

  two.turn_until([&] { return two.there.statistics().direct_fds == 1; });  // taken here, not yet used there
  root.cancel();
  two.turn_until([&] { return root.done(); });

  CHECK(two.are_empty());
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("an executor that takes no more tasks has the descriptor closed in its table") {
  two_tables two;
  socket_pair pair;
  outcome noted;
  bool used = false;
  two.there.root_scope().cancel();
  auto root = two.here.start(send_and_observe(two.there, make_direct(two.here, std::move(pair.here)), noted, used));

  two.turn_until([&] { return root.done(); });

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(!used);
  CHECK(two.are_empty());
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("an executor that ends while a descriptor is used there stops that, and closes it") {
  executor here{with_slots(4)};
  executor_thread there{with_slots(4)};
  socket_pair pair;
  std::atomic<bool> used = false;
  outcome noted;
  auto root = here.start([](executor& other, direct_fd socket, std::atomic<bool>& is_used, outcome& to) -> task<> {
    const auto use = [&is_used](direct_fd mine) -> task<> {
      is_used = true;
      static_cast<void>(co_await receive_byte(std::move(mine)));
    };
    co_await observe(send_to(other, std::move(socket), use), to);
  }(there.loop(), make_direct(here, std::move(pair.here)), used, noted));
  while (!used) here.turn(/*may_park=*/false);

  there.end();
  turn_until_done(here, root);

  CHECK(noted.error == std::errc::operation_canceled);
  here.run_ready();
  CHECK(used_slots_count(here) == 0);
  pollfd end{.fd = pair.there.get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&end, 1, -1) == 1);
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("an executor that ends as a descriptor arrives closes it, and its table is empty when it goes") {
  executor here{with_slots(4)};
  std::optional<executor> there{with_slots(4)};
  socket_pair pair;
  outcome noted;
  bool used = false;
  auto root = here.start(send_and_observe(*there, make_direct(here, std::move(pair.here)), noted, used));
  // Until the descriptor is in the other table. What its call is posted to is not turned again, but in its destructor.
  while (there->statistics().direct_fds == 0) {
    here.turn(/*may_park=*/false);
    there->turn(/*may_park=*/false);
  }
  here.run_ready();

  there.reset();
  turn_until_done(here, root);

  CHECK(noted.error == std::errc::operation_canceled);
  CHECK(!used);
  CHECK(used_slots_count(here) == 0);
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE(
    "a use that leaves the descriptor where it is has it closed over there, and holds up no end of its executor") {
  executor here{with_slots(4)};
  std::optional<executor> there{with_slots(4)};
  socket_pair pair;
  bool used = false;
  auto root = here.start([](executor& other, direct_fd socket, bool& is_used) -> task<> {
    co_await send_to(other, std::move(socket), [&](const direct_fd&) -> task<> {
      is_used = true;
      co_return;
    });
  }(*there, make_direct(here, std::move(pair.here)), used));
  while (!used) {
    here.turn(/*may_park=*/false);
    there->turn(/*may_park=*/false);
  }

  there.reset();  // the caller does not know yet that it is back
  turn_until_done(here, root);

  CHECK(!root.stopped());
  CHECK(used_slots_count(here) == 0);
  CHECK(peer_has_closed(pair.there));
}

TEST_CASE("an accepted connection goes from thread to thread and back, ten times, and answers on each") {
  executor here{with_slots(1)};
  executor_thread there{with_slots(1)};
  executor& other = there.loop();
  auto listener = net::tcp_listener::bind({.at = net::address::loopback(0)});
  const auto client = connect_to(listener.local_address());
  const auto answer = [](direct_fd stream) -> task<direct_fd> {
    co_await ops::send_all{stream, std::as_bytes(std::span{"y", 1})};
    co_return stream;
  };
  // Over there: answers, and sends it home, where it is answered, too. One slot is enough on each side.
  const auto answer_on_both = [&](direct_fd stream) -> task<direct_fd> {
    auto answered = co_await answer(std::move(stream));
    co_return co_await send_to(here, std::move(answered), answer);
  };

  here.run([&]() -> task<> {
    direct_fd stream = co_await ops::accept_direct{listener.fd()};
    for (int i = 0; i < 10; ++i) stream = co_await send_to(other, std::move(stream), answer_on_both);
    CHECK(&stream.owner() == &here);
  });

  std::string answers(64, '\0');
  answers.resize(static_cast<std::size_t>(::recv(client.get(), answers.data(), answers.size(), 0)));
  CHECK(answers == std::string(20, 'y'));
  here.run_ready();
  CHECK(used_slots_count(here) == 0);
}

namespace {

// On the executor where it is asked: those that were stopped on their way to it have slots there until they are closed.
task<> wait_for_slot(unsigned slots_count) {
  while (used_slots_count(executor::current()) == slots_count) co_await sleep_for(10us);
}

}  // namespace

TEST_CASE("a thousand descriptors sent to another thread, many of them stopped on the way, leave no slot") {
  constexpr int count = 1'000;
  constexpr unsigned slots_count = 8;
  executor here{with_slots(slots_count)};
  executor_thread there{with_slots(slots_count)};
  executor& other = there.loop();
  int used_count = 0;
  int stopped_count = 0;

  here.run([&]() -> task<> {
    for (int i = 0; i < count; ++i) {
      direct_fd made = co_await ops::socket_direct{AF_UNIX, SOCK_STREAM};
      const auto use = [](direct_fd mine) -> task<direct_fd> {
        co_await sleep_for(10us);
        co_return mine;
      };
      co_await on(other, wait_for_slot(slots_count));  // nobody else takes one: it is there for this descriptor
      const auto sent = co_await as_result(with_timeout(i % 60 * 2us, send_to(other, std::move(made), use)));
      if (sent) ++used_count;
      else if (sent.error() == std::errc::timed_out) ++stopped_count;
    }
  });

  CHECK(used_count + stopped_count == count);
  while (used_slots_count(here) > 0) here.turn(/*may_park=*/false);
  const std::size_t left_there = here.run([&]() -> task<std::size_t> {
    co_return co_await on(other, []() -> task<std::size_t> {
      while (used_slots_count(executor::current()) > 0) co_await sleep_for(10us);  // what was posted closes in a turn
      co_return executor::current().statistics().direct_fds;
    });
  });
  CHECK(left_there == 0);
}

}  // namespace gyre
