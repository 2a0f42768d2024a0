// SPDX-License-Identifier: MIT
// Two processes, one piece of memory: the one puts numbers into a queue there, the other takes them out, both count.
//
//   shared_counter 100000
//
// The mutex and the condition variables lie in the mapped memory, beside what they protect. Coroutines of both
// processes lock them as they would within one; whoever has to wait leaves its executor free for others.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/sync/condition_variable.hpp>
#include <gyre/sync/mutex.hpp>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

using gyre::sync::futex_kind;

// What both processes map. Nothing in it may be a pointer.
struct shared_queue {
  gyre::sync::mutex locked{futex_kind::process_shared};
  gyre::sync::condition_variable has_numbers{futex_kind::process_shared};
  gyre::sync::condition_variable has_room{futex_kind::process_shared};
  std::array<std::uint64_t, 64> numbers{};
  std::size_t first = 0;
  std::size_t numbers_count = 0;
  std::uint64_t touched_count = 0;
};

gyre::task<> put(shared_queue& queue, std::uint64_t number) {
  auto held = co_await queue.locked.lock();
  co_await queue.has_room.wait(held, [&] { return queue.numbers_count < queue.numbers.size(); });
  queue.numbers[(queue.first + queue.numbers_count++) % queue.numbers.size()] = number;
  ++queue.touched_count;
  queue.has_numbers.notify_one();
}

gyre::task<std::uint64_t> take(shared_queue& queue) {
  auto held = co_await queue.locked.lock();
  co_await queue.has_numbers.wait(held, [&] { return queue.numbers_count > 0; });
  const std::uint64_t number = queue.numbers[queue.first];
  queue.first = (queue.first + 1) % queue.numbers.size();
  --queue.numbers_count;
  ++queue.touched_count;
  queue.has_room.notify_one();
  co_return number;
}

gyre::task<> put_all(shared_queue& queue, std::uint64_t count) {
  for (std::uint64_t number = 1; number <= count; ++number) co_await put(queue, number);
}

gyre::task<> add_up(shared_queue& queue, std::uint64_t count) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += co_await take(queue);
  std::printf("1 + 2 + ... + %llu = %llu\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(sum));
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  void* const memory = ::mmap(nullptr, sizeof(shared_queue), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return std::perror("shared_counter: mmap"), 1;
  auto& queue = *new (memory) shared_queue;

  const pid_t other = ::fork();  // before there is an executor: a ring belongs to one process
  if (other < 0) return std::perror("shared_counter: fork"), 1;
  if (other == 0) return gyre::run(add_up(queue, count));
  const int status = gyre::run(put_all(queue, count));
  ::waitpid(other, nullptr, 0);
  std::printf("touched %llu times\n", static_cast<unsigned long long>(queue.touched_count));
  return status;
}
