// SPDX-License-Identifier: MIT
// Branches that run side by side below one co_await: what when_all(), when_any(), race() and first_success() do alike.
//
// The awaiter holds the branches, and the scope that they run in; both live as long as the co_await. A branch is a task
// with a boundary of its own:
//
//   idle -> queued     co_await: the region stands in the executor's ready queue, once for all of its branches
//   queued -> running  begun from there, in their order; a list begins some of them a turn
//   running -> value, failure, stopped     as its task ended; the frame is destroyed at once, the value is kept here
//   queued -> stopped  the scope was cancelled before its turn came: its task is destroyed and never begins
//
// Whoever decides the outcome cancels the scope (see decided_by). The co_await goes on when the last branch has ended,
// decided or not: nothing is left behind, and nobody's buffer is. What it does then, in this order:
//
//   a failure decided              it is rethrown
//   a value decided, or all came   they are delivered, also when a stop from outside crossed them
//   a branch was stopped           stopped, if the stop came from outside; operation_canceled, if somebody inside
//                                  cancelled the branches' own scope
//
// Branches are queued and not begun inside the co_await, for one reason: each nested region would then need stack, and
// a recursion through when_all() as deep as the memory allows would overflow it. Begun from the queue, each runs on the
// executor's own level.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/promise_base.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace gyre::detail {

/// What decides the outcome, so that the branches that have not ended yet are stopped.
enum class decided_by : std::uint8_t {
  failure,  // when_all(): an exception; without one all are waited for
  ending,   // when_any(): the first value or exception
  race,     // race(): the same; all values are kept
  value     // first_success(): the first value; exceptions are kept
};

[[nodiscard]] constexpr const char* name_of(decided_by rule) noexcept {
  switch (rule) {
    case decided_by::failure:
      return "when_all";
    case decided_by::ending:
      return "when_any";
    case decided_by::race:
      return "race";
    case decided_by::value:
      break;
  }
  return "first_success";
}

/// The part of a region that depends on no type.
class branch_region : public runnable {
 public:
  using gyre_awaitable = void;

  [[nodiscard]] cancel_scope& scope() noexcept { return *scope_; }

  // How a branch ended. Then it leaves; the last one to leave closes the region.
  void has_value(std::size_t index) noexcept;
  void has_failed(std::exception_ptr error) noexcept;
  void was_stopped() noexcept { some_stopped_ = true; }
  [[nodiscard]] next_step leave() noexcept {
    if (--awaiting_.running_count > 0) return {std::noop_coroutine()};
    return close();
  }

 protected:
  branch_region(const runnable_kind& its_kind, decided_by rule) noexcept
      : branch_region{its_kind, rule, name_of(rule)} {}
  branch_region(const runnable_kind& its_kind, const branch_region& moved_from) noexcept
      : branch_region{its_kind, moved_from.rule_, moved_from.awaiting_.what()} {
    GYRE_ASSERT(!moved_from.was_awaited_, "what runs side by side stays where it was awaited");
  }
  ~branch_region() {
    GYRE_ASSERT(awaiting_.running_count == 0,
                "what runs side by side was destroyed while it runs: its frame stays until then");
  }

  /// Opens the scope and queues the region, to begin `branches_count` branches.
  template <class Promise>
  void open(std::coroutine_handle<Promise> awaiting, std::size_t branches_count) noexcept {
    awaiting_.begin(awaiting);
    open(branches_count);
  }

  /// Throws the failure that decided; operation_canceled when somebody inside cancelled the scope.
  void throw_unless_delivered();

  /// Whether a value has decided, and whose.
  [[nodiscard]] bool has_winner() const noexcept { return winner_ != nobody_yet; }
  [[nodiscard]] std::size_t winner() const noexcept { return winner_; }

  void queue_again() noexcept;

 private:
  static constexpr std::size_t nobody_yet = static_cast<std::size_t>(-1);

  branch_region(const runnable_kind& its_kind, decided_by rule, const char* name) noexcept
      : runnable{its_kind}, awaiting_{name}, rule_{rule} {}

  [[nodiscard]] bool is_decided() const noexcept { return has_winner() || error_; }
  [[nodiscard]] bool is_stopped() const noexcept { return some_stopped_ && !is_decided(); }
  void open(std::size_t branches_count) noexcept;
  next_step close() noexcept;

  std::optional<cancel_scope> scope_;
  awaiting_several awaiting_;
  std::size_t winner_ = nobody_yet;
  std::exception_ptr error_;
  decided_by rule_;
  bool was_awaited_ = false;
  bool some_stopped_ = false;
};

/// What a branch's value is where a reference or nothing cannot stand.
template <class T>
struct kept {
  using type = T;
};
template <>
struct kept<void> {
  using type = std::monostate;
};
template <class T>
struct kept<T&> {
  using type = std::reference_wrapper<T>;
};
template <class T>
using kept_t = typename kept<T>::type;

