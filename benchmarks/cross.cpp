// SPDX-License-Identifier: MIT
// What does it cost to have something done on another executor, and how many posts can one take?
//
// hop: a task that ends at once, awaited on an executor of another thread by on(): there and back. The floor is two
// threads that write one another's eventfd and read their own. hop_in_ring is the same with executors that sleep in
// their rings; its floor are two rings that send one another messages, IORING_OP_MSG_RING. The argument is on how many
// cores the two threads are: on one, the time is what the processor does; on two, it is mostly that of waking a core.
//
// post: four threads post as fast as they can to an executor that runs what comes. The floor is a lock and a vector.
#include "support/die.hpp"
#include "support/raw_ring.hpp"

#include <benchmark/benchmark.h>

#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/task.hpp>

#include <liburing.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// ------------------------------------------------------------------------------------------------------------- places
// Whoever runs this may have kept it on one core.
const std::vector<unsigned>& all_cpus() {
  static const std::vector<unsigned> cpus = [] {
    cpu_set_t all{};
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) CPU_SET(cpu, &all);
    if (::sched_setaffinity(0, sizeof all, &all) != 0) bench::die("sched_setaffinity", errno);
    return gyre::allowed_cpus();
  }();
  return cpus;
}

void stay_on(unsigned cpu) {
  cpu_set_t one{};
  CPU_SET(cpu, &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0) bench::die("sched_setaffinity", errno);
}

unsigned here() { return all_cpus().front(); }
unsigned there(const benchmark::State& state) { return state.range(0) == 1 ? here() : all_cpus().back(); }

// ---------------------------------------------------------------------------------------------------- two event files
class event {
 public:
  void signal() {
    const std::uint64_t one = 1;
    if (::write(fd_, &one, sizeof one) != sizeof one) bench::die("write", errno);
  }
  void wait() {
    std::uint64_t count = 0;
    if (::read(fd_, &count, sizeof count) != sizeof count) bench::die("read", errno);
  }

 private:
  int fd_ = ::eventfd(0, EFD_CLOEXEC);
};

void hop_floor(benchmark::State& state) {
  stay_on(here());
  event over;
  event back;
  std::atomic<bool> ends = false;
  std::thread other{[&] {
    stay_on(there(state));
    for (;;) {
      over.wait();
      if (ends) return;
      back.signal();
    }
  }};
  for ([[maybe_unused]] auto _ : state) {
    over.signal();
    back.wait();
  }
  ends = true;
  over.signal();
  other.join();
  state.SetItemsProcessed(state.iterations());
}

// ----------------------------------------------------------------------------------------------------------- two rings
constexpr std::uint64_t goes_on = 1;
constexpr std::uint64_t ends_here = 2;

