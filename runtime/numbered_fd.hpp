// SPDX-License-Identifier: MIT
// Direct descriptors whose places in the table the program chooses: for requests that are described by numbers, outside
// of gyre or before the file is there. All others are direct_fd.hpp's.
//
//   free -> owned     a numbered_fd is made: the kernel puts the file there, at once
//   owned -> owned    reassign(): another file at the same place
//   owned -> free     it goes: the kernel lets go of the file, at once, and closes it if nobody else has it open
//
// A request finds the file when the kernel begins it, and keeps it until it has ended. One that is described before a
// reassign(), and begins after it, is about the new file; after the end it is bad_file_descriptor.
#pragma once

#include <gyre/runtime/fd_ref.hpp>

#include <utility>

namespace gyre {

class executor;

/// Owns one of the first places in an executor's table of direct descriptors, or none.
///
/// @threads  Made, used and destroyed on its executor's thread, which it does not outlive: anything else stops the
///           program. It may be moved anywhere there.
class [[nodiscard]] numbered_fd {
 public:
  numbered_fd() noexcept = default;

  /// Puts the open file of a plain descriptor at a place.
  ///
  /// @param loop   Has been made with executor_options::numbered_descriptors.
  /// @param slot   Below that; of nobody else.
  /// @param plain  Stays as it is, and its owner's: closed or not, the file stays open here.
  /// @errors       invalid_argument          there is no such place
  ///               device_or_resource_busy   it is somebody's
  ///               bad_file_descriptor       `plain` is not open, a ring's, or a direct one
  /// @source       io_uring_register_files_update(3). Linux 5.5.
  numbered_fd(executor& loop, unsigned slot, fd_ref plain);

  numbered_fd(numbered_fd&& other) noexcept : loop_{std::exchange(other.loop_, nullptr)}, slot_{other.slot_} {}
  numbered_fd& operator=(numbered_fd&& other) noexcept {
    numbered_fd taken{std::move(other)};
    std::swap(loop_, taken.loop_);
    std::swap(slot_, taken.slot_);
    return *this;
  }
  ~numbered_fd() {
    if (loop_ != nullptr) give_back();
  }

  /// Puts another file there.
  ///
  /// @errors  bad_file_descriptor   `plain` is not open, or a direct one, or this owns nothing: the same file stays. Or
  ///                                it is a ring's: then there is no file any more
  void reassign(fd_ref plain);

  [[nodiscard]] explicit operator bool() const noexcept { return loop_ != nullptr; }

  /// Its place. Of one that owns something.
  [[nodiscard]] unsigned slot() const noexcept { return slot_; }

  /// Whose it is. Of one that owns something.
  [[nodiscard]] executor& owner() const noexcept { return *loop_; }

 private:
  void give_back() noexcept;

  executor* loop_ = nullptr;
  unsigned slot_ = 0;
};

}  // namespace gyre
