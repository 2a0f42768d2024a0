// SPDX-License-Identifier: MIT
// A descriptor that somebody else owns: how operations are told which file they are about.
#pragma once

#include <gyre/runtime/unique_fd.hpp>

namespace gyre {

/// Refers to an open descriptor. Its owner keeps it open until the operation has ended: closing a descriptor ends no
/// operation, but frees its number for somebody else's file.
class fd_ref {
 public:
  fd_ref(int fd) noexcept : fd_{fd} {}
  fd_ref(const unique_fd& owner) noexcept : fd_{owner.get()} {}

  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace gyre
