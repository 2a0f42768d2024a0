// SPDX-License-Identifier: MIT
// The queue's own part: what is told of it.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/zero_copy_queue.hpp>

namespace gyre {

zero_copy_queue::zero_copy_queue(executor& loop, const std::string& interface, unsigned rx_queue,
                                 const zero_copy_queue_options& options)
    : area_{&detail::zero_copy_area::open(loop, interface, rx_queue, options.area_bytes)} {}

zero_copy_queue_statistics zero_copy_queue::statistics() const noexcept {
  const detail::zero_copy_area::counts& counted = area_->counted();
  return {.fillings = counted.fillings,
          .shortages = counted.shortages,
          .full_queues = counted.full_queues,
          .late_refills = counted.late_refills,
          .on_loan = area_->on_loan_count(),
          .on_its_way = area_->on_its_way_count()};
}

}  // namespace gyre
