// SPDX-License-Identifier: MIT
// What a program does that has no io_uring: blocking calls on four threads behind a queue, a lock and condition
// variables. libuv does the same, and has four threads as well.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace bench {

class plain_pool {
 public:
  explicit plain_pool(std::size_t threads_count = 4) {
    for (std::size_t each = 0; each < threads_count; ++each)
      threads_.emplace_back([this](const std::stop_token& stop) { serve(stop); });
  }
  plain_pool(const plain_pool&) = delete;
  plain_pool& operator=(const plain_pool&) = delete;

  /// Has `one(0)`, `one(1)`, … called on the threads, `depth` of them handed out at a time. Returns when all have
  /// ended.
  void run_all(std::size_t count, std::size_t depth, std::function<void(std::size_t)> one) {
    std::unique_lock lock{guard_};
    one_ = std::move(one);
    ended_count_ = 0;
    std::size_t given_count = 0;
    while (ended_count_ < count) {
      const std::size_t before = ended_count_;
      for (; given_count < count && given_count - ended_count_ < depth; ++given_count) {
        waiting_.push_back(given_count);
        given_.notify_one();
      }
      ended_.wait(lock, [&] { return ended_count_ != before; });
    }
  }

 private:
  void serve(const std::stop_token& stop) {
    std::unique_lock lock{guard_};
    while (given_.wait(lock, stop, [this] { return !waiting_.empty(); })) {
      const std::size_t taken = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      one_(taken);
      lock.lock();
      ++ended_count_;
      ended_.notify_one();
    }
  }

  std::mutex guard_;
  std::condition_variable_any given_;
  std::condition_variable ended_;
  std::deque<std::size_t> waiting_;
  std::size_t ended_count_ = 0;
  std::function<void(std::size_t)> one_;
  std::vector<std::jthread> threads_;  // the last: they use what is above
};

}  // namespace bench
