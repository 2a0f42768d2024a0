// SPDX-License-Identifier: MIT
// Waiting at several channels at once, to do exactly one of several sends and receives: select() and try_select().
//
//   it looks at all cases, from one that is drawn by lot on      under the locks of all channels
//     one can be done: does it, and has not waited
//     none: waits at all of them                                 a place in the queue of each
//   the other side of a channel, or its close(), comes first     claims the select, and does that one case
//   it is resumed, and leaves the other queues
//
// No item is taken from a channel that loses, and none is sent to it: so nothing is lost here, unlike in when_any() of
// two receives. How a claim decides between two channels at once, and why selects that point at each other do not block
// each other, stands in detail/channel_base.hpp.
//
//   order                                      ends as
//   a case is done, then a cancel              that case, and its item
//   a cancel, then a case could be done        stopped; no case is done
//   cancel and case on two threads at once     one of the two: whoever claims first
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/runtime/when_any.hpp>
#include <gyre/sync/channel.hpp>
#include <gyre/sync/detail/channel_base.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace gyre::sync {

namespace detail {

/// One case of a select(), whatever it carries.
struct select_case {
  using attempt_fn = step (*)(void* operation, party*& woken) noexcept;

  channel_base* channel;
  place* at;
  place_queue* queue;
  void* operation;
  attempt_fn attempt;
};

/// The channels of a select(), each once, in the order in which they are locked.
struct select_lock {
  channel_base* channel;
  biased_lock::way entered;
};

/// A coroutine that waits at several places.
class select_wait final : public suspension, public party {
 public:
  explicit select_wait(std::span<select_case> cases) noexcept
      : suspension{kind_of_select}, party{stands_at::several_places, &wake_coroutine}, cases_{cases} {}

  using suspension::begin;
  using suspension::end_at_once;
  using suspension::is_undisturbed;
  using suspension::resume;
  using suspension::resumed;
  using suspension::resumed_with_result;

  /// In await_resume(), when it was not stopped: leaves the queues of the losers. Returns which case has won.
  [[nodiscard]] std::size_t leave_others() noexcept;

 private:
  static void wake_coroutine(party& self) noexcept { static_cast<select_wait&>(self).resume_from_any_thread(); }
  static bool withdraw(suspension& self) noexcept;
  void leave_all() noexcept;
  static const suspension_kind kind_of_select;

  std::span<select_case> cases_;
};

/// One look at all cases, under all locks.
class select_round {
 public:
  /// @param locks  As many as there are cases.
  select_round(std::span<select_case> cases, std::span<select_lock> locks) noexcept;

  /// Does one case if one can be done. Otherwise, if `waits_as` is given, queues it at all of them.
  ///
  /// @return  How it went; must_wait for none.
  step run(select_wait* waits_as) noexcept;

  /// Which case was done, and whether to give way now. After run().
  [[nodiscard]] std::size_t chosen() const noexcept { return chosen_; }
  [[nodiscard]] bool gives_way() const noexcept { return gives_way_; }

 private:
  void lock_all() noexcept;
  void unlock_all() noexcept;

  std::span<select_case> cases_;
  std::span<select_lock> locks_;  // sorted by address
  std::size_t chosen_ = 0;
  bool gives_way_ = false;
};

/// What a select() may do with a send or a receive.
class select_access {
 public:
  template <class Op>
  static select_case as_case(Op& op) noexcept {
    return {op.channel_, &op.place_, &op.queue(), &op, &attempt<Op>};
  }

  template <class Op>
  static void prepare(Op& op, party& whose) noexcept {
    op.place_.whose = &whose;
    op.place_.item = op.item();
  }

  template <class Op>
  static auto outcome(Op& op, step how) {
    op.how_ = how;
    return op.outcome();
  }

