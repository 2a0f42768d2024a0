// SPDX-License-Identifier: MIT
// An executor that a thread of its own turns, until a test has had enough of it.
#pragma once

#include <gyre/runtime/executor.hpp>

#include <future>
#include <thread>

namespace gyre::test {

class executor_thread {
 public:
  explicit executor_thread(const executor_options& options = {})
      : thread_{[this, options] {
          executor mine{options};
          made_.set_value(&mine);
          while (!ends_) mine.turn(/*may_park=*/true);
        }} {
    loop_ = made_.get_future().get();
  }
  ~executor_thread() { end(); }
  executor_thread(const executor_thread&) = delete;
  executor_thread& operator=(const executor_thread&) = delete;

  executor& loop() noexcept { return *loop_; }

  /// Destroys the executor, and waits for that.
  void end() {
    if (!thread_.joinable()) return;
    loop_->post([this] {
      ends_ = true;
      executor::current().return_soon();
    });
    thread_.join();
  }

 private:
  std::promise<executor*> made_;
  bool ends_ = false;  // its thread's
  std::thread thread_;
  executor* loop_ = nullptr;
};

}  // namespace gyre::test
