// SPDX-License-Identifier: MIT
// Two echo servers on one thread: one is Asio's, the other is gyre's, inside Asio's loop.
//
//   embed_asio        then, elsewhere: nc 127.0.0.1 PORT, with either of the ports that it says
//
// All that there is between the two is in embed_asio.hpp. Ctrl-C ends both.
#include "embed_asio.hpp"
#include "embedded_echo.hpp"

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/signal_set.hpp>
#include <asio/write.hpp>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

namespace {

using asio::ip::tcp;

// Asio's half: handlers, which keep their session alive.
class session : public std::enable_shared_from_this<session> {
 public:
  explicit session(tcp::socket client) : client_{std::move(client)} {}

  void read() {
    client_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](const std::error_code& error, std::size_t count) {
                              if (!error) self->send_back(count);
                            });
  }

 private:
  void send_back(std::size_t count) {
    asio::async_write(client_, asio::buffer(buffer_, count),
                      [self = shared_from_this()](const std::error_code& error, std::size_t) {
                        if (!error) self->read();
                      });
  }

  tcp::socket client_;
  std::array<char, 4096> buffer_{};
};

void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](const std::error_code& error, tcp::socket client) {
    if (!acceptor.is_open()) return;
    if (!error) std::make_shared<session>(std::move(client))->read();
    accept(acceptor);
  });
}

// Ends the io_context's run() with gyre's last coroutine.
gyre::task<> serve_and_leave(gyre::net::tcp_listener listener, asio::io_context& io) {
  struct on_leaving {
    asio::io_context& left;
    ~on_leaving() { left.stop(); }
  } const last{io};
  co_await embedded_echo::serve(std::move(listener));
}

void serve_both() {
  gyre::executor loop;
  asio::io_context io{1};
  asio::signal_set interrupt{io, SIGINT, SIGTERM};
  tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  accept(acceptor);
  auto served = loop.start(serve_and_leave(embedded_echo::listen(acceptor.local_endpoint().port()), io));
  gyre_in_asio inside{io, loop};

  interrupt.async_wait([&](const std::error_code& error, int) {
    if (error) return;
    acceptor.close();
    served.cancel();
    inside.wake();  // Asio does not ask before it sleeps
  });
  io.run();
}

}  // namespace

int main() {
  try {
    serve_both();
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "embed_asio: %s\n", error.what()), 1;
  }
}
