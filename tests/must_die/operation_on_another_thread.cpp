// SPDX-License-Identifier: MIT
// A coroutine awaits an operation on a thread that runs no executor: somebody resumed it there.
// must say: an executor was used from another thread
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>

#include <coroutine>
#include <thread>

namespace {

// Resumes who awaits it on a thread of its own.
class hop {
 public:
  hop() noexcept {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) const noexcept { std::thread{awaiting}.join(); }
  void await_resume() const noexcept {}
};

gyre::task<> wait_elsewhere() {
  co_await hop();
  co_await gyre::ops::nop();
}

}  // namespace

int main() {
  gyre::executor loop;
  loop.run(wait_elsewhere());
}
