// SPDX-License-Identifier: MIT
// What does a short connection cost a server of two executors: handed over by one that accepts, or accepted by each?
//
// A connection brings one byte and ends. The floor is one executor that accepts and serves: where the sessions are as
// short as these, it shows what spreading costs; what it gains shows where they have something to do.
#include "support/die.hpp"

#include <benchmark/benchmark.h>

#include <gyre/net/spread.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <future>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t connections_at_a_time = 32;

// ---------------------------------------------------------------------------------------------------------- the server
gyre::task<> greet(gyre::net::tcp_stream client) {
  std::array<std::byte, 1> byte{};
  co_await client.write_all(byte);
  static_cast<void>(co_await gyre::as_result(client.read(byte)));  // the client's end is a reset
}

gyre::task<> serve_alone(gyre::net::tcp_listener listener) {
  co_await gyre::with_task_group([&](gyre::task_group& sessions) -> gyre::task<> {
    auto incoming = listener.incoming();
    while (auto client = co_await incoming.next()) sessions.start(greet(std::move(*client)));
  });
}

/// An executor that a thread turns until end().
class server_thread {
 public:
  ~server_thread() {
    if (!thread_.joinable()) return;
    loop->post([this] {
      ends_ = true;
      loop->return_soon();
    });
    thread_.join();
  }

 private:
  std::promise<gyre::executor*> made_;
  bool ends_ = false;
  std::thread thread_{[this] {
    gyre::executor mine;
    made_.set_value(&mine);
    while (!ends_) mine.turn(/*may_park=*/true);
  }};

 public:
  gyre::executor* const loop = made_.get_future().get();
};

/// Runs a server in a thread of its own, on an executor that accepts, until it goes.
class server {
 public:
  explicit server(gyre::task<> serving) {
    std::promise<gyre::root_task<void>*> started;
    thread_ = std::thread{[this, &started, &serving] {
      gyre::executor loop;
      auto root = loop.start(std::move(serving));
      loop_ = &loop;
      started.set_value(&root);
      while (!root.done()) loop.turn(/*may_park=*/true);
    }};
    root_ = started.get_future().get();
  }
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() {
    loop_->post([this] { root_->cancel(); });
    thread_.join();
  }

 private:
  gyre::executor* loop_ = nullptr;
  gyre::root_task<void>* root_ = nullptr;
  std::thread thread_;
};

// ---------------------------------------------------------------------------------------------------------- the client
int connected_to(const gyre::net::address& at) {
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  constexpr ::linger at_once{.l_onoff = 1, .l_linger = 0};  // ends by a reset, so that no port stays in TIME_WAIT
  ::setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (::connect(client, at.data(), at.size()) != 0) bench::die("connect", errno);
  return client;
}

void connect_and_take_bytes(benchmark::State& state, const gyre::net::address& at) {
  std::array<int, connections_at_a_time> clients;
  for ([[maybe_unused]] auto _ : state) {
    for (int& each : clients) each = connected_to(at);
    for (const int each : clients) {
      char byte = 0;
      if (::recv(each, &byte, 1, 0) != 1) bench::die("recv", errno);
      ::close(each);
    }
  }
  state.SetItemsProcessed(state.iterations() * std::int64_t{connections_at_a_time});
}

// ----------------------------------------------------------------------------------------------------------- the sides
const gyre::net::listen_options on_loopback{.at = gyre::net::address::loopback(0)};

void alone(benchmark::State& state) {
  auto listener = gyre::net::tcp_listener::bind(on_loopback);
  const auto at = listener.local_address();
  const server running{serve_alone(std::move(listener))};
  connect_and_take_bytes(state, at);
}

void spread_handed_over_floor(benchmark::State& state) { alone(state); }
void spread_handed_over_gyre(benchmark::State& state) {
  const server_thread first;
  const server_thread second;
  auto listener = gyre::net::tcp_listener::bind(on_loopback);
  const auto at = listener.local_address();
  const server running{gyre::net::spread({first.loop, second.loop}, std::move(listener), greet)};
  connect_and_take_bytes(state, at);
}

void spread_each_its_own_floor(benchmark::State& state) { alone(state); }
void spread_each_its_own_gyre(benchmark::State& state) {
  const server_thread first;
  const server_thread second;
  auto listeners = gyre::net::bind_each(2, on_loopback);
  const auto at = listeners.front().local_address();
  const server running{gyre::net::spread({first.loop, second.loop}, std::move(listeners), greet)};
  connect_and_take_bytes(state, at);
}

BENCHMARK(spread_handed_over_floor)->UseRealTime();
BENCHMARK(spread_handed_over_gyre)->UseRealTime();
BENCHMARK(spread_each_its_own_floor)->UseRealTime();
BENCHMARK(spread_each_its_own_gyre)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
