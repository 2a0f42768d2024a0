// SPDX-License-Identifier: MIT
// A multishot request and what it has brought: what lies behind every stream of completions.
//
// It is no part of a frame, and lives until both are over: the stream that holds it, and the request that the kernel
// has. A stream that is destroyed while its request is in flight hands it to the executor: the request is cancelled,
// what still comes is thrown away, and the object is freed at the last completion. So the stream's destructor neither
// blocks nor dangles.
//
//   idle -> armed         a reader waits, and nothing is in store: wanted()
//   armed -> idle         a completion without F_MORE: an error, an overflow, the end, or a cancel. When a reader waits
//                         and nothing is in store it is wanted() anew
//   armed -> pausing      the store is_full(), and no reader is about to take from it: the request is cancelled; its
//                         end is nobody's error
//   armed, pausing -> orphaned   the stream was destroyed
//
// end() ends a stream under its reader, as what it reads from is about to be somebody else's: from then on the kernel
// is asked for nothing. What was in store is taken first, and then every next() is operation_canceled.
//
// What a multishot reads from may know it, in a multishot_list, and end it that way. It leaves the list by itself.
//
// A derived class says how the request is described, what a completion brings, and how it is kept. The reader is told
// when something was stored, whatever becomes of the request.
#pragma once

#include <gyre/runtime/detail/completion_handler.hpp>
#include <gyre/runtime/detail/waiter.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/result.hpp>

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <system_error>
#include <utility>

namespace gyre::detail {

class multishot_reader;
class multishot_list;

class multishot : public completion_handler {
 public:
  /// Whether there is something to take.
  [[nodiscard]] virtual bool has_result() const noexcept = 0;

  /// The reader hears of the next result.
  void wait(multishot_reader& reader) noexcept;

  /// The reader waits no more.
  void leave() noexcept;

  /// The reader is back.
  void reader_is_back() noexcept { reader_is_ready_ = false; }

  /// Asks for nothing more. The request that the kernel has is cancelled, and its reader is told when that has ended.
  void end() noexcept;

  /// Whether a reader has nothing to wait for.
  [[nodiscard]] bool is_ready() const noexcept { return has_result() || (has_ended_ && !armed_); }

  /// Whether it was ended, and all that had come was taken.
  [[nodiscard]] bool is_over() const noexcept { return has_ended_ && !has_result(); }

  /// The stream goes. `this` may no longer exist after it.
  void orphan() noexcept;

  /// What it is about, for diagnosis.
  virtual void describe(wait_details&) const noexcept {}

  [[nodiscard]] const waiter_kind& reader_kind() const noexcept { return reader_kind_; }

 protected:
  /// @param its_reader_kind  Made by multishot_reader::kind_named().
  multishot(const waiter_kind& its_reader_kind, prepare_fn on_submission) noexcept
      : completion_handler{&completed, on_submission}, reader_kind_{its_reader_kind} {}
  virtual ~multishot() = default;

  /// A completion: keeps what it brings. Returns whether that is anything for the reader.
  virtual bool store(std::int32_t res, std::uint32_t flags) noexcept = 0;

  /// A completion for nobody: gives back what it brings.
  virtual void discard(std::int32_t res, std::uint32_t flags) noexcept = 0;

  /// Gives back what is in store. Nothing is stored after it.
  virtual void clear() noexcept = 0;

  /// Whether enough is in store for a reader that is slow.
  [[nodiscard]] virtual bool is_full() const noexcept { return false; }

  /// A reader waits, nothing is in store, and the kernel has no request: to be armed, now or later.
  virtual void wanted() noexcept { arm(); }

  /// The reader waits no more; the kernel may have the request.
  virtual void unwanted() noexcept {}

  /// It was ended by end(). Whoever gives results to nobody then drops what is in store, and what still comes.
  virtual void ended() noexcept {}
  [[nodiscard]] bool has_ended() const noexcept { return has_ended_; }

