// SPDX-License-Identifier: MIT
// Random programs: trees of groups, scopes, deadlines, shields, branches, streams and operations, under random cancels
// from inside, from siblings, from outside and by stop tokens; on the scripted ring, which answers in any order and
// with any result, and on the kernel.
//
// Each construct is asked by a rule of its own whether its outcome may be (expect()), and after each program nothing is
// left: no object in a frame, no timer, no scope, nothing in the kernel, no descriptor. A program is known by its seed,
// which a failure prints: GYRE_STRESS_SEED=n runs that one alone. All 10,000 take about a second, and under sanitizers
// some seconds.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/clocked_deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/stop_token.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/mutex.hpp>
#include <gyre/sync/semaphore.hpp>

#include "../support/captured_log.hpp"
#include "../support/child.hpp"
#include "../support/executor_thread.hpp"
#include "../support/modes.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/seed_that_runs.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using detail::clock_ns;
using detail::scripted_ring;
using std::chrono::nanoseconds;

// splitmix64: small enough that each coroutine has its own, so that no order of events changes the program.
class dice {
 public:
  explicit dice(std::uint64_t seed) noexcept : state_{seed} {}
  std::uint64_t roll() noexcept {
    std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }
  unsigned below(unsigned count) noexcept { return static_cast<unsigned>(roll() % count); }
  bool one_in(unsigned count) noexcept { return below(count) == 0; }
  dice fork() noexcept { return dice{roll()}; }

 private:
  std::uint64_t state_;
};

struct program_error : std::runtime_error {
  program_error() : std::runtime_error{"thrown by the program"} {}
};

// A scope that anybody may cancel by hand while it is open.
struct open_scope {
  cancel_scope* scope = nullptr;
  bool cancelled = false;
};

// What happened, over all programs: a run in which something never happens has tested less than it says.
struct tally {
  std::uint64_t nodes_count = 0;
  std::uint64_t operations_timed_out_count = 0;
  std::uint64_t tasks_timed_out_count = 0;
  std::uint64_t scopes_emptied_count = 0;
  std::uint64_t frames_stopped_count = 0;
  std::uint64_t failures_count = 0;
  std::uint64_t sleeps_count = 0;
  std::uint64_t permits_acquired_count = 0;
  std::uint64_t mutexes_locked_count = 0;
  std::uint64_t items_received_count = 0;
  std::uint64_t chains_count = 0;
  std::uint64_t visits_count = 0;
  std::uint64_t offloads_count = 0;
  std::uint64_t descriptors_count = 0;
};

// A deadline on any clock that anybody may move while it is waited for.
struct open_deadline : detail::movable_base {
  open_deadline(point_in_time when) noexcept : movable_base{when}, earliest{when.at()} {}
  void move(clock_ns to) noexcept {
    earliest = std::min(earliest, to);
    move_to(to);
  }
  clock_ns earliest;  // that it ever was; a move to later can come too late
};

constexpr unsigned permits_count = 3;

class world {
 public:
  explicit world(executor& its_loop, std::array<int, 4> its_sockets, bool on_script) noexcept
      : loop{its_loop}, sockets{its_sockets}, scripted{on_script} {}

  void expect(bool holds, const char* rule) {
    if (!holds && broken.empty()) broken = rule;
  }
  // Zero, a moment, and on the script, where time is free, also longer than the executor calls short.
  nanoseconds some_time(dice& random) const noexcept {
    const unsigned sort = random.below(scripted ? 4 : 3);
    if (sort == 0) return 0ns;
    if (sort == 3) return 100ms + std::chrono::milliseconds{random.below(2000)};
    return std::chrono::microseconds{random.below(scripted ? 50'000 : 1'500)};
  }
  point_in_time in_some_time(detail::clock_id clock, dice& random) {
    return {clock, loop.now_on(clock) + some_time(random).count()};
  }
  void move_some_deadline(dice& random) {
    if (deadlines.empty()) return;
    open_deadline& chosen = *deadlines[random.below(static_cast<unsigned>(deadlines.size()))];
    chosen.move(in_some_time(chosen.when().clock(), random).at());
  }
  void look_at_system_clock() {
    latest_system_time = std::max(latest_system_time, loop.now_on(detail::clock_id::system));
  }
  // Also where the clock was set back since.
  bool has_passed(const open_deadline& deadline) {
    look_at_system_clock();
    const auto clock = deadline.when().clock();
    const clock_ns latest = clock == detail::clock_id::system ? latest_system_time : loop.now_on(clock);
    return latest >= deadline.earliest;
  }
  bool has_passed(clock_ns begin, nanoseconds duration) { return loop.now() - begin >= duration.count(); }
  void cancel_some_scope(dice& random) {
    if (scopes.empty()) return;
    open_scope& chosen = *scopes[random.below(static_cast<unsigned>(scopes.size()))];
    chosen.cancelled = true;
    chosen.scope->cancel();
  }

  executor& loop;
  executor* elsewhere = &loop;  // where visits go
  int listener = -1;            // on the kernel
  const std::array<int, 4> sockets;
  const bool scripted;
  int alive_count = 0;  // objects in frames
  unsigned nodes_left = 80;
  bool root_cancelled = false;
  std::vector<open_scope*> scopes;
  std::vector<open_deadline*> deadlines;
  clock_ns latest_system_time = 0;
  sync::semaphore permits{permits_count};
  std::uint64_t held_permits_count = 0;
  sync::mutex locked;
  bool is_somebody_inside = false;
  sync::channel<std::uint64_t> items{2};
  std::uint64_t items_count = 0;  // so far; each item is its number
  std::uint64_t sent_sum = 0;
  std::uint64_t received_sum = 0;
  std::stop_source stops;
  tally seen;
  std::string broken;  // the first rule that did not hold
};

