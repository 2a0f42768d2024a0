// SPDX-License-Identifier: MIT
// Many parts of a file, read side by side: what keeps a device busy that is fast at many things at a time.
//
// From one end to the other, with what comes next under way: read_ahead.hpp.
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

namespace gyre::fs {

/// A part of a file, and where its bytes go.
struct read_range {
  std::uint64_t offset = 0;
  buffer_ref into;             ///< Plain memory or registered; as much is read as fits.
  std::size_t bytes_read = 0;  ///< Set by parallel_read(): fewer than fit only where the file ends.
};

/// A range that could not be read: why, which, and how much of it lies in its memory.
class range_read_error : public transfer_error {
 public:
  range_read_error(std::error_code why, std::size_t bytes, std::size_t range_index)
      : transfer_error{why, bytes, "parallel_read"}, range_index_{range_index} {}

  [[nodiscard]] std::size_t range_index() const noexcept { return range_index_; }

 private:
  std::size_t range_index_;
};

/// Reads all of the ranges, up to `depth` at a time, begun in their order.
///
/// A read that gives less than was asked for is continued, up to the end of the file.
///
/// @param from    Stays open until the task has ended.
/// @param ranges  In any order; they may overlap in the file, and not in memory. They stay, as does their memory, until
///                the task has ended. Their `bytes_read` begin with 0.
/// @param depth   Reads in flight at a time; 0 counts as 1. For one device 32 is much, for several more may pay.
/// @errors        range_read_error: io_error, invalid_argument (not aligned, with open_options::direct), …: read(2). It
///                is the first that came; the others in flight are stopped and waited for. What `bytes_read` say lies
///                in memory.
/// @cancellation  Stops all in flight, and waits for them. What `bytes_read` say lies in memory.
/// @limits        With direct I/O a read that ends at no multiple of 512 bytes has come to the end of the file.
[[nodiscard]] task<> parallel_read(const file& from, std::span<read_range> ranges, std::size_t depth = 32);

}  // namespace gyre::fs
