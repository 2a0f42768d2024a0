// SPDX-License-Identifier: MIT
// What becomes of the standard library's time points.
#include <gyre/runtime/boot_clock.hpp>
#include <gyre/runtime/point_in_time.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <type_traits>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using detail::clock_id;
using std::chrono::nanoseconds;

template <class Clock, class Duration>
constexpr std::int64_t at(Duration since_epoch) {
  return point_in_time{std::chrono::time_point<Clock, Duration>{since_epoch}}.at();
}

}  // namespace

TEST_CASE("a point in time keeps the clock of the time_point that it is made of") {
  CHECK(point_in_time{std::chrono::steady_clock::time_point{}}.clock() == clock_id::steady);
  CHECK(point_in_time{boot_clock::time_point{}}.clock() == clock_id::boot);
  CHECK(point_in_time{std::chrono::system_clock::time_point{}}.clock() == clock_id::system);
  static_assert(!std::is_convertible_v<std::chrono::file_clock::time_point, point_in_time>);
}

TEST_CASE("time points of coarser units are counted in nanoseconds") {
  CHECK(at<std::chrono::system_clock>(2s) == 2'000'000'000);
  CHECK(at<std::chrono::system_clock>(std::chrono::days{-1}) == -86'400'000'000'000);
  CHECK(at<boot_clock>(5ns) == 5);
  const point_in_time day = std::chrono::sys_days{std::chrono::year{2031} / 5 / 17};
  CHECK(day.at() == std::int64_t{1'936'742'400} * 1'000'000'000);
}

TEST_CASE("what cannot be counted in nanoseconds is the end of time, or its beginning") {
  using std::chrono::seconds;
  constexpr seconds last = std::chrono::duration_cast<seconds>(nanoseconds::max());
  CHECK(at<std::chrono::system_clock>(last) == last.count() * 1'000'000'000);
  CHECK(at<std::chrono::system_clock>(last + 1s) == INT64_MAX);
  CHECK(at<std::chrono::system_clock>(seconds::max()) == INT64_MAX);
  CHECK(at<std::chrono::system_clock>(seconds::min()) == INT64_MIN);
  CHECK(at<std::chrono::steady_clock>(std::chrono::hours::max()) == INT64_MAX);
  CHECK(at<boot_clock>(nanoseconds::max()) == INT64_MAX);
  CHECK(at<boot_clock>(nanoseconds::min()) == INT64_MIN);
}

}  // namespace gyre
