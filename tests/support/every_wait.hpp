// SPDX-License-Identifier: MIT
// One coroutine for each thing that a task can wait for, for tests of what they all have in common: a deadline is
// around each, and each says how it ended. What else a test does to them is its own.
#pragma once

#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/mutex.hpp>
#include <gyre/sync/select.hpp>
#include <gyre/sync/semaphore.hpp>

#include <liburing.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::test {

inline constexpr std::chrono::nanoseconds never = std::chrono::hours{10'000};

/// What the coroutines of a row are given, and where they leave their traces.
struct stage {
  int socket = 1'000'123;                  // no descriptor at all: on the scripted ring it is a number
  std::chrono::nanoseconds limit = never;  // of the deadline
  std::chrono::nanoseconds nap = never;    // of a sleep
  cancel_scope* scope = nullptr;           // what a cancel cancels; null: the root task
  std::string said = "stopped";            // how the wait ended: see tell()
  std::size_t received_bytes = 0;          // but of a transfer of many parts
  int begun_count = 0;                     // coroutines of the row
  int ended_count = 0;
};

/// In each coroutine of a row: counts its destructor.
class life {
 public:
  explicit life(stage& at) noexcept : at_{at} { ++at_.begun_count; }
  life(const life&) = delete;
  life& operator=(const life&) = delete;
  ~life() { ++at_.ended_count; }

 private:
  stage& at_;
};

inline std::string told_by(const std::error_code& code) {
  if (code == std::errc::timed_out) return "timed_out";
  return code == std::errc::io_error ? "error" : code.message();
}

/// Awaits something with the deadline, and says how that ended: "value", "timed_out", "error" (of the kernel), with +4
/// behind it where a transfer told of four bytes; "stopped" as long as it has not.
template <class Awaitable>
task<> tell(stage& at, Awaitable awaitable) {
  const life counted{at};
  try {
    static_cast<void>(co_await with_timeout(at.limit, std::move(awaitable)));
    at.said = "value";
  } catch (const transfer_error& error) {
    at.said = told_by(error.code()) + "+" + std::to_string(error.bytes());
  } catch (const std::system_error& error) {
    at.said = told_by(error.code());
  }
}

// Its buffer is on the heap, so that it shows under AddressSanitizer when it goes before the kernel is done.
inline task<std::size_t> receive(stage& at) {
  const life counted{at};
  std::vector<std::byte> buffer(4);
  const std::size_t count = co_await ops::recv(at.socket, buffer);
  at.received_bytes += count;
  co_return count;
}

inline task<> operation(stage& at) {
  std::vector<std::byte> buffer(4);
  co_await tell(at, ops::recv(at.socket, buffer));
  if (at.said == "value") at.received_bytes += buffer.size();
}

inline task<> transfer(stage& at) {
  std::vector<std::byte> bytes(8);
  co_await tell(at, ops::send_all(at.socket, bytes));
}

inline task<> transfer_of_more(stage& at) {
  std::vector<std::byte> buffer(12);
  co_await tell(at, ops::recv_all(at.socket, buffer));
}

inline task<> sleep(stage& at) { co_await tell(at, sleep_for(at.nap)); }

inline task<> tick(stage& at) {
  interval ticks{at.nap};
  co_await tell(at, ticks.next());
}

inline task<> awaited_task(stage& at) { co_await tell(at, receive(at)); }

inline task<> visitor_at_home(stage& at) { co_await tell(at, on(executor::current(), receive(at))); }

/// The scope that a cancel cancels, as long as it is there: the outermost that asks.
class known_scope {
 public:
  known_scope(cancel_scope*& where, cancel_scope& scope) noexcept : where_{where}, before_{where} {
    if (where == nullptr) where = &scope;
  }
  known_scope(const known_scope&) = delete;
  known_scope& operator=(const known_scope&) = delete;
  ~known_scope() { where_ = before_; }

 private:
  cancel_scope*& where_;
  cancel_scope* const before_;
};

// The cancel is for who waits, and not for those whom it waits for.
template <class Awaitable>
task<> tell_in_scope(stage& at, Awaitable awaitable) {
  static_cast<void>(co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
    const known_scope known{at.scope, scope};
    co_await tell(at, std::move(awaitable));
  }));
}

inline task<> child_of_group(stage& at) { static_cast<void>(co_await receive(at)); }

inline task<> result_of_child(stage& at) {
  co_await with_task_group([&](task_group& group) -> task<> {
    co_await tell_in_scope(at, group.start_with_result(receive(at)));
    group.cancel();
  });
}

inline task<> room_in_group(stage& at) {
  co_await with_task_group({.max_tasks = 1}, [&](task_group& group) -> task<> {
    group.start(child_of_group(at));
    co_await tell_in_scope(at, group.room());
    group.cancel();
  });
}

inline task<> receive_and_release(stage& at, sync::semaphore& permits) {
  const life counted{at};
  static_cast<void>(co_await receive(at));
  permits.release();
}

inline task<> permit_of_semaphore(stage& at) {
  sync::semaphore permits{0};
  co_await with_task_group([&](task_group& group) -> task<> {
    group.start(receive_and_release(at, permits));
    co_await tell_in_scope(at, permits.acquire());
    group.cancel();
  });
}

inline task<> receive_and_unlock(stage& at, sync::mutex::guard held) {
  const life counted{at};
  static_cast<void>(co_await receive(at));
  held.unlock();
}

