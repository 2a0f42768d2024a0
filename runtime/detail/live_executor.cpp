// SPDX-License-Identifier: MIT
// How an executor comes into the list, and leaves it; what a fork does to those that are in it.
#include <gyre/runtime/detail/live_executor.hpp>
#include <gyre/runtime/executor.hpp>

#include <pthread.h>

#include <mutex>

namespace gyre::detail {
namespace {

constinit std::mutex guard;
constinit bool watches_forks = false;

}  // namespace

constinit live_executor* live_executor::newest = nullptr;

live_executor::live_executor(executor& listed) noexcept : executor_{&listed} {
  const std::lock_guard lock{guard};
  if (!watches_forks) watches_forks = ::pthread_atfork(&lock_list, &unlock_list, &part_from_parent) == 0;
  older_ = newest;
  if (older_ != nullptr) older_->newer_ = this;
  newest = this;
}

live_executor::~live_executor() {
  const std::lock_guard lock{guard};
  if (older_ != nullptr) older_->newer_ = newer_;
  (newer_ != nullptr ? newer_->older_ : newest) = older_;
}

// Around a fork, so that the child does not inherit a list that another thread is at.
void live_executor::lock_list() noexcept { guard.lock(); }
void live_executor::unlock_list() noexcept { guard.unlock(); }

void live_executor::part_from_parent() noexcept {
  for (live_executor* each = newest; each != nullptr; each = each->older_) each->executor_->ring().part_from_parent();
  guard.unlock();
}

}  // namespace gyre::detail
