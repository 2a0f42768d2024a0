// SPDX-License-Identifier: MIT
// Reads and writes that are continued until all of a buffer was moved: files and pipes, at a position or in order.
#pragma once

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffer_ref.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <cstddef>

namespace gyre::fs::detail {

/// Moves `bytes_count` bytes by `move(done_count)`, an operation for what lies behind the first `done_count`.
///
/// @param at_nothing  What an operation is that moves nothing.
/// @param name        For the text of the error; a literal.
/// @errors            transfer_error, with how many bytes were moved.
template <class Move>
task<> whole_transfer(std::size_t bytes_count, Move move, errc at_nothing, const char* name) {
  std::size_t done_count = 0;
  while (done_count < bytes_count) {
    const auto count = co_await as_result(move(done_count));
    if (!count) throw transfer_error{count.error(), done_count, name};
    if (*count == 0) throw transfer_error{at_nothing, done_count, name};
    done_count += *count;
  }
}

}  // namespace gyre::fs::detail
