// SPDX-License-Identifier: MIT
// Asio and gyre await each other, on one thread: embed_asio.hpp has the two in one loop.
//
//   co_await async_gyre(inside, some_task(), asio::use_awaitable)    a gyre task, as an operation of Asio's
//   co_await socket.async_read_some(buffer, use_gyre)                an operation of Asio's, in a gyre task
//
// Values and exceptions cross. So does a stop, both ways: Asio's cancellation cancels the scope of the task, and what
// is stopped is operation_aborted there; a gyre scope that is cancelled emits Asio's cancellation signal, waits until
// the operation has let go of its memory, and then unwinds.
//
// A gyre task is resumed in turns of its executor and nowhere else, an Asio handler by its io_context and nowhere else:
// neither runs inside a call of the other's.
#pragma once

#include "embed_asio.hpp"

#include <gyre/runtime/root_task.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/runtime/task.hpp>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

// ---------------------------------------------------------------------------------------- a gyre task, awaited in Asio

namespace asio_interop {

template <class T>
struct completion {
  using signature = void(std::exception_ptr, T);
};
template <>
struct completion<void> {
  using signature = void(std::exception_ptr);
};

/// A root task that tells a handler of Asio's when it has ended. Owns itself until then.
template <class Handler, class T>
class task_in_asio {
 public:
  static void start(gyre_in_asio& inside, gyre::task<T> body, Handler handler) {
    auto made = std::make_unique<task_in_asio>(inside, std::move(handler));
    auto* const self = made.get();
    self->root_.emplace(inside.loop(), self->run(std::move(body)));
    auto slot = asio::get_associated_cancellation_slot(self->handler_);
    if (slot.is_connected()) slot.assign([self](asio::cancellation_type) { self->cancel(); });
    inside.wake();
    made.release();  // NOLINT(bugprone-unused-return-value): complete() has it
  }

  task_in_asio(gyre_in_asio& its_loop, Handler its_handler) : inside_{its_loop}, handler_{std::move(its_handler)} {}

 private:
  using value_or_nothing = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  // Its end is told also where it is unwound. The root task has ended when Asio comes to it: that is after the turn.
  gyre::task<> run(gyre::task<T> body) {
    struct on_leaving {
      task_in_asio& ended;
      ~on_leaving() {
        asio::post(ended.inside_.get_executor(), [self = &ended] { complete(std::unique_ptr<task_in_asio>{self}); });
      }
    } const last{*this};
    std::exception_ptr thrown;
    try {
      if constexpr (std::is_void_v<T>) {
        co_await std::move(body);
      } else {
        T value = co_await std::move(body);
        value_.emplace(std::move(value));
      }
    } catch (...) {
      thrown = std::current_exception();
    }
    error_ = thrown;
  }

  void cancel() {
    root_->cancel("Asio has cancelled it");
    inside_.wake();
  }

  // The handler's own memory is given back before it is called, as Asio has it.
  static void complete(std::unique_ptr<task_in_asio> ended) {
    asio::get_associated_cancellation_slot(ended->handler_).clear();
    auto executor = asio::get_associated_executor(ended->handler_, ended->inside_.get_executor());
    asio::dispatch(executor, [handler = std::move(ended->handler_), error = std::move(ended->error_),
                              value = std::move(ended->value_), gone = std::move(ended)]() mutable {
      gone.reset();
      if constexpr (std::is_void_v<T>) std::move(handler)(std::move(error));
      else std::move(handler)(std::move(error), value ? std::move(*value) : T{});
    });
  }

  gyre_in_asio& inside_;
  Handler handler_;
  std::optional<gyre::root_task<void>> root_;
  std::optional<value_or_nothing> value_;
  // What it is if nobody writes it: the task was stopped.
  std::exception_ptr error_ = std::make_exception_ptr(std::system_error{asio::error::operation_aborted});
};

}  // namespace asio_interop

/// Runs a gyre task as an operation of Asio's.
///
/// @tparam T      Can be made of nothing, and moved: as for asio::co_spawn().
/// @param inside  Stays until it has ended.
/// @param token   Any completion token: asio::use_awaitable, use_future, a handler. It is told std::exception_ptr and,
///                unless that is void, a T, which is T{} where there is an error.
/// @errors        What the task throws; std::system_error with asio::error::operation_aborted where it was stopped.
/// @cancellation  Each sort of Asio's cancels the scope of the task. It ends when the task has.
/// @threads       That of `inside`.
template <class T, class Token>
auto async_gyre(gyre_in_asio& inside, gyre::task<T> body, Token&& token) {
  return asio::async_initiate<Token, typename asio_interop::completion<T>::signature>(
      [&inside](auto handler, gyre::task<T> started) {
        asio_interop::task_in_asio<decltype(handler), T>::start(inside, std::move(started), std::move(handler));
      },
      token, std::move(body));
}

// ----------------------------------------------------------------------------- an operation of Asio's, awaited in gyre

