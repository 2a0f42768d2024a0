// SPDX-License-Identifier: MIT
// The same on libuv: several pieces of work under way, each of one or more requests after one another.
#pragma once

#include "die.hpp"

#include <uv.h>

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace bench {

class busy_uv {
 public:
  /// Begins the lane's next request on `request`, with `done` as its callback; or nothing, when there is no more to do.
  /// `answer` is what its last request gave, 0 at first.
  using next_function =
      std::function<void(uv_loop_t* loop, uv_fs_t* request, uv_fs_cb done, std::size_t lane, ssize_t answer)>;

  static void run(std::size_t depth, next_function next) {
    busy_uv all{depth, std::move(next)};
    for (std::size_t lane = 0; lane < depth; ++lane) all.go_on(lane, 0);
    uv_run(&all.loop_, UV_RUN_DEFAULT);
  }

 private:
  busy_uv(std::size_t depth, next_function next) : next_{std::move(next)}, requests_(depth) { uv_loop_init(&loop_); }
  ~busy_uv() { uv_loop_close(&loop_); }

  void go_on(std::size_t lane, ssize_t answer) {
    requests_[lane].data = this;
    next_(&loop_, &requests_[lane], ended, lane, answer);
  }

  static void ended(uv_fs_t* request) {
    auto* const self = static_cast<busy_uv*>(request->data);
    const ssize_t answer = request->result;
    if (answer < 0) die(uv_strerror(static_cast<int>(answer)), 0);
    const auto lane = static_cast<std::size_t>(request - self->requests_.data());
    uv_fs_req_cleanup(request);
    self->go_on(lane, answer);
  }

  uv_loop_t loop_{};
  const next_function next_;
  std::vector<uv_fs_t> requests_;
};

}  // namespace bench
