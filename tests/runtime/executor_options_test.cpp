// SPDX-License-Identifier: MIT
// Each option of an executor: in force where the machine has it, refused or noted where it has not.
//
// What needs a device that this machine may lack is tried up to the point where the kernel says so.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/detail/spin_habit.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/asleep.hpp"
#include "../support/forbidden.hpp"
#include "../support/scripted.hpp"
#include "../support/socket_pair.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr unsigned linux_5_18 = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
constexpr unsigned linux_6_1 = linux_5_18 | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                               IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
constexpr auto awake_throughout = sqpoll_options{.idle = 1h};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What is said against an executor with these options; "" when there is one.
std::string why_not(const executor_options& options) {
  try {
    const executor made{options};
    return "";
  } catch (const std::system_error& error) {
    return error.what();
  }
}

std::error_code code_of(const executor_options& options) {
  try {
    const executor made{options};
    return {};
  } catch (const std::system_error& error) {
    return error.code();
  }
}

void skip(const std::string& why) { MESSAGE("skipped: ", why); }

task<> do_nothing(int times) {
  for (int i = 0; i < times; ++i) co_await ops::nop();
}

task<> receive(fd_ref socket, bool& received) {
  std::array<std::byte, 1> byte{};
  co_await ops::recv(socket, byte);
  received = true;
}

task<> receive_and_note(fd_ref socket, std::error_code& error) {
  std::array<std::byte, 1> byte{};
  error = (co_await as_result(ops::recv(socket, byte))).error();
}

task<> sleep_until_cancelled() { co_await sleep_for(1h); }

std::vector<std::string> threads_of_this_process(const std::string& name_begins_with) {
  std::vector<std::string> found;
  for (const auto& each : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream comm{each.path() / "comm"};
    std::string name;
    std::getline(comm, name);
    if (name.starts_with(name_begins_with)) found.push_back(each.path());
  }
  return found;
}

std::string status_of(const std::filesystem::path& thread, const std::string& field) {
  std::ifstream lines{thread / "status"};
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(field)) return line.substr(line.find('\t') + 1);
  return {};
}

// Returns when the only submission thread says so. Those of executors that are gone go a little later.
void wait_until_submission_thread_says(const std::string& field, const std::string& value) {
  for (;;) {
    const auto found = threads_of_this_process("iou-sqp");
    if (found.size() == 1 && status_of(found.front(), field).starts_with(value)) return;
    std::this_thread::yield();
  }
}

// The last CPU that this process may use.
unsigned some_cpu() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  unsigned found = 0;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) found = cpu;
  return found;
}

}  // namespace

TEST_CASE("options that contradict each other are refused, and the text says why and what to choose") {
  struct contradiction {
    executor_options options;
    const char* says;
  };
  const std::vector<contradiction> all{
      {{.min_wait = 50us}, "choose parking::ring_wait"},
      {{.napi = {.busy_poll = 50us}}, "choose parking::ring_wait, or sqpoll"},
      {{.park = parking::ring_wait, .iopoll = iopoll_mode::busy}, "leave out parking::ring_wait, sqpoll and napi"},
      {{.sqpoll = sqpoll_options{}, .iopoll = iopoll_mode::hybrid}, "leave out parking::ring_wait, sqpoll and napi"},
      {{.sqpoll = sqpoll_options{}, .cq_entries_max = 65536}, "leave out sq_entries_max and cq_entries_max, or sqpoll"},
  };
  for (const auto& [options, says] : all) {
    CAPTURE(says);
    CHECK(code_of(options) == std::errc::invalid_argument);
    CHECK(contains(why_not(options), says));
  }
}

TEST_CASE("an executor with every option that the machine has and that goes together has no notes") {
  const executor loop{{.park = parking::ring_wait,
                       .iowq_cpus = {some_cpu()},
                       .spin_before_park = 20us,
                       .min_wait = 50us,
                       .napi = {.busy_poll = 50us, .prefer_busy_poll = true},
                       .sq_entries_max = 1024,
                       .cq_entries_max = 16384}};

  if (!loop.notes().empty()) MESSAGE("skipped: this machine has not all of them. ", loop.notes());
  else CHECK(loop.ring().modes().min_wait);
}

