// SPDX-License-Identifier: MIT
// Operations that the kernel runs one after the other, or alone, without the executor in between.
//
// co_await ops::link(ops::write(log, bytes), ops::fsync(log)): one submission, one wake-up, and the second begins in
// the kernel as soon as the first has ended well. How that is done, and every order in which it can be stopped:
// detail/chain.hpp.
#pragma once

#include <gyre/runtime/detail/chain.hpp>
#include <gyre/runtime/operation.hpp>

#include <array>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <tuple>
#include <utility>

namespace gyre::detail {

/// What a chain can be made of: operations that are one request each.
template <class Op>
concept linkable = std::derived_from<Op, operation> && !std::derived_from<Op, chain_of_several> &&
                   !requires { typename Op::gyre_composed; };

/// The operations of a chain, awaited as one.
template <class... Ops>
class linked_operations final : public chain_of_several {
 public:
  using value_type = std::tuple<decltype(std::declval<Ops&>().await_result())...>;

  linked_operations(links how, Ops&&... ops) noexcept
      : chain_of_several{how == links::soft ? link_kind : hard_link_kind, how}, ops_{std::move(ops)...} {}
  linked_operations(linked_operations&&) noexcept = default;  // before it is awaited
  ~linked_operations() {
    if (has_untaken()) static_cast<void>(results(std::index_sequence_for<Ops...>()));  // descriptors are closed
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    boundary& bound = bound_of(awaiter);
    start(awaiter, bound, members_, note_members(std::index_sequence_for<Ops...>()));
  }

  value_type await_resume() {
    end_chain();
    return results(std::index_sequence_for<Ops...>());
  }
  value_type await_result() { return await_resume(); }

  /// For ops::drain().
  void have_it_run_alone() noexcept { go_alone(); }

 private:
  // Returns one that has failed by itself.
  template <std::size_t... I>
  chain_member* note_members(std::index_sequence<I...>) noexcept {
    chain_member* failed = nullptr;
    ((members_[I].op = &std::get<I>(ops_)), ...);
    ((failed = failed == nullptr && std::get<I>(ops_).await_ready() ? &members_[I] : failed), ...);
    return failed;
  }

  template <std::size_t... I>
  value_type results(std::index_sequence<I...>) {
    return value_type{result_of(members_[I], std::get<I>(ops_))...};
  }

  std::tuple<Ops...> ops_;
  members_of<sizeof...(Ops)> members_;
};

/// An operation that runs alone, awaited as itself.
template <class Op>
class drained_operation final : public chain_of_several {
 public:
  using value_type = decltype(std::declval<Op&>().await_resume());

  explicit drained_operation(Op&& op) noexcept : chain_of_several{drain_kind, links::soft}, op_{std::move(op)} {
    go_alone();
  }
  drained_operation(drained_operation&&) noexcept = default;  // before it is awaited
  ~drained_operation() {
    if (has_untaken()) static_cast<void>(op_.await_result());  // a descriptor is closed
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    boundary& bound = bound_of(awaiter);
    members_[0].op = &op_;
    start(awaiter, bound, members_, op_.await_ready() ? &members_[0] : nullptr);
  }

  value_type await_resume() {
    end_chain();
    return op_.await_resume();
  }
  auto await_result() {
    end_chain();
    return op_.await_result();
  }

 private:
  Op op_;
  members_of<1> members_;
};

template <class... Ops>
constexpr void check_linkable() noexcept {
  static_assert(sizeof...(Ops) > 1, "a chain has at least two operations");
  static_assert((linkable<Ops> && ...),
                "a chain is made of operations that are one request each: no task, no stream, no deadline, no chain, "
                "and none that is several requests, such as ops::send_all. Await those one after the other");
}

}  // namespace gyre::detail

namespace gyre::ops {

/// Runs operations one after the other, each only if the one before it went well: the kernel begins the next without
/// the executor.
///
/// @param operations  Any of ops:: that are one request each; moved in. They begin in this order.
/// @return            co_await gives std::tuple<result<T>...>, one for each, and throws nothing: what each came to.
/// @errors            In each result, its own. Where one fails, or is cut short as a read or a write of fewer bytes
///                    than asked for, those after it never run: errc::link_broken. A recv or send of fewer is no break
///                    without MSG_WAITALL.
///                    argument_list_too_long   in the first: more of them than executor_options::sq_entries; none runs
///                    not_enough_memory        the kernel has none for this one and those after it: they never run
/// @cancellation      A stop cancels the one that runs, and so all after it; what has ended stays done, and its
///                    results are lost: descriptors among them are closed. When all of them have ended all the same,
///                    or one has failed before, the results are delivered. A stop that arrives as an error
///                    (stopped_as_error(), a coroutine of another library) and a deadline deliver them too:
///                    operation_canceled, or timed_out, in the one that ran, errc::link_broken in those after it.
/// @limits            Takes as many entries as it has members, side by side, and waits for so many to be free. Its
///                    deadline is always kept by the executor's timers. No allocation.
/// @source            io_uring_sqe_set_flags(3), IOSQE_IO_LINK. Linux 5.3.
template <class... Ops>
[[nodiscard]] auto link(Ops... operations) noexcept {
  gyre::detail::check_linkable<Ops...>();
  using gyre::detail::chain;
  return gyre::detail::linked_operations<Ops...>{chain::links::soft, std::move(operations)...};
}

/// Runs operations one after the other, however each ends: the kernel begins the next without the executor.
///
/// @param operations  As for link().
/// @return            As for link().
/// @errors            In each result, its own; errc::link_broken where the kernel refused to begin with one of them,
///                    such as for an opcode that it has not: then none runs. The others as for link().
/// @cancellation      As for link(), but that each is asked to stop when its turn comes: one that completes at once is
///                    done all the same, and its result is delivered where any are.
/// @limits            As for link().
/// @source            io_uring_sqe_set_flags(3), IOSQE_IO_HARDLINK. Linux 5.5.
template <class... Ops>
[[nodiscard]] auto hard_link(Ops... operations) noexcept {
  gyre::detail::check_linkable<Ops...>();
  using gyre::detail::chain;
  return gyre::detail::linked_operations<Ops...>{chain::links::hard, std::move(operations)...};
}

/// Runs an operation alone: it begins when every operation that began before it on this executor has ended, and those
/// that are awaited after it begin when it has ended.
///
/// For a barrier: all writes, whoever's, and then one fsync. Streams, sleeps, locks and deadlines are no operations,
/// and go on meanwhile.
///
/// @param op      Of one request, or a chain by link() or hard_link(); moved in.
/// @return        As the operation's.
/// @errors        As the operation's.
/// @cancellation  As the operation's, and at any time before it begins. Cancels of others pass it.
/// @limits        Not by IOSQE_IO_DRAIN, whose meaning it has but for two things: that would hold back cancels and the
///                executor's own requests as well, so that nothing could be stopped any more, and is refused once a
///                ring has had a request without a completion (Linux 6.18, -EOPNOTSUPP). An operation that is awaited
///                after it and that one before it waits for is a deadlock: a recv that a later send would end.
/// @source        io_uring_sqe_set_flags(3), IOSQE_IO_DRAIN. Linux 5.2.
template <gyre::detail::linkable Op>
[[nodiscard]] auto drain(Op op) noexcept {
  return gyre::detail::drained_operation<Op>{std::move(op)};
}
template <class... Ops>
[[nodiscard]] auto drain(gyre::detail::linked_operations<Ops...> together) noexcept {
  together.have_it_run_alone();
  return together;
}

}  // namespace gyre::ops
