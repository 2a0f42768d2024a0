// SPDX-License-Identifier: MIT
// The end of a crowd, and of a wait in it.
#include <gyre/runtime/assert.hpp>
#include <gyre/sync/detail/crowd.hpp>

namespace gyre::sync::detail {

crowd::~crowd() { GYRE_ASSERT(members_count_ == 0, "a watch or a broadcast outlives its observers and subscribers"); }

void crowd::leave() noexcept {
  const holding held{lock_};
  --members_count_;
}

void crowd::close_and_wake() noexcept {
  granted_suspensions woken;
  {
    const holding held{lock_};
    closed_ = true;
    waiting_.move_all_to(woken);
  }
  woken.resume_all();
}

bool crowd::is_closed() const noexcept {
  const holding held{lock_};
  return closed_;
}

constinit const suspension_kind crowd_wait::kind_of_watch{"watch changed", &crowd_wait::withdraw};
constinit const suspension_kind crowd_wait::kind_of_broadcast{"broadcast receive", &crowd_wait::withdraw};

bool crowd_wait::withdraw(suspension& self) noexcept {
  auto& mine = static_cast<crowd_wait&>(self);
  const holding held{mine.at_->lock_};
  return mine.at_->waiting_.remove(mine);
}

}  // namespace gyre::sync::detail