// ------------------------------------------------------------------------------------------------------------ sqpoll

TEST_CASE("an executor that is told nothing has no thread of the kernel's, and polls no device") {
  const executor loop;

  CHECK(!loop.ring().modes().sqpoll);
  CHECK(!loop.ring().modes().iopoll);
}

TEST_CASE("where a thread of the kernel's submits, operations cost no system call while it is awake") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    executor loop{{.park = park, .sqpoll = awake_throughout}};
    loop.run(do_nothing(1));  // it may have gone to sleep before there was anything
    const auto enters = loop.statistics().enters;
    auto root = loop.start(do_nothing(200));

    while (!root.done()) loop.turn(/*may_park=*/false);

    CHECK(loop.statistics().sqes > 200);
    CHECK(loop.statistics().enters == enters);
  }
}

TEST_CASE("a thread of the kernel's that has gone to sleep is woken for the next operation") {
  executor loop{{.sqpoll = sqpoll_options{.idle = 1ms}}};
  loop.run(do_nothing(1));
  wait_until_submission_thread_says("State", "S");
  const auto enters = loop.statistics().enters;

  loop.run(do_nothing(1));

  CHECK(loop.statistics().enters > enters);
}

TEST_CASE("the submission thread runs on the CPU that was asked for") {
  const unsigned cpu = some_cpu();
  const executor loop{{.sqpoll = sqpoll_options{.idle = 1ms, .cpu = cpu}}};

  wait_until_submission_thread_says("Cpus_allowed_list", std::to_string(cpu));

  CHECK(loop.notes().empty());
}

