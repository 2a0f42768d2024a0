// SPDX-License-Identifier: MIT
// An executor inside an asio::io_context: its descriptor as a stream_descriptor, its earliest timer as a steady_timer.
#pragma once

#include <gyre/runtime/embedded.hpp>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include <memory>
#include <system_error>

/// While it lives, io_context::run() on the executor's thread runs the executor as well, and does not return for lack
/// of Asio's own work.
///
/// Asio lets nobody look before it sleeps. So a handler of Asio's that starts, cancels or wakes something of gyre's
/// says so by wake(); executor::post() does that by itself, and so does everything in asio_interop.hpp.
///
/// @threads  One: the thread that made the executor runs the io_context, alone.
class gyre_in_asio {
 public:
  gyre_in_asio(asio::io_context& io, gyre::executor& loop) : io_{io}, inside_{loop}, readable_{io}, timer_{io} {
    readable_.assign(inside_.poll_fd());
    wait_for_descriptor();
    set_timer();
  }
  gyre_in_asio(const gyre_in_asio&) = delete;
  gyre_in_asio& operator=(const gyre_in_asio&) = delete;
  ~gyre_in_asio() { readable_.release(); }  // it is the executor's

  void wake() noexcept { inside_.wake(); }
  [[nodiscard]] gyre::executor& loop() const noexcept { return inside_.loop(); }
  [[nodiscard]] asio::io_context::executor_type get_executor() noexcept { return io_.get_executor(); }

 private:
  // A handler may be queued when this goes: it looks whether there is anybody before it touches anything.
  template <class Fn>
  auto unless_gone(Fn fn) {
    return [alive = std::weak_ptr{alive_}, fn](const std::error_code& error) {
      if (!error && !alive.expired()) fn();
    };
  }

  void run() {
    inside_.run_ready();
    set_timer();
  }

  // Ends the wait before it. A time that is past comes in its turn, behind what Asio has to do.
  void set_timer() {
    timer_.expires_at(inside_.next_wakeup());
    timer_.async_wait(unless_gone([this] { run(); }));
  }

  void wait_for_descriptor() {
    readable_.async_wait(asio::posix::stream_descriptor::wait_read, unless_gone([this] {
                           run();
                           wait_for_descriptor();
                         }));
  }

  asio::io_context& io_;
  gyre::embedded inside_;
  asio::posix::stream_descriptor readable_;
  asio::steady_timer timer_;
  std::shared_ptr<void> alive_ = std::make_shared<int>();
};
