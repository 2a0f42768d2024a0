// SPDX-License-Identifier: MIT
// A ring by hand that has several pieces of work under way, each of one or more requests after one another.
#pragma once

#include "die.hpp"
#include "raw_ring.hpp"

#include <liburing.h>

#include <cstddef>

namespace bench {

/// Does several pieces of work, `depth` lanes of them at a time.
///
/// @param next  next(lane, answer): an entry with the lane's next request, or null when there is nothing more to do.
///              `answer` is what the lane's last request gave, 0 at first.
template <class Next>
void keep_busy(raw_ring& ring, std::size_t depth, Next next) {
  std::size_t in_flight_count = 0;
  const auto go_on = [&](std::size_t lane, int answer) {
    io_uring_sqe* const sqe = next(lane, answer);
    if (sqe == nullptr) return;
    io_uring_sqe_set_data64(sqe, lane);
    ++in_flight_count;
  };
  for (std::size_t lane = 0; lane < depth; ++lane) go_on(lane, 0);
  while (in_flight_count > 0) {
    ring.submit_and_wait(1);
    unsigned head = 0;
    unsigned taken_count = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(ring.get(), head, cqe) {
      ++taken_count;
      --in_flight_count;
      if (cqe->res < 0) die("a request", -cqe->res);
      go_on(io_uring_cqe_get_data64(cqe), cqe->res);
    }
    io_uring_cq_advance(ring.get(), taken_count);
  }
}

}  // namespace bench
