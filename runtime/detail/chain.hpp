// SPDX-License-Identifier: MIT
// Operations that go into the ring side by side and are awaited as one: what is behind ops::link(), ops::hard_link(),
// ops::drain() and ops::raw().
//
// A chain is an operation with several entries. Each member describes its own, as ever; its completions come to a
// handler that the chain has for it, and not to itself. All of it lies in the awaiting frame.
//
//   idle -> queued             co_await, when there is no place for all of it, or others wait already
//   idle/queued -> in_kernel   every entry is described, and nothing is submitted in between
//   in_kernel -> ready         the last completion has come: of each member, and of its own cancel. Nothing else does
//   queued -> ready            cancelled before the kernel ever saw it
//   idle -> ready              a member, or the length, was refused: the kernel never sees it
//
// The kernel begins a member when the one before it has ended: well, for a link, and however it ended, for a hard link.
// Where a link breaks it ends the rest with -ECANCELED. Completions come in any order as far as is known here.
//
// Who asks it to stop, a scope or a deadline, asks for one member at a time: the first that has not ended. The kernel
// cancels what runs, and knows nothing yet of what is to run after it (6.18, measured):
//
//   the member               the cancel says   and then
//   waits in the ring        0 or more         it ends with -ECANCELED. A link is broken by that; of a hard link the
//                                              next one begins, and is asked for
//   runs in a worker         -EALREADY         it ends as it likes, and the next one is asked for
//   has ended, untaken       -ENOENT           its completion is taken, and the next one is asked for
//   has not begun            -ENOENT           what ended the one before it has left work to this thread in the kernel:
//                                              it is asked for again in the next turn, when that was done
//   is a device's            -ENOENT           direct I/O: no cancel finds it. After a few in vain one a millisecond
//   has to be done           is not asked      ops::close: it ends soon, and the next one is asked for
//   waits for its memory     is not asked      a send without a copy: only the network ends that
//
// tests/runtime/chain_order_test.cpp takes it through all of these, in each order of completions.
#pragma once

#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/operation.hpp>
#include <gyre/runtime/result.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

struct io_uring_sqe;

namespace gyre::detail {

class chain;

/// A member's place in its chain: where its completions come to.
struct chain_member : completion_handler {
  chain_member() noexcept;

  operation* op = nullptr;
  chain* of = nullptr;

  // What has come of it.
  bool has_answer = false;   // the first completion: the operation has it
  bool has_ended = false;    // the last one, or it was lost
  bool is_lost = false;      // the kernel had no memory for it
  bool is_broken = false;    // it never ran, for what became of another one
  bool is_notified = false;  // it posts one completion more, when the kernel has let go of its memory
  int closes = -1;           // the descriptor, or the slot, that is open if it never ran
  bool closes_slot = false;
};

class chain : public operation {
 public:
  /// How its entries are linked: IOSQE_IO_LINK, IOSQE_IO_HARDLINK.
  enum class links : std::uint8_t { soft, hard };
  static constexpr std::uint8_t link_flags = 1U << 2 | 1U << 3;

  /// The chain of an entry that was described, and has another one linked to it; null where that is no chain's.
  [[nodiscard]] static chain* of_linked_or_null(const io_uring_sqe& sqe) noexcept;

  // What submission does with it.

  /// All its members, which are described now.
  [[nodiscard]] std::span<chain_member> begin_in_kernel() noexcept;
  /// A member has been described.
  void lay(chain_member& described, io_uring_sqe& sqe) noexcept;
  /// A member has been described, and the kernel has no memory for it: it never runs.
  void lose(completion_handler& lost) noexcept;

 protected:
  chain(const operation_kind& its_kind, links how) noexcept;
  chain(chain&& other) noexcept : operation{std::move(other)}, how_{other.how_} {}  // before it is awaited

  /// Has nothing else run beside it.
  void go_alone() noexcept { add(alone); }

  /// Begins to wait for all of `members`, which stay where they are.
  ///
  /// @param refused  One of them that has failed by itself, and is not to go to the kernel; null for none.
  void start(std::coroutine_handle<> awaiter, boundary& bound, std::span<chain_member> members,
             chain_member* refused) noexcept;

  /// After the wait: the result of a member.
  template <class Op>
  static auto result_of(const chain_member& member, Op& op) -> decltype(op.await_result()) {
    if (member.is_broken) return make_error_code(errc::link_broken);
    return op.await_result();
  }

  /// The first thing when the coroutine is back.
  void end_chain() noexcept {
    end_wait();
    was_taken_ = true;
    if (!was_laid_) end_unlaid();
  }

  /// Whether members have results that nobody has taken: the coroutine was unwound.
  [[nodiscard]] bool has_untaken() const noexcept { return was_judged_ && !was_taken_; }

  static void describe_running(const waiter& self, wait_details& told) noexcept;

 private:
  friend struct chain_member;
  friend class gyre::operation;

  struct cancel_request : completion_handler {
    explicit cancel_request(chain& its_chain) noexcept;
    chain& of;
  };

  // Asks once more, when time has passed.
  struct late_asking : timer {
    explicit late_asking(chain& its_chain) noexcept : timer{kind_of_asking}, of{its_chain} {}
    chain& of;
  };
  static void ask_late(timer& self) noexcept;
  static const timer_kind kind_of_asking;

  static void take_completion(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;
  static void describe_cancel(completion_handler& self, io_uring_sqe& sqe) noexcept;
  static void take_cancel(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;
  void ask_to_stop() noexcept;
  void ask_next() noexcept;
  void go_on() noexcept;
  [[nodiscard]] chain_member* first_running() const noexcept;
  [[nodiscard]] chain_member* first_to_ask() const noexcept;
  [[nodiscard]] bool judge() noexcept;
  [[nodiscard]] bool was_never_run(std::size_t index) const noexcept;
  void end_unlaid() noexcept;
  void close_left_open(chain_member& never_run) noexcept;

  chain_member* members_ = nullptr;
  std::uint16_t count_ = 0;
  std::uint16_t running_count_ = 0;  // members that have not ended
  links how_;
  bool is_asked_ = false;  // to stop
  bool was_laid_ = false;
  bool was_judged_ = false;
  bool was_taken_ = false;
  std::uint8_t misses_count_ = 0;  // cancels in a row that have found nobody
  chain_member* asked_for_ = nullptr;
  cancel_request cancel_{*this};
  late_asking late_asking_{*this};
};

/// One that is several operations, or one that runs alone: it is no member of another.
class chain_of_several : public chain {
 protected:
  using chain::chain;
  chain_of_several(chain_of_several&&) noexcept = default;

  static const operation_kind link_kind;
  static const operation_kind hard_link_kind;
  static const operation_kind drain_kind;
};

/// Places for so many members. A chain that is moved, before it is awaited, has new ones.
template <std::size_t Count>
class members_of {
 public:
  members_of() noexcept = default;
  members_of(members_of&&) noexcept {}

  chain_member& operator[](std::size_t index) noexcept { return all_[index]; }
  operator std::span<chain_member>() noexcept { return all_; }

 private:
  std::array<chain_member, Count> all_;
};

}  // namespace gyre::detail