void send_message(bench::raw_ring& from, int to, std::uint64_t text) {
  io_uring_sqe* const sqe = from.next_sqe();
  io_uring_prep_msg_ring(sqe, to, 0, text, 0);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

std::uint64_t next_message(bench::raw_ring& ring) {
  ring.submit_and_wait(1);
  io_uring_cqe* done = nullptr;
  if (const int rc = io_uring_peek_cqe(ring.get(), &done); rc < 0) bench::die("io_uring_peek_cqe", -rc);
  const std::uint64_t text = done->user_data;
  io_uring_cqe_seen(ring.get(), done);
  return text;
}

void hop_in_ring_floor(benchmark::State& state) {
  stay_on(here());
  bench::raw_ring mine{8, 64};
  const int my_fd = mine.get()->ring_fd;
  std::promise<int> other_fd;
  std::thread other{[&] {
    stay_on(there(state));
    bench::raw_ring its{8, 64};
    other_fd.set_value(its.get()->ring_fd);
    while (next_message(its) == goes_on) send_message(its, my_fd, goes_on);
  }};
  const int its_fd = other_fd.get_future().get();
  for ([[maybe_unused]] auto _ : state) {
    send_message(mine, its_fd, goes_on);
    if (next_message(mine) != goes_on) bench::die("IORING_OP_MSG_RING", EBADMSG);
  }
  send_message(mine, its_fd, ends_here);
  mine.submit_and_wait(0);
  other.join();
  state.SetItemsProcessed(state.iterations());
}

// ---------------------------------------------------------------------------------------------------------------- gyre
gyre::runtime_options two_executors(const benchmark::State& state, gyre::parking park) {
  return {.executors = 2, .cpus = {here(), there(state)}, .pin = gyre::pinning::always, .executor = {.park = park}};
}

[[gnu::noinline]] gyre::task<int> end_at_once() { co_return 1; }

void hop_on(benchmark::State& state, gyre::parking park) {
  gyre::runtime both{two_executors(state, park)};
  both.run([&](std::size_t index) -> gyre::task<> {
    if (index != 0) co_return;
    for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(co_await gyre::on(both[1], end_at_once()));
  });
  state.SetItemsProcessed(state.iterations());
}

void hop_gyre(benchmark::State& state) { hop_on(state, gyre::parking::eventfd); }
void hop_in_ring_gyre(benchmark::State& state) { hop_on(state, gyre::parking::ring_wait); }

// -------------------------------------------------------------------------------------------------------- four posters
constexpr int posters_count = 4;
constexpr int posts_each = 10'000;

struct counter final : gyre::detail::runnable {
  explicit counter(int& its_count) noexcept : runnable{kind}, count{its_count} {}
  static void run(gyre::detail::runnable& self) noexcept { ++static_cast<counter&>(self).count; }
  static constexpr gyre::detail::runnable_kind kind{&counter::run};
  int& count;
};

// Has four threads call post(thread, i) for each of their posts.
template <class Post>
std::vector<std::thread> start_posters(Post post) {
  std::vector<std::thread> posters;
  for (int thread = 0; thread < posters_count; ++thread) {
    posters.emplace_back([thread, post] {
      stay_on(all_cpus()[static_cast<std::size_t>(thread) % all_cpus().size()]);
      for (int i = 0; i < posts_each; ++i) post(thread, i);
    });
  }
  return posters;
}

void post_floor(benchmark::State& state) {
  stay_on(here());
  int count = 0;
  counter work{count};
  for ([[maybe_unused]] auto _ : state) {
    std::mutex guard;
    std::vector<counter*> posted;
    count = 0;
    auto posters = start_posters([&](int, int) {
      const std::lock_guard lock{guard};
      posted.push_back(&work);
    });
    std::vector<counter*> taken;
    while (count < posters_count * posts_each) {
      {
        const std::lock_guard lock{guard};
        taken.swap(posted);
      }
      if (taken.empty()) std::this_thread::yield();
      for (counter* each : taken) counter::run(*each);
      taken.clear();
    }
    for (auto& each : posters) each.join();
  }
  state.SetItemsProcessed(state.iterations() * posters_count * posts_each);
}

void post_gyre(benchmark::State& state) {
  stay_on(here());
  int count = 0;
  std::deque<counter> works;
  for (int i = 0; i < posters_count * posts_each; ++i) works.emplace_back(count);
  gyre::executor loop;
  for ([[maybe_unused]] auto _ : state) {
    count = 0;
    auto posters =
        start_posters([&](int thread, int i) { loop.post(works[static_cast<std::size_t>(thread * posts_each + i)]); });
    while (count < posters_count * posts_each)
      if (!loop.turn(/*may_park=*/false)) std::this_thread::yield();
    for (auto& each : posters) each.join();
  }
  state.SetItemsProcessed(state.iterations() * posters_count * posts_each);
}

BENCHMARK(hop_floor)->Arg(1)->UseRealTime();
BENCHMARK(hop_gyre)->Arg(1)->UseRealTime();
BENCHMARK(hop_in_ring_floor)->Arg(1)->UseRealTime();
BENCHMARK(hop_in_ring_gyre)->Arg(1)->UseRealTime();
BENCHMARK(hop_floor)->Arg(2)->UseRealTime();
BENCHMARK(hop_gyre)->Arg(2)->UseRealTime();
BENCHMARK(hop_in_ring_floor)->Arg(2)->UseRealTime();
BENCHMARK(hop_in_ring_gyre)->Arg(2)->UseRealTime();
BENCHMARK(post_floor)->UseRealTime();
BENCHMARK(post_gyre)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