 private:
  template <class Op>
  static step attempt(void* operation, party*& woken) noexcept {
    return static_cast<Op*>(operation)->attempt(woken);
  }
};

template <class Op>
inline constexpr bool is_channel_operation = false;
template <class T>
inline constexpr bool is_channel_operation<receive_operation<T>> = true;
template <class T>
inline constexpr bool is_channel_operation<send_operation<T>> = true;
template <class T>
inline constexpr bool is_channel_operation<send_from_operation<T>> = true;

/// The operations of a select(), each of its own type.
template <class... Ops>
class select_pack {
 public:
  using value = any_result<typename Ops::value_type...>;

  explicit select_pack(Ops&&... ops) noexcept : ops_{std::move(ops)...} {}

  void begin() noexcept {
    std::apply([this](Ops&... each) { cases_ = {select_access::as_case(each)...}; }, ops_);
  }
  void prepare(party& whose) noexcept {
    std::apply([&whose](Ops&... each) { (select_access::prepare(each, whose), ...); }, ops_);
  }
  [[nodiscard]] std::span<select_case> cases() noexcept { return cases_; }
  [[nodiscard]] std::span<select_lock> locks() noexcept { return locks_; }

  template <std::size_t Index = 0>
  [[nodiscard]] value take(std::size_t chosen, step how) {
    if constexpr (Index + 1 < sizeof...(Ops))
      if (chosen != Index) return take<Index + 1>(chosen, how);
    using variant = decltype(value::value);
    return {Index, variant{std::in_place_index<Index>, select_access::outcome(std::get<Index>(ops_), how)}};
  }

 private:
  std::tuple<Ops...> ops_;
  std::array<select_case, sizeof...(Ops)> cases_{};
  std::array<select_lock, sizeof...(Ops)> locks_{};
};

/// The operations of a select(), as many as there are, of one type.
template <class Op>
class select_list {
 public:
  using value = any_result_of<typename Op::value_type>;

  explicit select_list(std::vector<Op>&& ops) : ops_{std::move(ops)}, cases_{ops_.size()}, locks_{ops_.size()} {
    GYRE_ASSERT(!ops_.empty(), "a select of no cases would wait for ever");
  }

  void begin() noexcept {
    for (std::size_t index = 0; index < ops_.size(); ++index) cases_[index] = select_access::as_case(ops_[index]);
  }
  void prepare(party& whose) noexcept {
    for (Op& each : ops_) select_access::prepare(each, whose);
  }
  [[nodiscard]] std::span<select_case> cases() noexcept { return cases_; }
  [[nodiscard]] std::span<select_lock> locks() noexcept { return locks_; }
  [[nodiscard]] value take(std::size_t chosen, step how) { return {chosen, select_access::outcome(ops_[chosen], how)}; }

 private:
  std::vector<Op> ops_;
  std::vector<select_case> cases_;
  std::vector<select_lock> locks_;
};

/// What select() awaits. Cases: select_pack, select_list.
template <class Cases>
class [[nodiscard]] select_operation final {
 public:
  using gyre_awaitable = void;
  using value_type = typename Cases::value;

  explicit select_operation(Cases&& cases) noexcept : cases_{std::move(cases)} {}
  select_operation(select_operation&& other) noexcept : cases_{std::move(other.cases_)} {
    GYRE_ASSERT(!other.wait_, "a select stays where it was awaited");
  }
  select_operation& operator=(select_operation&&) = delete;

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    cases_.begin();
    if (!select_wait::is_undisturbed(awaiter) || !is_done_at_once()) return wait(awaiter);
    return gives_way_ ? give_way(awaiter) : false;
  }

  value_type await_resume() {
    if (wait_) wait_->resumed();
    return outcome();
  }

  /// For as_result().
  [[nodiscard]] result<value_type> await_result() {
    if (wait_) {
      if (const auto ended = wait_->resumed_with_result(); !ended) return ended.error();
    }
    return outcome();
  }

  /// For try_select(): one look, by whoever calls.
  [[nodiscard]] std::optional<value_type> look() {
    cases_.begin();
    if (!is_done_at_once()) return std::nullopt;
    return cases_.take(chosen_, how_);
  }

 private:
  bool is_done_at_once() noexcept {
    select_round round{cases_.cases(), cases_.locks()};
    how_ = round.run(nullptr);
    chosen_ = round.chosen();
    gives_way_ = round.gives_way();
    return how_ != step::must_wait;
  }

