// SPDX-License-Identifier: MIT
// A queue that coroutines and threads hand items through, and wait at: channel<T>.
//
// A channel is bounded, a rendezvous (capacity 0), or unbounded where that is asked for by name. Any number of senders
// and receivers use it at once, on any executors and threads, in the order in which they came:
//
//   there is                 send() then             receive() then
//   nothing, nobody          puts the item in        waits
//   a receiver that waits    hands the item over     waits behind it
//   room                     puts the item in        takes the first
//   no room                  waits                   takes the first; the first sender's item goes in
//   an end: closed           gives the item back     takes what is left; then gives nothing
//
// What needs not wait does not suspend, and takes no lock that another thread could hold as long as one thread uses the
// channel alone (detail/biased_lock.hpp). An item is moved straight into the receiver that waits for it, which is then
// put into its executor's ready queue, or posted to its executor; nobody is resumed inside a call. How waits are
// granted and cancelled: detail/channel_base.hpp.
//
//   order                                   the receiver                  the item
//   an item is handed over, then a cancel   is resumed with the item      is delivered
//   a cancel, then an item                  is stopped                    goes to the next, or into the channel
//
//   order                                   the sender                    the item
//   it is taken, then a cancel              is resumed: it was sent       is delivered
//   a cancel, then a receiver               is stopped: it was not sent   stays with the sender: see send_from()
//
// Not the type to use: for one thing that happens once, an event; for a value of which the latest alone counts, watch;
// for items that everybody gets, broadcast; for items of one producer that works while somebody reads, stream; for a
// number of permits, semaphore.
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/sync/detail/biased_lock.hpp>
#include <gyre/sync/detail/channel_base.hpp>
#include <gyre/sync/detail/filled.hpp>
#include <gyre/sync/detail/item_ring.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace gyre::sync {

template <class T>
class channel;

/// Asks for a channel without a bound: `channel<T> jobs{gyre::sync::unbounded};`
struct unbounded_t {
  explicit unbounded_t() = default;
};
inline constexpr unbounded_t unbounded{};

/// What came of a send(): true when the item was sent. Otherwise the channel is closed, and the item is in here.
template <class T>
class [[nodiscard]] send_result {
 public:
  /// Whether the item was sent.
  [[nodiscard]] explicit operator bool() const noexcept { return !unsent_; }

  /// The item, when it was not sent.
  [[nodiscard]] T take_back() && {
    GYRE_ASSERT(unsent_.has_value(), "an item that was sent is not taken back");
    if constexpr (detail::moves_safely<T>) return std::move(*unsent_);
    else return std::move((*unsent_)->value);
  }

 private:
  template <class>
  friend class send_operation;
  send_result() noexcept = default;
  explicit send_result(detail::parcel<T>&& unsent) noexcept : unsent_{std::move(unsent)} {}

  std::optional<detail::parcel<T>> unsent_;
};

namespace detail {

class select_access;

/// One co_await of a channel. `Self` has attempt(woken), to be called under the lock, queue(), item(), and outcome().
template <class Self, class T, class Value>
class channel_operation {
 public:
  using gyre_awaitable = void;
  using value_type = Value;

  channel_operation& operator=(channel_operation&&) = delete;

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (!channel_wait::is_undisturbed(awaiter) || !is_done_at_once()) [[unlikely]]
      return wait(awaiter);
    return gives_way_ ? give_way(awaiter) : false;
  }

  Value await_resume() {
    if (wait_) [[unlikely]]
      wait_->resumed();
    return self().outcome();
  }

  /// For as_result().
  [[nodiscard]] result<Value> await_result() {
    if (wait_) {
      if (const auto ended = wait_->resumed_with_result(); !ended) return ended.error();
    }
    return self().outcome_as_result();
  }

 protected:
  friend class select_access;
  explicit channel_operation(channel<T>& of) noexcept : channel_{&of} {}
  channel_operation(channel_operation&& other) noexcept : channel_{other.channel_} {
    GYRE_ASSERT(!other.wait_, "a send or a receive stays where it was awaited");
  }
  ~channel_operation() = default;

  result<Value> outcome_as_result() { return self().outcome(); }

  // How it went: at once, or as who granted it says.
  [[nodiscard]] step ended_as() const noexcept { return how_ == step::must_wait ? place_.how : how_; }

