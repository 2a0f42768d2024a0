// SPDX-License-Identifier: MIT
// A descriptor whose close takes long: who waits for it, and where.
#include <gyre/fs/detail/slow_close.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/runtime.hpp>

#include "../support/full_socket.hpp"
#include "../support/tcp_pair.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <utility>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;

std::set<int> threads() {
  std::set<int> all;
  for (const auto& each : std::filesystem::directory_iterator{"/proc/self/task"})
    all.insert(std::stoi(each.path().filename()));
  return all;
}

std::size_t cpus_count(int thread) {
  cpu_set_t used{};
  return ::sched_getaffinity(thread, sizeof used, &used) == 0 ? static_cast<std::size_t>(CPU_COUNT(&used)) : 0;
}

// So that a close waits for the peer, which reads nothing: for these seconds, at most.
unique_fd close_takes_long(tcp_pair& pair) {
  constexpr ::linger long_enough{.l_onoff = 1, .l_linger = 20};
  full_socket::send_all_that_fits(pair.here);
  REQUIRE(::setsockopt(pair.here.get(), SOL_SOCKET, SO_LINGER, &long_enough, sizeof long_enough) == 0);
  return std::move(pair.here);
}

template <class Condition>
bool comes_true(Condition is_so) {
  const auto patience_ends = std::chrono::steady_clock::now() + 10s;
  while (!is_so())
    if (std::chrono::steady_clock::now() > patience_ends) return false;
  return true;
}

}  // namespace

TEST_CASE("a thread that closes for a pinned executor may use all CPUs") {
  const std::size_t allowed_count = allowed_cpus().size();
  const runtime pinned{{.executors = 1, .pin = pinning::always}};
  REQUIRE(cpus_count(::gettid()) == 1);
  tcp_pair pair;
  int first_thread = 0;
  std::thread{[&] { first_thread = ::gettid(); }}.join();  // with which ThreadSanitizer starts one of its own
  REQUIRE(comes_true([&] { return !threads().contains(first_thread); }));
  const auto before = threads();
  std::set<int> with_one_more;

  detail::close_elsewhere(close_takes_long(pair));

  REQUIRE(comes_true([&] { return (with_one_more = threads()).size() == before.size() + 1; }));
  for (const int each : before) with_one_more.erase(each);
  CHECK(comes_true([&] { return cpus_count(*with_one_more.begin()) == allowed_count; }));
  pair.there.reset();  // it refuses the rest: the close is over
  CHECK(comes_true([&] { return threads() == before; }));
}

}  // namespace gyre::fs
