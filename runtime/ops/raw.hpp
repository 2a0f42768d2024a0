// SPDX-License-Identifier: MIT
// Entries that a program fills itself, for what gyre has no operation for: raw().
//
// A raw entry is a chain of one (detail/chain.hpp): so it waits for the last completion of its request, whichever opcode
// it is of, and can be a member of ops::link().
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

namespace ops {

/// Submits an entry that the program fills.
///
/// @param prep    prep(io_uring_sqe&), called once, at once, with an entry that is zero: the functions io_uring_prep_…(3)
///                and whatever else it sets. What the entry points to stays, and stays untouched, until the co_await has
///                returned or unwound.
/// @return        co_await gives raw_answer. Of several completions the first: a zero-copy send is over at its
///                notification.
/// @errors        What the kernel says. invalid_argument, with a sentence, and nothing is submitted, for what is gyre's
///                own: user_data, IOSQE_IO_LINK and IOSQE_IO_HARDLINK (ops::link() links), IOSQE_IO_DRAIN (ops::drain()
///                drains), IOSQE_CQE_SKIP_SUCCESS, IOSQE_BUFFER_SELECT, IORING_OP_LINK_TIMEOUT (with_timeout()); and for
///                a multishot request, which has many answers where a co_await has one: await a stream of ops::.
/// @cancellation  The kernel is asked to stop it, as of any other operation. What the answer gives, such as a
///                descriptor, is nobody's where a stop crosses it: it is delivered.
/// @limits        With a deadline it gets no linked timeout, as nothing is known of where it runs. On an executor that
///                sleeps on its eventfd it has it sleep in the ring from then on: see writing-an-operation.md.
/// @source        io_uring_enter(2), struct io_uring_sqe. Linux 5.19.
class [[nodiscard]] raw final : public gyre::detail::chain {
 public:
  using value_type = raw_answer;

  template <std::invocable<io_uring_sqe&> Prep>
  explicit raw(Prep&& prep) noexcept(noexcept(prep(std::declval<io_uring_sqe&>()))) : chain{opcode, links::soft} {
    std::forward<Prep>(prep)(entry());
    refusal_ = refusal_of(entry());
    note_refusal();
  }
  raw(raw&& other) noexcept : chain{std::move(other)}, entry_{other.entry_}, refusal_{other.refusal_} {
    note_refusal();
  }

  [[nodiscard]] bool await_ready() const noexcept { return refusal_ != nullptr; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    gyre::detail::boundary& bound = bound_of(awaiter);
    member_[0].op = this;
    start(awaiter, bound, member_, refusal_ != nullptr ? &member_[0] : nullptr);
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
  [[nodiscard]] static const char* refusal_of(const io_uring_sqe& asked) noexcept;
  void note_refusal() noexcept;
  [[noreturn]] void fail() const;

  [[nodiscard]] io_uring_sqe& entry() noexcept { return *reinterpret_cast<io_uring_sqe*>(entry_.data()); }

  alignas(8) std::array<std::byte, 64> entry_{};
  const char* refusal_ = nullptr;  // why it is not to be submitted
  gyre::detail::members_of<1> member_;
};

}  // namespace ops
}  // namespace gyre