  channel<T>* channel_;

 private:
  Self& self() noexcept { return static_cast<Self&>(*this); }

  [[gnu::always_inline]] bool is_done_at_once() noexcept {
    party* woken = nullptr;
    {
      const holding held{channel_->lock_};
      how_ = self().attempt(woken);
      if (how_ == step::must_wait) return false;
      gives_way_ = channel_->is_time_to_give_way();
    }
    if (woken != nullptr) woken->wake();
    return true;
  }

  template <class Promise>
  [[gnu::noinline]] bool wait(std::coroutine_handle<Promise> awaiter) noexcept {
    channel_wait& waiting = wait_.emplace(Self::kind(), *channel_, place_);
    if (!waiting.begin(awaiter)) return true;
    party* woken = nullptr;
    {
      const holding held{channel_->lock_};
      how_ = self().attempt(woken);
      if (how_ == step::must_wait) {
        place_.item = self().item();
        self().queue().push_back(place_);
        return true;
      }
    }
    waiting.end_at_once();
    if (woken != nullptr) woken->wake();
    return false;
  }

  // Done, and yet it goes on in the next turn.
  template <class Promise>
  [[gnu::noinline]] bool give_way(std::coroutine_handle<Promise> awaiter) noexcept {
    channel_wait& waiting = wait_.emplace(Self::kind(), *channel_, place_);
    const bool begun = waiting.begin(awaiter);
    GYRE_ASSERT(begun, "what has been sent or received is not stopped");
    waiting.resume_next_turn();
    return true;
  }

  step how_;  // set by await_suspend()
  bool gives_way_;
  place place_;
  std::optional<channel_wait> wait_;  // only where it has to wait
};

}  // namespace detail

/// The wait of channel::receive().
template <class T>
class [[nodiscard]] receive_operation final
    : public detail::channel_operation<receive_operation<T>, T, std::optional<T>> {
  using base = detail::channel_operation<receive_operation<T>, T, std::optional<T>>;

 public:
  receive_operation(receive_operation&&) noexcept = default;

 private:
  friend base;
  friend class detail::select_access;
  friend channel<T>;
  explicit receive_operation(channel<T>& of) noexcept : base{of} {}

  static const suspension_kind& kind() noexcept { return detail::channel_wait::kind_of_receive; }
  detail::place_queue& queue() noexcept { return this->channel_->receivers_; }
  void* item() noexcept { return &item_; }
  detail::step attempt(detail::party*& woken) noexcept { return this->channel_->take(item_, woken); }
  std::optional<T> outcome() { return this->channel_->unwrap(std::move(item_)); }
  result<std::optional<T>> outcome_as_result() {
    if constexpr (detail::moves_safely<T>) return outcome();
    else return detail::filled<T>([this](std::optional<T>& to) { this->channel_->unwrap_to(to, std::move(item_)); });
  }

  std::optional<detail::parcel<T>> item_;
};

/// The wait of channel::send().
template <class T>
class [[nodiscard]] send_operation final : public detail::channel_operation<send_operation<T>, T, send_result<T>> {
  using base = detail::channel_operation<send_operation<T>, T, send_result<T>>;

 public:
  send_operation(send_operation&&) noexcept = default;

 private:
  friend base;
  friend class detail::select_access;
  friend channel<T>;
  send_operation(channel<T>& to, T&& value) noexcept(detail::moves_safely<T>)
      : base{to}, item_{detail::wrap(std::move(value))} {}

  static const suspension_kind& kind() noexcept { return detail::channel_wait::kind_of_send; }
  detail::place_queue& queue() noexcept { return this->channel_->senders_; }
  void* item() noexcept { return &item_; }
  detail::step attempt(detail::party*& woken) noexcept { return this->channel_->give(item_, woken); }

  send_result<T> outcome() {
    switch (this->ended_as()) {
      case detail::step::done:
        return {};
      case detail::step::no_memory:
        throw std::bad_alloc{};
      default:
        return send_result<T>{std::move(item_)};
    }
  }

  detail::parcel<T> item_;
};

/// The wait of channel::send_from().
template <class T>
class [[nodiscard]] send_from_operation final : public detail::channel_operation<send_from_operation<T>, T, bool> {
  using base = detail::channel_operation<send_from_operation<T>, T, bool>;

