// SPDX-License-Identifier: MIT
// What a channel takes from the heap: its ring once, and nothing for an item; and what happens where there is none.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/channel.hpp>

#include <doctest/doctest.h>
#include "../support/scripted.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>

namespace {

std::size_t allocations_count = 0;
bool heap_is_empty = false;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations_count;
  void* const taken = heap_is_empty ? nullptr : std::malloc(size);
  if (taken == nullptr) throw std::bad_alloc{};
  return taken;
}
void operator delete(void* given) noexcept { std::free(given); }
void operator delete(void* given, std::size_t) noexcept { std::free(given); }

namespace gyre::sync {
namespace {

using test::scripted_executor;

task<> hand_over(channel<std::uint64_t>& through, int items_count) {
  for (int item = 0; item < items_count; ++item) {
    const auto sent = co_await through.send(1);
    const auto received = co_await through.receive();
    if (!sent || !received) throw std::bad_alloc{};
  }
}

task<> send_all(channel<std::uint64_t>& to, int items_count) {
  for (int item = 0; item < items_count; ++item)
    if (!co_await to.send(1)) co_return;
}

task<> receive_all(channel<std::uint64_t>& from, int items_count) {
  for (int item = 0; item < items_count; ++item)
    if (!co_await from.receive()) co_return;
}

TEST_CASE("an item takes nothing from the heap, whether somebody waits or not") {
  scripted_executor on;
  channel<std::uint64_t> through{2};
  auto alone = on.loop.start(hand_over(through, 1000));
  auto sends = on.loop.start(send_all(through, 1000));
  auto receives = on.loop.start(receive_all(through, 1000));
  const std::size_t before = allocations_count;

  on.loop.run_ready();

  CHECK(allocations_count == before);
  CHECK(alone.done());
  CHECK(sends.done());
  CHECK(receives.done());
}

TEST_CASE("an unbounded channel that cannot grow says so, and is as it was") {
  channel<std::uint64_t> through{unbounded};
  std::size_t sent_count = 0;
  heap_is_empty = true;
  bool refused = false;
  try {
    for (; sent_count < 100; ++sent_count) static_cast<void>(through.try_send(std::uint64_t{sent_count}));
  } catch (const std::bad_alloc&) {
    refused = true;
  }
  heap_is_empty = false;

  CHECK(refused);
  CHECK(through.size() == sent_count);
  CHECK(through.try_send(7));
  CHECK(through.try_receive() == 7);
}

TEST_CASE("a send() into an unbounded channel that cannot grow throws") {
  scripted_executor on;
  channel<std::uint64_t> through{unbounded};
  bool refused = false;
  auto root = on.loop.start([](channel<std::uint64_t>& to, bool& noted) -> task<> {
    try {
      static_cast<void>(co_await to.send(1));
    } catch (const std::bad_alloc&) {
      noted = true;
    }
  }(through, refused));
  heap_is_empty = true;
  on.loop.run_ready();
  heap_is_empty = false;

  CHECK(root.done());
  CHECK(refused);
}

}  // namespace
}  // namespace gyre::sync
