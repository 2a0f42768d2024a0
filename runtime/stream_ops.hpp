// SPDX-License-Identifier: MIT
// What can be done with streams: map(), filter(), take(), and with_merged(), which reads several at once.
//
// They take whatever is read like a stream: next() gives something that is empty at the end. An rvalue is moved in; an
// lvalue is referred to, and outlives what is made of it.
//
// map(), filter() and take() are streams themselves, run only while their next() is awaited, and look no further than
// they must: a take() that has given its last item does not ask for another.
//
// Reading several streams at once takes coroutines that run while nobody reads: each waits for its source's next item.
// Something has to wait for them, so with_merged() is no stream but a region, like a task group; in it each source has
// a child that reads it, and the body reads from a meeting point:
//
//   a child: reading -> offering -> reading …     an item waits in the child's frame until the body takes it
//   the body: awaits next() -> given an item      by a child that offers, the longest first; or by the next to offer
//
// So no more than one item of each source waits, and nothing is allocated for it. A next() of the meeting point that is
// stopped, or timed out, has taken no item: the sources are not concerned.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace detail {

template <class Source>
using next_of = awaited_t<decltype(std::declval<Source&>().next())>;

/// An item as it is handed on: moved out of an optional, referred to through a pointer.
template <class Next>
decltype(auto) item_in(Next& next) {
  if constexpr (std::is_pointer_v<Next>) return *next;
  else return std::move(*next);
}

}  // namespace detail

/// What is read like a stream: `while (auto item = co_await s.next()) use(*item);`.
template <class Source>
concept stream_like = requires(detail::next_of<Source>& next) {
  static_cast<bool>(next);
  *next;
};

namespace detail {

/// The items of a source: a reference where it gives pointers.
template <class Source>
using item_of = std::conditional_t<std::is_pointer_v<next_of<Source>>, decltype(*std::declval<next_of<Source>&>()),
                                   std::remove_cvref_t<decltype(*std::declval<next_of<Source>&>())>>;

template <class T>
struct value_or_awaited {
  using type = std::remove_cvref_t<T>;
};
template <class T>
struct value_or_awaited<task<T>> {
  using type = std::remove_cvref_t<T>;
};

/// What `fn(item)` gives, or what the task gives that it returns.
template <class Fn, class Item>
using given_by = typename value_or_awaited<std::invoke_result_t<Fn&, Item>>::type;

template <class Source>
using handed_on = decltype(item_in(std::declval<next_of<Source>&>()));

template <class Source, class Fn, class T = given_by<Fn, handed_on<Source>>>
stream<T> mapped(Source source, Fn fn) {
  while (auto next = co_await for_caller(source.next())) {
    if constexpr (is_task<std::invoke_result_t<Fn&, handed_on<Source>>>)
      co_yield co_await for_caller(fn(item_in(next)));
    else co_yield T(fn(item_in(next)));
  }
}

template <class Source, class Fn>
stream<item_of<Source>> filtered(Source source, Fn fits) {
  while (auto next = co_await for_caller(source.next())) {
    bool taken = false;
    if constexpr (is_task<std::invoke_result_t<Fn&, const item_of<Source>&>>)
      taken = co_await for_caller(fits(std::as_const(*next)));
    else taken = static_cast<bool>(fits(std::as_const(*next)));
    if (taken) co_yield item_in(next);
  }
}

template <class Source>
stream<item_of<Source>> first_items(Source source, std::size_t count) {
  for (std::size_t left = count; left > 0; --left) {
    auto next = co_await for_caller(source.next());
    if (!next) co_return;
    co_yield item_in(next);
  }
}

}  // namespace detail

/// A stream of `fn(item)` for each item.
///
/// @param fn  Called with each item, as an rvalue where the source gives values. Returns what takes its place, or a
///            task that gives it. Lives as long as the stream, captures and all.
template <class Source, class Fn>
  requires stream_like<std::remove_cvref_t<Source>> && std::move_constructible<Fn>
