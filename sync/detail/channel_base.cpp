// SPDX-License-Identifier: MIT
// The queues of a channel, its end, and those who wait at one place.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/sync/detail/channel_base.hpp>

namespace gyre::sync::detail {

place party::cancelled_;

place* place_queue::pop_claimed_slowly() noexcept {
  while (!empty()) {
    place& first = *end_.next;
    first.leave();
    if (first.whose->claim(first)) return &first;
  }
  return nullptr;
}

channel_base::~channel_base() {
  GYRE_ASSERT(senders_.empty() && receivers_.empty(),
              "a channel was destroyed while somebody waits at it: close it, and wait for its tasks");
}

// Whoever is claimed stays where it is until it is woken. They are linked through `previous`: a cancel that comes now
// looks at `next`, which says that it comes too late.
void channel_base::close() noexcept {
  place* claimed = nullptr;
  place** end = &claimed;
  {
    const holding held{lock_};
    closed_ = true;
    for (place_queue* const side : {&receivers_, &senders_}) {
      while (place* const each = side->pop_claimed()) {
        each->how = step::closed;
        *end = each;
        end = &each->previous;
      }
    }
    *end = nullptr;
  }
  while (claimed != nullptr) {
    place& first = *claimed;
    claimed = first.previous;
    first.whose->wake();  // `first` may no longer exist after this line
  }
}

constinit const suspension_kind channel_wait::kind_of_send{"channel send", &channel_wait::withdraw};
constinit const suspension_kind channel_wait::kind_of_receive{"channel receive", &channel_wait::withdraw};

bool channel_wait::withdraw(suspension& self) noexcept {
  auto& mine = static_cast<channel_wait&>(self);
  const holding held{mine.channel_.lock_};
  return mine.place_.leave();
}

void blocked_thread::check_that_it_may() noexcept {
  GYRE_ASSERT(!executor::has_current(), "a coroutine does not block its executor: co_await send() or receive()");
}

void blocked_thread::block() noexcept {
  std::unique_lock lock{mutex_};
  woken_.wait(lock, [this] { return is_awake_; });
}

// Under the mutex to the end: the thread that wakes up destroys this.
void blocked_thread::wake_thread(party& self) noexcept {
  auto& mine = static_cast<blocked_thread&>(self);
  const std::lock_guard lock{mine.mutex_};
  mine.is_awake_ = true;
  mine.woken_.notify_one();
}

}  // namespace gyre::sync::detail