// In each coroutine's frame: a frame that goes without having ended was stopped, which takes a scope that is cancelled.
class in_frame {
 public:
  in_frame(world& in, cancel_scope& scope) noexcept : in_{in}, scope_{scope} { ++in_.alive_count; }
  in_frame(const in_frame&) = delete;
  in_frame& operator=(const in_frame&) = delete;
  ~in_frame() {
    --in_.alive_count;
    const bool threw = std::uncaught_exceptions() > uncaught_count_;
    if (!ended_ && !threw) ++in_.seen.frames_stopped_count;
    in_.expect(ended_ || threw || scope_.stop_requested(), "a frame is taken down in a scope that is cancelled only");
  }
  void ended() noexcept { ended_ = true; }

 private:
  world& in_;
  cancel_scope& scope_;
  const int uncaught_count_ = std::uncaught_exceptions();
  bool ended_ = false;
};

// In the frame of who starts others: when it goes, in whatever way, they have gone.
class outlives_children {
 public:
  explicit outlives_children(world& in) noexcept : in_{in} {}
  outlives_children(const outlives_children&) = delete;
  outlives_children& operator=(const outlives_children&) = delete;
  ~outlives_children() { in_.expect(count_ == 0, "children have ended when what holds them has"); }
  class child {
   public:
    explicit child(outlives_children& of) noexcept : of_{of} { ++of_.count_; }
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child() { --of_.count_; }

   private:
    outlives_children& of_;
  };

 private:
  world& in_;
  int count_ = 0;
};

bool is(const std::system_error& error, std::errc code) { return error.code() == code; }

constexpr unsigned whole_depth = 6;  // of a program, whose root is a group

task<int> node(world& in, dice random, unsigned depth);

// ------------------------------------------------------------------------------------------------------ what waits

template <class Op>
task<int> transfer(world& in, Op op, std::optional<nanoseconds> limit) {
  in_frame here{in, co_await this_task::scope()};
  const clock_ns begin = in.loop.now();
  try {
    if constexpr (std::is_void_v<typename Op::value_type>) {
      if (limit) co_await with_timeout(*limit, std::move(op));
      else co_await std::move(op);
    } else {
      const std::size_t count = limit ? co_await with_timeout(*limit, std::move(op)) : co_await std::move(op);
      in.expect(count <= 4, "a transfer moves as many bytes as there is room for");
    }
  } catch (const std::system_error& error) {
    const bool late = is(error, std::errc::timed_out);
    if (late) ++in.seen.operations_timed_out_count;
    in.expect(!late || (limit && in.has_passed(begin, *limit)), "an operation times out when its time has passed");
    in.expect(late || in.scripted, "no operation fails on the kernel");
    const bool of_no_bytes = error.code() == errc::end_of_stream || error.code() == errc::no_progress;
    const bool at_end = std::is_void_v<typename Op::value_type> && of_no_bytes;
    in.expect(late || at_end || is(error, std::errc::connection_reset), "an operation fails as the kernel says");
  }
  here.ended();
  co_return 1;
}

task<int> move_on_from_recv(world& in, int fd, nanoseconds limit) {
  in_frame here{in, co_await this_task::scope()};
  const clock_ns begin = in.loop.now();
  std::array<std::byte, 4> buffer{};
  try {
    const auto count = co_await move_on_after(limit, ops::recv(fd, buffer));
    in.expect(count || in.has_passed(begin, limit), "nobody moves on from an operation before its time has passed");
  } catch (const std::system_error& error) {
    in.expect(is(error, std::errc::connection_reset), "an operation fails as the kernel says");
  }
  here.ended();
  co_return 1;
}

task<int> sleep(world& in, nanoseconds duration) {
  in_frame here{in, co_await this_task::scope()};
  const clock_ns begin = in.loop.now();
  co_await sleep_for(duration);
  in.expect(in.has_passed(begin, duration), "a sleep does not end early");
  here.ended();
  co_return 1;
}

// In a frame: a deadline that is moved as long as it is there.
class movable_in_frame {
 public:
  movable_in_frame(world& in, dice& random) : deadline{in.in_some_time(some_clock(random), random)}, in_{in} {
    in_.deadlines.push_back(&deadline);
  }
  movable_in_frame(const movable_in_frame&) = delete;
  movable_in_frame& operator=(const movable_in_frame&) = delete;
  ~movable_in_frame() { std::erase(in_.deadlines, &deadline); }

  static detail::clock_id some_clock(dice& random) { return static_cast<detail::clock_id>(random.below(3)); }

  open_deadline deadline;

 private:
  world& in_;
};

task<int> transfer_until_moved(world& in, dice random, int fd) {
  in_frame here{in, co_await this_task::scope()};
  movable_in_frame moved{in, random};
  std::array<std::byte, 4> buffer{};
  try {
    if (random.one_in(2)) co_await with_deadline(moved.deadline, ops::recv(fd, buffer));
    else co_await with_deadline(moved.deadline, ops::recv_all(fd, buffer));
  } catch (const std::system_error& error) {
    const bool late = is(error, std::errc::timed_out);
    if (late) ++in.seen.operations_timed_out_count;
    in.expect(!late || in.has_passed(moved.deadline), "an operation times out when its moved time has passed");
    in.expect(late || in.scripted, "no operation fails on the kernel");
    const bool at_end = error.code() == errc::end_of_stream || error.code() == errc::no_progress;
    in.expect(late || at_end || is(error, std::errc::connection_reset), "an operation fails as the kernel says");
  }
  here.ended();
  co_return 1;
}

