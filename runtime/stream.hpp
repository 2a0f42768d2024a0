// SPDX-License-Identifier: MIT
// A coroutine that gives items one after another, and may wait in between: stream<T>.
//
//   idle     not begun, or suspended at a co_yield; the item lies in its frame
//   running  a next() is awaited: the coroutine runs, or waits for something
//   ended    it has returned, or thrown; the frame is destroyed, and so are its arguments
//   gone     a stop has destroyed it where it waited
//
//   idle -> running    next(), by symmetric transfer; a second next() meanwhile is refused by an assertion
//   running -> idle    co_yield, by symmetric transfer to who awaits
//   running -> ended   co_return: an empty item; an exception: it is rethrown by that next()
//   running -> gone    the scope of who awaits was cancelled; who awaits is unwound as well, behind it
//
// A stream has no scope of its own: between two items it does nothing, and while it runs it is in the scope of who
// awaits next(), executor and all. So a co_yield never stands inside an open scope or group, whose cancel would then
// reach into code that is not inside. Nothing is in flight while it is idle, which is why its destructor needs no wait;
// destroyed while it runs, it is stopped by an assertion.
//
// An item is not copied on its way: it stays where the coroutine made it until next() moves it out. Nothing is
// allocated but the frame, once. Operators on streams: stream_ops.hpp.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/promise_base.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/task.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre {

template <class T>
class stream;

namespace detail {

/// The end of a co_yield: whoever awaits next() goes on.
class item_hand_over {
 public:
  item_hand_over() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> yielding) const noexcept {
    return std::exchange(yielding.promise().continuation, nullptr);
  }
  void await_resume() const noexcept {}
};

/// The same for an item that the coroutine keeps: gives a copy.
template <class T>
class copy_hand_over : public item_hand_over {
 public:
  explicit copy_hand_over(const T& item) : copy_{item} {}
  copy_hand_over(const copy_hand_over&) = delete;
  copy_hand_over& operator=(const copy_hand_over&) = delete;

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> yielding) noexcept {
    yielding.promise().item = std::addressof(copy_);
    return item_hand_over::await_suspend(yielding);
  }

 private:
  T copy_;
};

template <class T>
class stream_promise final : public coroutine_promise {
 public:
  stream<T> get_return_object() noexcept;
  void return_void() noexcept {}
  void unhandled_exception() noexcept { error = std::current_exception(); }

  item_hand_over yield_value(T&& given) noexcept {
    item = std::addressof(given);
    return item_hand_over{};
  }
  copy_hand_over<T> yield_value(const T& given)
    requires(!std::is_reference_v<T> && std::copy_constructible<T>)
  {
    return copy_hand_over<T>{given};
  }

  std::remove_reference_t<T>* item = nullptr;  // in the frame; valid at a co_yield
  std::exception_ptr error;
};

/// Awaits the next item of a stream.
template <class T>
class next_of_stream {
 public:
  using gyre_awaitable = void;

  explicit next_of_stream(stream<T>& from) noexcept : from_{&from} {}

  bool await_ready() const noexcept { return !from_->frame; }

  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    static_assert(gyre_promise<Promise>,
                  "a coroutine of another library cannot await next() itself: let a gyre task do it, and await that");
    return from_->begin_next(awaiting, *awaiting.promise().bound);
  }

  auto await_resume() { return from_->take(); }

 private:
  stream<T>* from_;
};

}  // namespace detail

/// A coroutine that gives any number of items with co_yield, and may await whatever a task may.
///
///   while (auto item = co_await numbers.next()) use(*item);
///
/// Lazy: it runs while a next() is awaited, and not between.
///
/// @errors        An exception that leaves the body is rethrown by the next() that is awaited then; after that the
///                stream is at its end.
/// @cancellation  Runs in the scope of who awaits next(). A stop that finds it waiting takes it down together with who
///                awaits; so does a deadline around a next(). After that, next() throws operation_canceled.
/// @threads       Runs on the executor of who awaits next(). While nobody does, it can be moved to another thread.
/// @limits        T is an object type that can be moved, or a reference; not over-aligned.
template <class T>
class [[nodiscard]] stream : detail::frame_slot {
 public:
  using promise_type = detail::stream_promise<T>;
  using value_type = T;

