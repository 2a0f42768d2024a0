// SPDX-License-Identifier: MIT
// Entries that a program fills itself, for what gyre has no operation for: raw() and raw_command().
//
// A raw entry is a chain of one (detail/chain.hpp): so it waits for the last completion of its request, whichever
// opcode it is of, and can be a member of ops::link().
#pragma once

#include <gyre/runtime/detail/chain.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/result.hpp>

#include <array>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

struct io_uring_sqe;

namespace gyre {

/// What the kernel answered to a raw entry.
struct raw_answer {
  std::int32_t res = 0;     ///< Zero or more: a negative one is an error.
  std::uint32_t flags = 0;  ///< IORING_CQE_F_…
};

/// What a device answered to a raw command.
struct raw_command_answer {
  std::int32_t res = 0;
  std::uint32_t flags = 0;
  std::array<std::uint64_t, 2> rest{};  ///< The second half of a completion of 32 bytes.
};

namespace detail {

class ring;

/// What both have in common: an entry that is not to be submitted fails by itself.
class raw_request : public chain {
 protected:
  explicit raw_request(const operation_kind& its_kind) noexcept : chain{its_kind, links::soft} {}
  raw_request(raw_request&& other) noexcept : chain{std::move(other)} { refuse(other.refusal_); }

  void refuse(const char* why_or_null) noexcept;
  [[nodiscard]] bool is_refused() const noexcept { return refusal_ != nullptr; }

  template <class Promise>
  void start_alone(std::coroutine_handle<Promise> awaiter) noexcept {
    boundary& bound = bound_of(awaiter);
    member_[0].op = this;
    start(awaiter, bound, member_, is_refused() ? &member_[0] : nullptr);
  }

  [[noreturn]] void fail() const;

  // Of an entry, as the kernel reads it.
  [[nodiscard]] static const char* refusal_of(const io_uring_sqe& asked) noexcept;
  static void lay_out(io_uring_sqe& sqe, std::span<const std::byte> entry) noexcept;
  static void describe(std::span<const std::byte> entry, wait_details& told) noexcept;

 private:
  const char* refusal_ = nullptr;  // why it is not to be submitted
  members_of<1> member_;
};

}  // namespace detail

namespace ops {

/// Submits an entry that the program fills.
///
/// @param prep    prep(io_uring_sqe&), called once, at once, with an entry that is zero: the functions
///                io_uring_prep_...(3) and whatever else it sets. What the entry points to stays, and stays untouched,
///                until the co_await has returned or unwound.
/// @return        co_await gives raw_answer. Of several completions the first: a zero-copy send is over at its
///                notification.
/// @errors        What the kernel says. invalid_argument, with a sentence, and nothing is submitted, for what is gyre's
///                own: user_data, IOSQE_IO_LINK and IOSQE_IO_HARDLINK (ops::link() links), IOSQE_IO_DRAIN
///                (ops::drain() drains), IOSQE_CQE_SKIP_SUCCESS, IOSQE_BUFFER_SELECT, IORING_OP_LINK_TIMEOUT
///                (with_timeout()); and for a multishot request, which has many answers where a co_await has one: await
///                a stream of ops::.
/// @cancellation  The kernel is asked to stop it, as of any other operation. An answer that crosses a stop is
///                delivered, and what it gives, such as a descriptor, is the program's.
/// @limits        With a deadline it gets no linked timeout, as nothing is known of where it runs. On an executor that
///                sleeps on its eventfd it has it sleep in the ring from then on: see writing-an-operation.md.
/// @source        io_uring_enter(2), struct io_uring_sqe. Linux 5.19.
class [[nodiscard]] raw final : public gyre::detail::raw_request {
 public:
  using value_type = raw_answer;

  template <std::invocable<io_uring_sqe&> Prep>
  explicit raw(Prep&& prep) noexcept(noexcept(prep(std::declval<io_uring_sqe&>()))) : raw_request{opcode} {
    std::forward<Prep>(prep)(entry());
    refuse(refusal_of(entry()));
  }
  raw(raw&&) noexcept = default;  // before it is awaited

  [[nodiscard]] bool await_ready() const noexcept { return is_refused(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    start_alone(awaiter);
  }

  raw_answer await_resume() {
    end_chain();
    if (failed()) fail();
    return {res(), cqe_flags()};
  }
  [[nodiscard]] result<raw_answer> await_result() {
    end_chain();
    if (failed()) return error();
    return raw_answer{res(), cqe_flags()};
  }

 private:
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static void describe(const gyre::detail::waiter& self, gyre::detail::wait_details& told) noexcept;

  [[nodiscard]] io_uring_sqe& entry() noexcept { return *reinterpret_cast<io_uring_sqe*>(entry_.data()); }

  alignas(8) std::array<std::byte, 64> entry_{};
};

/// Submits a command to a device or a driver, with up to 80 bytes of its own: NVMe passthrough, ublk, FUSE, ...
///
/// @param prep    prep(io_uring_sqe&), called once, at once, with an entry of 128 bytes that is zero but for its
///                opcode, IORING_OP_URING_CMD: sets fd, cmd_op, and the 80 bytes at cmd.
/// @return        co_await gives raw_command_answer.
/// @errors        What the device says; operation_not_supported, with a sentence, and nothing is submitted, on an
///                executor that is not made with executor_options::big_entries. The others as for raw().
/// @cancellation  The kernel is asked to stop it; few devices do, and then it is waited for.
/// @source        io_uring_enter(2), IORING_SETUP_SQE128, IORING_SETUP_CQE32, IORING_OP_URING_CMD. Linux 5.19.
class [[nodiscard]] raw_command final : public gyre::detail::raw_request {
 public:
  using value_type = raw_command_answer;

  template <std::invocable<io_uring_sqe&> Prep>
  explicit raw_command(Prep&& prep) noexcept(noexcept(prep(std::declval<io_uring_sqe&>()))) : raw_request{opcode} {
    begin_entry();
    std::forward<Prep>(prep)(entry());
    refuse(refusal_of(entry()));
  }
  raw_command(raw_command&&) noexcept = default;  // before it is awaited

  [[nodiscard]] bool await_ready() noexcept {
    refuse_without_room();
    return is_refused();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    refuse_without_room();
    start_alone(awaiter);
  }

  raw_command_answer await_resume() {
    end_chain();
    if (failed()) fail();
    return {res(), cqe_flags(), rest_};
  }
  [[nodiscard]] result<raw_command_answer> await_result() {
    end_chain();
    if (failed()) return error();
    return raw_command_answer{res(), cqe_flags(), rest_};
  }

 private:
  friend gyre::detail::chain;
  static const operation_kind opcode;
  static void prepare(operation& self, io_uring_sqe& sqe) noexcept;
  static void describe(const gyre::detail::waiter& self, gyre::detail::wait_details& told) noexcept;
  static void note_rest(operation& answered, const gyre::detail::ring& of) noexcept;
  [[nodiscard]] static const char* refusal_of(const io_uring_sqe& asked) noexcept;
  void begin_entry() noexcept;
  void refuse_without_room() noexcept;

  [[nodiscard]] io_uring_sqe& entry() noexcept { return *reinterpret_cast<io_uring_sqe*>(entry_.data()); }

  alignas(8) std::array<std::byte, 128> entry_{};
  std::array<std::uint64_t, 2> rest_{};
};

}  // namespace ops
}  // namespace gyre
