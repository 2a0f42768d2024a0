// SPDX-License-Identifier: MIT
// Waiting until a descriptor is ready, for what is then done by other means.
#pragma once

#include <gyre/runtime/detail/multishot.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <poll.h>

#include <cstdint>
#include <memory>

namespace gyre::ops {

/// Waits until one of the events holds for a descriptor.
///
/// @param events  POLLIN, POLLOUT, …: poll(2); POLLERR and POLLHUP are always waited for.
/// @return        The events that hold, or'ed.
/// @errors        bad_file_descriptor
/// @cancellation  Safe: nothing changes.
/// @source        io_uring_prep_poll_add(3); poll(2). Linux 5.1.
class [[nodiscard]] poll final : public operation_of<poll, std::uint32_t> {
 public:
  poll(fd_ref fd, std::uint32_t events) noexcept : operation_of{opcode}, fd_{fd}, events_{events} {}

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  fd_ref fd_;
  std::uint32_t events_;
};

/// When a stream of polls tells of an event.
enum class poll_trigger : std::uint8_t {
  edge,  ///< When it comes: once for each time. One multishot request; who hears of it does all that there is to do.
  level  ///< As long as it holds: each next() asks anew. Linux lets no multishot request do that.
};

class poll_update;
class poll_remove;

/// What becomes ready on a descriptor, as a stream of events.
class poll_stream {
 public:
  /// @param fd      Stays open until the stream is destroyed, and its request has ended: that is a turn later.
  /// @param events  POLLIN, POLLOUT, …: poll(2); POLLERR and POLLHUP are always waited for.
  poll_stream(fd_ref fd, std::uint32_t events, poll_trigger trigger = poll_trigger::edge);

  poll_stream(poll_stream&&) noexcept = default;
  poll_stream& operator=(poll_stream&&) = delete;
  ~poll_stream() = default;

  using next_operation = detail::next_of_multishot<std::uint32_t>;

  /// Waits for the next events. One coroutine at a time.
  ///
  /// @return        Those that have come since the last next(), or'ed; with level, those that hold. The first of an
  ///                edge-triggered stream tells what holds already.
  /// @errors        bad_file_descriptor
  ///                operation_canceled   the request was ended by somebody else: cancel_fd, or a close
  /// @cancellation  Safe: no event is lost.
  /// @threads       The thread of the executor on which it is first called.
  /// @source        io_uring_prep_poll_multishot(3); poll(2). Linux 5.13.
  [[nodiscard]] next_operation next() noexcept { return next_operation{*state_}; }

 private:
  friend class poll_update;
  friend class poll_remove;
  std::unique_ptr<detail::multishot_of<std::uint32_t>, detail::orphan_multishot> state_;
};

/// Has a stream wait for other events from now on, also while a coroutine waits in it. Of those that have come and were
/// not taken, only the ones that are still meant are told.
///
/// @param of      Stays until this has ended.
/// @param events  As for poll_stream.
/// @cancellation  Safe: it always completes at once. The stream has the new events in any case.
/// @source        io_uring_prep_poll_update(3), IORING_POLL_UPDATE_EVENTS. Linux 5.13.
class [[nodiscard]] poll_update final : public operation_of<poll_update, void> {
 public:
  poll_update(poll_stream& of, std::uint32_t events) noexcept
      : operation_of{opcode}, of_{of.state_.get()}, events_{events} {}

  void await_resume() {
    take_answer();
    operation_of::await_resume();
  }
  [[nodiscard]] result<void> await_result() {
    take_answer();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_answer() noexcept;
  detail::multishot_of<std::uint32_t>* of_;
  std::uint32_t events_;
};

/// Takes a stream's request out of the kernel, which then refers to the descriptor no more: to close that, or to be
/// spared events for a while. The next next() makes a new one, at once where one waits.
///
/// @param of      Stays until this has ended.
/// @return        Whether there was one.
/// @cancellation  Safe: it always completes at once.
/// @source        io_uring_prep_poll_remove(3). Linux 5.1.
class [[nodiscard]] poll_remove final : public operation_of<poll_remove, bool> {
 public:
  explicit poll_remove(poll_stream& of) noexcept : operation_of{opcode}, of_{of.state_.get()} {}

  bool await_resume() {
    take_answer();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<bool> await_result() {
    take_answer();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_answer() noexcept;
  detail::multishot_of<std::uint32_t>* of_;
};

}  // namespace gyre::ops
