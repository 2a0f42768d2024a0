// SPDX-License-Identifier: MIT
// Connections as a stream: one multishot accept that stays in the kernel.
//
// The request's state is no part of a frame. It lives until both are over: the stream that holds it, and the request
// that the kernel has. A stream that is destroyed while its request is in flight hands the state to the executor: the
// request is cancelled, connections that still come are closed, and the state is freed at the last completion. So the
// destructor neither blocks nor dangles.
//
//   idle -> armed         next() with nothing in store
//   armed -> idle         a completion without F_MORE: an error, an overflow, or a cancel; the next next() arms it
//                         again
//   armed -> pausing      pause_at connections in store, or no memory for one: the request is cancelled; its end is
//                         nobody's error
//   armed, pausing -> orphaned   the stream was destroyed
#pragma once

#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <coroutine>
#include <cstddef>
#include <memory>

namespace gyre::ops {

class accept_stream {
  class state;

 public:
  /// So many connections in store, for a reader that is slow to take them, and the stream asks for no more: the
  /// backlog keeps the rest.
  ///
  /// No bound of the store: the kernel hears of the pause when the executor enters it next, and before that may have
  /// taken all that were in the backlog. So up to a backlog more are in store, the number that was given to listen(2).
  static constexpr std::size_t pause_at = 256;

  /// @param listener  A listening socket; stays open until the stream is destroyed, and its request has ended: that is
  ///                  a turn later, more if the kernel refuses submissions for want of room.
  explicit accept_stream(fd_ref listener);

  accept_stream(accept_stream&&) noexcept;
  accept_stream& operator=(accept_stream&&) = delete;

  /// Connections in store are closed.
  ~accept_stream();

  class [[nodiscard]] next_operation final : public detail::waiter {
   public:
    explicit next_operation(state& from) noexcept : waiter{kind_of_next}, from_{from} {}
    next_operation(next_operation&& other) noexcept : waiter{kind_of_next, other}, from_{other.from_} {}

    [[nodiscard]] bool await_ready() const noexcept;
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
      if (begin(awaiter)) [[likely]]
        wait();
    }
    unique_fd await_resume();
    [[nodiscard]] result<unique_fd> await_result();

   private:
    friend class state;
    void wait() noexcept;
    static void cancel_waiting(detail::waiter& self) noexcept;
    static void describe(const detail::waiter& self, detail::wait_details& told) noexcept;
    static const detail::waiter_kind kind_of_next;

    state& from_;
  };

  /// Waits for the next connection. One coroutine at a time.
  ///
  /// @return        The connection's descriptor, close-on-exec; an empty one when the listener was shut down.
  /// @errors        too_many_files_open    the connection stays in the backlog: wait before the next next(), which
  ///                                       tries again
  ///                connection_aborted, …  that connection is gone: go on
  ///                not_enough_memory      the kernel's: as too_many_files_open. Or there was no memory to keep what
  ///                                       had come: it was closed, at least one connection; those kept come first
  ///                operation_canceled     the request was ended by somebody else: cancel_fd, or a close
  /// @cancellation  Safe: a connection that has come stays in store. One in store is delivered without a wait, also in
  ///                a scope that is cancelled: only with none in store next() is stopped there.
  /// @threads       The thread of the executor on which it is first called.
  /// @source        io_uring_prep_multishot_accept(3). Linux 5.19.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

 private:
  struct hand_over {
    void operator()(state* orphan) const noexcept;
  };
  std::unique_ptr<state, hand_over> state_;
};

}  // namespace gyre::ops