task<int> sleep_until_some_time(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  const open_deadline until{in.in_some_time(movable_in_frame::some_clock(random), random)};
  co_await sleep_until(until.when());
  in.expect(in.has_passed(until), "a sleep on any clock does not end early");
  here.ended();
  co_return 1;
}

// In a frame: permits that are held.
class permits_in_frame {
 public:
  permits_in_frame(world& in, std::uint64_t count) : in_{in}, count_{count} {
    in_.held_permits_count += count_;
    ++in_.seen.permits_acquired_count;
    in_.expect(in_.held_permits_count + in_.permits.available() <= permits_count,
               "there are no more permits than that");
  }
  permits_in_frame(const permits_in_frame&) = delete;
  permits_in_frame& operator=(const permits_in_frame&) = delete;
  ~permits_in_frame() { in_.held_permits_count -= count_; }

 private:
  world& in_;
  std::uint64_t count_;
};

task<int> hold_permits(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  const std::uint64_t count = 1 + random.below(permits_count);
  const clock_ns begin = in.loop.now();
  const nanoseconds limit = in.some_time(random);
  const auto held = co_await move_on_after(limit, in.permits.acquire(count));
  in.expect(held || in.has_passed(begin, limit), "nobody moves on from permits before its time has passed");
  if (held) {
    const permits_in_frame counted{in, count};
    co_await sleep(in, in.some_time(random));
  }
  here.ended();
  co_return 1;
}

// In a frame: the mutex is held.
class inside_in_frame {
 public:
  explicit inside_in_frame(world& in) : in_{in} {
    in_.expect(!std::exchange(in_.is_somebody_inside, true), "one at a time holds a mutex");
    ++in_.seen.mutexes_locked_count;
  }
  inside_in_frame(const inside_in_frame&) = delete;
  inside_in_frame& operator=(const inside_in_frame&) = delete;
  ~inside_in_frame() { in_.is_somebody_inside = false; }

 private:
  world& in_;
};

task<int> hold_mutex(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  const clock_ns begin = in.loop.now();
  const nanoseconds limit = in.some_time(random);
  const auto held = co_await move_on_after(limit, in.locked.lock());
  in.expect(held || in.has_passed(begin, limit), "nobody moves on from a mutex before its time has passed");
  if (held) {
    const inside_in_frame counted{in};
    if (random.one_in(2)) co_await sleep(in, in.some_time(random));
  }
  here.ended();
  co_return 1;
}

task<> send_item(world& in, nanoseconds limit) {
  const std::uint64_t number = ++in.items_count;
  std::uint64_t item = number;
  const auto sent = co_await move_on_after(limit, in.items.send_from(item));
  if (sent) in.sent_sum += number;
}

task<> receive_item(world& in, nanoseconds limit) {
  const auto got = co_await move_on_after(limit, in.items.receive());
  if (!got) co_return;
  in.received_sum += got->value();
  ++in.seen.items_received_count;
}

task<int> hand_items(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  const nanoseconds limit = in.some_time(random);
  if (random.one_in(2)) co_await send_item(in, limit);
  else co_await receive_item(in, limit);
  here.ended();
  co_return 1;
}

// What lies in a frame here, and is used elsewhere: an executor of the same thread, or of another.
class used_elsewhere {
 public:
  explicit used_elsewhere(world& in) noexcept : in_{in} {}
  used_elsewhere(const used_elsewhere&) = delete;
  used_elsewhere& operator=(const used_elsewhere&) = delete;
  ~used_elsewhere() { in_.expect(users_count_ == 0, "what runs elsewhere has ended when who awaits it goes on"); }
  class user {
   public:
    explicit user(used_elsewhere& of) noexcept : of_{of} { ++of_.users_count_; }
    user(const user&) = delete;
    user& operator=(const user&) = delete;
    ~user() { --of_.users_count_; }

   private:
    used_elsewhere& of_;
  };

 private:
  world& in_;
  std::atomic<int> users_count_ = 0;
};

task<int> stay(used_elsewhere& what, nanoseconds nap, bool fails) {
  const used_elsewhere::user here{what};
  co_await sleep_for(nap);
  if (fails) throw program_error{};
  co_return 3;
}

task<int> visit(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  used_elsewhere what{in};
  const clock_ns begin = in.loop.now();
  const nanoseconds limit = in.some_time(random);
  executor& there = random.one_in(4) ? in.loop : *in.elsewhere;
  const auto got = co_await move_on_after(limit, on(there, stay(what, in.some_time(random), random.one_in(4))));
  in.expect(&executor::current() == &in.loop, "who visits another executor comes home");
  in.expect(got || in.has_passed(begin, limit), "nobody moves on from a visit before its time has passed");
  if (got) in.expect(*got == 3, "what a visitor returns is delivered"), ++in.seen.visits_count;
  here.ended();
  co_return 1;
}

