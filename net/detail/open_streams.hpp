// SPDX-License-Identifier: MIT
// The streams that read from a socket, known to it so that its close() ends them.
//
// A stream that has no request in the kernel, as one that waits for a buffer, is found by no cancel of the descriptor;
// and one that is asked for its next after the close would ask for it on a number that is somebody else's by then.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace gyre::net::detail {

/// Streams with an end(), each owned by somebody else.
template <class Stream>
class open_streams {
 public:
  /// Takes note of a stream, for as long as somebody has it.
  ///
  /// @errors  std::bad_alloc
  [[nodiscard]] std::shared_ptr<Stream> add(Stream made) {
    std::erase_if(all_, [](const auto& each) { return each.expired(); });
    auto added = std::make_shared<Stream>(std::move(made));
    all_.push_back(added);
    return added;
  }

  /// Ends those that are still there.
  void end_all() noexcept {
    for (const auto& each : all_)
      if (const auto stream = each.lock()) stream->end();
    all_.clear();
  }

 private:
  std::vector<std::weak_ptr<Stream>> all_;
};

}  // namespace gyre::net::detail