 public:
  send_from_operation(send_from_operation&&) noexcept = default;

 private:
  friend base;
  friend class detail::select_access;
  friend channel<T>;
  send_from_operation(channel<T>& to, T& item) noexcept : base{to}, item_{&item} {}

  static const suspension_kind& kind() noexcept { return detail::channel_wait::kind_of_send; }
  detail::place_queue& queue() noexcept { return this->channel_->senders_; }
  void* item() noexcept { return item_; }
  detail::step attempt(detail::party*& woken) noexcept { return this->channel_->give(*item_, woken); }

  bool outcome() {
    if (this->ended_as() == detail::step::no_memory) throw std::bad_alloc{};
    return this->ended_as() == detail::step::done;
  }

  T* item_;
};

/// A queue of items that many send into and many receive from, with an end.
///
///   while (auto job = co_await jobs.receive()) work_on(*job);                        // any number of coroutines
///   if (!co_await jobs.send(std::move(job))) co_return;                              // nobody takes it any more
///
/// First in, first out: items in the order in which they were sent, senders and receivers that wait in the order in
/// which they came. Who waits is served before who comes later.
///
/// @threads  All of it is open to all threads, and to coroutines of all executors. Who waits is resumed on its own
///           executor, in this turn of it or the next. The channel stays where it is, and outlives all calls; nobody
///           may wait when it is destroyed, which an assertion checks. What is in it then is destroyed.
/// @limits   T is an object type that can be moved. Its move runs under the channel's lock: it must not use the
///           channel, and is better short: put large things behind a pointer. Where moving a T can throw, each item is
///           boxed, which is an allocation; nothing else allocates for an item.
template <class T>
class channel : public detail::channel_base {
  static_assert(std::is_object_v<T> && std::move_constructible<T>, "a channel carries objects that can be moved");

 public:
  using value_type = T;

  /// A channel of `capacity` items, for which memory is taken here.
  ///
  /// @param capacity  How many items may lie in it with nobody waiting for them. 0: none, each is handed from sender to
  ///                  receiver. A small one evens out bursts; a large one only hides that receivers are too slow.
  /// @errors          std::bad_alloc.
  explicit channel(std::size_t capacity) : ring_{capacity, detail::item_ring<T>::room::fixed} {}

  /// A channel without a bound: no send waits. For senders that are limited by something else: whoever can send faster
  /// than others receive will use up all memory.
  explicit channel(unbounded_t) : ring_{0, detail::item_ring<T>::room::grows} {}

  /// Sends an item; waits until there is room for it, or somebody who takes it.
  ///
  /// @return        co_await gives a send_result: true when it was sent. False when the channel is closed, before or
  ///                while it waited; then the result holds the item: take_back().
  /// @errors        What moving a T throws, from send() itself: nothing was sent. std::bad_alloc when an unbounded
  ///                channel cannot grow.
  /// @cancellation  Safe: the item was sent, and is delivered, or it was not, and never will be. A send that is
  ///                stopped, or that a deadline ends, was not; its item goes with it. To keep it, send_from(). A send
  ///                whose item was taken when the stop came goes on as sent. In a scope that is cancelled already it
  ///                ends stopped, also where there is room.
  /// @limits        One in 255 of those that need not wait goes to the end of the ready queue, so that neither others
  ///                nor a stop wait for ever. The same holds for receive().
  [[nodiscard]] send_operation<T> send(T value) noexcept(detail::moves_safely<T>) {
    return send_operation<T>{*this, std::move(value)};
  }

  /// The same, of an item that stays the caller's until it is sent: for sends with a deadline, and in select().
  ///
  /// @param item    Moved from when it is sent, and only then. Nobody else touches it until the co_await has ended.
  /// @return        co_await gives true when it was sent, false when the channel is closed.
  /// @errors        std::bad_alloc when an unbounded channel cannot grow.
  /// @cancellation  As send(): after a stop or a deadline the item is there, and was not sent.
  [[nodiscard]] send_from_operation<T> send_from(T& item) noexcept
    requires detail::moves_safely<T>
  {
    return send_from_operation<T>{*this, item};
  }

