// SPDX-License-Identifier: MIT
// Two coroutines read one stream: the second takes the connection that the first was woken for.
// must say: one coroutine at a time
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>

#include "../support/scripted.hpp"

#include <liburing.h>
#include <unistd.h>

#include <optional>

namespace {

gyre::task<> take_one(gyre::ops::accept_stream& incoming) { static_cast<void>(co_await incoming.next()); }

}  // namespace

int main() {
  constexpr int some_listener = 1'000'123;
  gyre::test::scripted_executor on;
  gyre::ops::accept_stream incoming{some_listener};
  auto first = on.loop.start(take_one(incoming));
  on.loop.run_ready();

  std::optional<gyre::root_task<void>> second;
  on.script.on_enter = [&] {
    on.script.on_enter = nullptr;
    second.emplace(on.loop, take_one(incoming));  // runs before the first, whose connection comes in this enter
  };
  on.script.complete_on_enter(on.script.only(IORING_OP_ACCEPT), ::dup(STDERR_FILENO), IORING_CQE_F_MORE);
  on.loop.run_ready();  // must stop here
}
