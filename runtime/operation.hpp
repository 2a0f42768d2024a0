// SPDX-License-Identifier: MIT
// One request to the kernel: the base of every awaitable operation.
//
// An operation is the queue node, the request and the place for its result, all in one object that lives in the
// awaiting coroutine's frame. It allocates nothing. How a request is described is the derived class's business (ops/);
// when it is submitted and resumed is executor's.
//
//   idle        -> queued        co_await, when the submission queue is full
//   idle/queued -> in_kernel     described to the ring; from here on the kernel may touch what it points to
//   in_kernel   -> cancel_queued -> cancel_sent      its scope was cancelled, or its deadline has passed
//   any of these three -> ready  its own completion was taken. Nothing else ends it.
//   in_kernel   -> done          the same, where nothing is out of the ordinary: resumed there and then
//   queued      -> ready         cancelled before the kernel ever saw it
//   ready       -> done          the coroutine was resumed or unwound
//
// Until it is awaited, an operation is a plain value and can be moved. From then on it stays where it is.
//
// Cancel is two completions. Who asks the kernel to stop something still waits for that something: the request becomes
// a second entry, "cancel the one tagged &op", and both complete, in either order (io_uring_cancelation(7)):
//
//   the cancel   0 or more: found · -ENOENT already finished · -EALREADY too late to stop. Ignored.
//   the op       -ECANCELED, -EINTR or a leaked restart code: stopped, if its scope was cancelled; timed_out, if its
//                deadline asked for it; an error otherwise. Anything else: it won the race, and is delivered.
//
// Orders, all tested on the scripted ring (tests/runtime/cancel_race_test.cpp): a cancel before submission, after it,
// after the completion is posted but not taken, after it is taken but not resumed (somebody who was ready before it
// comes first), after the resume.
#pragma once

#include <gyre/runtime/detail/timer_heap.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/transfer.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

struct io_uring_sqe;

namespace gyre {

class operation;

namespace detail {

class chain;
class clocked_deadline;

template <class Op, class Member>
const Member& of_member(const waiter& self, Member Op::* member) noexcept {
  return static_cast<const Op&>(self).*member;
}

/// executor::wait_in_ring_from_now_on(), of the current executor.
void may_wait_for_eventfd() noexcept;

}  // namespace detail

/// Whether the kernel may run an operation in a worker thread, where a linked timeout does not reach it.
enum class runs_in : std::uint8_t {
  ring,
  worker,
  worker_unasked  ///< The same; and once the kernel has it, it is not asked to stop: what it does has to be done.
};

/// What all operations of one opcode share.
struct operation_kind : detail::waiter_kind {
  using prepare_fn = void (*)(operation& self, io_uring_sqe& sqe) noexcept;
  using advance_fn = bool (*)(operation& self) noexcept;
  using describe_fn = void (*)(const detail::waiter& self, detail::wait_details& told) noexcept;
  using note_fn = std::int32_t (*)(operation& self, const detail::completion::answer& part) noexcept;

  /// @param its_name  As error texts begin and diagnosis shows it; a literal.
  /// @param prepare   Describes the request in an entry that is zero but for what liburing's prep functions fill.
  /// @param where     See runs_in.
  /// @param advance   For composed operations: called at a completion that is no error, unless it is plainly all that
  ///                  prepare() expected; returns true to go on with another request, which prepare() then describes.
  /// @param about     Says what it is about, for diagnosis: describe_fd<&Self::member> where it is about a descriptor.
  /// @param release   The first Linux that has the opcode, "6.11", where prepare() ends with require_opcode().
  /// @param note      For operations of two completions, where prepare() calls expect_notification():
  ///                  called at each, the one with IORING_CQE_F_MORE is not the last. Returns the answer.
  constexpr operation_kind(const char* its_name, prepare_fn prepare, runs_in where, describe_fn about = nullptr,
                           advance_fn advance = nullptr, const char* release = nullptr,
                           note_fn note = nullptr) noexcept;

