// SPDX-License-Identifier: MIT
// What does each option of an executor cost, and what does it gain? Wall clock and processor time of both ends.
//
//   hop         a message from one executor to another and back, by post(): with a look for work of so many
//               microseconds before each sleep. The floor: two threads that write eventfds and sleep in read(2)
//   lone        a byte over a socket pair and back between two executors: the same looks, and a submission thread
//   nops        so many operations at once: plain, and with a submission thread
//   paced       64 connections that another thread writes to, at random, so many microseconds between on average: the
//               time that the receiving thread takes for each byte, with a look of so many microseconds
//   crowd       the same, 3 us between, in the ring: plain, and with a minimum wait
#include "support/die.hpp"

#include <benchmark/benchmark.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

double cpu_microseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

// Processor time of all threads of the process from its beginning to report(), for each of `count`.
class cpu_meter {
 public:
  void report(benchmark::State& state, double count) const {
    state.counters["cpu_us"] = (cpu_microseconds() - begin_) / count;
  }

 private:
  double begin_ = cpu_microseconds();
};

std::array<gyre::unique_fd, 2> make_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) bench::die("socketpair", errno);
  return {gyre::unique_fd{ends[0]}, gyre::unique_fd{ends[1]}};
}

gyre::executor_options looking_for(std::int64_t microseconds) {
  return {.spin_before_park = std::chrono::microseconds{microseconds}};
}

// An executor on a thread of its own, which turns until this ends.
class elsewhere {
 public:
  explicit elsewhere(gyre::executor_options options) : thread_{[this, options] { run(options); }} {
    while (loop_.load() == nullptr) std::this_thread::yield();
  }
  elsewhere(const elsewhere&) = delete;
  elsewhere& operator=(const elsewhere&) = delete;
  ~elsewhere() {
    loop_.load()->post([this] {
      ended_ = true;
      loop_.load()->return_soon();
    });
    thread_.join();
  }
  gyre::executor& loop() noexcept { return *loop_; }

 private:
  void run(const gyre::executor_options& options) {
    gyre::executor loop{options};
    loop_ = &loop;
    while (!ended_) loop.turn(/*may_park=*/true);
  }
  std::atomic<gyre::executor*> loop_ = nullptr;
  bool ended_ = false;
  std::thread thread_;
};