  /// Takes the first item; waits until there is one.
  ///
  /// @return        co_await gives std::optional<T>: empty when the channel is closed and nothing is left in it.
  /// @errors        What moving a T throws: the item is then first in the channel, as it was.
  /// @cancellation  Safe: no item is lost. One that was handed over when the stop or the deadline came is delivered. In
  ///                when_any() a loser that had just been given one drops it: there, select(). In a scope that is
  ///                cancelled already it ends stopped, also where there are items.
  /// @limits        As send().
  [[nodiscard]] receive_operation<T> receive() noexcept { return receive_operation<T>{*this}; }

  /// Sends an item if that needs no wait.
  ///
  /// @param item    Moved from when it is sent, and only then.
  /// @return        Whether it was sent. If not, there was no room and nobody who waits, or the channel is closed.
  /// @errors        What moving a T throws, std::bad_alloc: nothing was sent.
  [[nodiscard]] bool try_send(T&& item)
    requires(detail::moves_safely<T> || std::is_move_assignable_v<T>)
  {
    detail::party* woken = nullptr;
    detail::step how = detail::step::must_wait;
    {
      const detail::holding held{lock_};
      if constexpr (detail::moves_safely<T>) how = give(item, woken);
      else how = give_boxed(std::move(item), woken);
    }
    if (woken != nullptr) woken->wake();
    if (how == detail::step::no_memory) throw std::bad_alloc{};
    return how == detail::step::done;
  }

  /// The same with a copy.
  [[nodiscard]] bool try_send(const T& item)
    requires(std::copy_constructible<T> && (detail::moves_safely<T> || std::is_move_assignable_v<T>))
  {
    return try_send(T{item});
  }

  /// Takes the first item if there is one, or if somebody waits to send.
  ///
  /// @return        Empty when there is none; whether there will be, closed() says.
  /// @errors        What moving a T throws: the item is then first in the channel, as it was.
  [[nodiscard]] std::optional<T> try_receive() {
    std::optional<detail::parcel<T>> item;
    detail::party* woken = nullptr;
    {
      const detail::holding held{lock_};
      static_cast<void>(take(item, woken));
    }
    if (woken != nullptr) woken->wake();
    return unwrap(std::move(item));
  }

  /// send() for a thread: blocks it where a coroutine would wait.
  ///
  /// @return   Whether it was sent; false when the channel is closed. `item` is moved from when it was, and only then.
  /// @errors   As try_send().
  /// @threads  Not in a turn of an executor, which it would stop: that is asserted.
  [[nodiscard]] bool send_blocking(T&& item)
    requires detail::moves_safely<T>
  {
    detail::blocked_thread::check_that_it_may();
    detail::place mine;
    mine.item = &item;
    const auto how = block([&](detail::party*& woken) noexcept { return give(item, woken); }, senders_, mine);
    if (how == detail::step::no_memory) throw std::bad_alloc{};
    return how == detail::step::done;
  }

  /// receive() for a thread: blocks it where a coroutine would wait.
  ///
  /// @return   The first item; empty when the channel is closed and nothing is left in it.
  /// @errors   As receive().
  /// @threads  As send_blocking().
  [[nodiscard]] std::optional<T> receive_blocking() {
    detail::blocked_thread::check_that_it_may();
    std::optional<detail::parcel<T>> item;
    detail::place mine;
    mine.item = &item;
    block([&](detail::party*& woken) noexcept { return take(item, woken); }, receivers_, mine);
    return unwrap(std::move(item));
  }

  /// The items as a stream, to its end when the channel is closed and nothing is left in it.
  ///
  /// @cancellation  A stop takes the stream down where it waits, and no item with it.
  [[nodiscard]] stream<T> items() {
    while (auto item = co_await receive()) co_yield std::move(*item);
  }

  /// Says that nothing more will come: senders that wait get their items back, receivers that wait get nothing.
  ///
  /// What is in the channel can still be received. A second close() does nothing.
  ///
  /// @threads  Any thread. Runs nothing inline: who waited is resumed by its executor.
  void close() noexcept { channel_base::close(); }

  /// Whether close() was called. There may be items left.
  [[nodiscard]] bool closed() const noexcept { return channel_base::closed(); }

  /// How many items are in it now; those of senders that wait do not count.
  [[nodiscard]] std::size_t size() const noexcept {
    const detail::holding held{lock_};
    return ring_.size();
  }

