// SPDX-License-Identifier: MIT
// run(): exit statuses, signals, and what it says when it gives up. In child processes, since it ends them.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/child.hpp"
#include "../support/forbidden.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::array both_ways{parking::eventfd, parking::ring_wait};

// What happens in children is told by letters.
constexpr char began = 'b';
constexpr char stopping = 's';
constexpr char went_on = '!';

// Says that the frame it is in was taken down.
struct says_when_destroyed {
  ~says_when_destroyed() { say(stopping); }
};

task<> nothing() { co_await ops::nop(); }
task<int> number(int returned) {
  co_await ops::nop();
  co_return returned;
}
task<> failure() {
  co_await ops::nop();
  throw std::runtime_error{"the disk is on fire"};
}
task<int> strange_failure() {
  co_await ops::nop();
  throw 42;  // NOLINT(hicpp-exception-baseclass): what run() does with it is what is tested
}

task<> wait_for_a_stop() {
  const says_when_destroyed watch;
  say(began);
  co_await sleep_for(24h);
  say(went_on);
}

task<int> wait_for_a_stop_with_status() {
  co_await wait_for_a_stop();
  co_return 42;
}

// Cannot be stopped: waits on, once the signal has come.
constexpr int line_of_the_stubborn_sleep = __LINE__ + 1;
task<> sleep_on() { co_await sleep_for(24h); }

task<> be_stubborn() {
  co_await with_task_group([](task_group& both) -> task<> {
    both.start(wait_for_a_stop());
    co_await shield(sleep_on());
  });
}

task<> tidy_up() {
  for (int i = 0; i < 10; ++i) co_await ops::nop();
  co_await sleep_for(1ms);
}

// Ends what it has begun, in its own time.
task<int> stop_gracefully() {
  say(began);
  try {
    co_await stopped_as_error(sleep_for(24h));
  } catch (const std::system_error&) {
  }
  co_await shield(tidy_up());
  co_return 7;
}

// Has nobody but itself to be stopped by, and does not end by that.
task<> stop_and_be_stubborn() {
  (co_await this_task::scope()).cancel("enough");
  say(began);
  co_await shield(sleep_for(24h));
}

task<int> raise_as_it_ends(int how_often) {
  for (int i = 0; i < how_often; ++i) std::raise(SIGINT);
  co_return 3;
}

// Keeps the executor in one turn beyond the grace period, when it is taken down.
constexpr auto short_grace_period = 100ms;
task<> end_late() {
  struct busy_destructor {
    ~busy_destructor() {
      const auto over = std::chrono::steady_clock::now() + short_grace_period;
      while (std::chrono::steady_clock::now() < over) {
      }
    }
  };
  const busy_destructor takes_its_time;
  std::raise(SIGINT);
  co_await sleep_for(24h);
}

// Never comes back to the executor.
task<> be_busy() {
  for (;;) std::raise(SIGINT);
  co_return;
}

task<int> write_to_a_broken_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) co_return 1;
  unique_fd out{ends[0]};
  const unique_fd in{ends[1]};
  out.reset();
  const std::array<std::byte, 1> byte{};
  const auto written = co_await as_result(ops::write(in, byte));
  co_return written.error() == std::errc::broken_pipe ? 0 : 1;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct socket_pair {
  socket_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    here.reset(ends[0]);
    there.reset(ends[1]);
  }
  unique_fd here;
  unique_fd there;
};

task<> receive_one(fd_ref socket, std::atomic<bool>& waits) {
  std::array<std::byte, 1> byte;
  waits = true;
  co_await ops::recv(socket, byte);
}

// Whether a thread of this process sleeps: the third word of its proc_pid_stat(5).
bool sleeps(pid_t thread) {
  std::ifstream stat{"/proc/self/task/" + std::to_string(thread) + "/stat"};
  std::string word;
  for (int i = 0; i < 3; ++i) stat >> word;
  return word == "S";
}

// Has every write of eight bytes by this thread, as to an eventfd, end with EINTR. Not others: sanitizers try theirs
// again until it is done.
void interrupt_wakes() {
  std::array program{sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                     sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 3),
                     sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
                     sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, sizeof(std::uint64_t), 0, 1),
                     sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINTR),
                     sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  const bool installed =
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
  if (!installed) std::abort();
}

using handler = void (*)(int);

handler handler_of(int number) {
  struct ::sigaction action{};
  ::sigaction(number, nullptr, &action);
  return action.sa_handler;
}

