// SPDX-License-Identifier: MIT
// Options of sockets: each as the kernel gives it back, and what it refuses.
#include <gyre/net/socket_options.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>

#include "../support/loopback.hpp"
#include "../support/skip.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Not connected: nearly every option can be set before.
tcp_stream stream_of(int family) {
  return tcp_stream{unique_fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)}};
}
tcp_stream some_stream() { return stream_of(AF_INET); }

template <class Option>
std::system_error refusal_of(tcp_stream& of, const Option& option) {
  try {
    of.set(option);
  } catch (const std::system_error& refused) {
    return refused;
  }
  return std::system_error{{}, "not refused"};
}

bool names(const std::system_error& error, const char* option) {
  return std::string{error.what()}.find(option) != std::string::npos;
}

// Those that are on or off: that the default was something else is seen, too.
template <class Option>
void check_switch(tcp_stream subject = some_stream()) {
  subject.set(Option{.on = true});
  CHECK(subject.get<Option>().on);
  subject.set(Option{.on = false});
  CHECK(!subject.get<Option>().on);
}

}  // namespace

TEST_CASE("switches are on and off as they were set") {
  check_switch<no_delay>();
  check_switch<cork>();
  check_switch<reuse_address>();
  check_switch<reuse_port>();
  check_switch<fast_open_connect>();
  check_switch<v6_only>(stream_of(AF_INET6));
}

TEST_CASE("an option is the kernel's own, by its number") {
  tcp_stream subject = some_stream();
  subject.set(no_delay{});
  CHECK(get_option(subject.fd(), IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY") != 0);
  set_option(subject.fd(), IPPROTO_TCP, TCP_NODELAY, 0, "TCP_NODELAY");
  CHECK(!subject.get<no_delay>().on);
  subject.set(quick_ack{.on = false});
  CHECK(get_option(subject.fd(), IPPROTO_TCP, TCP_QUICKACK, "TCP_QUICKACK") == 0);
  CHECK(!subject.get<quick_ack>().on);
}

TEST_CASE("keep-alive with its times; off it keeps those that there were") {
  tcp_stream subject = some_stream();
  CHECK(!subject.get<keep_alive>().on);
  subject.set(keep_alive{.idle = 61s, .interval = 7s, .probes = 3});
  auto now = subject.get<keep_alive>();
  CHECK(now.on);
  CHECK(now.idle == 61s);
  CHECK(now.interval == 7s);
  CHECK(now.probes == 3);
  subject.set(keep_alive{.on = false});
  now = subject.get<keep_alive>();
  CHECK(!now.on);
  CHECK(now.idle == 61s);
}

TEST_CASE("a keep-alive with a time that is refused is not switched on") {
  tcp_stream subject = some_stream();
  const auto refused = refusal_of(subject, keep_alive{.idle = 1h * 24 * 365});
  CHECK(refused.code() == std::errc::invalid_argument);
  CHECK(names(refused, "TCP_KEEPIDLE"));
  CHECK(!subject.get<keep_alive>().on);
}

TEST_CASE("times and sizes") {
  tcp_stream subject = some_stream();
  subject.set(user_timeout{.limit = 1500ms});
  CHECK(subject.get<user_timeout>().limit == 1500ms);
  subject.set(receive_buffer{.bytes = 20'000});
  CHECK(subject.get<receive_buffer>().bytes == 40'000);  // socket(7): twice of it
  subject.set(send_buffer{.bytes = 20'000});
  CHECK(subject.get<send_buffer>().bytes == 40'000);
  subject.set(defer_accept{.limit = 1s});
  CHECK(subject.get<defer_accept>().limit >= 1s);  // rounded up to a retransmission
  subject.set(type_of_service{.value = 0x28});
  CHECK(subject.get<type_of_service>().value == 0x28);
  tcp_stream by_v6 = stream_of(AF_INET6);
  by_v6.set(type_of_service{.value = 0x28});
  CHECK(by_v6.get<type_of_service>().value == 0x28);
  CHECK(get_option(by_v6.fd(), IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS") == 0x28);
}

TEST_CASE("lingering is off, for a while, or a reset") {
  tcp_stream subject = some_stream();
  CHECK(!subject.get<linger_on_close>().limit);
  subject.set(linger_on_close{.limit = 0s});
  CHECK(subject.get<linger_on_close>().limit == 0s);
  subject.set(linger_on_close{.limit = 3s});
  CHECK(subject.get<linger_on_close>().limit == 3s);
  subject.set(linger_on_close{});
  CHECK(!subject.get<linger_on_close>().limit);
}

TEST_CASE("congestion control by its name, and no such name") {
  tcp_stream subject = some_stream();
  const std::string usual = subject.get<congestion_control>().name;
  CHECK(!usual.empty());
  subject.set(congestion_control{.name = usual});
  CHECK(subject.get<congestion_control>().name == usual);
  const auto refused = refusal_of(subject, congestion_control{.name = "no-such-thing"});
  CHECK(refused.code() == std::errc::no_such_file_or_directory);
  CHECK(names(refused, "TCP_CONGESTION"));
}

TEST_CASE("what needs a right is set with it, and refused without") {
  tcp_stream subject = some_stream();
  const bool may =
      ::geteuid() == 0 && refusal_of(subject, packet_mark{.value = 0x80000001}).code() == std::error_code{};
  if (may) {
    CHECK(subject.get<packet_mark>().value == 0x80000001);
  } else {
    const auto refused = refusal_of(subject, packet_mark{.value = 1});
    CHECK(refused.code() == std::errc::operation_not_permitted);
    CHECK(names(refused, "SO_MARK"));
  }
}

TEST_CASE("polling the device is asked for where the kernel knows it") {
  tcp_stream subject = some_stream();
  const auto refused = refusal_of(subject, busy_poll{.duration = 0us});
  if (refused.code() == std::errc::no_protocol_option) {
    SAY_SKIPPED("this kernel does not poll network devices for sockets");
    return;
  }
  CHECK(subject.get<busy_poll>().duration == 0us);
}

TEST_CASE("listeners have options, which their connections take over") {
  auto bound = tcp_listener::bind({.at = address::loopback(0)});
  bound.set(receive_buffer{.bytes = 30'000});
  bound.set(fast_open{.connections_max = 5});
  CHECK(bound.get<fast_open>().connections_max == 5);
  const unique_fd client = connect_to(bound.local_address());
  const tcp_stream accepted{unique_fd{::accept(bound.fd().get(), nullptr, nullptr)}};
  CHECK(accepted.get<receive_buffer>().bytes == 60'000);
}

TEST_CASE("an option of another protocol is refused by name, and so is a socket that is none") {
  tcp_stream of_unix{unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}};
  const auto refused = refusal_of(of_unix, no_delay{});
  CHECK(refused.code() == std::errc::operation_not_supported);
  CHECK(names(refused, "TCP_NODELAY"));
  tcp_stream closed = some_stream();
  static_cast<void>(closed.release());
  CHECK(refusal_of(closed, no_delay{}).code() == std::errc::bad_file_descriptor);
}

}  // namespace gyre::net