  /// How many there is room for; the largest number there is for an unbounded channel.
  [[nodiscard]] std::size_t capacity() const noexcept { return ring_.capacity(); }

 private:
  template <class, class, class>
  friend class detail::channel_operation;
  friend receive_operation<T>;
  friend send_operation<T>;
  friend send_from_operation<T>;

  using parcel = detail::parcel<T>;

  // All under the lock. Whom they set `woken` to is woken after it.

  detail::step give(parcel& given, detail::party*& woken) noexcept {
    if (closed_) [[unlikely]]
      return detail::step::closed;
    if (hand_over(given, woken)) return detail::step::done;
    if (!ring_.has_room()) return ring_.grows() ? detail::step::no_memory : detail::step::must_wait;
    ring_.push_back(std::move(given));
    return detail::step::done;
  }

  // Whether somebody waits for it.
  bool hand_over(parcel& given, detail::party*& woken) noexcept {
    detail::place* const receiver = receivers_.pop_claimed();
    if (receiver == nullptr) return false;
    ring_.note_leaving(given);
    static_cast<std::optional<parcel>*>(receiver->item)->emplace(std::move(given));
    receiver->how = detail::step::done;
    woken = receiver->whose;
    return true;
  }

  // Boxes it only when it will be sent: but for a receiver that somebody else can have claimed by now.
  detail::step give_boxed(T&& given, detail::party*& woken) {
    if (closed_) return detail::step::closed;
    if (receivers_.empty() && !ring_.has_room())
      return ring_.grows() ? detail::step::no_memory : detail::step::must_wait;
    parcel boxed = detail::wrap(std::move(given));
    const detail::step how = give(boxed, woken);
    if (how != detail::step::done) given = std::move(boxed->value);
    return how;
  }

  detail::step take(std::optional<parcel>& taker, detail::party*& woken) noexcept {
    if (ring_.empty()) return take_from_sender(taker, woken);
    ring_.pop_front_into(taker);
    if (senders_.empty() || !ring_.has_room()) return detail::step::done;  // no room: it was one that had come back
    if (detail::place* const sender = senders_.pop_claimed()) {
      ring_.push_back(std::move(*static_cast<parcel*>(sender->item)));
      sender->how = detail::step::done;
      woken = sender->whose;
    }
    return detail::step::done;
  }

  detail::step take_from_sender(std::optional<parcel>& taker, detail::party*& woken) noexcept {
    detail::place* const sender = senders_.pop_claimed();
    if (sender == nullptr) return closed_ ? detail::step::closed : detail::step::must_wait;
    auto& sent = *static_cast<parcel*>(sender->item);
    ring_.note_leaving(sent);
    taker.emplace(std::move(sent));
    sender->how = detail::step::done;
    woken = sender->whose;
    return detail::step::done;
  }

  // Not under the lock: the last move of an item, to whoever asked for it.
  std::optional<T> unwrap(std::optional<parcel>&& taken) noexcept(detail::moves_safely<T>) {
    if constexpr (detail::moves_safely<T>) {
      return std::move(taken);
    } else {
      std::optional<T> item;
      unwrap_to(item, std::move(taken));
      return item;
    }
  }

  void unwrap_to(std::optional<T>& item, std::optional<parcel>&& taken) {
    if (!taken) return;
    try {
      item.emplace(std::move((*taken)->value));
    } catch (...) {
      take_back(std::move(*taken));
      throw;
    }
  }

  void take_back(parcel&& returning) noexcept {
    detail::party* woken = nullptr;
    {
      const detail::holding held{lock_};
      if (!hand_over(returning, woken)) ring_.come_back(std::move(returning));
    }
    if (woken != nullptr) woken->wake();
  }

  template <class Attempt>
  detail::step block(Attempt attempt, detail::place_queue& side, detail::place& mine) {
    detail::blocked_thread waiting{mine};
    detail::party* woken = nullptr;
    detail::step how = detail::step::must_wait;
    {
      const detail::holding held{lock_};
      how = attempt(woken);
      if (how == detail::step::must_wait) side.push_back(mine);
    }
    if (woken != nullptr) woken->wake();
    if (how != detail::step::must_wait) return how;
    waiting.block();
    return mine.how;
  }

  detail::item_ring<T> ring_;
};

}  // namespace gyre::sync
