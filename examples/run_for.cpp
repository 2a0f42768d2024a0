// SPDX-License-Identifier: MIT
// Runs a command for so many seconds at most.
//
//   run_for SECONDS COMMAND [ARGUMENT...]
//
// Exits with what the command exits with; with 124 when its time was up; with 128 and the signal when one killed it.
// A command whose time is up is asked to end by SIGTERM; after two more seconds it is killed.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/process.hpp>
#include <gyre/runtime/run.hpp>

#include <spawn.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace {

using namespace std::chrono_literals;
using gyre::ops::process_change;
using gyre::ops::process_event;

// Nobody but us waits for the child, so that its number is its own until we have.
gyre::task<process_change> end_of(::pid_t child) {
  co_return co_await gyre::ops::waitid{P_PID, static_cast<::id_t>(child)};
}

gyre::task<process_change> end_of_stopped(::pid_t child) {
  ::kill(child, SIGTERM);
  const auto ended = co_await gyre::as_result(gyre::with_timeout(2s, end_of(child)));
  if (ended) co_return *ended;
  ::kill(child, SIGKILL);
  co_return co_await end_of(child);
}

// With signals as they are usually: run() has changed them for this process.
int start(::pid_t& child, char** command) {
  ::posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error = ::posix_spawnp(&child, command[0], nullptr, &attributes, command, environ);
  ::posix_spawnattr_destroy(&attributes);
  return error;
}

int status_of(const process_change& end) { return end.event == process_event::exited ? end.status : 128 + end.status; }

gyre::task<int> run_for(std::chrono::duration<double> time, char** command) {
  ::pid_t child = 0;
  if (const int error = start(child, command); error != 0) {
    std::fprintf(stderr, "run_for: %s: %s\n", command[0], std::generic_category().message(error).c_str());
    co_return 127;
  }
  const auto patience = std::chrono::duration_cast<std::chrono::nanoseconds>(time);
  const auto ended = co_await gyre::as_result(gyre::stopped_as_error(gyre::with_timeout(patience, end_of(child))));
  if (ended) co_return status_of(*ended);
  const bool time_is_up = ended.error() == std::errc::timed_out;  // else somebody pressed Ctrl-C
  const auto end = co_await gyre::shield(5s, end_of_stopped(child));
  co_return time_is_up ? 124 : status_of(end);
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc < 3 ? 0 : std::atof(argv[1]);
  if (seconds <= 0) return std::fputs("usage: run_for SECONDS COMMAND [ARGUMENT...]\n", stderr), 2;
  return gyre::run(run_for(std::chrono::duration<double>{seconds}, argv + 2));
}
