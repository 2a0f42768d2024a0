// SPDX-License-Identifier: MIT
// A gate between threads: a test says how far another thread may go, and waits until it is there.
#pragma once

#include <condition_variable>
#include <mutex>

namespace gyre::test {

class gate {
 public:
  /// Waits until it is open.
  void pass() {
    std::unique_lock lock{guard_};
    ++arrived_count_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }

  /// Waits until so many have come to it.
  void wait_for_arrivals(int count) {
    std::unique_lock lock{guard_};
    changed_.wait(lock, [&] { return arrived_count_ >= count; });
  }

  void open() {
    const std::lock_guard lock{guard_};
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex guard_;
  std::condition_variable changed_;
  int arrived_count_ = 0;
  bool open_ = false;
};

}  // namespace gyre::test