  /// What next() gives: the item, or nothing at the end. A stream of references gives pointers.
  using item = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, std::optional<T>>;

  /// The other one is at its end then.
  stream(stream&& other) noexcept : frame_slot{other.release()}, ended_{std::exchange(other.ended_, true)} {}
  stream& operator=(stream&& other) noexcept {
    if (this != &other) {
      destroy();
      frame = other.release();
      ended_ = std::exchange(other.ended_, true);
    }
    return *this;
  }

  /// Destroys the coroutine where it stands, at the beginning or at a co_yield.
  ~stream() { destroy(); }

  /// Runs the coroutine to its next co_yield, or to its end. One at a time.
  ///
  /// @return        co_await gives std::optional<T>, empty at the end, and from then on. A stream of references gives a
  ///                pointer, null at the end; what it points to stays until the next next().
  /// @errors        What leaves the coroutine; then it is at its end.
  ///                operation_canceled   a stop or a deadline took the coroutine down, in this next() or an earlier one
  /// @cancellation  Takes the stream down where it waits. To give up on one item without that, let with_merged() await
  ///                the stream: stream_ops.hpp.
  [[nodiscard]] detail::next_of_stream<T> next() noexcept { return detail::next_of_stream<T>{*this}; }

 private:
  friend promise_type;
  friend detail::next_of_stream<T>;
  explicit stream(std::coroutine_handle<promise_type> coroutine) noexcept : frame_slot{coroutine} {}

  promise_type& promise() const noexcept {
    return std::coroutine_handle<promise_type>::from_address(frame.address()).promise();
  }
  [[nodiscard]] bool runs() const noexcept { return frame && promise().continuation; }

  std::coroutine_handle<> begin_next(std::coroutine_handle<> awaiting, detail::boundary& bound) noexcept {
    GYRE_ASSERT(!runs(), "a stream's next() is awaited by one coroutine at a time");
    promise_type& resumed = promise();
    resumed.continuation = awaiting;
    resumed.slot = this;
    resumed.bound = &bound;
    return frame;
  }

  item take() {
    if (frame && !frame.done()) [[likely]] {
      if constexpr (std::is_reference_v<T>) return promise().item;
      else return item{std::move(*promise().item)};
    }
    return end();
  }

  // At the end and ever after.
  item end() {
    if (!frame && !ended_) detail::throw_errno(ECANCELED, "stream");
    const std::exception_ptr error = frame ? std::move(promise().error) : nullptr;
    if (frame) std::exchange(frame, nullptr).destroy();
    ended_ = true;
    if (error) std::rethrow_exception(error);
    return item{};
  }

  std::coroutine_handle<> release() noexcept {
    GYRE_ASSERT(!runs(), "a stream stays where it is while its next() is awaited");
    return std::exchange(frame, nullptr);
  }

  void destroy() noexcept {
    GYRE_ASSERT(!runs(), "a stream was destroyed while its next() is awaited");
    if (frame) frame.destroy();
  }

  bool ended_ = false;  // without a frame: true at the end, false when a stop took it down
};

namespace detail {

template <class T>
stream<T> stream_promise<T>::get_return_object() noexcept {
  static_assert(alignof(stream_promise) <= 2 * alignof(void*), "a stream's item is not over-aligned");
  const auto mine = std::coroutine_handle<stream_promise>::from_promise(*this);
  GYRE_ASSERT(&promise_of(mine) == this, "the promise lies where promise_of() looks for it");
  return stream<T>{mine};
}

}  // namespace detail
}  // namespace gyre
