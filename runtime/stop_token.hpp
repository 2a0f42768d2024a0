// SPDX-License-Identifier: MIT
// with_stop_token(): a scope that is cancelled when a std::stop_token is, from whatever thread.
//
// request_stop() runs the callback on its own thread, at any moment until the std::stop_callback has been destroyed;
// the scope is its executor's. So the callback posts a message, and the message must be able to arrive late: after the
// region has ended. It lives on the heap, belongs to one side at a time, and knows the scope as long as there is one.
//
//   posted   arrived  the region ends           the executor runs the message
//   no       no       and deletes it            –
//   yes      no       and takes its scope out   it cancels the scope, and has arrived: the region's end deletes it
//   yes      no, and no scope                   it deletes itself
//   yes      yes      and deletes it            –
//
// `posted` is written by the callback, before it posts, and read by the region's end, after the callback's destructor.
// That destructor waits for a callback that runs on another thread, and none begins after it: from there on nobody else
// writes, and everything that was written is seen. The rest is touched on the executor's thread only.
//
//   the request comes                          what happens
//   before the co_await                        the scope is cancelled as it opens; no callback, no message
//   while the callback is being registered     it runs there and then, on the executor's thread, and posts
//   while the task runs                        it posts; the next turn cancels
//   after the post, before the next turn       the region may end by itself: it takes its scope out of the message
//   while the region ends                      its end waits for the callback, then does the same
//   after the region's end                     there is no callback any more
//
// The callback's destructor also keeps the executor from going before post() has returned; and an executor runs what
// was posted to it before it is gone.
#pragma once

#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/detail/frame_pool.hpp>
#include <gyre/runtime/detail/runnable.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <utility>

namespace gyre {
namespace detail {

/// The message that a stop was requested: see above.
class stop_message final : public runnable {
 public:
  explicit stop_message(cancel_scope& scope) noexcept;

  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { deallocate_frame(memory, bytes); }

  /// From any thread, once.
  void post() noexcept;

  /// The region ends; nobody posts any more.
  static void release(stop_message* message) noexcept;

 private:
  static void run(runnable& self) noexcept;
  static const runnable_kind kind_of_message;

  gyre::executor& loop_;
  bool posted_ = false;  // written on the thread that requests the stop: see above

  // Touched on the executor's thread only.
  cancel_scope* scope_;  // null: the region has ended
  bool arrived_ = false;
};

/// Has a scope cancelled when a stop is requested, as long as it lives.
class stop_binding {
 public:
  /// Throws std::bad_alloc: then nothing is bound.
  void bind(const std::stop_token& token, cancel_scope& scope);

  /// Before the scope goes.
  void release() noexcept;

 private:
  struct posts {
    void operator()() const noexcept { message->post(); }
    stop_message* message;
  };

  stop_message* message_ = nullptr;
  std::optional<std::stop_callback<posts>> callback_;
};

/// Awaits a task in a scope that a stop token cancels.
template <class T>
class token_region final : public scoped_task<T> {
 public:
  token_region(std::stop_token&& token, task<T>&& body) noexcept
      : scoped_task<T>{cancel_scope::kind::plain, &ended}, token_{std::move(token)}, body_{std::move(body)} {}

  /// Before it is awaited.
  token_region(token_region&& other) noexcept : token_region{std::move(other.token_), std::move(other.body_)} {}

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    return this->begin_in_scope(awaiting, [this](cancel_scope& scope) {
      binding_.bind(token_, scope);
      return std::move(body_);
    });
  }

  auto await_resume() { return this->take_unless_stopped_here(); }

 private:
  static next_step ended(boundary& self, ending how) noexcept {
    auto& region = static_cast<token_region&>(static_cast<bounded_task<T>&>(self));
    region.binding_.release();
    return scoped_task<T>::body_ended(self, how);
  }

  std::stop_token token_;
  task<T> body_;
  stop_binding binding_;
};

}  // namespace detail

/// Runs a task, or anything else of gyre's that can be awaited, in a scope that is cancelled when a stop is requested
/// of `token`.
///
/// @param token   Of a std::stop_source, a std::jthread, or another library. One that cannot be stopped costs nothing.
/// @param body    The task. An operation is put into one.
/// @return        optional<T>, empty when the stop ended it, or a cancel of its scope by hand; for void, a bool:
///                whether it ran to its end. What crossed the stop is delivered.
/// @errors        What it throws; std::bad_alloc.
/// @cancellation  Absorbs the stop that the token asked for. One from the scope around goes on outwards.
/// @threads       Awaited on the executor's thread; the stop may be requested from any, at any time. It wakes the
///                executor if it sleeps, and arrives in the next turn that begins. request_stop() does not wait for it.
///                The region's end waits for a request_stop() that is in its callback: for the length of a post.
template <class T>
[[nodiscard]] detail::token_region<T> with_stop_token(std::stop_token token, task<T> body) noexcept {
  return detail::token_region<T>{std::move(token), std::move(body)};
}

template <detail::own_awaitable Awaitable>
[[nodiscard]] auto with_stop_token(std::stop_token token, Awaitable awaitable) {
  return with_stop_token(std::move(token), detail::as_task(std::move(awaitable)));
}

}  // namespace gyre