inline task<> hold_of_mutex(stage& at) {
  sync::mutex locked;
  auto held = co_await locked.lock();
  co_await with_task_group([&](task_group& group) -> task<> {
    group.start(receive_and_unlock(at, std::move(held)));
    co_await tell_in_scope(at, locked.lock());
    group.cancel();
  });
}

inline task<> receive_and_send(stage& at, sync::channel<int>& items) {
  const life counted{at};
  static_cast<void>(co_await receive(at));
  static_cast<void>(items.try_send(1));
}

inline task<> item_of_channel(stage& at) {
  sync::channel<int> items{0};
  co_await with_task_group([&](task_group& group) -> task<> {
    group.start(receive_and_send(at, items));
    co_await tell_in_scope(at, items.receive());
    group.cancel();
  });
}

inline task<> item_of_selected_channel(stage& at) {
  sync::channel<int> items{0};
  sync::channel<int> others{0};
  co_await with_task_group([&](task_group& group) -> task<> {
    group.start(receive_and_send(at, items));
    co_await tell_in_scope(at, sync::select(others.receive(), items.receive()));
    group.cancel();
  });
}

inline task<> group_of_two(stage& at) {
  co_await tell(at, with_task_group([&](task_group& group) -> task<> {
                  const life counted{at};
                  group.start(child_of_group(at));
                  group.start(child_of_group(at));
                  co_return;
                }));
}

inline stream<std::size_t> items(stage& at) {
  const life counted{at};
  co_yield 1;
  co_yield co_await receive(at);
}

inline task<> item_of_stream(stage& at) {
  auto from = items(at);
  static_cast<void>(co_await from.next());
  co_await tell(at, from.next());
}

inline stream<std::size_t> one_item(stage& at) {
  const life counted{at};
  co_yield co_await receive(at);
}

inline task<> item_of_merged_streams(stage& at) {
  co_await with_merged(one_item(at), one_item(at), [&](merged<std::size_t>& from) -> task<> {
    const life counted{at};
    co_await tell_in_scope(at, from.next());
  });
}

inline task<> connection(stage& at) {
  ops::accept_stream incoming{at.socket};
  co_await tell(at, incoming.next());
}

inline task<> chunk(stage& at) {
  const buffer_pool pool{executor::current(), {.buffers_count = 4, .buffer_bytes = 8}};
  ops::recv_stream incoming{at.socket, pool};
  co_await tell(at, incoming.next());
}

inline task<> all_of_two(stage& at) { co_await tell(at, when_all(receive(at), receive(at))); }

inline task<> any_of_two(stage& at) { co_await tell(at, when_any(receive(at), sleep_for(never))); }

inline task<> race_of_two(stage& at) { co_await tell(at, race(receive(at), sleep_for(never))); }

/// A row: what waits, and what the kernel does for it.
struct subject {
  std::string_view name;
  task<> (*wait)(stage& at);
  unsigned opcode = IORING_OP_RECV;  // of its requests
  bool is_begun = false;             // four bytes have been moved already
  bool is_multishot = false;         // its request stays when the wait has ended
  std::chrono::nanoseconds linked_timeout_max{0};

  [[nodiscard]] bool waits_for_time() const noexcept { return opcode == IORING_OP_LAST; }
  [[nodiscard]] bool accepts() const noexcept { return opcode == IORING_OP_ACCEPT; }
};

inline constexpr auto by_kernel = std::chrono::nanoseconds::max();
inline constexpr std::array subjects{
    // One request: its deadline is kept by the executor's timers, or is a linked timeout.
    subject{.name = "operation", .wait = &operation},
    subject{.name = "operation,linked", .wait = &operation, .linked_timeout_max = by_kernel},
    // A transfer of many parts that has moved four bytes. The next part is its last one, or is not.
    subject{.name = "last_part", .wait = &transfer, .opcode = IORING_OP_SEND, .is_begun = true},
    subject{.name = "next_part", .wait = &transfer_of_more, .is_begun = true},
    // A time.
    subject{.name = "sleep", .wait = &sleep, .opcode = IORING_OP_LAST},
    subject{.name = "interval", .wait = &tick, .opcode = IORING_OP_LAST},
    // What others wait for: a task that is awaited, also by on() where it is at home already; a child, by who has its
    // handle, or who needs its place, or a permit that it releases, or a mutex that it unlocks, or an item that it
    // sends; a group.
    subject{.name = "task", .wait = &awaited_task},
    subject{.name = "visit_at_home", .wait = &visitor_at_home},
    subject{.name = "child's_result", .wait = &result_of_child},
    subject{.name = "room", .wait = &room_in_group},
    subject{.name = "permit", .wait = &permit_of_semaphore},
    subject{.name = "mutex", .wait = &hold_of_mutex},
    subject{.name = "channel", .wait = &item_of_channel},
    subject{.name = "select", .wait = &item_of_selected_channel},
    subject{.name = "group", .wait = &group_of_two},
    // The second item of a stream, in the midst of its coroutine; of two streams; and of multishot requests.
    subject{.name = "stream", .wait = &item_of_stream},
    subject{.name = "merged_streams", .wait = &item_of_merged_streams},
    subject{.name = "accept_stream", .wait = &connection, .opcode = IORING_OP_ACCEPT, .is_multishot = true},
    subject{.name = "recv_stream", .wait = &chunk, .is_multishot = true},
    // Two receives; a receive, and a sleep that does not end.
    subject{.name = "when_all", .wait = &all_of_two},
    subject{.name = "when_any", .wait = &any_of_two},
    subject{.name = "race", .wait = &race_of_two},
};

}  // namespace gyre::test
