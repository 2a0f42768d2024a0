// SPDX-License-Identifier: MIT
// How the server stops: what is under way is finished, for a while; nothing new begins.
//
// A cancel of the scope around the server stops everything that waits: the listener, and connections without a
// request. A response runs out of its reach, in a shield, and in a scope of its own that is cancelled when the time
// after the stop is over.
//
//   idle connection          ends at once
//   request that is coming   ends at once: it is not complete, so nobody was promised anything
//   response under way       is finished, and its connection closed; at the end of the grace period it is cut off
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/task.hpp>

#include <boost/intrusive/list.hpp>
#include <chrono>

namespace http {

class graceful_stop {
 public:
  explicit graceful_stop(std::chrono::nanoseconds grace_period) noexcept : grace_period_{grace_period} {}

  /// Waits for the stop and starts the clock. The first child of the server's group.
  gyre::task<> watch();

  /// Whether the stop has come.
  [[nodiscard]] bool requested() const noexcept { return requested_; }

  /// Runs a response to its end, also through a stop.
  ///
  /// @return  What it returned; false when its time was over.
  gyre::task<bool> finish(gyre::task<bool> response);

 private:
  struct under_way : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    explicit under_way(gyre::cancel_scope& its_scope) noexcept : scope{its_scope} {}
    gyre::cancel_scope& scope;
  };

  gyre::task<bool> run(gyre::task<bool> response, gyre::cancel_scope& scope);
  void limit(gyre::cancel_scope& scope) const;

  std::chrono::nanoseconds grace_period_;
  std::chrono::steady_clock::time_point end_;
  bool requested_ = false;
  boost::intrusive::list<under_way, boost::intrusive::constant_time_size<false>> responses_;
};

}  // namespace http
