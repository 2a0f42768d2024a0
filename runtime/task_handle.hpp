// SPDX-License-Identifier: MIT
// The result of a task in a group, for whoever awaits it: task_group::start_with_result().
//
// Child and handle share a node that neither outlives alone: the child until it has ended, the handle until it has
// taken the result or is destroyed. The group, which may close before the handle goes, takes itself out of the nodes
// that are left. All of it happens on the executor's thread.
//
//   child      handle          what becomes of a value    of an exception
//   runs       awaits          – it is resumed with it    – it is thrown there
//   ended      awaits later    it is given at once        it is thrown there
//   runs       is destroyed    dropped at the child's end the group's error policy, at the child's end
//   ended      is destroyed    dropped                    the group's error policy; logged when the group has closed
#pragma once

#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace gyre {

class task_group;

namespace detail {

class task_handle_base;

/// The part of the node that does not depend on the result's type.
class result_child_base : public runnable, public ring_links {
 public:
  [[nodiscard]] bool has_ended() const noexcept { return state_ != state::runs; }
  [[nodiscard]] bool stopped() const noexcept { return state_ == state::stopped; }

  /// Who is resumed when the child ends; null for nobody.
  void resume_at_end(task_handle_base* awaiting) noexcept { awaiting_ = awaiting; }

  /// The group has closed: every child has ended.
  void forget_group() noexcept {
    group_ = nullptr;
    unlink();
  }

 protected:
  result_child_base(const runnable_kind& its_kind, task_group& group) noexcept;
  ~result_child_base() { unlink(); }

  [[nodiscard]] cancel_scope& group_scope() const noexcept;

  /// The child has ended, and the handle does not wait for it: what an exception does now.
  void failed(std::exception_ptr error) noexcept;

  /// The child has ended: tells who awaits it.
  void note_end(ending how) noexcept;

  /// The last that a child does in its group; returns what follows.
  static next_step leave(task_group& group) noexcept;

  task_group* group_;
  bool handle_gone_ = false;

 private:
  enum class state : std::uint8_t { runs, ended, stopped };
  task_handle_base* awaiting_ = nullptr;
  state state_ = state::runs;
};

template <class T>
class result_child final : public result_child_base, bounded_task<T> {
 public:
  result_child(task_group& group, task<T>&& body) noexcept
      : result_child_base{kind_of_child, group}, bounded_task<T>{std::move(body), &body_ended} {}

  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { deallocate_frame(memory, bytes); }

  /// The handle takes the result, and with it the node. Throws what the child threw, or operation_canceled.
  static T take(result_child* ended) {
    const deletes owner{ended};
    if (ended->stopped()) throw_errno(ECANCELED, "a task of a group");
    return ended->take_result();
  }

  /// The handle goes without a look at the result.
  static void release(result_child* child) noexcept {
    child->handle_gone_ = true;
    if (child->has_ended()) drop(child);
  }

 private:
  struct deletes {
    explicit deletes(result_child* owned) noexcept : child{owned} {}
    deletes(const deletes&) = delete;
    deletes& operator=(const deletes&) = delete;
    ~deletes() { delete child; }
    result_child* child;
  };

  static void run(runnable& self) noexcept {
    auto& queued = static_cast<result_child&>(static_cast<result_child_base&>(self));
    if (!queued.group_scope().stop_requested()) return queued.begin(queued.group_scope()).resume();
    std::exchange(queued.frame, nullptr).destroy();
    follow(queued.end(ending::stopped)).resume();
  }

  static next_step body_ended(boundary& self, ending how) noexcept {
    auto& running = static_cast<result_child&>(static_cast<bounded_task<T>&>(self));
    running.leave_scope();
    return running.end(how);
  }

  next_step end(ending how) noexcept {
    task_group& group = *group_;
    note_end(how);
    if (handle_gone_) drop(this);
    return leave(group);
  }

  static void drop(result_child* child) noexcept {
    const deletes owner{child};
    if (child->stopped()) return;
    try {
      static_cast<void>(child->take_result());
    } catch (...) {
      child->failed(std::current_exception());
    }
  }

  static constexpr runnable_kind kind_of_child{&result_child::run};
};

/// The wait of a handle.
class task_handle_base : public waiter {
 protected:
  task_handle_base() noexcept : waiter{kind_of_handle} {}
  task_handle_base(task_handle_base&& other) noexcept : waiter{kind_of_handle, other} {}
  ~task_handle_base() = default;

  template <class Promise>
  void await_end(std::coroutine_handle<Promise> awaiter, result_child_base& child) noexcept {
    child_ = &child;
    if (begin(awaiter)) child.resume_at_end(this);
  }

 private:
  friend result_child_base;
  static void cancel_waiting(waiter& self) noexcept;
  static const waiter_kind kind_of_handle;
  result_child_base* child_ = nullptr;  // set while it waits
};

}  // namespace detail

/// What start_with_result() gives: co_await it, once, for the result of the task that was started.
///
/// It can be moved until it is awaited, and destroyed at any time but while it is awaited: the task goes on as a child
/// of its group. It may outlive the group.
///
///   auto left = group.start_with_result(sum(first_half));
///   const int right = co_await sum(second_half);
///   co_return right + co_await left;
///
/// @return        co_await gives the value of the task.
/// @errors        The task's exception, which is this one's then and no longer the group's; operation_canceled when the
///                task was stopped, and who awaits it was not. An exception that nobody awaited goes to the group's
///                error policy when the handle is destroyed, or when the task ends after that; when the group has
///                closed by then, it is logged.
/// @cancellation  Safe; at once. The task goes on: cancel its group, or a scope inside it.
/// @threads       The executor's thread.
template <class T>
class [[nodiscard]] task_handle final : public detail::task_handle_base {
 public:
  task_handle(task_handle&& other) noexcept
      : task_handle_base{std::move(other)}, child_{std::exchange(other.child_, nullptr)} {}
  ~task_handle() {
    if (child_ != nullptr) detail::result_child<T>::release(child_);
  }

  /// Whether the task has ended, so that a co_await gives its result at once.
  [[nodiscard]] bool done() const noexcept { return child().has_ended(); }

  bool await_ready() const noexcept { return done(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    await_end(awaiter, child());
  }
  T await_resume() {
    end_wait();
    if (was_stopped()) [[unlikely]]
      detail::throw_errno(ECANCELED, name());
    return detail::result_child<T>::take(std::exchange(child_, nullptr));
  }

 private:
  friend task_group;
  explicit task_handle(detail::result_child<T>* child) noexcept : child_{child} {}

  detail::result_child<T>& child() const noexcept {
    GYRE_ASSERT(child_ != nullptr, "a task's handle is awaited once: this one was awaited or moved from before");
    return *child_;
  }

  detail::result_child<T>* child_;
};

}  // namespace gyre
