// SPDX-License-Identifier: MIT
// Jobs for the thread: each has a pipe whose end of file tells the executor, through its ring, that it is done.
#include "blocking_thread.hpp"

#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <system_error>
#include <utility>

namespace http {

struct blocking_thread::job {
  explicit job(std::function<void()>&& its_work) : work{std::move(its_work)} {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error{errno, std::system_category(), "pipe"};
    done_reading.reset(ends[0]);
    running.reset(ends[1]);
  }

  std::function<void()> work;
  gyre::unique_fd done_reading;
  gyre::unique_fd running;  // closed by the thread when the work is done
  std::exception_ptr error;
};

gyre::task<> blocking_thread::run(std::function<void()> work) {
  job mine{std::move(work)};
  enqueue(mine);
  std::array<std::byte, 1> nothing{};
  co_await gyre::shield(gyre::ops::read{mine.done_reading, nothing});
  if (mine.error) std::rethrow_exception(mine.error);
}

void blocking_thread::enqueue(job& added) {
  if (!thread_.joinable()) thread_ = std::jthread{[this](const std::stop_token& stop) { serve(stop); }};
  const std::lock_guard lock{mutex_};
  jobs_.push_back(&added);
  changed_.notify_one();
}

void blocking_thread::serve(const std::stop_token& stop) {
  for (;;) {
    std::unique_lock lock{mutex_};
    if (!changed_.wait(lock, stop, [this] { return !jobs_.empty(); })) return;
    job& next = *jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    run_one(next);
  }
}

void blocking_thread::run_one(job& next) noexcept {
  try {
    next.work();
  } catch (...) {
    next.error = std::current_exception();
  }
  // The job is gone as soon as the executor has seen the end of its pipe: the descriptor is closed out of here.
  gyre::unique_fd{std::move(next.running)}.reset();
}

}  // namespace http
