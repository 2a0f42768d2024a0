// SPDX-License-Identifier: MIT
// Keeps a program running: starts it anew when it ends, forwards signals to it, and ends it with itself.
//
//   supervisor 5 some_server --port 7000
//
// A program that fails is started again after 100 ms, twice as long each time, and 10 s at most; one that has run for
// longer begins anew with 100 ms. One that exits with 0 has done its work. After so many failures in a row the
// supervisor gives up. SIGHUP, SIGUSR1 and SIGUSR2 go on to the program; on SIGTERM and Ctrl-C it is terminated, with
// all that it has started: it has a group of its own.
#include <gyre/fs/process.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/signal_set.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds first_pause = 100ms;
constexpr std::chrono::milliseconds longest_pause = 10s;

gyre::task<> forward(gyre::signal_set& signals, const gyre::fs::process& to) {
  while (const auto signal = co_await signals.next()) {
    // What came while nobody ran, or as it ended, is for nobody.
    if (to.try_signal(signal->number).has_value())
      std::fprintf(stderr, "supervisor: signal %d forwarded\n", signal->number);
  }
}

// Until the program has ended. The forwarding is cancelled then; a stop from outside terminates the program.
gyre::task<gyre::fs::exit_status> run_once(const gyre::fs::process_options& program, gyre::signal_set& signals) {
  co_return co_await gyre::fs::with_process(program, [&](gyre::fs::process& child) -> gyre::task<> {
    std::fprintf(stderr, "supervisor: process %d runs\n", static_cast<int>(child.id()));
    (void)co_await gyre::with_cancel_scope([&](gyre::cancel_scope& both) -> gyre::task<> {
      const auto until_ended = [](gyre::fs::process& awaited, gyre::cancel_scope& ended) -> gyre::task<> {
        co_await awaited.wait();
        ended.cancel("the program has ended");
      };
      co_await gyre::when_all(forward(signals, child), until_ended(child, both));
    });
  });
}

gyre::task<int> supervise(long failures_max, gyre::fs::process_options program) {
  gyre::signal_set signals{SIGHUP, SIGUSR1, SIGUSR2};
  auto pause = first_pause;
  for (long failures = 0; failures < failures_max;) {
    const auto began = std::chrono::steady_clock::now();
    try {
      const auto status = co_await run_once(program, signals);
      std::fprintf(stderr, "supervisor: it %s\n", status.text().c_str());
      if (status.success()) co_return EXIT_SUCCESS;
    } catch (const gyre::fs::spawn_error& error) {
      std::fprintf(stderr, "supervisor: %s\n", error.what());
      co_return EXIT_FAILURE;
    }
    const bool has_run_for_a_while = std::chrono::steady_clock::now() - began > longest_pause;
    if (has_run_for_a_while) pause = first_pause;
    failures = has_run_for_a_while ? 1 : failures + 1;
    if (failures == failures_max) break;
    co_await gyre::sleep_for(pause);
    pause = std::min(2 * pause, longest_pause);
  }
  std::fprintf(stderr, "supervisor: it fails again and again\n");
  co_return EXIT_FAILURE;
}

}  // namespace

int main(int count, char** given) {
  const long failures_max = count > 2 ? std::strtol(given[1], nullptr, 10) : 0;
  if (failures_max <= 0) {
    std::fprintf(stderr, "usage: %s FAILURES_MAX PROGRAM [ARGUMENT]...\n", given[0]);
    return 2;
  }
  gyre::fs::process_options program;
  program.arguments = std::vector<std::string>(given + 2, given + count);
  program.group = gyre::fs::child_group::own;
  return gyre::run(supervise(failures_max, program));
}
