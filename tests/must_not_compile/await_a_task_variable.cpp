// SPDX-License-Identifier: MIT
// A task is given away when it is awaited: a variable has to be moved.
// must say: a task is awaited once and given away: co_await std::move(it)
#include <gyre/runtime/task.hpp>

gyre::task<int> number();

gyre::task<int> awaits() {
  auto later = number();
  co_return co_await later;
}