  template <class Promise>
  bool wait(std::coroutine_handle<Promise> awaiter) noexcept {
    select_wait& waiting = wait_.emplace(cases_.cases());
    if (!waiting.begin(awaiter)) return true;
    cases_.prepare(waiting);
    select_round round{cases_.cases(), cases_.locks()};
    how_ = round.run(&waiting);
    if (how_ == step::must_wait) return true;
    chosen_ = round.chosen();
    waiting.end_at_once();
    return false;
  }

  // Done, and yet it goes on in the next turn.
  template <class Promise>
  bool give_way(std::coroutine_handle<Promise> awaiter) noexcept {
    select_wait& waiting = wait_.emplace(cases_.cases());
    const bool begun = waiting.begin(awaiter);
    GYRE_ASSERT(begun, "a select that has done its case is not stopped");
    waiting.resume_next_turn();
    return true;
  }

  value_type outcome() {
    if (how_ == step::must_wait) {
      chosen_ = wait_->leave_others();
      how_ = cases_.cases()[chosen_].at->how;
    }
    return cases_.take(chosen_, how_);
  }

  Cases cases_;
  step how_ = step::must_wait;
  bool gives_way_ = false;
  std::size_t chosen_ = 0;
  std::optional<select_wait> wait_;  // only where it has to wait
};

}  // namespace detail

/// A send or a receive of a channel, not awaited yet.
template <class Op>
concept channel_operation = detail::is_channel_operation<std::remove_cvref_t<Op>>;

/// Waits until one of several sends and receives can be done, does that one, and none of the others.
///
///   auto [index, value] = co_await select(jobs.receive(), orders.receive(), log.send_from(line));
///   if (index == 0 && std::get<0>(value)) work_on(*std::get<0>(value));      // empty: `jobs` is closed
///
/// When several can be done, it is drawn by lot which: no channel starves. A channel that is closed counts as one where
/// something can be done, and says so each time: leave it out then.
///
/// @param ops     What receive(), send_from() and send() give, of any channels, also one channel twice. An item given
///                to send() goes with a select where it loses: in a select, send_from().
/// @return        co_await gives any_result: the index of the one that was done, from 0, and what it gives.
/// @errors        What the one that was done throws.
/// @cancellation  Safe: either one case is done and delivered, or none is. So is a deadline around it. In a scope that
///                is cancelled already none is.
/// @threads       As the channels'. Who waits is resumed on its own executor, in this turn of it or the next.
/// @limits        Takes the locks of all its channels together, for a few instructions a case; when it has waited, of
///                one after the other once more.
template <channel_operation... Ops>
  requires(sizeof...(Ops) > 0 && (!std::is_reference_v<Ops> && ...))
[[nodiscard]] detail::select_operation<detail::select_pack<Ops...>> select(Ops&&... ops) noexcept {
  return detail::select_operation{detail::select_pack<Ops...>{std::move(ops)...}};
}

/// The same for as many as there are, of one type.
///
/// @param ops  At least one.
/// @return     co_await gives any_result_of.
template <channel_operation Op>
[[nodiscard]] detail::select_operation<detail::select_list<Op>> select(std::vector<Op> ops) {
  return detail::select_operation{detail::select_list<Op>{std::move(ops)}};
}

/// Does one of several sends and receives if that needs no wait.
///
/// @return   What select() would give; empty when none could be done.
/// @threads  Any thread.
template <channel_operation... Ops>
  requires(sizeof...(Ops) > 0 && (!std::is_reference_v<Ops> && ...))
[[nodiscard]] auto try_select(Ops&&... ops) {
  return detail::select_operation{detail::select_pack<Ops...>{std::move(ops)...}}.look();
}

/// The same for as many as there are, of one type.
template <channel_operation Op>
[[nodiscard]] auto try_select(std::vector<Op> ops) {
  return detail::select_operation{detail::select_list<Op>{std::move(ops)}}.look();
}

}  // namespace gyre::sync