/// One of the tasks, its boundary, and the place for its value.
template <class T>
class branch : bounded_task<T> {
 public:
  explicit branch(task<T>&& body) noexcept : bounded_task<T>{std::move(body), &body_ended} {}
  /// Before it is begun.
  branch(branch&& other) noexcept : bounded_task<T>{std::move(other)} {}

  /// Runs it until it waits or ends. It may be the last one to end: `region` is presumed gone afterwards.
  void begin_in(branch_region& region, std::size_t its_index) noexcept {
    region_ = &region;
    this->index = static_cast<std::uint32_t>(its_index);
    this->role = boundary_role::branch;
    if (region.scope().stop_requested()) follow(drop()).resume();
    else this->begin(region.scope()).resume();
  }

  [[nodiscard]] bool has_value() const noexcept { return how_ == outcome::value; }

  /// The value, or the exception. After it has ended.
  kept_t<T> take() {
    if constexpr (std::is_void_v<T>) return kept_.take(), std::monostate{};
    else return kept_.take();
  }

 private:
  enum class outcome : std::uint8_t { none, value, failure };

  static next_step body_ended(boundary& self, ending how) noexcept {
    auto& mine = static_cast<branch&>(self);
    mine.leave_scope();
    if (how == ending::ended) mine.keep_result();
    else mine.region_->was_stopped();
    return mine.region_->leave();
  }

  next_step drop() noexcept {
    std::exchange(this->frame, nullptr).destroy();
    region_->was_stopped();
    return region_->leave();
  }

  // The frame goes here, and with it the task's arguments: a descriptor among them is not to wait for the slowest
  // branch.
  void keep_result() noexcept {
    try {
      if constexpr (std::is_void_v<T>) this->take_result();
      else kept_.return_value(this->take_result());
    } catch (...) {
      kept_.store_exception();
      how_ = outcome::failure;
      return region_->has_failed(std::current_exception());
    }
    how_ = outcome::value;
    region_->has_value(this->index);
  }

  branch_region* region_ = nullptr;
  outcome how_ = outcome::none;
  result_slot<T> kept_;
};

/// A task, or an awaitable of gyre's that can become one.
template <class Awaitable>
concept branchable = is_task<Awaitable> || own_awaitable<Awaitable>;

template <branchable Awaitable>
task<awaited_t<Awaitable>> to_task(Awaitable&& awaitable) {
  if constexpr (is_task<Awaitable>) return std::forward<Awaitable>(awaitable);
  else return as_task(std::forward<Awaitable>(awaitable));
}

/// Branches of several types, as many as are written down.
template <class... Ts>
class branch_pack : public branch_region {
 public:
  bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    open(awaiting, sizeof...(Ts));
  }

 protected:
  explicit branch_pack(decided_by rule, task<Ts>&&... bodies) noexcept
      : branch_region{kind_of_pack, rule}, branches{branch<Ts>{std::move(bodies)}...} {}
  /// Before it is awaited.
  branch_pack(branch_pack&& other) noexcept : branch_region{kind_of_pack, other}, branches{std::move(other.branches)} {}

  std::tuple<branch<Ts>...> branches;

 private:
  static void run(runnable& self) noexcept {
    auto& pack = static_cast<branch_pack&>(self);
    std::apply(
        [&pack](auto&... each) {
          std::size_t index = 0;
          (each.begin_in(pack, index++), ...);
        },
        pack.branches);
  }

  static constexpr runnable_kind kind_of_pack{&branch_pack::run};
};

/// Branches of one type, as many as a program happens to have.
template <class T>
class branch_list : public branch_region {
 public:
  bool await_ready() const noexcept { return branches.empty(); }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    open(awaiting, branches.size());
  }

 protected:
  template <branchable Awaitable>
  branch_list(decided_by rule, std::vector<Awaitable>&& awaitables) : branch_region{kind_of_list, rule} {
    GYRE_ASSERT(awaitables.size() <= UINT32_MAX, "a list has at most 4294967295 branches");
    branches.reserve(awaitables.size());
    for (Awaitable& each : awaitables) branches.emplace_back(to_task(std::move(each)));
  }
  /// Before it is awaited.
  branch_list(branch_list&& other) noexcept : branch_region{kind_of_list, other}, branches{std::move(other.branches)} {}

  std::vector<branch<T>> branches;

 private:
  // So many are begun before other ready work has its turn.
  static constexpr std::size_t begun_at_once_max = 128;

  // The region is queued again before the branches of this turn begin, and nothing of it is used after the last of all
  // has.
  static void run(runnable& self) noexcept {
    auto& list = static_cast<branch_list&>(self);
    branch<T>* const all = list.branches.data();
    const std::size_t first = list.begun_count_;
    const std::size_t end = std::min(first + begun_at_once_max, list.branches.size());
    list.begun_count_ = end;
    if (end < list.branches.size()) list.queue_again();
    for (std::size_t index = first; index < end; ++index) all[index].begin_in(list, index);
  }

  static constexpr runnable_kind kind_of_list{&branch_list::run};
  std::size_t begun_count_ = 0;
};

}  // namespace gyre::detail