[[nodiscard]] auto map(Source&& source, Fn fn) {
  return detail::mapped<Source, Fn>(std::forward<Source>(source), std::move(fn));
}

/// A stream of those items for which `fits(item)` is true.
///
/// @param fits  Called with a const reference to each item; returns a bool, or a task that gives one. Lives as long as
///              the stream, captures and all.
template <class Source, class Fn>
  requires stream_like<std::remove_cvref_t<Source>> && std::move_constructible<Fn>
[[nodiscard]] auto filter(Source&& source, Fn fits) {
  return detail::filtered<Source, Fn>(std::forward<Source>(source), std::move(fits));
}

/// A stream of the first `count` items, or of fewer if there are no more.
template <class Source>
  requires stream_like<std::remove_cvref_t<Source>>
[[nodiscard]] auto take(Source&& source, std::size_t count) {
  return detail::first_items<Source>(std::forward<Source>(source), count);
}

template <class T>
class merged;

namespace detail {

/// A wait for the other side of a meeting point: one that offers an item, or one that takes one.
class meeting_wait : public waiter, public ring_links {
 protected:
  meeting_wait() noexcept : waiter{kind_of_meeting} {}
  /// Of one that is moved before it is awaited.
  meeting_wait(const meeting_wait& other) noexcept : waiter{kind_of_meeting, other}, ring_links{} {}
  meeting_wait& operator=(const meeting_wait&) = delete;

  /// The other side has come: the coroutine goes on soon.
  void meet() noexcept {
    unlink();
    settle(/*as_stopped=*/false);
  }

  /// The first thing that await_resume() does. Returns whether a stop is to be told as an error.
  [[nodiscard]] bool has_heard_of_stop() noexcept;
  /// The same; throws it.
  void end_meeting();

 private:
  static void cancel_waiting(waiter& self) noexcept;
  static const waiter_kind kind_of_meeting;
};

template <class T>
class merging;

/// Awaits the next item of merged streams.
template <class T>
class [[nodiscard]] next_of_merged final : public meeting_wait {
 public:
  explicit next_of_merged(merged<T>& from) noexcept : from_{&from} {}
  next_of_merged(next_of_merged&& other) noexcept : meeting_wait{other}, from_{other.from_} {}

  bool await_ready() { return from_->take_offered(item_) || from_->is_over(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) from_->readers_.push_back(*this);
  }
  std::optional<T> await_resume() {
    end_meeting();
    return std::move(item_);
  }
  [[nodiscard]] result<std::optional<T>> await_result() {
    if (has_heard_of_stop()) return errno_code(ECANCELED);
    return std::move(item_);
  }

 private:
  friend merged<T>;
  merged<T>* from_;
  std::optional<T> item_;
};

/// Awaits that somebody takes an item.
template <class T>
class [[nodiscard]] item_offer final : public meeting_wait {
 public:
  item_offer(merged<T>& to, T& item) noexcept : to_{to}, item_{item} {}

  bool await_ready() { return to_.give(item_); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) to_.offers_.push_back(*this);
  }
  void await_resume() { end_meeting(); }

 private:
  friend merged<T>;
  merged<T>& to_;
  T& item_;
};

}  // namespace detail

/// The items of several streams, in the order in which they come: what with_merged() gives to its body.
template <class T>
class merged {
 public:
  merged(const merged&) = delete;
  merged& operator=(const merged&) = delete;

  /// Waits for the next item of any source. Several coroutines may do so; the one that began first is first served.
  ///
  /// @return        co_await gives std::optional<T>, empty when all sources have ended; also when a stop or a failure
  ///                ended them, which a shield() keeps from the reader.
  /// @cancellation  Safe: an item that has come stays for the next next().
  [[nodiscard]] detail::next_of_merged<T> next() noexcept { return detail::next_of_merged<T>{*this}; }

 private:
  friend detail::next_of_merged<T>;
  friend detail::item_offer<T>;
  friend detail::merging<T>;
  explicit merged(std::size_t sources_count) noexcept : sources_count_{sources_count} {}
  ~merged() { GYRE_ASSERT(readers_.empty() && offers_.empty(), "somebody waits at merged streams that are gone"); }

