// SPDX-License-Identifier: MIT
// Connections are to be spread over a list of executors that is empty.
// must say: connections are spread over executors: there is none
#include <gyre/net/spread.hpp>
#include <gyre/runtime/executor.hpp>

#include <utility>
#include <vector>

namespace {

gyre::task<> session(gyre::net::tcp_stream) { co_return; }

}  // namespace

int main() {
  gyre::executor loop;
  auto listener = gyre::net::tcp_listener::bind({.at = gyre::net::address::loopback(0)});
  loop.run(gyre::net::spread(std::vector<gyre::executor*>{}, std::move(listener), session));
}