  prepare_fn prepare_entry;
  advance_fn advance_or_null;
  const char* first_release_or_null;
  note_fn note_or_null;
  runs_in where_it_runs;
};

class operation : public detail::waiter {
 public:
  operation& operator=(operation&&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  /// Ends it as timed out, unless its own completion comes first. For deadlines.
  void expire() noexcept;

  /// Has a linked timeout submitted with it in place of `deadline`, whose due() says when. Before it is awaited.
  ///
  /// @param deadline  Calls expire(). The executor arms it when the kernel has taken the operation and not the timeout.
  void link_deadline(detail::timer& deadline) noexcept {
    add(linked);
    deadline_ = &deadline;
  }

  /// The same for a deadline on another clock, or that can be moved.
  void link_clocked_deadline(detail::clocked_deadline& deadline) noexcept;

  /// Has the kernel check it by the rights that the ring knows by this number. Before it is awaited.
  void take_rights_of(std::uint16_t registered) noexcept {
    add(personal);
    personality_ = registered;
  }

  /// Whether it has a place to note a linked timeout in. Where it has none the executor's timers keep its deadline.
  [[nodiscard]] bool may_be_linked() const noexcept { return !has(personal); }

  /// The kernel says that its linked timeout has fired: its own completion follows.
  void deadline_has_fired() noexcept;

  /// Whether a deadline is what ended it: the kernel has errors of its own that are called timed_out.
  [[nodiscard]] bool ended_by_deadline() const noexcept { return has(timed_out); }

  [[nodiscard]] const operation_kind& its_kind() const noexcept { return static_cast<const operation_kind&>(*kind); }

 protected:
  explicit operation(const operation_kind& opcode) noexcept : waiter{opcode} {}

  operation(operation&& other) noexcept : waiter{other.its_kind(), other} {
    if (has(linked)) deadline_ = other.deadline_;
    if (has(personal)) personality_ = other.personality_;
  }

  /// The kernel's answer: valid when finished; negative is -errno.
  [[nodiscard]] std::int32_t res() const noexcept { return answer_.res; }
  [[nodiscard]] std::uint32_t cqe_flags() const noexcept { return answer_.flags; }
  [[nodiscard]] bool failed() const noexcept { return res() < 0; }
  [[nodiscard]] std::error_code error() const noexcept { return detail::errno_code(-res()); }
  [[noreturn]] void throw_error() const;

  /// The way of nearly every operation from its co_await into the ring: nothing is out of the ordinary, and there is a
  /// place. Returns the entry to describe it in; null when it has to be started with care, and nothing has happened.
  [[nodiscard]] io_uring_sqe* begin_plainly(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept {
    gyre::executor* const loop = detail::current_executor;
    if (loop != bound.undisturbed_on || !is_plainly(stage::idle)) [[unlikely]]
      return nullptr;
    io_uring_sqe* const sqe = loop->ring_->sqe_at_hand_or_null();
    if (sqe == nullptr) [[unlikely]]
      return nullptr;
    set_coroutine(awaiter);
    set_plainly(stage::in_kernel, loop->clock_.last_look_ms());
    bound.waiting = this;
    detail::ring::blank(*sqe, reinterpret_cast<std::uint64_t>(this));
    return sqe;
  }
  void start_with_care(std::coroutine_handle<> awaiter, detail::boundary& bound) noexcept;  // executor.cpp

  /// For operations whose result is more than the last answer. Below every errno there is room for failures of their
  /// own.
  void set_res(std::int32_t res) noexcept { answer_.res = res; }

  /// The first thing that await_resume() does. Returns whether it failed.
  [[nodiscard]] bool end_as_failed() noexcept {
    const bool ended_plainly = is_plainly(stage::done);  // since its completion, which was no error
    if (!ended_plainly) [[unlikely]]
      end_wait();
    if (current() != stage::done) __builtin_unreachable();  // spares the destructor's look
    return !ended_plainly && failed();
  }

  /// For composed operations, in prepare(): any answer of fewer bytes goes to advance(). Otherwise one that is no error
  /// is the end. Returns how many bytes one request can move of them; none moves as many as INT32_MAX.
  unsigned expect(std::size_t bytes) noexcept {
    add(composed);
    const bool more_than_one_moves = bytes > ops::transfer_bytes_max;
    answer_.res = more_than_one_moves ? INT32_MAX : static_cast<std::int32_t>(bytes);
    return static_cast<unsigned>(more_than_one_moves ? ops::transfer_bytes_max : bytes);
  }

  /// For operations of two completions, in prepare(): none of the two is taken for the end before the kind's note().
  void expect_notification() noexcept {
    add(composed);
    answer_.res = INT32_MAX;
  }

  /// The last thing in the prepare() of an operation whose opcode came after Linux 5.19, which gyre needs. Where the
  /// kernel lacks it the entry is made one that nobody knows, and the operation ends with operation_not_supported.
  void require_opcode(io_uring_sqe& sqe) noexcept;

 private:
  friend class executor;
  friend class detail::chain;
  friend class detail::submission;
  friend class detail::kernel_times;
  friend struct operation_kind;
  friend class detail::task_tree;

  void finish(std::int32_t res, std::uint32_t flags) noexcept;
  void go_on() noexcept;
  void finish_stopped() noexcept;
  void finish_timed_out() noexcept;
  [[nodiscard]] bool judge_failure() noexcept;
  [[nodiscard]] bool linked_time_is_over() noexcept;
  [[nodiscard]] bool linked_timeout_may_wait() noexcept;
  void request_cancel() noexcept;
  static void cancel_waiting(detail::waiter& self) noexcept;

  // While its cancel waits to be sent: whose was asked for next. Lies where the answer will be.
  [[nodiscard]] operation* newer_cancel() const noexcept {
    operation* newer = nullptr;
    std::memcpy(&newer, &answer_, sizeof newer);
    return newer;
  }
  void set_newer_cancel(operation* newer) noexcept { std::memcpy(&answer_, &newer, sizeof newer); }

  [[nodiscard]] unsigned entries_count() const noexcept {
    if (has(several)) [[unlikely]]
      return count_of_several();
    return has(linked) ? 2 : 1;
  }
  [[nodiscard]] unsigned count_of_several() const noexcept;  // detail/chain.cpp, as what follows
  void cancel_several() noexcept;

  /// Whether this answer is no error and the end, with nothing out of the ordinary about the operation.
  [[nodiscard]] bool plainly_ends_with(std::int32_t res) const noexcept {
    if (is_plainly(stage::in_kernel)) [[likely]]
      return res >= 0;
    return is_but_for(composed, stage::in_kernel) && res >= answer_.res;
  }

  /// Its own completion, where nothing is out of the ordinary: it is done, and its coroutine to be resumed at once.
  void complete_plainly(const detail::completion& done) noexcept {
    answer_ = done.its_answer();
    set_plainly(stage::done);
    detail::promise_of(known_coroutine()).bound->waiting = nullptr;
  }

  // Set by the completion. Before it: what expect() was told, while it is but in the kernel, or newer_cancel().
  detail::completion::answer answer_;
  union {
    detail::timer* deadline_;    // with the flag `linked`
    std::uint16_t personality_;  // with the flag `personal`: such a one is never linked
  };
};
static_assert(sizeof(detail::completion::answer) >= sizeof(operation*));
static_assert(sizeof(operation) <= 56,
              "a coroutine that awaits one is two cache lines: a third costs a tenth of a nop");

constexpr operation_kind::operation_kind(const char* its_name, prepare_fn prepare, runs_in where, describe_fn about,
                                         advance_fn advance, const char* release, note_fn note) noexcept
    : waiter_kind{{&operation::run_slowly}, &operation::cancel_waiting, its_name, about},
      prepare_entry{prepare},
      advance_or_null{advance},
      first_release_or_null{release},
      note_or_null{note},
      where_it_runs{where} {}

/// A describe function for operations that keep their descriptor in a member, `&Self::fd_`.
template <auto Member>
void describe_fd(const detail::waiter& self, detail::wait_details& told) noexcept {
  told.tell(detail::of_member(self, Member));
}

/// An operation with a typed result. `Self` derives from it; T is size_t, int, void, unique_fd, or anything that Self's
/// own value() makes.
template <class Self, class T>
class operation_of : public operation {
 public:
  using value_type = T;

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    detail::boundary& bound = bound_of(awaiter);
    if (io_uring_sqe* const sqe = begin_plainly(awaiter, bound)) [[likely]]
      Self::prepare(*this, *sqe);
    else start_with_care(awaiter, bound);
  }

  /// The result, or std::system_error with the operation's name when the kernel said no.
  T await_resume() {
    if (end_as_failed()) [[unlikely]]
      self().fail();
    return self().value();
  }

  /// The same without an exception: for as_result().
  [[nodiscard]] result<T> await_result() {
    if (end_as_failed()) [[unlikely]]
      return self().failure();
    if constexpr (std::is_void_v<T>) return {};
    else return self().value();
  }

 protected:
  using operation::operation;
  operation_of(operation_of&&) noexcept = default;

  /// What the kernel's answer means. Called once, when it is no error.
  [[nodiscard]] T value() noexcept {
    if constexpr (std::is_same_v<T, unique_fd>) return unique_fd{res()};
    else if constexpr (!std::is_void_v<T>) return static_cast<T>(res());
  }

  /// What a failure means, as a code and as an exception.
  [[nodiscard]] std::error_code failure() const noexcept { return error(); }
  [[noreturn]] void fail() const { throw_error(); }

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }
};

}  // namespace gyre