  [[nodiscard]] bool is_over() const noexcept { return sources_count_ == 0; }

  // Takes the item that waits longest. Its child goes on soon.
  bool take_offered(std::optional<T>& to) {
    detail::item_offer<T>* const oldest = offers_.front();
    if (oldest == nullptr) return false;
    to.emplace(std::move(oldest->item_));
    oldest->meet();
    return true;
  }

  // Gives an item to who waits longest.
  bool give(T& item) {
    detail::next_of_merged<T>* const oldest = readers_.front();
    if (oldest == nullptr) return false;
    oldest->item_.emplace(std::move(item));
    oldest->meet();
    return true;
  }

  void source_ended() noexcept {
    if (--sources_count_ > 0) return;
    while (detail::next_of_merged<T>* const waiting = readers_.front()) waiting->meet();
  }

  detail::intrusive_ring<detail::next_of_merged<T>> readers_;
  detail::intrusive_ring<detail::item_offer<T>> offers_;
  std::size_t sources_count_;  // that have not ended
};

namespace detail {

/// The meeting point, and the children that bring their sources' items to it.
template <class T>
class merging {
 public:
  explicit merging(std::size_t sources_count) noexcept : items_{sources_count} {}

  [[nodiscard]] merged<T>& items() noexcept { return items_; }

  /// The task that brings the items of `source`.
  template <class Source>
  [[nodiscard]] task<> bring_all(Source& source) {
    return bring_to(reading{&items_}, source);
  }

 private:
  struct tells_end {
    void operator()(merged<T>* items) const noexcept { items->source_ended(); }
  };
  // Held in a child's frame, which may be destroyed where it waits, or before it has begun. A reader whom the stop does
  // not reach (shield()) would wait for ever for a source that is gone.
  using reading = std::unique_ptr<merged<T>, tells_end>;

  template <class Source>
  static task<> bring_to(reading items, Source& source) {
    while (auto next = co_await for_caller(source.next())) co_await for_caller(item_offer<T>{*items, *next});
  }

  merged<T> items_;
};

template <class Source>
concept mergeable = stream_like<Source> && !std::is_pointer_v<next_of<Source>>;

}  // namespace detail

/// Reads several streams at once: runs `body(items)`, and beside it a child for each source that waits for its items.
///
/// Returns when the body has. The sources are then stopped where they wait, waited for, and destroyed; items that were
/// not taken go with them.
///
/// @param sources       Streams, or what is read like one, of values: an item that is referred to would not stay.
/// @param body          Takes merged<T>& and returns task<>. Lives until all have ended, captures and all.
/// @errors              The first exception that leaves a source or the body: it stops all the others.
/// @cancellation        Stops the body and the sources, and waits for them.
/// @limits              No more than one item of each source is kept.
template <detail::mergeable Source, class Fn>
  requires std::same_as<std::invoke_result_t<Fn&, merged<detail::item_of<Source>>&>, task<>>
[[nodiscard]] task<> with_merged(std::vector<Source> sources, Fn body) {
  detail::merging<detail::item_of<Source>> all{sources.size()};
  co_await with_task_group([&](task_group& group) -> task<> {
    for (Source& each : sources) group.start(all.bring_all(each));
    co_await detail::for_caller(body(all.items()));
    group.cancel();
  });
}

/// The same for two sources that may be of different types, with items of one.
template <detail::mergeable A, detail::mergeable B, class Fn>
  requires std::same_as<detail::item_of<A>, detail::item_of<B>> &&
           std::same_as<std::invoke_result_t<Fn&, merged<detail::item_of<A>>&>, task<>>
[[nodiscard]] task<> with_merged(A a, B b, Fn body) {
  detail::merging<detail::item_of<A>> all{2};
  co_await with_task_group([&](task_group& group) -> task<> {
    group.start(all.bring_all(a));
    group.start(all.bring_all(b));
    co_await detail::for_caller(body(all.items()));
    group.cancel();
  });
}

}  // namespace gyre
