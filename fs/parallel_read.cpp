// SPDX-License-Identifier: MIT
// As many tasks as may read at a time, each of which takes the next range when it is done with one.
//
// The first failure cancels the group and is thrown behind it: several that fail at once are one failure, and nobody's
// log has the others.
#include <gyre/fs/detail/full_read.hpp>
#include <gyre/fs/parallel_read.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task_group.hpp>

#include <algorithm>
#include <optional>

namespace gyre::fs {
namespace {

class ranges_reader {
 public:
  ranges_reader(const file& from, std::span<read_range> ranges) noexcept
      : from_{from}, ranges_{ranges}, ends_{detail::ends_of_reads(from)} {}

  // Begins no range when another has failed: the group is cancelled then, and each read is a wait.
  task<> read_next_ones(task_group& group) {
    while (next_index_ < ranges_.size()) {
      const std::size_t index = next_index_++;
      const auto ended = co_await read_whole(ranges_[index]);
      if (ended) continue;
      if (!failure_) failure_.emplace(ended.error(), ranges_[index].bytes_read, index);
      co_return group.cancel();
    }
  }

  void throw_failure() const {
    if (failure_) throw range_read_error{*failure_};
  }

 private:
  task<result<void>> read_whole(read_range& range) {
    while (range.bytes_read < range.into.size()) {
      const std::uint64_t offset = range.offset + range.bytes_read;
      const auto count = co_await as_result(from_.read_at(range.into.subspan(range.bytes_read), offset));
      if (!count) co_return count.error();
      range.bytes_read += *count;
      if (ends_.is_end(offset, *count)) break;
    }
    co_return result<void>{};
  }

  const file& from_;
  const std::span<read_range> ranges_;
  const detail::ends_of_reads ends_;
  std::size_t next_index_ = 0;
  std::optional<range_read_error> failure_;
};

}  // namespace

task<> parallel_read(const file& from, std::span<read_range> ranges, std::size_t depth) {
  for (auto& each : ranges) each.bytes_read = 0;
  ranges_reader reader{from, ranges};
  co_await with_task_group([&](task_group& group) -> task<> {
    const auto side_by_side = std::min(std::max(depth, std::size_t{1}), ranges.size());
    for (std::size_t each = 0; each < side_by_side; ++each) group.start(reader.read_next_ones(group));
    co_return;
  });
  reader.throw_failure();
}

}  // namespace gyre::fs
