// SPDX-License-Identifier: MIT
// Has a group looked at when its announcer goes: by then there is more to do, or one less who does it.
#pragma once

#include <gyre/sync/auto_event.hpp>

namespace gyre::fs::detail {

class announcement {
 public:
  explicit announcement(sync::auto_event& changed) noexcept : changed_{changed} {}
  announcement(const announcement&) = delete;
  announcement& operator=(const announcement&) = delete;
  ~announcement() { changed_.set(); }

 private:
  sync::auto_event& changed_;
};

}  // namespace gyre::fs::detail
