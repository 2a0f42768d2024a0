// SPDX-License-Identifier: MIT
// The kernel's side of words that coroutines wait for, for several scripted rings: who sleeps, in which order.
#pragma once

#include <gyre/runtime/detail/scripted_ring.hpp>

#include "scripted.hpp"

#include <liburing.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <optional>

namespace gyre::test {

/// Outlives the executors that it serves.
class scripted_futexes {
 public:
  scripted_futexes() = default;
  scripted_futexes(const scripted_futexes&) = delete;
  scripted_futexes& operator=(const scripted_futexes&) = delete;

  void serve(scripted_executor& on) {
    detail::scripted_ring& script = on.script;
    script.answer = [&](const request& taken) { return begin(script, taken); };
    script.on_futex_wake = [&](const std::atomic<std::uint32_t>& word, std::uint32_t count) {
      return wake(&word, count);
    };
  }

  /// How many sleep on any word.
  [[nodiscard]] std::size_t sleepers_count() const {
    return static_cast<std::size_t>(std::count_if(sleepers_.begin(), sleepers_.end(), &is_asleep));
  }

  /// How often somebody was woken, or a wake found nobody.
  [[nodiscard]] int wakes_count() const noexcept { return wakes_count_; }

  /// What others do, who are no executor's.
  std::size_t wake(const void* word, std::uint32_t count) {
    ++wakes_count_;
    std::size_t woken_count = 0;
    for (auto each = sleepers_.begin(); each != sleepers_.end() && woken_count < count;) {
      const bool is_meant = is_asleep(*each) && each->word == word;
      if (is_meant) {
        each->script->complete(each->taken, 0);
        ++woken_count;
      }
      each = is_meant || !is_asleep(*each) ? sleepers_.erase(each) : each + 1;
    }
    return woken_count;
  }

 private:
  using request = detail::scripted_ring::request;

  struct sleeper {
    detail::scripted_ring* script;
    request taken;
    const void* word;
  };

  static bool is_asleep(const sleeper& each) {
    const auto& all = each.script->in_flight();
    return std::any_of(all.begin(), all.end(), [&](const request& one) { return one.id == each.taken.id; });
  }

  std::optional<std::int32_t> begin(detail::scripted_ring& script, const request& taken) {
    if (taken.opcode != IORING_OP_FUTEX_WAIT) return std::nullopt;
    const auto* const word = reinterpret_cast<const std::atomic<std::uint32_t>*>(taken.addr);
    if (word->load() != static_cast<std::uint32_t>(taken.off)) return -EAGAIN;
    sleepers_.push_back({&script, taken, word});
    return std::nullopt;
  }

  std::deque<sleeper> sleepers_;
  int wakes_count_ = 0;
};

/// An executor that it serves.
struct served_executor : scripted_executor {
  explicit served_executor(scripted_futexes& by, const ring_options& ring = {})
      : scripted_executor{ring, one_at_a_time} {
    by.serve(*this);
  }
};

}  // namespace gyre::test
