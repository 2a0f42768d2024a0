// SPDX-License-Identifier: MIT
// The streams that read from a descriptor, known to whoever closes it, so that the close ends them.
//
// A stream that has no request in the kernel, as one that waits for a buffer or has paused, is found by no cancel of
// the descriptor; and one that is asked for its next after the close would ask for it on a number that is somebody
// else's by then. Who makes streams of a descriptor of its own adds each of them here, and ends them before it closes:
//
//   auto incoming = ops::recv_stream{fd_, pool};
//   streams_.add(incoming);
//   return incoming;
//
// A stream leaves by itself when it is destroyed; either may be moved meanwhile.
#pragma once

#include <gyre/runtime/detail/multishot.hpp>

namespace gyre::ops {

class open_streams {
 public:
  open_streams() noexcept = default;
  open_streams(open_streams&&) noexcept = default;
  open_streams& operator=(open_streams&&) noexcept = default;

  /// As end_all().
  ~open_streams() = default;

  /// Takes note of a stream: recv_stream, recv_bundle_stream, recvmsg_stream, read_stream, recv_zc_stream,
  /// accept_stream. One that was added elsewhere is known here alone from then on.
  template <class Stream>
  void add(Stream& stream) noexcept {
    all_.add(*stream.state_);
  }

  /// Ends those that are still there: recv_stream::end(). None is known from then on.
  ///
  /// @threads  The thread of their executor.
  void end_all() noexcept { all_.end_all(); }

 private:
  detail::multishot_list all_;
};

}  // namespace gyre::ops