namespace asio_interop {

inline void value_of_rest() {}
template <class T>
T value_of_rest(T value) {
  return value;
}
template <class First, class Second, class... Rest>
std::tuple<First, Second, Rest...> value_of_rest(First first, Second second, Rest... rest) {
  return {std::move(first), std::move(second), std::move(rest)...};
}

/// What a handler is told, as what a coroutine is given.
template <class... Told>
auto value_of(Told... told) {
  return value_of_rest(std::move(told)...);
}
template <class... Rest>
auto value_of(std::error_code error, Rest... rest) {
  if (error) throw std::system_error{error};
  return value_of_rest(std::move(rest)...);
}
template <class... Rest>
auto value_of(std::exception_ptr error, Rest... rest) {
  if (error) std::rethrow_exception(error);
  return value_of_rest(std::move(rest)...);
}

/// Whether it says that it was cancelled.
template <class... Told>
bool was_aborted(const Told&...) {
  return false;
}
template <class... Rest>
bool was_aborted(const std::error_code& error, const Rest&...) {
  return error == asio::error::operation_aborted;
}
template <class... Rest>
bool was_aborted(const std::exception_ptr& error, const Rest&...) {
  if (!error) return false;
  try {
    std::rethrow_exception(error);
  } catch (const std::system_error& thrown) {
    return thrown.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

template <class Signature, class Initiate>
class operation;

/// What `use_gyre` makes of an operation of Asio's. It begins when it is awaited.
template <class... Told, class Initiate>
class [[nodiscard]] operation<void(Told...), Initiate> final : public gyre::suspension {
 public:
  explicit operation(Initiate initiate) : suspension{kind}, initiate_{std::move(initiate)} {}
  operation(operation&& other) noexcept : suspension{std::move(other)}, initiate_{std::move(other.initiate_)} {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (!begin(awaiter)) return true;
    try {
      initiate_(handler{this});
      return true;
    } catch (...) {
      thrown_ = std::current_exception();
    }
    end_at_once();
    return false;
  }

  auto await_resume() {
    resumed();
    if (thrown_) std::rethrow_exception(thrown_);
    return std::apply([](auto&... each) { return value_of(std::move(each)...); }, *told_);
  }

 private:
  // What Asio calls, once, in its own time. The coroutine goes on in a turn of its executor.
  struct handler {
    using cancellation_slot_type = asio::cancellation_slot;
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return waiting->cancel_.slot(); }

    void operator()(Told... told) {
      waiting->told_.emplace(std::move(told)...);
      waiting->resume_from_any_thread();  // it may be gone after this line
    }

    operation* waiting;
  };

  // Its scope was cancelled: Asio is asked to end it, and has its memory until it has said so.
  static bool withdraw(gyre::suspension& self) noexcept {
    auto& mine = static_cast<operation&>(self);
    if (mine.told_) return false;
    mine.cancel_asked_ = true;
    mine.cancel_.emit(asio::cancellation_type::terminal);
    return false;
  }

  // What it was told before the cancel came counts; what the cancel has ended is stopped.
  static bool arrived(gyre::suspension& self) noexcept {
    auto& mine = static_cast<operation&>(self);
    if (!mine.cancel_asked_ || !std::apply([](auto&... each) { return was_aborted(each...); }, *mine.told_))
      return true;
    mine.wait_again();  // in a scope that is cancelled: it is queued as stopped
    return false;
  }

  static constexpr gyre::suspension_kind kind{"an operation of Asio's", &operation::withdraw, &operation::arrived};

  Initiate initiate_;
  asio::cancellation_signal cancel_;
  std::optional<std::tuple<std::decay_t<Told>...>> told_;
  std::exception_ptr thrown_;
  bool cancel_asked_ = false;
};

}  // namespace asio_interop

/// A completion token: `co_await` in a gyre task gives what the operation gives, or throws its error.
///
/// @return        What comes behind the error: nothing, a value, or a std::tuple.
/// @errors        std::system_error of the operation's error_code, or its exception.
/// @cancellation  Emits the operation's cancellation signal (terminal), and waits until it has ended. What it brought
///                all the same is delivered.
/// @threads       One: the io_context is run by the executor's thread, as in gyre_in_asio.
struct use_gyre_t {};
inline constexpr use_gyre_t use_gyre{};

template <class... Told>
class asio::async_result<use_gyre_t, void(Told...)> {
 public:
  template <class Initiation, class... Arguments>
  static auto initiate(Initiation&& initiation, use_gyre_t, Arguments&&... arguments) {
    auto begin = [initiation = std::forward<Initiation>(initiation),
                  arguments = std::tuple<std::decay_t<Arguments>...>{std::forward<Arguments>(arguments)...}](
                     auto handler) mutable {
      const auto call = [&](auto&... each) { std::move(initiation)(std::move(handler), std::move(each)...); };
      std::apply(call, arguments);
    };
    return asio_interop::operation<void(Told...), decltype(begin)>{std::move(begin)};
  }
};
