// SPDX-License-Identifier: MIT
// Waiting for child processes, on the kernel: each way to name one, each event, and what is no child.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/process.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../../support/kernel_has.hpp"
#include "../../support/outcome.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <utility>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ops::process_event;

bool kernel_waits_for_processes() { return kernel_has(IORING_OP_WAITID, "waitid"); }

// A process in a group of its own that does nothing until it is told to, and is waited for at the end.
class idle_process {
 public:
  explicit idle_process(int exits_with = -1) : pid_{::fork()} {
    if (pid_ == 0) {
      if (exits_with >= 0) ::_exit(exits_with);
      for (;;) ::pause();
    }
    REQUIRE(pid_ > 0);
    if (exits_with < 0) ::setpgid(pid_, pid_);
  }
  idle_process(const idle_process&) = delete;
  idle_process& operator=(const idle_process&) = delete;
  ~idle_process() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);  // nothing, when it was waited for
  }

  ::pid_t pid() const noexcept { return pid_; }
  ::id_t id() const noexcept { return static_cast<::id_t>(pid_); }
  void signal(int number) const { REQUIRE(::kill(pid_, number) == 0); }
  unique_fd handle(unsigned flags = 0) const {
    return unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, pid_, flags))};
  }

 private:
  ::pid_t pid_;
};

}  // namespace

TEST_CASE("waitid tells what a child exited with, once") {
  if (!kernel_waits_for_processes()) return;
  const idle_process child{7};
  executor loop;

  loop.run([&]() -> task<> {
    const auto change = co_await ops::waitid(P_PID, child.id());
    CHECK(change.process == child.pid());
    CHECK(change.user == ::getuid());
    CHECK(change.event == process_event::exited);
    CHECK(change.status == 7);
    const auto again = co_await as_result(ops::waitid(P_PID, child.id()));
    CHECK(again.error() == std::errc::no_child_process);
  });
}

TEST_CASE("waitid waits until something happens, and tells each sort of event") {
  if (!kernel_waits_for_processes()) return;
  const idle_process child;
  executor loop;
  ops::process_change change;
  constexpr int all = WEXITED | WSTOPPED | WCONTINUED;
  const auto wait = [](::id_t id, ops::process_change& noted) -> task<> {
    noted = co_await ops::waitid(P_PID, id, all);
  };
  const auto event_after = [&](int signal) {
    auto root = loop.start(wait(child.id(), change));
    loop.run_ready();
    CHECK(!root.done());
    child.signal(signal);
    turn_until_done(loop, root);
    CHECK(change.process == child.pid());
    return std::pair{change.event, change.status};
  };

  CHECK(event_after(SIGSTOP) == std::pair{process_event::stopped, SIGSTOP});
  CHECK(event_after(SIGCONT) == std::pair{process_event::continued, SIGCONT});
  CHECK(event_after(SIGKILL) == std::pair{process_event::killed, SIGKILL});
}

TEST_CASE("a child is named by its pidfd, its group, or not at all") {
  if (!kernel_waits_for_processes()) return;
  executor loop;

  loop.run([&]() -> task<> {
    {
      const idle_process child;
      const auto handle = child.handle();
      child.signal(SIGKILL);
      const auto left = co_await ops::waitid(P_PIDFD, static_cast<::id_t>(handle.get()), WEXITED | WNOWAIT);
      CHECK(left.process == child.pid());
      const auto taken = co_await ops::waitid(P_PIDFD, static_cast<::id_t>(handle.get()));
      CHECK(taken.event == process_event::killed);
      CHECK(taken.status == SIGKILL);
    }
    {
      const idle_process child;
      child.signal(SIGKILL);
      CHECK((co_await ops::waitid(P_PGID, child.id())).process == child.pid());
    }
    const idle_process child{0};
    CHECK((co_await ops::waitid(P_ALL, 0)).process == child.pid());
  });
}

TEST_CASE("with WNOHANG, or a pidfd that does not block, nothing is an event, too") {
  if (!kernel_waits_for_processes()) return;
  const idle_process child;
  executor loop;

  loop.run([&]() -> task<> {
    const auto none = co_await ops::waitid(P_PID, child.id(), WEXITED | WNOHANG);
    CHECK(none.event == process_event::none);
    CHECK(none.process == 0);
    const auto handle = child.handle(O_NONBLOCK);  // PIDFD_NONBLOCK
    const auto unblocked = co_await ops::waitid(P_PIDFD, static_cast<::id_t>(handle.get()));
    CHECK(unblocked.event == process_event::none);
  });
}

TEST_CASE("a wait that a cancel or a deadline ends leaves the child to the next who asks") {
  if (!kernel_waits_for_processes()) return;
  const idle_process child;
  executor loop;
  outcome noted;
  auto root = loop.start(observe(ops::waitid(P_PID, child.id()), noted));
  loop.run_ready();
  root.cancel();
  turn_until_done(loop, root);
  CHECK(noted.how == ended::stopped);

  loop.run([&]() -> task<> {
    const auto late = co_await as_result(with_timeout(1ms, ops::waitid(P_PID, child.id())));
    CHECK(late.error() == std::errc::timed_out);
    child.signal(SIGKILL);
    CHECK((co_await ops::waitid(P_PID, child.id())).process == child.pid());
  });
}

TEST_CASE("a wait for nobody says what is wrong with it") {
  if (!kernel_waits_for_processes()) return;
  const idle_process child;
  const unique_fd no_pidfd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  executor loop;

  loop.run([&]() -> task<> {
    const auto code_of = [](ops::waitid wait) -> task<std::error_code> {
      const auto got = co_await as_result(std::move(wait));
      co_return got.error();
    };
    CHECK(co_await code_of(ops::waitid(P_PID, static_cast<::id_t>(::getpid()))) == std::errc::no_child_process);
    CHECK(co_await code_of(ops::waitid(P_PID, child.id(), 0)) == std::errc::invalid_argument);
    CHECK(co_await code_of(ops::waitid(P_PID, 0)) == std::errc::invalid_argument);
    const auto number = static_cast<::id_t>(no_pidfd.get());
    CHECK(co_await code_of(ops::waitid(P_PIDFD, number)) == std::errc::bad_file_descriptor);
    CHECK(co_await code_of(ops::waitid(P_PIDFD, 1'000'000)) == std::errc::bad_file_descriptor);
  });
}

}  // namespace gyre
