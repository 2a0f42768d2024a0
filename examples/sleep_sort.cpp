// SPDX-License-Identifier: MIT
// Sorts numbers by sleeping as many milliseconds as each of them says. The joke is old; the timers are real.
//
//   sleep_sort 30 10 20
//
// One task a number in one group, which ends when the last of them has. A sleep costs no system call, so that a hundred
// thousand numbers are no trouble. Ctrl-C ends all of them at once.
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

gyre::task<> print_after(std::chrono::milliseconds number) {
  co_await gyre::sleep_for(number);
  std::printf("%lld\n", static_cast<long long>(number.count()));
}

gyre::task<> sleep_sort(std::vector<std::chrono::milliseconds> numbers) {
  co_await gyre::with_task_group([&](gyre::task_group& sleepers) -> gyre::task<> {
    for (const auto number : numbers) sleepers.start(print_after(number));
    co_return;
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::chrono::milliseconds> numbers;
  for (int index = 1; index < argc; ++index) numbers.emplace_back(std::strtoul(argv[index], nullptr, 10));
  return gyre::run(sleep_sort(std::move(numbers)));
}
