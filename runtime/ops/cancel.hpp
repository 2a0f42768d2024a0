// SPDX-License-Identifier: MIT
// Asking the kernel to end what is in flight. To stop tasks, cancel their scope instead: what ends here does not know
// that it was meant to.
//
// Each of those that are found ends with operation_canceled, or with the result that it already had. The executor's own
// requests may be among them where all are meant: it makes them again.
#pragma once

#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/operation.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace gyre::ops {

/// How many of those that fit are to end.
enum class how_many : std::uint8_t {
  all,
  one  ///< Which one is not said.
};

/// Ends what this executor has in flight on a descriptor. For closing: closing a descriptor by itself ends nothing.
///
/// @return        How many were found; 0 when there was nothing.
/// @errors        bad_file_descriptor
/// @limits        Walks all that is armed on the ring, and once more for each that it finds: some 0.3 ms where 20,000
///                are armed and none is found, 2 ms for 1000 on one descriptor, a second for 9000.
/// @cancellation  Safe.
/// @source        io_uring_prep_cancel_fd(3), IORING_ASYNC_CANCEL_ALL. Linux 5.19.
class [[nodiscard]] cancel_fd final : public operation_of<cancel_fd, std::size_t> {
 public:
  explicit cancel_fd(fd_ref fd, how_many which = how_many::all) noexcept
      : operation_of{opcode}, fd_{fd}, which_{which} {}

  std::size_t await_resume() {
    take_count();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<std::size_t> await_result() {
    take_count();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_count() noexcept;  // that there was none the kernel calls an error; and one, 0
  fd_ref fd_;
  how_many which_;
};

/// Ends what this executor has in flight of one opcode, on one open file or on any.
///
/// @param opcode_number  IORING_OP_*.
/// @return        How many were found; 0 when there was nothing.
/// @errors        bad_file_descriptor
///                invalid_argument   before Linux 6.6
/// @limits        As for cancel_fd.
/// @cancellation  Safe.
/// @source        io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_OP. Linux 6.6.
class [[nodiscard]] cancel_opcode final : public operation_of<cancel_opcode, std::size_t> {
 public:
  explicit cancel_opcode(std::uint8_t opcode_number, how_many which = how_many::all) noexcept
      : operation_of{opcode}, fd_{-1}, opcode_number_{opcode_number}, which_{which} {}
  cancel_opcode(std::uint8_t opcode_number, fd_ref fd, how_many which = how_many::all) noexcept
      : operation_of{opcode}, fd_{fd}, opcode_number_{opcode_number}, which_{which}, by_fd_{true} {}

  std::size_t await_resume() {
    take_count();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<std::size_t> await_result() {
    take_count();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_count() noexcept;
  fd_ref fd_;
  std::uint8_t opcode_number_;
  how_many which_;
  bool by_fd_ = false;
};

/// Ends what this executor has in flight, whatever it is.
///
/// @return        How many were found, the executor's own requests included; 0 when there was nothing.
/// @limits        As for cancel_fd.
/// @cancellation  Safe.
/// @source        io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_ANY. Linux 5.19.
class [[nodiscard]] cancel_any final : public operation_of<cancel_any, std::size_t> {
 public:
  cancel_any() noexcept : operation_of{opcode} {}

  std::size_t await_resume() {
    take_count();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<std::size_t> await_result() {
    take_count();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_count() noexcept;
};

/// Ends one operation that another coroutine of this executor awaits.
///
/// @param running  Exists until this is awaited; what becomes of it then is its own affair.
/// @return        Whether it was found: not one that was not awaited yet, that waits for a place in the queue, or that
///                has ended.
/// @errors        connection_already_in_progress   found, and too late to stop: a kernel worker has begun it
/// @cancellation  Safe.
/// @limits        Members of link(), hard_link() and drain() are not found; raw() and these themselves are not taken:
///                cancel the scope of who awaits them.
/// @source        io_uring_prep_cancel(3). Linux 5.5.
class [[nodiscard]] cancel_operation final : public operation_of<cancel_operation, bool> {
 public:
  template <std::derived_from<operation> Op>
    requires(!std::derived_from<Op, gyre::detail::chain>)
  explicit cancel_operation(const Op& running) noexcept
      : operation_of{opcode}, user_data_{reinterpret_cast<std::uint64_t>(static_cast<const operation*>(&running))} {}

  bool await_resume() {
    take_found();
    return operation_of::await_resume();
  }
  [[nodiscard]] result<bool> await_result() {
    take_found();
    return operation_of::await_result();
  }

 private:
  friend operation_of;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  void take_found() noexcept;
  std::uint64_t user_data_;
};

}  // namespace gyre::ops
