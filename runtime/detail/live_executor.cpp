// SPDX-License-Identifier: MIT
// How an executor comes into the list, and leaves it.
#include <gyre/runtime/detail/live_executor.hpp>

#include <mutex>

namespace gyre::detail {
namespace {

constinit std::mutex guard;

}  // namespace

constinit live_executor* live_executor::newest = nullptr;

live_executor::live_executor(executor& listed) noexcept : executor_{&listed} {
  const std::lock_guard lock{guard};
  older_ = newest;
  if (older_ != nullptr) older_->newer_ = this;
  newest = this;
}

live_executor::~live_executor() {
  const std::lock_guard lock{guard};
  if (older_ != nullptr) older_->newer_ = newer_;
  (newer_ != nullptr ? newer_->older_ : newest) = older_;
}

}  // namespace gyre::detail