void some_handler(int) {}

}  // namespace

// --------------------------------------------------------------------------------------------------------- statuses

TEST_CASE("a task that ends is success, one with a number gives the status") {
  CHECK(run(nothing()) == EXIT_SUCCESS);
  CHECK(run(number(0)) == 0);
  CHECK(run(number(42)) == 42);
}

TEST_CASE("an exception that nobody caught is logged, and failure") {
  const auto known = child{[] { return run(failure()); }}.wait();
  const auto strange = child{[] { return run(strange_failure()); }}.wait();

  CHECK(known.exit_status == EXIT_FAILURE);
  CHECK(contains(known.errors, "the disk is on fire"));
  CHECK(strange.exit_status == EXIT_FAILURE);
  CHECK(contains(strange.errors, "an exception that is no std::exception"));
}

TEST_CASE("a ring that is less than was asked for is logged, and run on") {
  const auto ended = child{[] { return run(number(3), {.executor = {.sq_entries = 64, .cq_entries = 64}}); }}.wait();

  CHECK(ended.exit_status == 3);
  CHECK(contains(ended.errors, "Completion entries were raised"));
}

TEST_CASE("where io_uring is forbidden the log names cause and cure") {
  const auto ended = child{[] {
                       if (install_filter({io_uring_setup_call}, SECCOMP_RET_ERRNO | EPERM) != 0) return 100;
                       return run(nothing());
                     }}.wait();

  CHECK(ended.exit_status == EXIT_FAILURE);
  CHECK(contains(ended.errors, "seccomp filter"));
  CHECK(contains(ended.errors, "Allow io_uring_setup"));
}

// ---------------------------------------------------------------------------------------------------------- signals

TEST_CASE("SIGINT and SIGTERM stop the task: destructors run, nothing after the wait does, and the status is success") {
  for (const auto park : both_ways) {
    for (const int number : {SIGINT, SIGTERM}) {
      CAPTURE(static_cast<int>(park));
      CAPTURE(number);
      child program{[park] { return run(wait_for_a_stop_with_status(), {.executor = {.park = park}}); }};
      CHECK(program.hears() == began);

      program.signal(number);

      CHECK(program.hears() == stopping);
      CHECK(program.hears() == '\0');
      const auto ended = program.wait();
      CHECK(ended.exit_status == EXIT_SUCCESS);
      CHECK(ended.errors.empty());
    }
  }
}

TEST_CASE("a task that ends by itself after a signal, within the grace period, gives its status") {
  child program{[] { return run(stop_gracefully()); }};
  CHECK(program.hears() == began);

  program.signal(SIGTERM);

  const auto ended = program.wait();
  CHECK(ended.exit_status == 7);
  CHECK(ended.errors.empty());
}

TEST_CASE("SIGQUIT has it logged who waits for what, and the program goes on") {
  for (const auto park : both_ways) {
    CAPTURE(static_cast<int>(park));
    child program{[park] { return run(be_stubborn(), {.executor = {.park = park}, .grace_period = 1ms}); }};
    CHECK(program.hears() == began);

    program.signal(SIGQUIT);
    program.signal(SIGINT);

    CHECK(program.hears() == stopping);
    const auto ended = program.wait();
    CHECK(ended.killed_by == 0);
    CHECK(contains(ended.errors, "SIGQUIT came"));
    CHECK(contains(ended.errors, "root task"));
    CHECK(contains(ended.errors, ": with_task_group, "));
    CHECK(contains(ended.errors, "run_test.cpp:" + std::to_string(line_of_the_stubborn_sleep)));
    CHECK(contains(ended.errors, "the grace period is over"));
  }
}

TEST_CASE("a second signal ends the program, and the log says who has not ended, and where") {
  for (const auto park : both_ways) {
    CAPTURE(static_cast<int>(park));
    child program{[park] { return run(be_stubborn(), {.executor = {.park = park}}); }};
    CHECK(program.hears() == began);
    program.signal(SIGINT);
    CHECK(program.hears() == stopping);

    program.signal(SIGTERM);

    const auto ended = program.wait();
    CHECK(ended.exit_status == EXIT_FAILURE);
    CHECK(contains(ended.errors, "a second signal came"));
    CHECK(contains(ended.errors, "sleep for"));
    CHECK(contains(ended.errors, "run_test.cpp:" + std::to_string(line_of_the_stubborn_sleep)));
    CHECK(contains(ended.errors, "shielded from a stop: a signal came"));
  }
}