TEST_CASE("a CPU that there is not is refused for the submission thread, by name") {
  CHECK(contains(why_not({.sqpoll = sqpoll_options{.cpu = 100'000}}), "executor_options::sqpoll, cpu"));
}

TEST_CASE("a kernel without a submission thread refuses an executor that asks for one, and names the cure") {
  const auto told = on_a_kernel_that(knows_only(linux_6_1), [] { return why_not({.sqpoll = sqpoll_options{}}); });

  CHECK(contains(told, "has no submission thread (executor_options::sqpoll"));
  CHECK(contains(told, "Leave out executor_options::sqpoll"));
}

TEST_CASE("an executor with a submission thread needs no newer kernel than others") {
  const unsigned known = linux_5_18 | IORING_SETUP_SQPOLL;

  const bool works = on_a_kernel_that(knows_only(known), [] {
    executor loop{{.sqpoll = sqpoll_options{}}};
    loop.run(do_nothing(10));
    return contains(loop.notes(), "No IORING_SETUP_SINGLE_ISSUER") && !contains(loop.notes(), "DEFER_TASKRUN");
  });

  CHECK(works);
}

TEST_CASE("with a submission thread more operations than the queue has entries wait, and all are done") {
  executor loop{{.sq_entries = 2, .sqpoll = sqpoll_options{.idle = 1ms}}};

  loop.run([]() -> task<> {
    co_await with_task_group([](task_group& group) -> task<> {
      for (int i = 0; i < 100; ++i) group.start(do_nothing(10));
      co_return;
    });
  });

  CHECK(loop.statistics().backlogged > 0);
  CHECK(loop.statistics().sqes >= 1'000);
}

TEST_CASE("with a submission thread posts, completions and cancels end a sleep, one at a time") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    for (int round = 0; round < 200; ++round) {
      const socket_pair pair;
      executor loop{{.sq_entries = 8, .cq_entries = 64, .park = park, .sqpoll = sqpoll_options{.idle = 1ms}}};
      bool received = false;
      auto receiving = loop.start(receive(pair.here, received));
      auto other = loop.start(sleep_until_cancelled());
      std::thread elsewhere{[&] {
        if (round % 2 == 0) std::this_thread::yield();
        ::send(pair.there.get(), "x", 1, 0);
        loop.post([&] { other.cancel(); });
      }};

      turn_until_done(loop, receiving);
      turn_until_done(loop, other);
      elsewhere.join();

      CHECK(received);
    }
  }
}

TEST_CASE("with a submission thread a deadline is kept by the executor, also one that asks for the kernel") {
  const socket_pair silent;
  executor loop{{.sqpoll = sqpoll_options{.idle = 1ms}}};
  const auto receive_in_time = [&](bool by_kernel) -> task<std::error_code> {
    std::array<std::byte, 1> byte{};
    if (by_kernel) co_return (co_await as_result(ops::link_timeout(ops::recv(silent.here, byte), 1ms))).error();
    co_return (co_await as_result(with_timeout(1ms, ops::recv(silent.here, byte)))).error();
  };

  CHECK(loop.options().linked_timeout_max == 0ns);
  CHECK(loop.run(receive_in_time(false)) == std::errc::timed_out);
  CHECK(loop.run(receive_in_time(true)) == std::errc::timed_out);
  CHECK(loop.timers().empty());
}

TEST_CASE("with a submission thread a descriptor is emptied at once, and each operation on it counts once") {
  const socket_pair silent;
  executor loop{{.sqpoll = sqpoll_options{.idle = 1ms}}};
  std::array<std::error_code, 2> errors;
  auto first = loop.start(receive_and_note(silent.here, errors[0]));
  auto second = loop.start(receive_and_note(silent.here, errors[1]));
  loop.turn(/*may_park=*/false);

  const auto found = loop.cancel_sync(silent.here, 1s);
  turn_until_done(loop, first);
  turn_until_done(loop, second);

  REQUIRE(found.has_value());
  CHECK(*found == 2);
  CHECK(errors[0] == std::errc::operation_canceled);
  CHECK(errors[1] == std::errc::operation_canceled);
}

// ------------------------------------------------------------------------------------------------------------ iopoll

namespace {

// Data that a device may be asked for: aligned, in a file whose pages are not kept.
struct direct_file {
  direct_file() : path{std::filesystem::current_path() / "gyre-direct-XXXXXX"} {
    std::string name = path;
    const unique_fd made{::mkstemp(name.data())};
    path = name;
    const std::vector<char> bytes(4096, 'x');
    REQUIRE(::write(made.get(), bytes.data(), bytes.size()) == 4096);
    fd.reset(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  }
  direct_file(const direct_file&) = delete;
  direct_file& operator=(const direct_file&) = delete;
  ~direct_file() { std::filesystem::remove(path); }

  std::filesystem::path path;
  unique_fd fd;
};

task<result<std::size_t>> read_page(fd_ref file) {
  const std::unique_ptr<void, void (*)(void*)> page{std::aligned_alloc(4096, 4096), &std::free};
  co_return co_await as_result(ops::read(file, {static_cast<std::byte*>(page.get()), 4096}, 0));
}

// What a co_await of it throws.
template <class Op>
task<std::string> text_of(Op op) {
  try {
    static_cast<void>(co_await std::move(op));
  } catch (const std::system_error& error) {
    co_return error.code() == std::errc::operation_not_supported ? error.what() : "another code";
  }
  co_return "no error";
}

constexpr std::array both_polls{iopoll_mode::busy, iopoll_mode::hybrid};

}  // namespace

TEST_CASE("an executor that polls devices reads from one, or is told that it cannot be polled") {
  for (const iopoll_mode mode : both_polls) {
    const direct_file file;
    if (!file.fd) return skip("no O_DIRECT in " + file.path.string());
    executor loop{{.iopoll = mode}};

    const auto read = loop.run(read_page(file.fd));

    if (read) CHECK(*read == 4096);
    else CHECK(read.error() == std::errc::operation_not_supported);
    if (!read) MESSAGE("skipped in part: the device below ", file.path.string(), " cannot be polled");
  }
}

TEST_CASE("where devices are polled other operations are refused at once, and the text says which are taken") {
  const socket_pair pair;
  executor loop{{.iopoll = iopoll_mode::busy}};
  std::array<std::byte, 1> byte{};
  const auto takes_files_only = [](const std::string& said) { return contains(said, "files opened with O_DIRECT"); };

  CHECK(takes_files_only(loop.run(text_of(ops::recv(pair.here, byte)))));
  CHECK(takes_files_only(loop.run(text_of(ops::timeout(1h)))));
  CHECK(takes_files_only(loop.run(text_of(ops::openat(AT_FDCWD, "/dev/null", O_RDONLY)))));
  CHECK(takes_files_only(loop.run(text_of(with_timeout(1h, ops::recv(pair.here, byte))))));
  CHECK(takes_files_only(loop.run(text_of(ops::link_timeout(ops::recv(pair.here, byte), 1h)))));
  CHECK(loop.timers().empty());
}

TEST_CASE("where devices are polled a stream of connections is refused, and does not wait for ever") {
  const unique_fd listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  executor loop{{.iopoll = iopoll_mode::busy}};

  const auto error = loop.run([&]() -> task<std::error_code> {
    ops::accept_stream incoming{listener};
    co_return (co_await as_result(incoming.next())).error();
  });

  CHECK(error == std::errc::operation_not_supported);
}

TEST_CASE("where devices are polled a descriptor is closed all the same") {
  unique_fd opened{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const int number = opened.get();
  executor loop{{.iopoll = iopoll_mode::busy}};

  loop.run([&]() -> task<> { co_await ops::close(std::move(opened)); });

  CHECK(::fcntl(number, F_GETFD) == -1);
}

TEST_CASE("where devices are polled, what close(2) has said is heard") {
  constexpr int never_open = 1 << 20;
  executor loop{{.iopoll = iopoll_mode::busy}};

  const auto failed = loop.run(
      []() -> task<std::error_code> { co_return (co_await as_result(ops::close(unique_fd{never_open}))).error(); });

  CHECK(failed);  // bad_file_descriptor; before Linux 6.10 invalid_argument
}

TEST_CASE("an executor that polls devices sleeps when nothing is in flight: timers and posts end it, on any clock") {
  executor loop{{.iopoll = iopoll_mode::busy}};
  auto waiting = loop.start(sleep_until_cancelled());
  std::thread elsewhere{[&] { loop.post([&] { waiting.cancel(); }); }};

  turn_until_done(loop, waiting);
  elsewhere.join();
  loop.run([]() -> task<> {
    co_await sleep_for(1ms);
    co_await sleep_until(std::chrono::system_clock::now() + 1ms);
    co_await do_nothing(3);
  });

  CHECK(waiting.stopped());
  CHECK(loop.timers().empty());
}

TEST_CASE("a kernel that polls devices without a pause does so where a pause was asked for, and notes") {
  const auto notes = on_a_kernel_that(knows_only(linux_6_1 | IORING_SETUP_IOPOLL),
                                      [] { return executor{{.iopoll = iopoll_mode::hybrid}}.notes(); });

  CHECK(contains(notes, "Devices are polled without a pause"));
  CHECK(!contains(notes, "DEFER_TASKRUN"));
}

TEST_CASE("a kernel that polls no devices refuses an executor that asks for it, and names the cure") {
  const auto told = on_a_kernel_that(knows_only(linux_6_1), [] { return why_not({.iopoll = iopoll_mode::busy}); });

  CHECK(contains(told, "does not poll devices"));
  CHECK(contains(told, "Leave out executor_options::iopoll"));
}

// ----------------------------------------------------------------------------------------------------------- min_wait

namespace {

scripted_executor::ring_options with_min_wait() {
  scripted_executor::ring_options chosen;
  chosen.modes.min_wait = true;
  return chosen;
}

}  // namespace

TEST_CASE("a sleep waits for as many completions as were asked for, and for no more than are in flight") {
  const socket_pair pair;
  for (const auto& [in_flight, expected] : {std::pair{1, 1U}, std::pair{3, 3U}, std::pair{9, 4U}}) {
    CAPTURE(in_flight);
    scripted_executor on{with_min_wait(), {.park = parking::ring_wait, .min_wait = 50us, .min_wait_count = 4}};
    std::deque<root_task<void>> waiting;
    bool received = false;
    for (int i = 0; i < in_flight; ++i) waiting.emplace_back(on.loop, receive(pair.here, received));
    on.loop.run_ready();
    unsigned asked_for = 0;
    on.script.on_sleep = [&] {
      asked_for = on.script.waits_for();
      on.script.wake();
    };

    on.loop.turn(/*may_park=*/true);

    CHECK(asked_for == expected);
    for (auto& each : waiting) on.stop(each);
  }
}

namespace {

// Five that receive on an executor of this thread, and what another thread does when that sleeps.
struct five_receivers {
  explicit five_receivers(std::chrono::microseconds min_wait)
      : loop{{.park = parking::ring_wait, .min_wait = min_wait, .min_wait_count = 4}} {
    for (std::size_t i = 0; i < pairs.size(); ++i) waiting.emplace_back(loop, receive(pairs[i].here, received[i]));
    loop.run_ready();
    loop.post([] {});  // so that the poll of the wake descriptor stands
    loop.turn(/*may_park=*/false);
  }
  ~five_receivers() {
    for (auto& each : waiting) each.cancel();
    for (auto& each : waiting) turn_until_done(loop, each);
  }
  five_receivers(const five_receivers&) = delete;
  five_receivers& operator=(const five_receivers&) = delete;

  [[nodiscard]] std::ptrdiff_t received_count() const { return std::ranges::count(received, true); }

  // How often it sleeps until so many have received, while `elsewhere(sleeper)` runs on another thread.
  template <class Fn>
  std::uint64_t parks_until(std::ptrdiff_t count, Fn elsewhere) {
    const auto parks_before = loop.statistics().parks;
    std::thread other{[&elsewhere, sleeper = ::gettid()] { elsewhere(sleeper); }};
    while (received_count() < count) loop.turn(/*may_park=*/true);
    other.join();
    return loop.statistics().parks - parks_before;
  }

  void send_to(std::size_t index) const { CHECK(::send(pairs[index].there.get(), "x", 1, 0) == 1); }

  executor loop;
  std::array<socket_pair, 5> pairs;
  std::array<bool, 5> received{};
  std::deque<root_task<void>> waiting;
};

}  // namespace

TEST_CASE("a sleep in the kernel takes as many completions as were asked for, however they come within the time") {
  five_receivers five{1h};
  if (!five.loop.ring().modes().min_wait) return skip(five.loop.notes());
  if (!proc_tells_of_sleeps()) return skip("/proc does not tell who sleeps");

  // Each is sent to an executor that sleeps: without a minimum each would end a sleep of its own.
  const auto parks = five.parks_until(4, [&](pid_t sleeper) {
    for (std::size_t index = 0; index < 4; ++index) {
      wait_until_it_sleeps_in(sleeper, SYS_io_uring_enter);
      five.send_to(index);
    }
  });

  CHECK(parks == 1);
  CHECK(five.received_count() == 4);
}

TEST_CASE("a sleep in the kernel ends at the first completion after the minimum time") {
  constexpr auto shortest = 1ms;
  five_receivers five{shortest};
  if (!five.loop.ring().modes().min_wait) return skip(five.loop.notes());
  if (!proc_tells_of_sleeps()) return skip("/proc does not tell who sleeps");

  const auto parks = five.parks_until(1, [&](pid_t sleeper) {
    wait_until_it_sleeps_in(sleeper, SYS_io_uring_enter);
    const auto is_over = std::chrono::steady_clock::now() + 2 * shortest;
    while (std::chrono::steady_clock::now() < is_over) std::this_thread::yield();
    five.send_to(2);
  });

  CHECK(parks == 1);
  CHECK(five.received[2]);
}

TEST_CASE("a kernel of less than Linux 6.12 notes that a minimum wait is not in force") {
  const std::string notes = detail::min_wait_note(/*features=*/0);

  CHECK(contains(notes, "min_wait is not in force"));
  CHECK(detail::min_wait_note(IORING_FEAT_MIN_TIMEOUT).empty());
}

// --------------------------------------------------------------------------------------------------------------- napi

TEST_CASE("polling of network devices is in force as asked, or noted") {
  for (const auto tracking : {napi_tracking::by_kernel, napi_tracking::by_program}) {
    executor loop{{.park = parking::ring_wait, .napi = {.busy_poll = 50us, .tracking = tracking}}};
    if (!loop.notes().empty()) {
      CHECK(contains(loop.notes(), "napi is not in force"));
      MESSAGE("skipped: ", loop.notes());
      continue;
    }
    constexpr unsigned an_id_that_can_be = 100'000;

    const auto added = loop.add_napi_id(an_id_that_can_be);

    // Ids can be named only where the program is to name them.
    CHECK(added.has_value() == (tracking == napi_tracking::by_program));
    if (!added) continue;
    CHECK(loop.add_napi_id(an_id_that_can_be).error() == std::errc::file_exists);
    CHECK(loop.remove_napi_id(an_id_that_can_be).has_value());
    CHECK(loop.remove_napi_id(an_id_that_can_be).error() == std::errc::no_such_file_or_directory);
    CHECK(loop.add_napi_id(0).error() == std::errc::invalid_argument);
  }
}

TEST_CASE("where registering is forbidden, what only makes faster is noted, and the executor runs") {
  const auto notes = where_calls_fail(EPERM, {io_uring_register_call}, [] {
    const detail::ring_request request{.sq_entries = 4,
                                       .cq_entries = 8,
                                       .completions_signal_eventfd = false,
                                       .min_wait_usec = 50,
                                       .napi = {.busy_poll_usec = 50},
                                       .iowq_cpus = {0}};
    ::io_uring ring;
    const auto report = detail::set_up_ring(ring, request);
    io_uring_queue_exit(&ring);
    return report.notes;
  });

  CHECK(contains(notes, "napi is not in force"));
  CHECK(contains(notes, "iowq_cpus is not in force"));
}

// ------------------------------------------------------------------------------------------------------------- growth

namespace {

task<> nops_side_by_side(int count) {
  co_await with_task_group([&](task_group& group) -> task<> {
    for (int i = 0; i < count; ++i) group.start(do_nothing(20));
    co_return;
  });
}

}  // namespace

TEST_CASE("a ring that proves too small grows up to what was allowed, and loses nothing") {
  executor loop{{.sq_entries = 4, .cq_entries = 8, .sq_entries_max = 64, .cq_entries_max = 256}};

  for (int i = 0; i < 20; ++i) loop.run(nops_side_by_side(200));

  const auto counted = loop.statistics();
  if (counted.growths == 0) return skip("this kernel does not grow rings, which Linux 6.13 does");
  CHECK(loop.ring().sq_entries() == 64);
  CHECK(loop.ring().cq_entries() >= 128);
  CHECK(loop.ring().cq_entries() <= 256);
  CHECK(counted.growths >= 4);
  CHECK(loop.in_kernel_count() == 0);
}

TEST_CASE("a ring that has grown sleeps, is woken, and keeps linked timeouts") {
  const socket_pair pair;
  executor loop{{.sq_entries = 4, .cq_entries = 8, .sq_entries_max = 64, .cq_entries_max = 256}};
  for (int i = 0; i < 20; ++i) loop.run(nops_side_by_side(200));
  bool received = false;
  auto receiving = loop.start(receive(pair.here, received));
  std::thread sender{[&] { ::send(pair.there.get(), "x", 1, 0); }};

  turn_until_done(loop, receiving);
  sender.join();
  auto asleep = loop.start(sleep_until_cancelled());
  std::thread waker{[&] { loop.post([&] { asleep.cancel(); }); }};
  turn_until_done(loop, asleep);
  waker.join();

  CHECK(received);
  CHECK(loop.run([&]() -> task<std::error_code> {
    std::array<std::byte, 1> byte{};
    co_return (co_await as_result(with_timeout(1ms, ops::recv(pair.here, byte)))).error();
  }) == std::errc::timed_out);
}

TEST_CASE("a ring grows when its completions overflow, and not when it may not") {
  for (const unsigned cq_entries_max : {0U, 512U}) {
    executor loop{{.sq_entries = 4, .cq_entries = 8, .cq_entries_max = cq_entries_max}};
    std::vector<std::unique_ptr<socket_pair>> pairs;
    std::deque<root_task<void>> waiting;
    bool received = false;
    for (int i = 0; i < 100; ++i) {
      pairs.push_back(std::make_unique<socket_pair>());
      waiting.emplace_back(loop, receive(pairs.back()->here, received));
    }
    loop.run_ready();

    for (const auto& each : pairs) ::send(each->there.get(), "x", 1, 0);
    for (auto& each : waiting) turn_until_done(loop, each);

    CHECK(loop.statistics().overflows > 0);
    CHECK((loop.statistics().growths > 0) == (loop.ring().cq_entries() > 8));
    if (cq_entries_max == 0) CHECK(loop.ring().cq_entries() == 8);
  }
}

TEST_CASE("where devices are polled a ring grows as well, and goes on refusing what it does not take") {
  const socket_pair pair;
  executor loop{{.sq_entries = 4, .cq_entries = 64, .iopoll = iopoll_mode::busy, .sq_entries_max = 64}};
  const auto receive_each_turn = [&]() -> task<> {
    std::array<std::byte, 1> byte{};
    for (int i = 0; i < 100; ++i)
      CHECK((co_await as_result(ops::recv(pair.here, byte))).error() == std::errc::operation_not_supported);
  };

  auto crowd = loop.start(nops_side_by_side(200));
  loop.run(receive_each_turn());
  turn_until_done(loop, crowd);

  if (loop.statistics().growths == 0) skip("this kernel does not grow rings, which Linux 6.13 does");
}

TEST_CASE("a ring that cannot grow is asked once") {
  const auto growths = on_a_kernel_that(knows_only(linux_6_1 & ~IORING_SETUP_DEFER_TASKRUN), [] {
    executor loop{{.sq_entries = 4, .cq_entries = 8, .sq_entries_max = 64}};
    for (int i = 0; i < 5; ++i) loop.run(nops_side_by_side(50));
    return loop.statistics().growths;
  });

  CHECK(growths == 0);
}

// ------------------------------------------------------------------------------------------------------------ workers

TEST_CASE("the kernel's workers are as many as were asked for, of each sort") {
  const executor loop{{.iowq_bounded_workers_max = 3, .iowq_unbounded_workers_max = 5}};
  std::array in_force{0U, 0U};  // 0 asks instead of setting

  REQUIRE(::syscall(SYS_io_uring_register, loop.ring().descriptor(), IORING_REGISTER_IOWQ_MAX_WORKERS, in_force.data(),
                    in_force.size()) == 0);

  CHECK(in_force == std::array{3U, 5U});
}

TEST_CASE("the kernel's workers run on the CPUs that were asked for") {
  const unsigned cpu = some_cpu();
  executor loop{{.iowq_cpus = {cpu}}};
  if (!loop.notes().empty()) return skip(loop.notes());

  loop.run([]() -> task<> { co_await ops::statx(AT_FDCWD, "/"); });

  const auto workers = threads_of_this_process("iou-wrk");
  REQUIRE(!workers.empty());
  for (const auto& each : workers) CHECK(status_of(each, "Cpus_allowed_list") == std::to_string(cpu));
}

TEST_CASE("a CPU that there is not is noted, and the workers run anywhere") {
  const executor loop{{.iowq_cpus = {100'000}}};

  CHECK(contains(loop.notes(), "iowq_cpus is not in force"));
}

// --------------------------------------------------------------------------------------------------------------- spin

namespace {

scripted_executor::ring_options that_may_spin() {
  scripted_executor::ring_options chosen;
  chosen.may_spin = true;
  return chosen;
}

}  // namespace

TEST_CASE("what comes while an executor looks for work, awake, costs no sleep and no wake") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    for (const bool by_post : {true, false}) {
      scripted_executor on{that_may_spin(), {.park = park, .spin_before_park = 20us}};
      bool done = false;
      auto root = on.loop.start(receive(1'000'123, done));
      on.loop.run_ready();
      on.script.on_pause = [&] {
        if (by_post) on.loop.post([&] { root.cancel(); });
        else on.script.complete(on.script.only(IORING_OP_RECV), 1);
        on.script.on_pause = nullptr;
      };

      turn_until_done(on.loop, root);

      CHECK(root.done());
      CHECK(on.script.sleeps_count() == 0);
      CHECK(on.script.wakes_count() == 0);
      CHECK(on.loop.statistics().spins_paid == 1);
    }
  }
}

TEST_CASE("an executor looks no longer than it may, and rarely where it never pays") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    scripted_executor on{that_may_spin(), {.park = park, .spin_before_park = 20us}};
    on.script.on_sleep = [&] { on.script.wake(); };
    const auto begin = on.script.now();

    while (on.script.sleeps_count() < 2'000) on.loop.turn(/*may_park=*/true);

    CHECK(on.loop.statistics().spins == 11);  // before sleeps 1, 2, 10, 74, 330, 586 ... 1866
    CHECK(on.script.now() - begin == 11 * 20'000);
    CHECK(on.loop.statistics().spins_paid == 0);
  }
}

TEST_CASE("who finds work nearly always looks each time, and who finds it every other time gives it up") {
  const auto looks_of_10_000 = [](int paid_of_each, int of) {
    detail::spin_habit habit;
    for (int sleep = 0; sleep < 10'000; ++sleep)
      if (habit.looks()) habit.note(sleep % of < paid_of_each);
    return habit.looks_count();
  };

  CHECK(looks_of_10_000(1, 1) == 10'000);
  CHECK(looks_of_10_000(9, 10) == 10'000);
  CHECK(looks_of_10_000(1, 2) < 200);
}

TEST_CASE("a look for work ends when a timer is due, and the timer is not late for it") {
  scripted_executor on{that_may_spin(), {.spin_before_park = 100us}};
  auto root = on.loop.start([]() -> task<> { co_await sleep_for(10us); }());
  const auto begin = on.script.now();

  turn_until_done(on.loop, root);

  CHECK(on.script.now() - begin == 10'000);
  CHECK(on.script.sleeps_count() == 0);
}

TEST_CASE("an executor that never looks awake goes to sleep at once") {
  scripted_executor on{that_may_spin(), {.spin_before_park = 0us}};
  on.script.on_sleep = [&] { on.script.wake(); };
  const auto begin = on.script.now();

  on.loop.turn(/*may_park=*/true);

  CHECK(on.script.now() == begin);
  CHECK(on.loop.statistics().spins == 0);
  CHECK(on.script.sleeps_count() == 1);
}

TEST_CASE("posts to an executor that spins, sleeps and spins again are all run") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    executor loop{{.park = park, .spin_before_park = 20us}};
    auto root = loop.start(sleep_until_cancelled());
    int left = 20'000;
    std::thread poster{[&] {
      for (int i = 0; i < 20'000; ++i) {
        loop.post([&] {
          if (--left == 0) root.cancel();
        });
        if (i % 3 == 0) std::this_thread::yield();
        if (i % 500 == 0) std::this_thread::sleep_for(30us);
      }
    }};

    turn_until_done(loop, root);
    poster.join();

    CHECK(left == 0);
  }
}

}  // namespace gyre
