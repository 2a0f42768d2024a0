// SPDX-License-Identifier: MIT
// Turns on behalf of a foreign loop, and what is told to that about its sleep.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/embedded.hpp>

#include <algorithm>
#include <climits>
#include <system_error>

namespace gyre {

namespace {

void refuse_if(bool contradicts, const char* why) {
  if (contradicts) throw std::system_error{std::make_error_code(std::errc::invalid_argument), why};
}

void check(const executor_options& options) {
  refuse_if(options.park == parking::ring_wait,
            "embedded: with parking::ring_wait an executor sleeps in io_uring_enter(2), which no other loop can watch: "
            "make it with parking::eventfd");
  refuse_if(options.iopoll != iopoll_mode::off,
            "embedded: with iopoll completions come only to who asks for them, and signal no descriptor that another "
            "loop could watch: leave out iopoll, or run that executor on a thread of its own and reach it with on()");
}

embedded::time_point at(detail::clock_ns when) noexcept { return embedded::time_point{std::chrono::nanoseconds{when}}; }

}  // namespace

embedded::embedded(executor& loop) : loop_{loop}, sleeper_{loop.sleeper()} {
  GYRE_ASSERT(loop.belongs_to_this_thread(), "an executor is embedded in a loop of the thread that made it");
  GYRE_ASSERT(!sleeper_.is_embedded(), "an executor is embedded once at a time");
  check(loop.options());
  if (const int error = loop.ring().take_signals(); error != 0)
    throw std::system_error{error, std::generic_category(),
                            "embedded: preadv2(2), which takes the executor's signals, is forbidden here: allow it in "
                            "the filter of this process"};
  sleeper_.begin_embedding();
}

embedded::~embedded() {
  if (!loop_.ring().is_parents()) sleeper_.end_embedding();
}

bool embedded::run_ready(unsigned turns_max) {
  GYRE_ASSERT(turns_max > 0, "a loop that runs no turn has an executor that does nothing");
  GYRE_ASSERT(loop_.belongs_to_this_thread(), "an embedded executor is driven by the thread that made it");
  detail::refuse_child(loop_.ring());
  woken_ = false;
  sleeper_.disarm();
  for (; turns_max > 0; --turns_max)
    if (!loop_.turn(/*may_park=*/false) && sleeper_.arm()) return false;
  return true;
}

embedded::time_point embedded::next_wakeup() noexcept {
  const bool has_something = !sleeper_.is_armed() || loop_.has_work();
  return at(has_something ? loop_.coarse_now() : sleeper_.sleep_until());
}

int embedded::next_wakeup_ms() noexcept {
  using std::chrono::milliseconds;
  const time_point until = next_wakeup();
  if (until == time_point::max()) return -1;
  const time_point now = at(loop_.now());
  if (until <= now) return 0;
  const auto left = std::chrono::ceil<milliseconds>(until - now);
  return static_cast<int>(std::min<milliseconds::rep>(left.count(), INT_MAX));
}

void embedded::wake() noexcept {
  if (woken_ || !sleeper_.is_armed()) return;
  woken_ = true;
  sleeper_.end_foreign_sleep();
}

}  // namespace gyre
