// SPDX-License-Identifier: MIT
// The kernel's part of a scripted ring, done for real and one request at a time: files behave, in an order that a test
// chooses.
#pragma once

#include <gyre/runtime/detail/scripted_ring.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "scripted.hpp"

namespace gyre::test {

class kernel_by_hand {
 public:
  using request = detail::scripted_ring::request;

  explicit kernel_by_hand(scripted_executor& of) noexcept : on_{of} {}

  /// Does what a request for a file asks for, and completes it.
  void perform(const request& asked) {
    if (asked.opcode == IORING_OP_READ) return read(asked);
    if (asked.opcode == IORING_OP_STATX) return look(asked);
    const std::int64_t returned = call(asked);
    on_.script.complete(asked, static_cast<std::int32_t>(returned < 0 ? -errno : returned));
  }

  /// How much time passes, again and again, while nothing is in flight.
  std::chrono::nanoseconds time_step{0};

  /// Lets the executor run until a request is in flight, or `is_over()`. What runs on threads of a pool is waited for.
  template <class Over>
  void settle(Over is_over) {
    const auto too_late = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    for (on_.loop.run_ready(); on_.script.in_flight().empty() && !is_over(); on_.loop.run_ready()) {
      if (std::chrono::steady_clock::now() > too_late) FAIL("nothing happens any more");
      if (time_step > time_step.zero()) on_.script.advance(time_step);
      std::this_thread::yield();
    }
  }

  /// Performs the oldest request, again and again, until `is_over()`; calls `before_each` with the number of each.
  template <class Over, class Before>
  std::size_t run_until(Over is_over, Before before_each) {
    for (std::size_t count = 0;; ++count) {
      settle(is_over);
      if (is_over()) return count;
      before_each(count);
      perform(on_.script.in_flight().front());
    }
  }
  template <class Over>
  std::size_t run_until(Over is_over) {
    return run_until(is_over, [](std::size_t) {});
  }

 private:
  void read(const request& asked) {
    std::vector<char> bytes(asked.len);
    const ssize_t count = ::pread(asked.fd, bytes.data(), bytes.size(), static_cast<::off_t>(asked.off));
    if (count < 0) on_.script.complete(asked, -errno);
    else on_.script.deliver(asked, {bytes.data(), static_cast<std::size_t>(count)});
  }

  // What a request wants to have is written behind its completion, which scribbles there first.
  void look(const request& asked) {
    struct ::statx found{};
    auto* const into = reinterpret_cast<struct ::statx*>(asked.off);
    const auto* const path = reinterpret_cast<const char*>(asked.addr);
    const int returned = ::statx(asked.fd, path, static_cast<int>(asked.op_flags), asked.len, &found);
    on_.script.complete(asked, returned < 0 ? -errno : 0);
    if (returned == 0) *into = found;
  }

  static std::int64_t call(const request& asked) {
    const auto* const memory = reinterpret_cast<const char*>(asked.addr);
    const auto flags = static_cast<int>(asked.op_flags);
    switch (asked.opcode) {
      case IORING_OP_WRITE:
        return ::pwrite(asked.fd, memory, asked.len, static_cast<::off_t>(asked.off));
      case IORING_OP_OPENAT:
        return ::openat(asked.fd, memory, flags, asked.len);
      case IORING_OP_UNLINKAT:
        return ::unlinkat(asked.fd, memory, flags);
      case IORING_OP_FSYNC:
        return 0;  // the machine does not fail here: what the kernel has is safe
      case IORING_OP_CLOSE:
        return ::close(asked.fd);
      default:
        FAIL("a request that is none of a file: opcode ", static_cast<int>(asked.opcode));
        return -1;
    }
  }

  scripted_executor& on_;
};

}  // namespace gyre::test
