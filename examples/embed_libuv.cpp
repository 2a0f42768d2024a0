// SPDX-License-Identifier: MIT
// Two echo servers on one thread: one is libuv's, the other is gyre's, inside libuv's loop.
//
//   embed_libuv        then, elsewhere: nc 127.0.0.1 PORT, with either of the ports that it says
//
// `gyre_in_libuv` is all that there is between the two, and can be copied into any program that has uv_run(). Ctrl-C
// ends both.
#include <gyre/runtime/embedded.hpp>

#include "embedded_echo.hpp"

#include <netinet/in.h>
#include <signal.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

void check(int result, const char* what) {
  if (result < 0) throw std::runtime_error{std::string{what} + ": " + ::uv_strerror(result)};
}

template <class Handle>
uv_handle_t* as_handle(Handle& handle) {
  return reinterpret_cast<uv_handle_t*>(&handle);
}

/// An executor in a loop of libuv's: its descriptor as a uv_poll_t, its earliest timer as a uv_timer_t. libuv runs
/// uv_prepare_t right before it sleeps, so that what any callback has started or cancelled is seen without a word.
class gyre_in_libuv {
 public:
  gyre_in_libuv(uv_loop_t& uv, gyre::executor& loop) : inside_{loop} {
    check(::uv_poll_init(&uv, &readable_, inside_.poll_fd()), "uv_poll_init");
    check(::uv_timer_init(&uv, &timer_), "uv_timer_init");
    check(::uv_prepare_init(&uv, &before_sleep_), "uv_prepare_init");
    readable_.data = timer_.data = before_sleep_.data = this;
    check(::uv_poll_start(&readable_, UV_READABLE, [](uv_poll_t* handle, int, int) { run(handle->data); }),
          "uv_poll_start");
    check(::uv_prepare_start(&before_sleep_, [](uv_prepare_t* handle) { set_timer(handle->data); }),
          "uv_prepare_start");
  }
  gyre_in_libuv(const gyre_in_libuv&) = delete;
  gyre_in_libuv& operator=(const gyre_in_libuv&) = delete;

  /// Takes it out of the loop, which may end then. It stays until uv_run() has returned.
  void close() {
    ::uv_close(as_handle(readable_), nullptr);
    ::uv_close(as_handle(timer_), nullptr);
    ::uv_close(as_handle(before_sleep_), nullptr);
  }

 private:
  static void run(void* self) { static_cast<gyre_in_libuv*>(self)->inside_.run_ready(); }

  // A time of zero is over at once: libuv does not sleep then, and runs the timer in its next round. Its clock is that
  // of the round's beginning, so that the timer may come early; then it is set once more.
  static void set_timer(void* self) {
    auto& mine = *static_cast<gyre_in_libuv*>(self);
    const int left = mine.inside_.next_wakeup_ms();
    if (left < 0) ::uv_timer_stop(&mine.timer_);
    else ::uv_timer_start(&mine.timer_, [](uv_timer_t* handle) { run(handle->data); }, static_cast<unsigned>(left), 0);
  }

  gyre::embedded inside_;
  uv_poll_t readable_{};
  uv_timer_t timer_{};
  uv_prepare_t before_sleep_{};
};

// libuv's half: callbacks. A client is freed when its handle is closed.
struct uv_client {
  uv_tcp_t stream{};
  uv_write_t write{};
  char bytes[4096]{};
};

void close_client(uv_client& leaving) {
  if (::uv_is_closing(as_handle(leaving.stream)) != 0) return;
  ::uv_close(as_handle(leaving.stream), [](uv_handle_t* closed) { delete static_cast<uv_client*>(closed->data); });
}

void read_on(uv_client& from);

