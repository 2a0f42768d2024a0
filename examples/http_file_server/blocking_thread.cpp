// SPDX-License-Identifier: MIT
// Jobs for the thread: each has an eventfd that tells the executor, through its ring, when it is done.
#include "blocking_thread.hpp"

#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <exception>
#include <span>
#include <system_error>
#include <utility>

namespace http {

struct blocking_thread::job {
  explicit job(std::function<void()>&& its_work) : work{std::move(its_work)}, done{::eventfd(0, EFD_CLOEXEC)} {
    if (!done) throw std::system_error{errno, std::system_category(), "eventfd"};
  }

  std::function<void()> work;
  gyre::unique_fd done;
  std::exception_ptr error;
};

gyre::task<> blocking_thread::run(std::function<void()> work) {
  job mine{std::move(work)};
  enqueue(mine);
  std::uint64_t count = 0;
  co_await gyre::shield(gyre::ops::read{mine.done, std::as_writable_bytes(std::span{&count, 1})});
  if (mine.error) std::rethrow_exception(mine.error);
}

void blocking_thread::enqueue(job& added) {
  if (!thread_.joinable()) thread_ = std::jthread{[this](std::stop_token stop) { serve(std::move(stop)); }};
  const std::lock_guard lock{mutex_};
  jobs_.push_back(&added);
  changed_.notify_one();
}

void blocking_thread::serve(std::stop_token stop) {
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
  // The job is gone as soon as the executor has read this. Adding one to an eventfd that holds nothing cannot fail.
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(next.done.get(), &one, sizeof one);
}

}  // namespace http