TEST_CASE("the end of the grace period ends the program, and the log says who has not ended, and where") {
  for (const auto park : both_ways) {
    CAPTURE(static_cast<int>(park));
    child program{[park] { return run(be_stubborn(), {.executor = {.park = park}, .grace_period = 1ms}); }};
    CHECK(program.hears() == began);

    program.signal(SIGINT);

    const auto ended = program.wait();
    CHECK(ended.exit_status == EXIT_FAILURE);
    CHECK(contains(ended.errors, "the grace period is over"));
    CHECK(contains(ended.errors, "run_test.cpp:" + std::to_string(line_of_the_stubborn_sleep)));
    CHECK(contains(ended.errors, "shielded from a stop: a signal came"));
  }
}

TEST_CASE("the grace period counts also for a task that was stopping by itself when the signal came") {
  child program{[] { return run(stop_and_be_stubborn(), {.grace_period = 1ms}); }};
  CHECK(program.hears() == began);

  program.signal(SIGTERM);

  const auto ended = program.wait();
  CHECK(ended.exit_status == EXIT_FAILURE);
  CHECK(contains(ended.errors, "the grace period is over"));
  CHECK(contains(ended.errors, "sleep for"));
}

TEST_CASE("a third signal ends a program whose executor is busy, without a word") {
  const auto ended = child{[] { return run(be_busy()); }}.wait();

  CHECK(ended.exit_status == 128 + SIGINT);
  CHECK(ended.errors.empty());
}

TEST_CASE("signals that come as the task ends find nothing left to stop") {
  for (const int how_often : {1, 2}) {
    CAPTURE(how_often);
    const auto ended = child{[how_often] { return run(raise_as_it_ends(how_often)); }}.wait();

    CHECK(ended.exit_status == 3);
    CHECK(ended.errors.empty());
  }
}

TEST_CASE("a task that has ended when the end of the grace period is seen has ended in time") {
  const auto ended = child{[] { return run(end_late(), {.grace_period = short_grace_period}); }}.wait();

  CHECK(ended.exit_status == EXIT_SUCCESS);
  CHECK(ended.errors.empty());
}

TEST_CASE("one run() can follow another, and each hears of its own signals only") {
  child program{[] {
    const int first = run(wait_for_a_stop());
    const int second = run(wait_for_a_stop_with_status());
    return first + second;
  }};

  for (int i = 0; i < 2; ++i) {
    CHECK(program.hears() == began);
    program.signal(SIGINT);
    CHECK(program.hears() == stopping);
  }

  CHECK(program.wait().exit_status == EXIT_SUCCESS);
}

TEST_CASE(
    "a signal leaves errno as it was to the thread that it interrupts, also where the wake of the executor fails") {
  for (const parking park : both_ways) {
    CHECK(child{[park] {
            socket_pair pair;
            std::atomic<bool> waits = false;
            int errno_after = 0;
            std::thread interrupted{[&, executor_id = ::gettid()] {
              interrupt_wakes();
              while (!waits || !sleeps(executor_id)) std::this_thread::yield();
              errno = ERANGE;
              ::pthread_kill(::pthread_self(), SIGINT);
              errno_after = errno;
              ::shutdown(pair.there.get(), SHUT_RDWR);  // the wake has failed
            }};
            run(receive_one(pair.here, waits), {.executor = {.park = park}});
            interrupted.join();
            return errno_after;
          }}.wait()
              .exit_status == ERANGE);
  }
}

TEST_CASE("the handlers of signals are put back, however the task ended") {
  const auto ended = child{[] {
                       for (const int each : {SIGINT, SIGTERM, SIGQUIT, SIGPIPE}) std::signal(each, &some_handler);
                       static_cast<void>(run(nothing()));
                       static_cast<void>(run(failure()));
                       for (const int each : {SIGINT, SIGTERM, SIGQUIT, SIGPIPE})
                         if (handler_of(each) != &some_handler) return each;
                       return 0;
                     }}.wait();

  CHECK(ended.exit_status == 0);
}

TEST_CASE("a write to a pipe that nobody reads is an error and no signal, in run()") {
  const auto ended = child{[] { return run(write_to_a_broken_pipe()); }}.wait();

  CHECK(ended.killed_by == 0);
  CHECK(ended.exit_status == 0);
}

}  // namespace gyre
