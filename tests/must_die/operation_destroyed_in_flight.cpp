// SPDX-License-Identifier: MIT
// A frame dies while the kernel still reads into it: a coroutine of another type is destroyed as it waits.
// must say: destroyed in flight
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/file.hpp>

#include "../support/foreign_task.hpp"

#include <unistd.h>

#include <array>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>

namespace {

gyre::test::foreign_task read_one_byte(int fd) {
  std::array<std::byte, 1> buffer;
  co_return static_cast<int>(co_await gyre::ops::read(fd, buffer));
}

// Starts a coroutine, and destroys it when it waits.
class begun_and_destroyed {
 public:
  explicit begun_and_destroyed(gyre::test::foreign_task body) noexcept : body_{std::move(body)} {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<>) noexcept {
    body_->await_suspend(std::noop_coroutine()).resume();
    body_.reset();  // must stop here
    return false;
  }
  void await_resume() const noexcept {}

 private:
  std::optional<gyre::test::foreign_task> body_;
};

gyre::task<> destroy_while_it_waits(int never_written) { co_await begun_and_destroyed(read_one_byte(never_written)); }

}  // namespace

int main() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return 1;
  gyre::executor loop;
  loop.run(destroy_while_it_waits(ends[0]));
}
