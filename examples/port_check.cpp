// SPDX-License-Identifier: MIT
// Tells which ports of this machine accept a connection.
//
//   port_check 1 1024
//
// A thousand attempts, a hundred at a time: the group makes the loop wait for room. An attempt that hears nothing for
// half a second is given up, which is an outcome here and no error. The whole may take ten seconds. Ctrl-C ends it.
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

using namespace std::chrono_literals;

namespace {

gyre::task<bool> accepts(std::uint16_t port) {
  const auto peer = co_await gyre::as_result(gyre::net::tcp_stream::connect(gyre::net::address::loopback(port)));
  co_return static_cast<bool>(peer);
}

gyre::task<> check(std::uint16_t port) {
  const auto open = co_await gyre::move_on_after(500ms, accepts(port));
  if (!open) std::printf("%u does not answer\n", port);
  else if (*open) std::printf("%u is open\n", port);
}

gyre::task<> check_all(int first, int last) {
  co_await gyre::with_task_group({.max_tasks = 100}, [&](gyre::task_group& attempts) -> gyre::task<> {
    for (int port = first; port <= last; ++port) {
      co_await attempts.room();
      attempts.start(check(static_cast<std::uint16_t>(port)));
    }
  });
}

gyre::task<> check_in_time(int first, int last) {
  if (!co_await gyre::move_on_after(10s, check_all(first, last))) std::puts("this takes too long");
}

}  // namespace

int main(int argc, char** argv) {
  const int first = argc == 3 ? std::atoi(argv[1]) : 0;
  const int last = argc == 3 ? std::atoi(argv[2]) : 0;
  if (first < 1 || last < first || last > 65535) return std::fputs("usage: port_check FIRST LAST\n", stderr), 2;
  return gyre::run(check_in_time(first, last));
}
