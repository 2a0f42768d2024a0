// SPDX-License-Identifier: MIT
// Idle costs nothing: a parked executor makes no system call and uses no CPU for five seconds, looked at from outside.
//
// This is the one test that lets time pass. It asserts no duration; and where strace is missing, or may not attach,
// it says so and looks at the time on the CPU and at the context switches only.
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/sanitizers.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/skip.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;

// ThreadSanitizer has a thread of its own in each process, which sleeps and looks at the clock.
constexpr bool sanitizer_has_thread = GYRE_DETAIL_THREAD_SANITIZER;

task<> receive_for_ever(int socket) {
  std::array<std::byte, 16> buffer;
  co_await ops::recv(socket, buffer);
}

task<> receive_until_a_deadline(int socket) {
  std::array<std::byte, 16> buffer;
  co_await with_timeout(1h, ops::recv(socket, buffer));
}

// A server that nobody talks to: connections that wait, a deadline and a sleep that are far away.
void be_idle(parking park) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::array<int, 2> first{};
  std::array<int, 2> second{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, first.data()) != 0) ::_exit(1);
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, second.data()) != 0) ::_exit(1);
  executor loop{{.park = park}};
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(receive_for_ever(first[0]));
      group.start(receive_until_a_deadline(second[0]));
      co_await sleep_for(1h);
    });
  });
  ::_exit(1);
}

class idle_process {
 public:
  explicit idle_process(parking park) : pid_{::fork()} {
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) be_idle(park);
  }
  idle_process(const idle_process&) = delete;
  idle_process& operator=(const idle_process&) = delete;
  ~idle_process() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const noexcept { return pid_; }

  // Time on the CPU in nanoseconds, and how often it was taken off: both grow whenever it runs at all.
  std::string activity() const {
    std::ifstream scheduled{folder() / "schedstat"};
    std::string cpu_time;
    scheduled >> cpu_time;
    return cpu_time + " ns, switches" + status("voluntary_ctxt_switches:") + status("nonvoluntary_ctxt_switches:");
  }

  bool is_traced() const { return status("TracerPid:") != "\t0"; }

  // Returns when it has not run for a while.
  void wait_until_settled() const {
    for (std::string before; before != activity(); std::this_thread::sleep_for(300ms)) before = activity();
  }

 private:
  std::filesystem::path folder() const { return std::filesystem::path{"/proc"} / std::to_string(pid_); }

  std::string status(const std::string& field) const {
    std::ifstream lines{folder() / "status"};
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(field)) return line.substr(field.size());
    return {};
  }

  pid_t pid_;
};

// strace, attached to processes while this lives: to all of their threads, but for a sanitizer's.
class tracer {
 public:
  explicit tracer(const std::vector<const idle_process*>& traced)
      : log_{std::filesystem::temp_directory_path() / ("gyre-idle-" + std::to_string(::getpid()))} {
    pid_ = ::fork();
    if (pid_ != 0) return;
    std::vector<std::string> words{"strace", "-qq", "-o", log_.string()};
    if (!sanitizer_has_thread) words.emplace_back("-f");
    for (const auto* each : traced) words.insert(words.end(), {"-p", std::to_string(each->pid())});
    std::vector<char*> arguments;
    for (auto& each : words) arguments.push_back(each.data());
    arguments.push_back(nullptr);
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDERR_FILENO);
    ::execvp("strace", arguments.data());
    ::_exit(127);
  }
  tracer(const tracer&) = delete;
  tracer& operator=(const tracer&) = delete;
  ~tracer() {
    end();
    std::filesystem::remove(log_);
  }

  // Whether it got hold of all of them.
  bool attached(const std::vector<const idle_process*>& traced) {
    for (const auto* each : traced) {
      while (!each->is_traced()) {
        if (::waitpid(pid_, nullptr, WNOHANG) == pid_) return pid_ = -1, false;
        std::this_thread::sleep_for(10ms);
      }
    }
    return true;
  }

  void end() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGINT);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  // What it saw: system calls that returned. The one in which it found a process, and left it, did not.
  std::vector<std::string> calls() const {
    std::vector<std::string> seen;
    std::ifstream lines{log_};
    for (std::string line; std::getline(lines, line);)
      if (line.find(" = ") != std::string::npos) seen.push_back(line);
    return seen;
  }

 private:
  std::filesystem::path log_;
  pid_t pid_ = -1;
};

}  // namespace

TEST_CASE("an idle executor makes no system call for five seconds, and uses no CPU") {
  const idle_process on_eventfd{parking::eventfd};
  const idle_process in_ring{parking::ring_wait};
  const std::vector<const idle_process*> both{&on_eventfd, &in_ring};
  for (const auto* each : both) each->wait_until_settled();

  tracer strace{both};
  const bool traced = strace.attached(both);
  if (!traced) SAY_LEFT_OUT("no strace here, or it may not attach; system calls were not counted");
  for (const auto* each : both) each->wait_until_settled();
  const std::vector<std::string> before{on_eventfd.activity(), in_ring.activity()};
  std::this_thread::sleep_for(5s);
  const std::vector<std::string> after{on_eventfd.activity(), in_ring.activity()};
  strace.end();

  INFO(before[0]);
  CHECK(before[0] == after[0]);
  CHECK(before[1] == after[1]);
  CHECK(before[0].find("switches\t") != std::string::npos);  // there was something to compare
  for (const auto& call : strace.calls()) FAIL_CHECK("a system call: ", call);
}

}  // namespace gyre