// What has come is sent back before more is read.
void send_back(uv_client& to, std::size_t count) {
  uv_buf_t sent = ::uv_buf_init(to.bytes, static_cast<unsigned>(count));
  ::uv_read_stop(reinterpret_cast<uv_stream_t*>(&to.stream));
  to.write.data = &to;
  const int error =
      ::uv_write(&to.write, reinterpret_cast<uv_stream_t*>(&to.stream), &sent, 1, [](uv_write_t* written, int status) {
        auto& client = *static_cast<uv_client*>(written->data);
        if (status < 0) close_client(client);
        else read_on(client);
      });
  if (error < 0) close_client(to);
}

void read_on(uv_client& from) {
  const int error = ::uv_read_start(
      reinterpret_cast<uv_stream_t*>(&from.stream),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* into) {
        auto& client = *static_cast<uv_client*>(handle->data);
        *into = ::uv_buf_init(client.bytes, sizeof client.bytes);
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        auto& client = *static_cast<uv_client*>(stream->data);
        if (count < 0) close_client(client);
        else if (count > 0) send_back(client, static_cast<std::size_t>(count));
      });
  if (error < 0) close_client(from);
}

void accept_client(uv_stream_t* listener, int status) {
  if (status < 0) return;
  auto* const client = new uv_client;  // until its handle is closed: close_client()
  client->stream.data = client;
  if (::uv_tcp_init(listener->loop, &client->stream) < 0) {
    delete client;
    return;
  }
  if (::uv_accept(listener, reinterpret_cast<uv_stream_t*>(&client->stream)) < 0) close_client(*client);
  else read_on(*client);
}

std::uint16_t listen(uv_loop_t& uv, uv_tcp_t& listener) {
  sockaddr_in bound{};
  int size = sizeof bound;
  check(::uv_ip4_addr("127.0.0.1", 0, &bound), "uv_ip4_addr");
  check(::uv_tcp_init(&uv, &listener), "uv_tcp_init");
  check(::uv_tcp_bind(&listener, reinterpret_cast<const sockaddr*>(&bound), 0), "uv_tcp_bind");
  check(::uv_listen(reinterpret_cast<uv_stream_t*>(&listener), SOMAXCONN, &accept_client), "uv_listen");
  check(::uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&bound), &size), "uv_tcp_getsockname");
  return ntohs(bound.sin_port);
}

// Everything of libuv's but gyre's handles, which are closed when gyre has ended.
void close_others(uv_loop_t& uv) {
  ::uv_walk(
      &uv,
      [](uv_handle_t* each, void*) {
        if (::uv_is_closing(each) != 0) return;
        if (each->type == UV_SIGNAL) ::uv_close(each, nullptr);
        if (each->type != UV_TCP) return;
        if (each->data != nullptr) close_client(*static_cast<uv_client*>(each->data));
        else ::uv_close(each, nullptr);
      },
      nullptr);
}

gyre::task<> serve_and_leave(gyre::net::tcp_listener listener, gyre_in_libuv& inside) {
  struct on_leaving {
    gyre_in_libuv& left;
    ~on_leaving() { left.close(); }
  } const last{inside};
  co_await embedded_echo::serve(std::move(listener));
}

void serve_both() {
  uv_loop_t& uv = *::uv_default_loop();
  uv_tcp_t listener{};
  const std::uint16_t port = listen(uv, listener);
  uv_signal_t interrupt{};
  check(::uv_signal_init(&uv, &interrupt), "uv_signal_init");
  const auto stop = [](uv_signal_t* handle, int) {
    static_cast<gyre::root_task<void>*>(handle->data)->cancel();
    close_others(*handle->loop);
  };
  check(::uv_signal_start(&interrupt, stop, SIGINT), "uv_signal_start");

  gyre::executor loop;
  gyre_in_libuv inside{uv, loop};
  auto served = loop.start(serve_and_leave(embedded_echo::listen(port), inside));
  interrupt.data = &served;       // libuv calls nobody before uv_run()
  ::uv_run(&uv, UV_RUN_DEFAULT);  // until nobody has a handle left
  check(::uv_loop_close(&uv), "uv_loop_close");
}

}  // namespace

int main() {
  try {
    serve_both();
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "embed_libuv: %s\n", error.what()), 1;
  }
}
