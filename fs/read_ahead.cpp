// SPDX-License-Identifier: MIT
// A task for each chunk, which fills it, waits until it is free, and fills it with what comes so many chunks later.
#include <gyre/fs/read_ahead.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>

#include <algorithm>

namespace gyre::fs {
namespace {

constexpr std::uint64_t page_bytes = 4096;

// What direct I/O can be asked for. Most of what there can be stays what it is.
std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return bytes > UINT64_MAX - page_bytes ? bytes : (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

}  // namespace

chunks_ahead::chunks_ahead(const file& from, const read_ahead_options& options)
    : from_{from}, options_{options}, ends_{from} {
  for (std::size_t each = 0; each < std::max(options.chunks_count, std::size_t{1}); ++each)
    chunks_.emplace_back(std::max(options.chunk_bytes, std::size_t{1}));
}

void chunks_ahead::start_in(task_group& group) {
  for (std::size_t each = 0; each < chunks_.size(); ++each) group.start(fill_again_and_again(each));
}

task<> chunks_ahead::fill_again_and_again(std::size_t first_index) {
  chunk& mine = chunks_[first_index];
  const std::uint64_t size = mine.memory.size();
  for (std::uint64_t distance = first_index * size;; distance += chunks_.size() * size) {
    co_await mine.freed.wait();
    co_await fill(mine, distance);
    mine.full.set();
    if (mine.is_last || mine.error) co_return;
  }
}

// With what lies `distance` behind where it all begins.
task<> chunks_ahead::fill(chunk& filled, std::uint64_t distance) {
  const std::uint64_t left = options_.length - std::min(options_.length, distance);
  const auto room = buffer_ref{filled.memory.bytes()}.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(filled.memory.size(), whole_pages(left))));
  std::size_t bytes_read = 0;
  filled.is_last = left <= room.size();
  while (bytes_read < room.size()) {
    const std::uint64_t offset = options_.offset + distance + bytes_read;
    const auto count = co_await as_result(from_.read_at(room.subspan(bytes_read), offset));
    if (!count) {
      filled.error = count.error();
      break;
    }
    bytes_read += *count;
    if (!ends_.is_end(offset, *count)) continue;
    filled.is_last = true;
    break;
  }
  filled.bytes_count = static_cast<std::size_t>(std::min<std::uint64_t>(bytes_read, left));
}

void chunks_ahead::free_given() noexcept {
  if (given_ != nullptr) std::exchange(given_, nullptr)->freed.set();
}

task<std::optional<std::span<const std::byte>>> chunks_ahead::next() {
  free_given();
  if (ended_by_ == nullptr) {
    chunk& wanted = chunks_[next_index_ % chunks_.size()];
    co_await wanted.full.wait();
    ++next_index_;
    if (wanted.is_last || wanted.error) ended_by_ = &wanted;
    if (!wanted.error && wanted.bytes_count > 0) {
      given_ = &wanted;
      given_bytes_ += wanted.bytes_count;
      co_return wanted.memory.bytes().first(wanted.bytes_count);
    }
  }
  if (ended_by_->error) throw transfer_error{ended_by_->error, static_cast<std::size_t>(given_bytes_), "read_ahead"};
  co_return std::nullopt;
}

}  // namespace gyre::fs