void hop(benchmark::State& state) {
  elsewhere other{looking_for(state.range(0))};
  gyre::executor here{looking_for(state.range(0))};
  bool is_back = false;
  const auto come_back = [&] {
    is_back = true;
    here.return_soon();  // else it would sleep in the same turn
  };
  const auto go_and_come_back = [&] {
    is_back = false;
    other.loop().post([&] { here.post(come_back); });
    while (!is_back) here.turn(/*may_park=*/true);
  };
  for (int i = 0; i < 1'000; ++i) go_and_come_back();

  const cpu_meter cpu;
  for ([[maybe_unused]] auto _ : state) go_and_come_back();
  cpu.report(state, static_cast<double>(state.iterations()));
}

void hop_floor(benchmark::State& state) {
  const gyre::unique_fd there{::eventfd(0, EFD_CLOEXEC)};
  const gyre::unique_fd back{::eventfd(0, EFD_CLOEXEC)};
  const auto write_to = [](const gyre::unique_fd& fd, std::uint64_t value) {
    if (::write(fd.get(), &value, sizeof value) != sizeof value) bench::die("write", errno);
  };
  const auto read_from = [](const gyre::unique_fd& fd) {
    std::uint64_t value = 0;
    if (::read(fd.get(), &value, sizeof value) != sizeof value) bench::die("read", errno);
    return value;
  };
  constexpr std::uint64_t last = 2;
  std::thread other{[&] {
    while (read_from(there) != last) write_to(back, 1);
  }};

  const cpu_meter cpu;
  for ([[maybe_unused]] auto _ : state) {
    write_to(there, 1);
    read_from(back);
  }
  cpu.report(state, static_cast<double>(state.iterations()));
  write_to(there, last);
  other.join();
}

gyre::task<> send_back(const gyre::unique_fd& socket) {
  std::array<std::byte, 1> byte{};
  while (co_await gyre::ops::recv(socket, byte) == 1) co_await gyre::ops::send(socket, byte);
}

gyre::task<> play(const gyre::unique_fd& socket, benchmark::State& state) {
  std::array<std::byte, 1> byte{};
  const cpu_meter cpu;
  for ([[maybe_unused]] auto _ : state) {
    co_await gyre::ops::send(socket, byte);
    co_await gyre::ops::recv(socket, byte);
  }
  cpu.report(state, static_cast<double>(state.iterations()));
}

void lone_connection(benchmark::State& state, const gyre::executor_options& options) {
  auto ends = make_pair();
  std::thread other{[&] {
    gyre::executor there{options};
    there.run(send_back(ends[1]));
  }};
  gyre::executor here{options};
  here.run(play(ends[0], state));
  ::shutdown(ends[0].get(), SHUT_RDWR);
  other.join();
}

void lone(benchmark::State& state) { lone_connection(state, looking_for(state.range(0))); }
void lone_sqpoll(benchmark::State& state) { lone_connection(state, {.sqpoll = gyre::sqpoll_options{}}); }

gyre::task<> one_nop() { co_await gyre::ops::nop(); }

gyre::task<> nops_at_once(benchmark::State& state) {
  const cpu_meter cpu;
  for ([[maybe_unused]] auto _ : state) {
    co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
      for (std::int64_t i = 0; i < state.range(0); ++i) group.start(one_nop());
      co_return;
    });
  }
  const auto count = static_cast<double>(state.iterations()) * static_cast<double>(state.range(0));
  cpu.report(state, count);
  state.counters["ns_each"] =
      benchmark::Counter(count / 1e9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void nops(benchmark::State& state) {
  gyre::executor loop;
  loop.run(nops_at_once(state));
}
void nops_sqpoll(benchmark::State& state) {
  gyre::executor loop{{.sqpoll = gyre::sqpoll_options{}}};
  loop.run(nops_at_once(state));
}

constexpr std::size_t crowd_size = 64;

gyre::task<> receive_for_ever(const gyre::unique_fd& socket, std::uint64_t& received) {
  std::array<std::byte, 1> byte{};
  while (co_await gyre::ops::recv(socket, byte) == 1) ++received;
}

double thread_cpu_microseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

// Only the receiving thread's time counts.
void crowd_of(benchmark::State& state, double gap_us, const gyre::executor_options& options) {
  std::vector<std::array<gyre::unique_fd, 2>> pairs;
  for (std::size_t i = 0; i < crowd_size; ++i) pairs.push_back(make_pair());
  std::atomic<bool> ended = false;
  std::jthread writer{[&] {
    std::mt19937 random{1};
    std::exponential_distribution<double> gap{1 / gap_us};
    auto next = steady::now();
    for (std::size_t i = 0; !ended; ++i) {
      static_cast<void>(::send(pairs[i % crowd_size][1].get(), "x", 1, MSG_DONTWAIT));
      next += std::chrono::nanoseconds{static_cast<std::int64_t>(gap(random) * 1'000)};
      while (steady::now() < next) {
      }
    }
    for (const auto& each : pairs) ::shutdown(each[1].get(), SHUT_RDWR);
  }};
  gyre::executor loop{options};
  std::uint64_t received = 0;
  std::vector<std::unique_ptr<gyre::root_task<void>>> roots;
  for (const auto& each : pairs)
    roots.push_back(std::make_unique<gyre::root_task<void>>(loop, receive_for_ever(each[0], received)));
  std::uint64_t wanted = 1'000;
  while (received < wanted) loop.turn(/*may_park=*/true);

  const double begin = thread_cpu_microseconds();
  const std::uint64_t first = received;
  const auto parks = loop.statistics().parks;
  for ([[maybe_unused]] auto _ : state) {
    wanted = received + 1'000;
    while (received < wanted) loop.turn(/*may_park=*/true);
  }
  const auto count = static_cast<double>(received - first);
  state.counters["cpu_us"] = (thread_cpu_microseconds() - begin) / count;
  state.counters["parks_each"] = static_cast<double>(loop.statistics().parks - parks) / count;
  ended = true;
  writer.join();
  for (auto& each : roots)
    while (!each->done()) loop.turn(/*may_park=*/true);
}

void paced(benchmark::State& state) {
  crowd_of(state, static_cast<double>(state.range(0)), looking_for(state.range(1)));
}
void crowd(benchmark::State& state) { crowd_of(state, 3, {.park = gyre::parking::ring_wait}); }
void crowd_min_wait(benchmark::State& state) {
  crowd_of(
      state, 3,
      {.park = gyre::parking::ring_wait, .min_wait = std::chrono::microseconds{state.range(0)}, .min_wait_count = 32});
}

}  // namespace

BENCHMARK(hop_floor)->UseRealTime();
BENCHMARK(hop)->Arg(0)->Arg(5)->Arg(10)->Arg(20)->Arg(50)->Arg(100)->UseRealTime();
BENCHMARK(lone)->Arg(0)->Arg(5)->Arg(10)->Arg(20)->Arg(50)->Arg(100)->UseRealTime();
BENCHMARK(lone_sqpoll)->UseRealTime();
BENCHMARK(nops)->Arg(1)->Arg(8)->Arg(64)->UseRealTime();
BENCHMARK(nops_sqpoll)->Arg(1)->Arg(8)->Arg(64)->UseRealTime();
BENCHMARK(paced)->ArgsProduct({{10, 30, 100, 1000}, {0, 10, 20, 50}})->UseRealTime();
BENCHMARK(crowd)->UseRealTime();
BENCHMARK(crowd_min_wait)->Arg(20)->Arg(50)->Arg(100)->UseRealTime();

BENCHMARK_MAIN();