// On the kernel: the steps of a script are counted, and a thread comes when it comes.
task<int> compute_elsewhere(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  used_elsewhere what{in};
  const clock_ns begin = in.loop.now();
  const nanoseconds limit = in.some_time(random);
  const auto compute = [&what, number = random.below(1'000), fails = random.one_in(4)] {
    const used_elsewhere::user uses{what};
    if (fails) throw program_error{};
    return number + 1;
  };
  const auto got = co_await move_on_after(limit, offload(compute));
  in.expect(got || in.has_passed(begin, limit), "nobody moves on from a call before its time has passed");
  if (got) in.expect(*got > 0, "what a call returns is delivered"), ++in.seen.offloads_count;
  here.ended();
  co_return 1;
}

// A descriptor goes with the frame that it was for, whatever became of the frame: for_each_seed() counts all there are.
// A connection comes when a step makes one, and nobody waits for it without a limit.
task<int> own_a_descriptor(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  const clock_ns begin = in.loop.now();
  const nanoseconds limit = in.some_time(random);
  std::optional<unique_fd> owned;
  switch (random.below(3)) {
    case 0:
      owned = co_await move_on_after(limit, ops::accept(in.listener));
      break;
    case 1:
      owned = co_await move_on_after(limit, ops::openat(AT_FDCWD, "/dev/null", O_RDONLY));
      break;
    case 2:
      owned = co_await move_on_after(limit, ops::socket(AF_UNIX, SOCK_STREAM));
      break;
  }
  in.expect(owned || in.has_passed(begin, limit), "nobody moves on from a descriptor before its time has passed");
  if (owned) {
    ++in.seen.descriptors_count;
    if (random.one_in(2)) co_await sleep(in, in.some_time(random));
  }
  here.ended();
  co_return 1;
}

template <class Chain>
task<int> await_chain(world& in, Chain together, bool hard, std::optional<nanoseconds> limit) {
  in_frame here{in, co_await this_task::scope()};
  const clock_ns begin = in.loop.now();
  const auto done = limit ? co_await with_timeout(*limit, std::move(together)) : co_await std::move(together);
  const std::array codes{std::get<0>(done).error(), std::get<1>(done).error()};
  bool some_failed = false;
  bool some_broken = false;
  for (const std::error_code& code : codes) {
    const bool broken = code == errc::link_broken;
    const bool late = code == std::errc::timed_out;
    const bool told = code == std::errc::connection_reset || code == std::errc::not_enough_memory;
    in.expect(!late || (limit && in.has_passed(begin, *limit)),
              "a member of a chain times out when its time has passed");
    in.expect(!code || broken || late || (told && in.scripted), "a member of a chain fails as the kernel says");
    if (code && !broken) some_failed = true;
    if (broken) some_broken = true;
  }
  in.expect(hard || !codes[0] || codes[1], "what is linked to a failure does not run");
  in.expect(some_failed || !some_broken, "a chain breaks where one has failed");
  ++in.seen.chains_count;
  here.ended();
  co_return 1;
}

task<int> leaf(world& in, dice random) {
  in_frame here{in, co_await this_task::scope()};
  std::array<std::byte, 4> buffer{};
  std::array<std::byte, 4> other_buffer{};
  const int fd = in.sockets[random.below(4)];
  const nanoseconds limit = in.some_time(random);
  const std::optional<nanoseconds> perhaps = random.one_in(2) ? std::optional{limit} : std::nullopt;
  switch (random.below(in.scripted ? 24 : 26)) {
    case 25:
      co_await own_a_descriptor(in, random.fork());
      break;
    case 24:
      co_await compute_elsewhere(in, random.fork());
      break;
    case 23:
      co_await visit(in, random.fork());
      break;
    case 22:
      co_await hold_mutex(in, random.fork());
      break;
    case 21:
      co_await await_chain(in, ops::link(ops::send(fd, buffer), ops::recv(fd, other_buffer)), false, perhaps);
      break;
    case 20:
      co_await await_chain(in, ops::hard_link(ops::recv(fd, buffer), ops::recv(fd, other_buffer)), true, perhaps);
      break;
    case 19:
      co_await transfer(in, ops::drain(ops::send(fd, buffer)), limit);
      break;
    case 18:
      co_await hand_items(in, random.fork());
      break;
    case 17:
      co_await hold_permits(in, random.fork());
      break;
    case 0:
      co_await sleep(in, limit);
      break;
    case 14:
    case 15:
      co_await transfer_until_moved(in, random.fork(), fd);
      break;
    case 16:
      co_await sleep_until_some_time(in, random.fork());
      break;
    case 1:
      co_await this_task::yield();
      break;
    case 2:
      co_await this_task::checkpoint();
      break;
    case 3:
      co_await transfer(in, ops::recv(fd, buffer), std::nullopt);
      break;
    case 4:
    case 5:
      co_await transfer(in, ops::recv(fd, buffer), limit);
      break;
    case 6:
      co_await transfer(in, ops::send(fd, buffer), limit);
      break;
    case 7:
      co_await move_on_from_recv(in, fd, limit);
      break;
    case 8:
      in.cancel_some_scope(random);
      break;
    case 9:
      if (random.one_in(4)) in.stops.request_stop();
      break;
    case 10:
      if (random.one_in(2)) throw program_error{};
      break;
    case 11:
      co_await ops::nop();
      break;
    case 12:
      co_await transfer(in, ops::recv_all(fd, buffer), limit);
      break;
    case 13:
      co_await transfer(in, ops::send_all(fd, buffer), std::nullopt);
      break;
  }
  here.ended();
  co_return 1;
}

// ------------------------------------------------------------------------------------------------- what holds others

task<> child(world& in, dice random, unsigned depth, outlives_children& of) {
  const outlives_children::child counted{of};
  in_frame here{in, co_await this_task::scope()};
  co_await node(in, random, depth);
  here.ended();
}

task<> group(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  outlives_children children{in};
  const auto body = [&](task_group& opened) -> task<> {
    for (unsigned left = 2 + random.below(4); left > 0; --left) {
      opened.start(child(in, random.fork(), depth, children));
      if (random.one_in(3)) co_await this_task::yield();
    }
    if (random.one_in(4)) co_await node(in, random.fork(), depth);
    if (random.one_in(4)) opened.cancel();
  };
  const error_policy policy = random.one_in(2) ? cancel_siblings : log_and_continue;
  co_await with_task_group({.on_error = policy}, body);
  here.ended();
}

task<> cancellable(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  open_scope opened;
  const auto body = [&](cancel_scope& scope) -> task<int> {
    struct listed {
      listed(world& its_world, open_scope& its_scope) : in{its_world}, scope{its_scope} { in.scopes.push_back(&scope); }
      listed(const listed&) = delete;
      listed& operator=(const listed&) = delete;
      ~listed() { std::erase(in.scopes, &scope); }
      world& in;
      open_scope& scope;
    };
    opened.scope = &scope;
    const listed among_the_open{in, opened};
    if (random.one_in(6)) opened.cancelled = true, scope.cancel();
    co_return co_await node(in, random.fork(), depth);
  };
  const auto value = co_await with_cancel_scope(body);
  if (!value) ++in.seen.scopes_emptied_count;
  in.expect(value || opened.cancelled, "a scope that nobody cancelled has a value");
  here.ended();
}

task<> limited(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  const nanoseconds limit = in.some_time(random);
  const clock_ns begin = in.loop.now();
  const auto when = detail::time_point_of(begin) + limit;
  movable_in_frame moved{in, random};
  bool by_moved = false;
  auto body = node(in, random.fork(), depth);
  bool whole = true;
  try {
    switch (random.below(7)) {
      case 0:
        co_await with_timeout(limit, std::move(body));
        break;
      case 1:
        co_await with_deadline(when, std::move(body));
        break;
      case 2:
        whole = (co_await move_on_after(limit, std::move(body))).has_value();
        break;
      case 3:
        whole = (co_await move_on_at(when, std::move(body))).has_value();
        break;
      case 4:
        co_await shield(limit, std::move(body));
        break;
      case 5:
        by_moved = true;
        co_await with_deadline(moved.deadline, std::move(body));
        break;
      case 6:
        by_moved = true;
        whole = (co_await move_on_at(moved.deadline, std::move(body))).has_value();
        break;
    }
  } catch (const std::system_error& error) {
    in.expect(is(error, std::errc::timed_out), "what a deadline ends is timed out");
    whole = false;
  }
  if (!whole) ++in.seen.tasks_timed_out_count;
  const bool has_passed = by_moved ? in.has_passed(moved.deadline) : in.has_passed(begin, limit);
  in.expect(whole || has_passed, "a task times out when its time has passed");
  here.ended();
}

task<> branches(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  auto one = node(in, random.fork(), depth);
  auto other = node(in, random.fork(), depth);
  switch (random.below(5)) {
    case 0: {
      const auto values = co_await when_all(std::move(one), std::move(other));
      in.expect(std::get<0>(values) == 1 && std::get<1>(values) == 1, "when_all() has the values of all");
      break;
    }
    case 1: {
      std::vector<task<int>> list;
      list.push_back(std::move(one));
      list.push_back(std::move(other));
      const auto values = co_await when_all(std::move(list));
      in.expect(values == std::vector{1, 1}, "when_all() has the values of all");
      break;
    }
    case 2: {
      const auto first = co_await when_any(std::move(one), std::move(other));
      in.expect(first.index < 2, "one of them is the first");
      break;
    }
    case 3: {
      const auto ended = co_await race(std::move(one), std::move(other));
      const bool won = ended.index == 0 ? std::get<0>(ended.values).has_value() : std::get<1>(ended.values).has_value();
      in.expect(won, "the winner of a race has a value");
      break;
    }
    case 4: {
      const auto first = co_await first_success(std::move(one), std::move(other));
      in.expect(first.index < 2, "one of them is the first");
      break;
    }
  }
  here.ended();
}

stream<int> numbers(world& in, dice random, unsigned depth) {
  const unsigned count = random.below(4);
  for (unsigned i = 0; i < count; ++i) {
    if (random.one_in(2)) co_await node(in, random.fork(), depth);
    co_yield static_cast<int>(i);
  }
}

task<> read_stream(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  auto source = numbers(in, random.fork(), depth);
  int next = 0;
  while (const auto item = co_await source.next()) {
    in.expect(*item == next++, "the items of a stream come in their order");
    if (random.one_in(5)) break;
  }
  here.ended();
}

task<> stoppable(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  const auto value = co_await with_stop_token(in.stops.get_token(), node(in, random.fork(), depth));
  in.expect(value || in.stops.stop_requested(), "a stop token stops when it was asked to");
  here.ended();
}

task<> hears_of_stops(world& in, dice random, unsigned depth) {
  cancel_scope& scope = co_await this_task::scope();
  in_frame here{in, scope};
  try {
    co_await stopped_as_error(node(in, random.fork(), depth));
  } catch (const std::system_error& error) {
    in.expect(is(error, std::errc::operation_canceled), "a stop that is an error is operation_canceled");
    in.expect(scope.stop_requested(), "nobody hears of a stop that nobody asked for");
  }
  here.ended();
}

task<int> node(world& in, dice random, unsigned depth) {
  in_frame here{in, co_await this_task::scope()};
  const bool is_leaf = depth == 0 || in.nodes_left == 0 || (depth < whole_depth && random.one_in(6));
  if (in.nodes_left > 0) --in.nodes_left;
  ++in.seen.nodes_count;
  try {
    switch (is_leaf ? 9 : depth == whole_depth ? 0 : random.below(9)) {
      case 0:
      case 1:
        co_await group(in, random.fork(), depth - 1);
        break;
      case 2:
        co_await cancellable(in, random.fork(), depth - 1);
        break;
      case 3:
        co_await limited(in, random.fork(), depth - 1);
        break;
      case 4:
        co_await shield(node(in, random.fork(), depth - 1));
        break;
      case 5:
        co_await branches(in, random.fork(), depth - 1);
        break;
      case 6:
        co_await read_stream(in, random.fork(), depth - 1);
        break;
      case 7:
        co_await stoppable(in, random.fork(), depth - 1);
        break;
      case 8:
        co_await hears_of_stops(in, random.fork(), depth - 1);
        break;
      case 9:
        co_await leaf(in, random.fork());
        break;
    }
  } catch (const program_error&) {
    ++in.seen.failures_count;
    if (random.one_in(2)) throw;
  }
  here.ended();
  co_return 1;
}

// ------------------------------------------------------------------------------------------------- one whole program

struct ended_program {
  std::string broken;
  tally seen;
};

// How the root ended, and that nothing is left.
void check_end(world& in, root_task<int>& root) {
  in.expect(root.done(), "a program ends");
  if (!root.done()) return;
  try {
    if (root.stopped()) in.expect(in.root_cancelled, "a program that nobody cancelled is not stopped");
    else in.expect(root.get() == 1, "a program has its value");
  } catch (const program_error&) {
  } catch (const std::exception& error) {
    in.expect(false, error.what());
  }
  in.expect(in.alive_count == 0, "no frame is left");
  in.expect(in.scopes.empty(), "no scope is left open");
  in.expect(in.loop.timers().empty(), "no timer is left");
  in.expect(in.permits.available() == permits_count, "all permits have been given back");
  in.expect(static_cast<bool>(in.locked.try_lock()), "the mutex is free");
  while (const auto left = in.items.try_receive()) in.received_sum += *left;
  in.expect(in.received_sum == in.sent_sum, "what was sent was received, or is in the channel");
}

struct chosen_options {
  explicit chosen_options(dice& random) {
    constexpr std::array sq_entries{2U, 4U, 64U};
    ring.sq_entries = sq_entries[random.below(3)];
    ring.cq_entries = random.one_in(3) ? 8 : 1024;
    ring.on_cancel = random.one_in(2) ? scripted_ring::cancels::by_hand : scripted_ring::cancels::like_the_kernel;
    loop.turn_budget = random.one_in(3) ? 1 : 256;
    loop.linked_timeout_max = random.one_in(2) ? 0ns : 1s;
    loop.park = random.one_in(2) ? parking::eventfd : parking::ring_wait;
  }
  scripted_executor::ring_options ring;
  executor_options loop;
};

// An answer that the kernel could give.
std::int32_t answer_for(const scripted_ring::request& asked, dice& random) {
  if (asked.opcode == IORING_OP_ASYNC_CANCEL) return std::array{0, -ENOENT, -EALREADY}[random.below(3)];
  if (asked.opcode == IORING_OP_NOP) return 0;
  if (asked.stop_asked && !random.one_in(4)) return std::array{-ECANCELED, -EINTR, -512}[random.below(3)];
  if (random.one_in(8)) return -ECONNRESET;
  return static_cast<std::int32_t>(random.below(asked.len + 1));
}

void answer_some(scripted_ring& script, dice& random) {
  std::vector<scripted_ring::request> waiting;
  for (const auto& each : script.in_flight()) {
    const bool of_executor =
        each.opcode == IORING_OP_POLL_ADD || each.opcode == IORING_OP_TIMEOUT || each.opcode == IORING_OP_LINK_TIMEOUT;
    const bool is_begun = each.behind == 0;
    if (!of_executor && is_begun) waiting.push_back(each);
  }
  if (waiting.empty()) return;
  const auto& chosen = waiting[random.below(static_cast<unsigned>(waiting.size()))];
  const std::int32_t res = answer_for(chosen, random);
  if (random.one_in(3) && chosen.opcode != IORING_OP_ASYNC_CANCEL) script.complete_on_enter(chosen, res);
  else script.complete(chosen, res);
}

// To the very moment when something is due, as often as not: one that comes early shows there.
void let_time_pass(world& in, scripted_ring& script, dice& random) {
  if (random.one_in(8)) {
    in.look_at_system_clock();
    const auto by = in.some_time(random);
    if (random.one_in(4)) return script.suspend(by);
    return script.step_system_clock(random.one_in(2) ? by : -by);
  }
  clock_ns due = in.loop.timers().earliest();
  for (const auto& each : script.in_flight())
    if (each.due) due = std::min(due, script.now() + *each.due - script.now_on(each.clock));
  const bool to_the_moment = due != detail::timer_links::end_of_time && random.one_in(2);
  script.advance(to_the_moment ? nanoseconds{std::max<clock_ns>(0, due - script.now())} : in.some_time(random));
}

void cancel_something(world& in, root_task<int>& root, dice& random) {
  switch (random.below(4)) {
    case 0:
      in.root_cancelled = true;
      return root.cancel();
    case 1:
      in.stops.request_stop();
      return;
    default:
      return in.cancel_some_scope(random);
  }
}

// The executor has gone to sleep: as it may, and no longer than to its earliest timer. Time, a completion, or a post
// wakes it.
void end_sleep(world& in, scripted_executor& on, dice& random) {
  const clock_ns earliest = on.loop.timers().earliest();
  const clock_ns slack = on.loop.options().timer_slack.count();
  in.expect(!on.script.has_completions(), "nobody sleeps when there are completions");
  in.expect(on.script.unsubmitted() == 0, "nobody sleeps when there is something to submit");
  in.expect(earliest > on.script.now(), "nobody sleeps when a timer is due");
  const auto until = on.script.sleeps_until();
  const bool has_timers = earliest != detail::timer_links::end_of_time;
  in.expect(until.has_value() == has_timers, "a sleep ends by itself where there are timers");
  if (until) in.expect(*until >= earliest && *until - earliest <= slack, "a sleep ends with the earliest timer");
  ++in.seen.sleeps_count;
  if (until && random.one_in(2)) return;
  if (random.one_in(2)) answer_some(on.script, random);
  on.loop.post([] {});
}

ended_program run_on_script(std::uint64_t seed) {
  dice random{seed};
  const chosen_options options{random};
  scripted_executor elsewhere{{}, options.loop};
  scripted_executor on{options.ring, options.loop};
  world in{on.loop, {1'000'001, 1'000'002, 1'000'003, 1'000'004}, /*on_script=*/true};
  in.elsewhere = &elsewhere.loop;
  auto root = on.loop.start(node(in, random.fork(), whole_depth));
  on.script.on_sleep = [&] { end_sleep(in, on, random); };
  for (int steps_left = 20'000; steps_left > 0 && !root.done(); --steps_left) {
    switch (random.below(8)) {
      case 0:
      case 1:
        answer_some(on.script, random);
        break;
      case 2:
        let_time_pass(in, on.script, random);
        break;
      case 3:
        if (random.one_in(8)) cancel_something(in, root, random);
        else if (random.one_in(2)) in.move_some_deadline(random);
        break;
      case 4:
        if (random.one_in(8)) on.script.refuse(random.one_in(2) ? EBUSY : EAGAIN, random.below(3));
        break;
      case 5:
        if (random.one_in(4)) elsewhere.script.advance(in.some_time(random));
        elsewhere.loop.turn(/*may_park=*/false);
        break;
      default:
        on.loop.turn(/*may_park=*/random.one_in(4));
    }
  }
  check_end(in, root);
  if (!root.done()) std::abort();  // the executor would, with less to say
  elsewhere.loop.run_ready();
  in.expect(elsewhere.loop.timers().empty(), "no visitor has left a timer elsewhere");
  in.expect(elsewhere.loop.root_scope().empty(), "no visitor is left elsewhere");
  return {in.broken, in.seen};
}

// A transfer in a shield that sends, and that nobody cancels, waits for room.
void empty(const socket_pair& pair) {
  std::array<std::byte, 1024> drained{};
  for (const auto* const each : {&pair.here, &pair.there})
    static_cast<void>(::recv(each->get(), drained.data(), drained.size(), MSG_DONTWAIT));
}

// Where connections come from, at an address that the kernel makes up.
class unix_listener {
 public:
  unix_listener() : listener_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    address_.sun_family = AF_UNIX;
    REQUIRE(::bind(listener_.get(), named(), sizeof address_.sun_family) == 0);
    REQUIRE(::getsockname(listener_.get(), named(), &address_size_) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
  }
  [[nodiscard]] int get() const noexcept { return listener_.get(); }

  // Whoever accepts it finds it closed. Not where so many wait already.
  void connect_and_leave() {
    const unique_fd client{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    static_cast<void>(::connect(client.get(), named(), address_size_));
  }

 private:
  sockaddr* named() noexcept { return reinterpret_cast<sockaddr*>(&address_); }

  unique_fd listener_;
  sockaddr_un address_{};
  socklen_t address_size_ = sizeof address_;
};

// So that a sleep of the executor ends soon, whatever the program waits for.
task<> wake_again_and_again() {
  for (;;) co_await sleep_for(50us);
}

ended_program run_on_kernel(std::uint64_t seed) {
  dice random{seed};
  const chosen_options options{random};
  executor_options loop_options = options.loop;
  loop_options.sq_entries = options.ring.sq_entries;
  loop_options.cq_entries = 256;
  socket_pair first;
  socket_pair second;
  unix_listener listener;
  executor loop{options_under_test(loop_options)};
  world in{loop, {first.here.get(), first.there.get(), second.here.get(), second.there.get()}, /*on_script=*/false};
  std::optional<executor_thread> another;
  if (random.one_in(4)) another.emplace(executor_options{.sq_entries = 8, .cq_entries = 64});
  if (another) in.elsewhere = &another->loop();
  in.listener = listener.get();
  auto waker = loop.start(wake_again_and_again());
  auto root = loop.start(node(in, random.fork(), whole_depth));
  while (!root.done()) {
    const int fd = in.sockets[random.below(4)];
    if (random.one_in(4)) static_cast<void>(::send(fd, "abcd", 1 + random.below(4), MSG_DONTWAIT | MSG_NOSIGNAL));
    if (random.one_in(20)) cancel_something(in, root, random);
    if (random.one_in(4)) in.move_some_deadline(random);
    if (random.one_in(8)) listener.connect_and_leave();
    loop.turn(/*may_park=*/random.one_in(16));
    if (in.root_cancelled) empty(first), empty(second);
  }
  in.seen.sleeps_count = loop.statistics().parks;
  waker.cancel();
  while (!waker.done()) loop.turn(/*may_park=*/false);
  check_end(in, root);
  loop.run_ready();  // the root's end leaves completions behind that the budget of its turn did not reach
  in.expect(loop.in_kernel_count() <= 4, "the kernel has nothing but the timeout of each clock and the poll");
  return {in.broken, in.seen};
}

// The seeds from `first` on, or the one that is asked for.
tally for_each_seed(std::uint64_t first, std::uint64_t count, ended_program (*run)(std::uint64_t)) {
  const captured_log quiet;  // losers and siblings that fail are logged
  const char* const asked = std::getenv("GYRE_STRESS_SEED");
  if (asked != nullptr) first = std::strtoull(asked, nullptr, 10), count = 1;
  const std::size_t open_before = open_descriptors_count();
  tally all;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    INFO("GYRE_STRESS_SEED=", seed);
    const seed_that_runs said_where_it_dies{seed};
    const auto [broken, seen] = run(seed);
    REQUIRE_MESSAGE(broken.empty(), broken);
    REQUIRE(open_descriptors_count() == open_before);
    all.nodes_count += seen.nodes_count;
    all.operations_timed_out_count += seen.operations_timed_out_count;
    all.tasks_timed_out_count += seen.tasks_timed_out_count;
    all.scopes_emptied_count += seen.scopes_emptied_count;
    all.frames_stopped_count += seen.frames_stopped_count;
    all.failures_count += seen.failures_count;
    all.sleeps_count += seen.sleeps_count;
    all.permits_acquired_count += seen.permits_acquired_count;
    all.mutexes_locked_count += seen.mutexes_locked_count;
    all.items_received_count += seen.items_received_count;
    all.chains_count += seen.chains_count;
    all.visits_count += seen.visits_count;
    all.offloads_count += seen.offloads_count;
    all.descriptors_count += seen.descriptors_count;
  }
  MESSAGE(all.nodes_count, " nodes, ", all.frames_stopped_count, " frames stopped, ", all.operations_timed_out_count,
          " operations and ", all.tasks_timed_out_count, " tasks timed out, ", all.scopes_emptied_count,
          " scopes emptied, ", all.failures_count, " failures, ", all.sleeps_count, " sleeps, ",
          all.permits_acquired_count, " permits acquired, ", all.mutexes_locked_count, " mutexes locked, ",
          all.items_received_count, " items received, ", all.chains_count, " chains, ", all.visits_count, " visits, ",
          all.offloads_count, " calls on threads, ", all.descriptors_count, " descriptors");
  return all;
}

}  // namespace