  void arm() noexcept;
  [[nodiscard]] bool is_armed() const noexcept { return armed_; }

  /// In take().
  static void may_take(bool has_result) noexcept {
    GYRE_ASSERT(has_result, "one coroutine at a time takes the next of a stream: another one was faster");
  }

  [[nodiscard]] executor& loop() const noexcept { return *loop_; }

 private:
  friend multishot_list;
  static void completed(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept;
  void take_in(std::int32_t res, std::uint32_t flags) noexcept;
  void tell_reader() noexcept;
  void leave_list() noexcept;
  void pause() noexcept;
  void cancel() noexcept;

  const waiter_kind& reader_kind_;
  executor* loop_ = nullptr;  // from the first wait() on
  multishot_reader* reader_ = nullptr;
  bool reader_is_ready_ = false;  // it was told of a result, and has not taken it yet: it is not slow
  bool armed_ = false;
  bool pausing_ = false;
  bool has_ended_ = false;
  bool orphaned_ = false;
  multishot* next_known_ = nullptr;  // in a multishot_list
  multishot** known_at_ = nullptr;   // where that list has its pointer to it; null out of any list
};

/// Requests that end together. Owns none of them.
class multishot_list {
 public:
  multishot_list() noexcept = default;
  multishot_list(multishot_list&& other) noexcept { take(other); }
  multishot_list& operator=(multishot_list&& other) noexcept {
    if (this == &other) return *this;
    end_all();
    take(other);
    return *this;
  }
  ~multishot_list() { end_all(); }

  void add(multishot& request) noexcept;
  void end_all() noexcept {
    while (first_ != nullptr) end_first();
  }

 private:
  void end_first() noexcept;
  void take(multishot_list& other) noexcept;

  multishot* first_ = nullptr;
};

/// Hands a stream's request over when the stream goes: the deleter of its unique_ptr.
struct orphan_multishot {
  void operator()(multishot* request) const noexcept { request->orphan(); }
};

/// Awaits the next result.
class multishot_reader : public waiter {
 public:
  /// @param name  For diagnosis and error texts; a literal.
  static constexpr waiter_kind kind_named(const char* name) noexcept {
    return {{&multishot_reader::run_slowly}, &multishot_reader::cancel_waiting, name, &multishot_reader::describe};
  }

  [[nodiscard]] bool await_ready() const noexcept { return from_->is_ready(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (begin(awaiter)) [[likely]]
      from_->wait(*this);
  }

 protected:
  explicit multishot_reader(multishot& from) noexcept : waiter{from.reader_kind()}, from_{&from} {}
  multishot_reader(multishot_reader&& other) noexcept : waiter{other.from_->reader_kind(), other}, from_{other.from_} {}
  ~multishot_reader() = default;

  [[nodiscard]] multishot& from() const noexcept { return *from_; }

 private:
  friend class multishot;
  static void cancel_waiting(waiter& self) noexcept;
  static void describe(const waiter& self, wait_details& told) noexcept;

  multishot* from_;
};

/// The same with results of a type.
template <class T>
class multishot_of : public multishot {
 public:
  /// The oldest result in store. There must be one: it asserts that, by may_take().
  [[nodiscard]] virtual result<T> take() noexcept = 0;

 protected:
  using multishot::multishot;
};

template <class T>
class [[nodiscard]] next_of_multishot final : public multishot_reader {
 public:
  explicit next_of_multishot(multishot_of<T>& from) noexcept : multishot_reader{from} {}

  T await_resume() {
    auto taken = await_result();
    if (!taken) [[unlikely]]
      throw std::system_error{taken.error(), name()};
    return std::move(*taken);
  }
  [[nodiscard]] result<T> await_result() {
    end_wait();
    if (was_stopped()) return errno_code(ECANCELED);
    from().reader_is_back();
    if (from().is_over()) [[unlikely]]
      return errno_code(ECANCELED);
    return static_cast<multishot_of<T>&>(from()).take();
  }
};

}  // namespace gyre::detail