TEST_CASE("random programs on the scripted ring end by the rules, and leave nothing") {
  const tally all = for_each_seed(1, 8'000, &run_on_script);
  if (std::getenv("GYRE_STRESS_SEED") != nullptr) return;

  CHECK(all.operations_timed_out_count > 0);
  CHECK(all.tasks_timed_out_count > 0);
  CHECK(all.scopes_emptied_count > 0);
  CHECK(all.frames_stopped_count > 0);
  CHECK(all.failures_count > 0);
  CHECK(all.sleeps_count > 0);
  CHECK(all.permits_acquired_count > 0);
  CHECK(all.mutexes_locked_count > 0);
  CHECK(all.items_received_count > 0);
  CHECK(all.chains_count > 0);
  CHECK(all.visits_count > 0);
}

TEST_CASE("random programs on the kernel end by the rules, and leave nothing") {
  const std::uint64_t count = submits_by_itself() ? 200 : 2'000;  // a thread each: ten times as slow
  const tally all = for_each_seed(1'000'000, count, &run_on_kernel);
  if (std::getenv("GYRE_STRESS_SEED") != nullptr) return;

  CHECK(all.visits_count > 0);
  CHECK(all.offloads_count > 0);
  CHECK(all.descriptors_count > 0);
  CHECK(all.sleeps_count > 0);
}

TEST_CASE("a program that dies says its seed") {
  test::child dies{[]() -> int {
    const seed_that_runs said_where_it_dies{4711};
    std::abort();
  }};

  const child_end end = dies.wait();

  CHECK(end.killed_by == SIGABRT);
  CHECK(end.errors == "GYRE_STRESS_SEED=4711\n");
}

TEST_CASE("random programs end by the rules while another thread asks them to stop and posts to them") {
  for_each_seed(2'000'000, submits_by_itself() ? 30 : 300, [](std::uint64_t seed) -> ended_program {
    dice random{seed};
    socket_pair pair;
    executor_thread another{{.sq_entries = 8, .cq_entries = 64}};
    executor loop{options_under_test()};
    unix_listener listener;  // which nobody connects to
    world in{loop, {pair.here.get(), pair.there.get(), pair.here.get(), pair.there.get()}, /*on_script=*/false};
    in.elsewhere = &another.loop();
    in.listener = listener.get();
    std::atomic<bool> root_ended = false;
    auto root = loop.start(node(in, random.fork(), whole_depth));
    std::atomic<unsigned> posts_count = 0;
    unsigned posts_run_count = 0;
    {
      const std::jthread other{[&, theirs = random.fork()]() mutable {
        for (unsigned i = 0; i < 200 && !root_ended; ++i) {
          static_cast<void>(::send(pair.here.get(), "a", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
          static_cast<void>(::send(pair.there.get(), "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
          if (theirs.one_in(50)) in.stops.request_stop();
          if (!theirs.one_in(10)) continue;
          ++posts_count;
          loop.post([&, chosen = theirs.roll()] {
            ++posts_run_count;
            dice with{chosen};
            if (!root.done()) in.cancel_some_scope(with);
          });
        }
        ++posts_count;
        loop.post([&] {
          ++posts_run_count;
          in.root_cancelled = true;
          if (!root.done()) root.cancel();
        });
      }};
      while (!root.done()) {
        loop.turn(/*may_park=*/false);
        static_cast<void>(::send(pair.here.get(), "a", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
        static_cast<void>(::send(pair.there.get(), "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
        if (in.root_cancelled) empty(pair);
      }
      root_ended = true;
    }
    loop.run_ready();
    check_end(in, root);
    in.expect(posts_run_count == posts_count, "what was posted has run");
    return {in.broken, in.seen};
  });
}

}  // namespace gyre
