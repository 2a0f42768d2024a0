// SPDX-License-Identifier: MIT
// UDP on the loopback, over IPv4 and IPv6: datagrams out and in, one at a time; what they tell; who is refused; and how
// each wait ends. Streams of datagrams: incoming_datagrams_test. Groups: multicast_test.
#include <gyre/net/address.hpp>
#include <gyre/net/datagram.hpp>
#include <gyre/net/datagram_options.hpp>
#include <gyre/net/datagram_transfer.hpp>
#include <gyre/net/udp_socket.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>

#include "../support/bytes.hpp"
#include "../support/outcome.hpp"
#include "../support/turning.hpp"
#include "../support/udp_pair.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;

constexpr std::size_t datagram_bytes_max = 65'507;  // of IPv4

::iovec part_of(std::span<const std::byte> bytes) {
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

template <class Call>
std::system_error refusal_of(Call call) {
  try {
    call();
  } catch (const std::system_error& refused) {
    return refused;
  }
  return std::system_error{{}, "not refused"};
}

// A port of this machine where nobody listens.
address nobody_at(const address& loopback) { return udp_socket::bind({.at = loopback}).local_address(); }

task<> receive_one(udp_socket& socket, outcome& noted) {
  std::array<std::byte, 16> buffer{};
  co_await observe(socket.receive(buffer), noted);
}

task<> receive_one_from(udp_socket& socket, outcome& noted) {
  std::array<std::byte, 16> buffer{};
  co_await observe(socket.receive_from(buffer), noted);
}

task<> await_error(udp_socket& socket, outcome& noted) { co_await observe(socket.receive_error(), noted); }

using waiting_member = task<> (*)(udp_socket&, outcome&);
constexpr std::array<waiting_member, 3> all_that_wait{receive_one, receive_one_from, await_error};

// The error of what is awaited; none where it succeeds.
template <class Awaitable>
task<std::error_code> error_of(Awaitable awaited) {
  const auto answer = co_await as_result(std::move(awaited));
  co_return answer.error();
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------- binding

TEST_CASE("a socket that is bound to port 0 has a port of its own, and one of its number is refused") {
  const auto first = udp_socket::bind({.at = address::loopback(0)});
  const auto taken = first.local_address();

  const auto refused = refusal_of([&] { static_cast<void>(udp_socket::bind({.at = taken})); });

  CHECK(taken.port() != 0);
  CHECK(refused.code() == std::errc::address_in_use);
  CHECK(std::string_view{refused.what()}.find(taken.to_string()) != std::string_view::npos);
}

TEST_CASE("`port` is the port of the address to bind") {
  const auto port = nobody_at(address::loopback(0)).port();
  CHECK(udp_socket::bind({.at = address::loopback(1), .port = port}).local_address().port() == port);
}

TEST_CASE("several sockets share an address if they say so") {
  const auto first = udp_socket::bind({.at = address::loopback(0), .reuse_port = true});
  const auto at = first.local_address();
  CHECK(udp_socket::bind({.at = at, .reuse_port = true}).local_address() == at);
  CHECK(refusal_of([&] { static_cast<void>(udp_socket::bind({.at = at})); }).code() == std::errc::address_in_use);

  const auto second = udp_socket::bind({.at = address::any(0), .reuse_address = true});
  const auto everywhere = second.local_address();
  CHECK(udp_socket::bind({.at = everywhere, .reuse_address = true}).local_address() == everywhere);
}

TEST_CASE("a socket of both families hears and answers IPv4 as IPv4; one of IPv6 alone does not") {
  if (!has_ipv6_loopback()) return;
  for (const bool dual_stack : {true, false}) {
    CAPTURE(dual_stack);
    executor loop;
    auto server = udp_socket::bind({.at = address::any_v6(0), .dual_stack = dual_stack});
    auto client = udp_socket::bind({.at = address::loopback(0)});
    const auto to_server = address::loopback(server.local_address().port());
    const auto mapped = address::parse("[::ffff:127.0.0.1]:0")->with_port(client.local_address().port());

    loop.run([&]() -> task<> {
      const auto error = co_await error_of(server.send_to(bytes_of("question"), client.local_address()));
      const auto error_of_mapped = co_await error_of(server.send_to(bytes_of("question"), mapped));
      if (!dual_stack) {
        CHECK(error == std::errc::address_family_not_supported);
        CHECK(error_of_mapped == std::errc::address_family_not_supported);
        co_return;
      }
      CHECK(!error);
      CHECK(!error_of_mapped);

      std::array<std::byte, 16> buffer;
      co_await client.send_to(bytes_of("asked"), to_server);
      const auto question = co_await server.receive_from(buffer);
      CHECK(question.source == client.local_address());
      co_await server.answer(question, bytes_of("answer"));
      for (const std::string_view expected : {"question", "question", "answer"}) {
        const auto came = co_await client.receive_from(buffer);
        CHECK(text_of(std::span{buffer}.first(came.bytes)) == expected);
        CHECK(came.source == to_server);
      }
    });
  }
}

TEST_CASE("an address of the other family is refused, in words, and never waited for") {
  if (!has_ipv6_loopback()) return;
  udp_pair pair{address::loopback(0)};
  const auto v6 = loopback_v6().with_port(9);
  const send_options from_v6{.from = v6};

  pair.loop.run([&]() -> task<> {
    CHECK(co_await error_of(pair.here.send_to(bytes_of("x"), v6)) == std::errc::address_family_not_supported);
    CHECK(co_await error_of(pair.here.send_to(bytes_of("x"), pair.there_address(), from_v6)) ==
          std::errc::address_family_not_supported);
    std::string text;
    try {
      co_await pair.here.send_to(bytes_of("x"), v6);
    } catch (const std::system_error& error) {
      text = error.what();
    }
    CHECK(text.starts_with("send_to: the socket"));
  });
  CHECK(!has_something(pair.there));
}

TEST_CASE("an IPv4 address in the form of IPv6 is that IPv4 address to an IPv4 socket") {
  udp_pair pair{address::loopback(0)};
  const auto mapped = address::parse("[::ffff:127.0.0.1]:0")->with_port(pair.there_address().port());

  pair.loop.run([&]() -> task<> {
    co_await pair.here.send_to(bytes_of("x"), mapped);
    co_await udp_socket::connect(mapped).send(bytes_of("y"));
  });

  CHECK(has_something(pair.there));
}

// ---------------------------------------------------------------------------------------------- out and in, by address

TEST_CASE("a datagram comes whole, with its source") {
  for (const auto& at : loopbacks()) {
    CAPTURE(at.to_string());
    udp_pair pair{at};
    std::array<std::byte, 64> buffer{};

    const auto came = pair.loop.run([&]() -> task<received_datagram> {
      CHECK(co_await pair.here.send_to(bytes_of("hello"), pair.there_address()) == 5);
      co_return co_await pair.there.receive_from(buffer);
    });

    CHECK(text_of(std::span{buffer}.first(came.bytes)) == "hello");
    CHECK(came.source == pair.here_address());
    CHECK(came.datagram_bytes == 5);
    CHECK(!came.is_truncated());
    CHECK(!came.facts.destination);
    CHECK(came.segments_in(buffer).size() == 1);
  }
}

TEST_CASE("a datagram without bytes is a datagram") {
  udp_pair pair;
  std::array<std::byte, 8> buffer{};

  pair.loop.run([&]() -> task<> {
    CHECK(co_await pair.here.send_to(bytes_of(""), pair.there_address()) == 0);
    const auto came = co_await pair.there.receive_from(buffer);
    CHECK(came.bytes == 0);
    CHECK(came.datagram_bytes == 0);
    CHECK(!came.is_truncated());
    CHECK(came.source == pair.here_address());
  });
}

TEST_CASE("what does not fit into the buffer is lost, and how long the datagram was is told") {
  udp_pair pair;
  pair.there.set_peer(pair.here_address());
  std::array<std::byte, 3> buffer{};

  pair.loop.run([&]() -> task<> {
    for (int i = 0; i < 3; ++i) co_await pair.here.send_to(bytes_of("too long"), pair.there_address());
    const auto with_source = co_await pair.there.receive_from(buffer);
    CHECK(with_source.bytes == 3);
    CHECK(with_source.datagram_bytes == 8);
    CHECK(with_source.is_truncated());
    CHECK(text_of(buffer) == "too");
    const auto bytes_alone = co_await pair.there.receive(buffer);
    CHECK(bytes_alone.bytes == 3);
    CHECK(bytes_alone.datagram_bytes == 8);
    CHECK(bytes_alone.is_truncated());
    const auto nothing_of_it = co_await pair.there.receive(std::span<std::byte>{});
    CHECK(nothing_of_it.bytes == 0);
    CHECK(nothing_of_it.datagram_bytes == 8);
  });
}

TEST_CASE("one datagram is gathered from several places, and scattered into several") {
  udp_pair pair;
  const std::array out{part_of(bytes_of("scat")), part_of(bytes_of("")), part_of(bytes_of("tered"))};
  std::array<std::byte, 2> first{};
  std::array<std::byte, 5> second{};
  const std::array in{part_of(first), part_of(second)};

  pair.loop.run([&]() -> task<> {
    CHECK(co_await pair.here.send_to(out, pair.there_address()) == 9);
    const auto came = co_await pair.there.receive_from(in);
    CHECK(came.bytes == 7);
    CHECK(came.datagram_bytes == 9);
  });

  CHECK(text_of(first) == "sc");
  CHECK(text_of(second) == "atter");
}

TEST_CASE("the longest datagram goes, and one byte more is message_size") {
  udp_pair pair;
  std::vector<std::byte> bytes(datagram_bytes_max + 1, std::byte{7});
  std::vector<std::byte> buffer(bytes.size());

  pair.loop.run([&]() -> task<> {
    const auto all = std::span<const std::byte>{bytes};
    CHECK(co_await pair.here.send_to(all.first(datagram_bytes_max), pair.there_address()) == datagram_bytes_max);
    CHECK(co_await error_of(pair.here.send_to(all, pair.there_address())) == std::errc::message_size);
    CHECK((co_await pair.there.receive_from(buffer)).bytes == datagram_bytes_max);
  });
}

TEST_CASE("ten thousand datagrams come in order and none is torn, over either family") {
  constexpr std::uint32_t datagrams_count = 10'000;
  for (const auto& at : loopbacks()) {
    udp_pair pair{at};
    const auto send_all = [&]() -> task<> {
      std::array<std::uint32_t, 16> words;
      for (std::uint32_t i = 0; i < datagrams_count; ++i) {
        words.fill(i);
        co_await pair.here.send_to(std::as_bytes(std::span{words}).first(4 + i % 61), pair.there_address());
        while (i % 64 == 63 && has_something(pair.there)) co_await this_task::yield();
      }
    };
    const auto check_all = [&]() -> task<> {
      std::array<std::uint32_t, 16> words;
      for (std::uint32_t i = 0; i < datagrams_count; ++i) {
        words.fill(~std::uint32_t{0});
        const auto came = co_await pair.there.receive_from(std::as_writable_bytes(std::span{words}));
        const auto whole = std::span{words}.first(came.bytes / 4);
        REQUIRE(came.bytes == 4 + i % 61);
        REQUIRE(std::ranges::all_of(whole, [&](std::uint32_t each) { return each == i; }));
      }
    };

    pair.loop.run([&]() -> task<> {
      co_await with_task_group([&](task_group& both) -> task<> {
        both.start(send_all());
        both.start(check_all());
        co_return;
      });
    });
  }
}

// ----------------------------------------------------------------------------------------------------------- connected

TEST_CASE("a connected socket sends to its peer and hears nobody else") {
  for (const auto& at : loopbacks()) {
    executor loop;
    auto server = udp_socket::bind({.at = at});
    auto client = udp_socket::connect(server.local_address());
    auto stranger = udp_socket::bind({.at = at});
    std::array<std::byte, 16> buffer{};

    loop.run([&]() -> task<> {
      CHECK(co_await client.send(bytes_of("ping")) == 4);
      const auto came = co_await server.receive_from(buffer);
      CHECK(came.source == client.local_address());
      co_await stranger.send_to(bytes_of("intruder"), client.local_address());
      co_await server.answer(came, bytes_of("pong"));
      CHECK((co_await client.receive(buffer)).bytes == 4);
    });

    CHECK(text_of(std::span{buffer}.first(4)) == "pong");
    CHECK(client.peer_address() == server.local_address());
    CHECK(client.path_mtu() >= 1280);
  }
}

TEST_CASE("a socket of both families that is connected to an IPv4 peer is as one of IPv4") {
  if (!has_ipv6_loopback()) return;
  executor loop;
  auto server = udp_socket::bind({.at = address::loopback(0), .details = {.type_of_service = true}});
  auto client = udp_socket::bind({.at = address::any_v6(0)});
  client.set_peer(server.local_address());
  const send_options marked{.type_of_service = std::uint8_t{0xb8}};
  std::array<std::byte, 16> buffer{};

  const auto came = loop.run([&]() -> task<received_datagram> {
    co_await client.send(bytes_of("x"), marked);
    co_return co_await server.receive_from(buffer);
  });

  CHECK(came.facts.type_of_service == 0xb8);
  CHECK(client.peer_address() == server.local_address());
  CHECK(client.local_address().is_v4());
  CHECK(client.path_mtu() >= 576);
}

TEST_CASE("a socket changes its peer, and can have none again") {
  udp_pair pair;
  auto third = udp_socket::bind({.at = address::loopback(0)});
  std::array<std::byte, 16> buffer{};
  pair.here.set_peer(pair.there_address());
  pair.here.set_peer(third.local_address());

  pair.loop.run([&]() -> task<> {
    co_await pair.here.send(bytes_of("x"));
    CHECK((co_await third.receive(buffer)).bytes == 1);
    pair.here.clear_peer();
    CHECK(co_await error_of(pair.here.send(bytes_of("x"))) == std::errc::destination_address_required);
  });

  CHECK(refusal_of([&] { static_cast<void>(pair.here.peer_address()); }).code() == std::errc::not_connected);
  CHECK(refusal_of([&] { static_cast<void>(pair.here.path_mtu()); }).code() == std::errc::not_connected);
}

TEST_CASE("a socket that was made elsewhere is taken over, and given away") {
  const auto made = udp_socket::bind({.at = address::loopback(0)});
  udp_socket taken{unique_fd{::dup(made.fd().get())}};
  CHECK(taken.local_address() == made.local_address());

  const unique_fd given = taken.release();

  CHECK(static_cast<bool>(given));
  CHECK(refusal_of([&] { static_cast<void>(taken.local_address()); }).code() == std::errc::bad_file_descriptor);
}

// -------------------------------------------------------------------------------------------------------------- errors

TEST_CASE("what found nobody is told by the next receive, and the socket goes on") {
  executor loop;
  auto server = udp_socket::bind({.at = address::loopback(0)});
  const auto at = server.local_address();
  auto client = udp_socket::connect(at);
  std::array<std::byte, 16> buffer{};

  loop.run([&]() -> task<> {
    co_await server.close();
    co_await client.send(bytes_of("anybody there?"));
    CHECK(co_await error_of(client.receive(buffer)) == std::errc::connection_refused);

    co_await client.send(bytes_of("anybody there?"));
    CHECK(co_await error_of(client.send(bytes_of("hello?"))) == std::errc::connection_refused);

    auto back = udp_socket::bind({.at = at});
    co_await client.send(bytes_of("hello"));
    const auto question = co_await back.receive_from(buffer);
    co_await back.answer(question, bytes_of("yes"));
    CHECK((co_await client.receive(buffer)).bytes == 3);
  });
}

TEST_CASE("a socket that is connected to nobody does not hear of it, unless it asks for errors") {
  for (const auto& at : loopbacks()) {
    udp_pair pair{at};
    const auto nobody = nobody_at(at);
    std::array<std::byte, 16> buffer{};

    pair.loop.run([&]() -> task<> {
      co_await pair.here.send_to(bytes_of("lost"), nobody);
      CHECK(!has_something(pair.here));
      pair.here.set(report_errors{});
      CHECK(pair.here.get<report_errors>().on);
      co_await pair.here.send_to(bytes_of("lost"), nobody);
      CHECK(co_await error_of(pair.here.receive_from(buffer)) == std::errc::connection_refused);
      co_await pair.there.send_to(bytes_of("still here"), pair.here_address());
      CHECK((co_await pair.here.receive_from(buffer)).source == pair.there_address());
    });
  }
}

TEST_CASE("receive_error() tells who could not be reached, who says so, and what was sent") {
  for (const auto& at : loopbacks()) {
    CAPTURE(at.to_string());
    udp_pair pair{at};
    const auto nobody = nobody_at(at);
    pair.here.set(report_errors{});
    std::array<std::byte, 64> buffer{};
    const auto receive_it = [&]() -> task<datagram_error> { co_return co_await pair.here.receive_error(buffer); };
    auto receiving = pair.loop.start(receive_it());
    pair.loop.run_ready();
    CHECK(!receiving.done());

    pair.loop.run([&]() -> task<> { co_await pair.here.send_to(bytes_of("lost"), nobody); });
    turn_until_done(pair.loop, receiving);

    const auto error = receiving.get();
    CHECK(error.code == std::errc::connection_refused);
    CHECK(error.origin == (at.is_v6() ? error_origin::icmp6 : error_origin::icmp));
    CHECK(error.destination == nobody);
    CHECK(error.reporter == at);
    CHECK(error.icmp_type == (at.is_v6() ? 1U : 3U));  // destination unreachable
    CHECK(error.icmp_code == (at.is_v6() ? 4U : 3U));  // its port
    CHECK(text_of(std::span{buffer}.first(error.bytes)) == "lost");
    CHECK(!pair.here.try_receive_error());
  }
}

TEST_CASE("datagrams that wait to be received do not end a wait for errors") {
  udp_pair pair;
  pair.here.set(report_errors{});
  outcome noted;
  auto waiting = pair.loop.start(await_error(pair.here, noted));
  pair.loop.run_ready();

  send_now(pair.there, "not for you", pair.here_address());
  for (int i = 0; i < 3; ++i) pair.loop.run_ready();
  CHECK(noted.how == ended::not_yet);
  send_now(pair.here, "lost", nobody_at(address::loopback(0)));
  turn_until_done(pair.loop, waiting);

  CHECK(noted.how == ended::with_value);
}

TEST_CASE("without report_errors an error has its code and no details") {
  executor loop;
  auto client = udp_socket::connect(nobody_at(address::loopback(0)));
  CHECK(!client.try_receive_error());

  send_now(client, "", client.peer_address());
  const auto error = loop.run([&]() -> task<datagram_error> { co_return co_await client.receive_error(); });

  CHECK(error.code == std::errc::connection_refused);
  CHECK(error.origin == error_origin::unknown);
  CHECK(!error.destination);
}

TEST_CASE("receive_error() of a socket that was shut down is broken_pipe") {
  executor loop;
  auto client = udp_socket::connect(nobody_at(address::loopback(0)));
  outcome noted;
  ::shutdown(client.fd().get(), SHUT_RDWR);

  loop.run(await_error(client, noted));

  CHECK(noted.error == std::errc::broken_pipe);
}

TEST_CASE("a datagram that may not be cut is refused where it is longer than the path takes, which is then told") {
  udp_pair pair;
  pair.here.set(report_errors{});
  pair.here.set(mtu_discovery{.how = mtu_discovery::mode::never_fragment});
  CHECK(pair.here.get<mtu_discovery>().how == mtu_discovery::mode::never_fragment);
  // A packet may be 65,535 bytes long, and the loopback takes one more; so an IPv4 datagram that is too long for it is
  // too long for any. What can be seen of it here is what is told.
  const std::vector<std::byte> bytes(datagram_bytes_max + 1);

  pair.loop.run([&]() -> task<> {
    CHECK(co_await error_of(pair.here.send_to(bytes, pair.there_address())) == std::errc::message_size);
  });

  const auto error = pair.here.try_receive_error();
  REQUIRE(error.has_value());
  CHECK(error->code == std::errc::message_size);
  CHECK(error->origin == error_origin::local);
  CHECK(error->mtu == 65'535);
}

TEST_CASE("sending to a broadcast address is permission_denied unless it is asked for") {
  udp_pair pair;
  const auto everybody = address::parse("127.255.255.255:9").value();

  pair.loop.run([&]() -> task<> {
    CHECK(co_await error_of(pair.here.send_to(bytes_of("x"), everybody)) == std::errc::permission_denied);
    pair.here.set(broadcast{});
    CHECK(pair.here.get<broadcast>().on);
    CHECK(!co_await error_of(pair.here.send_to(bytes_of("x"), everybody)));
  });
}

TEST_CASE("a broadcast comes to a socket that is bound to all addresses, as one to an address that is nobody's own") {
  executor loop;
  auto server = udp_socket::bind({.at = address::any(0), .details = {.destination = true}});
  auto client = udp_socket::bind({.at = address::loopback(0)});
  client.set(broadcast{});
  const auto everybody = address::parse("127.255.255.255")->with_port(server.local_address().port());
  std::array<std::byte, 16> buffer{};

  loop.run([&]() -> task<> {
    co_await client.send_to(bytes_of("who?"), everybody);
    const auto came = co_await server.receive_from(buffer);
    CHECK(came.facts.destination == everybody.with_port(0));
    CHECK(came.facts.local == address::loopback(0));
    co_await server.answer(came, bytes_of("me"));
    CHECK((co_await client.receive_from(buffer)).source == address::loopback(server.local_address().port()));
  });
}

// ---------------------------------------------------------------------------------------------- what is told, and said

TEST_CASE("the kernel tells with a datagram what it is asked to tell, and nothing else") {
  constexpr datagram_details all{
      .destination = true, .type_of_service = true, .hop_limit = true, .timestamp = true, .dropped_count = true};
  for (const auto& at : loopbacks()) {
    CAPTURE(at.to_string());
    udp_pair pair{udp_options{.at = at, .details = all}};
    CHECK(pair.here.get<datagram_details>() == all);
    const send_options how{.type_of_service = std::uint8_t{0x2a}, .hop_limit = std::uint8_t{17}};
    std::array<std::byte, 16> buffer{};
    const auto before = std::chrono::system_clock::now();

    const auto came = pair.loop.run([&]() -> task<received_datagram> {
      co_await pair.there.send_to(bytes_of("x"), pair.here_address(), how);
      co_return co_await pair.here.receive_from(buffer);
    });

    CHECK(came.facts.destination == at);
    CHECK(came.facts.local == at);
    CHECK(came.facts.interface_index == network_interface::named("lo").index);
    CHECK(came.facts.type_of_service == 0x2a);
    CHECK(came.facts.ecn() == 2U);
    CHECK(came.facts.hop_limit == 17);
    REQUIRE(came.facts.timestamp.has_value());
    CHECK(*came.facts.timestamp >= before);
    CHECK(came.facts.segment_bytes == 0);

    pair.here.set(datagram_details{});
    CHECK(pair.here.get<datagram_details>() == datagram_details{});
    const auto without = pair.loop.run([&]() -> task<received_datagram> {
      co_await pair.there.send_to(bytes_of("x"), pair.here_address());
      co_return co_await pair.here.receive_from(buffer);
    });
    CHECK(!without.facts.destination);
    CHECK(!without.facts.ecn());
    CHECK(!without.facts.hop_limit);
    CHECK(!without.facts.timestamp);
  }
}

TEST_CASE("a socket of both families tells of IPv4 datagrams in the words of IPv4") {
  if (!has_ipv6_loopback()) return;
  executor loop;
  auto server = udp_socket::bind(
      {.at = address::any_v6(0), .details = {.destination = true, .type_of_service = true, .hop_limit = true}});
  auto client = udp_socket::bind({.at = address::loopback(0)});
  client.set(hop_limit{.hops = 33});
  CHECK(client.get<hop_limit>().hops == 33);
  client.set(type_of_service{.value = 0x88});
  const auto asked = address::parse("127.0.0.7")->with_port(server.local_address().port());
  std::array<std::byte, 16> buffer{};

  loop.run([&]() -> task<> {
    co_await client.send_to(bytes_of("x"), asked);
    const auto came = co_await server.receive_from(buffer);
    CHECK(came.facts.destination == asked.with_port(0));
    CHECK(came.facts.local == asked.with_port(0));
    CHECK(came.facts.type_of_service == 0x88);
    CHECK(came.facts.hop_limit == 33);
    co_await server.answer(came, bytes_of("y"));
    CHECK((co_await client.receive_from(buffer)).source == asked);
  });
}

TEST_CASE("datagrams that a full socket has dropped are counted") {
  udp_pair pair{udp_options{.at = address::loopback(0), .details = {.dropped_count = true}}};
  pair.here.set(receive_buffer{.bytes = 4096});
  for (int i = 0; i < 100; ++i) send_now(pair.there, std::string(1000, 'x'), pair.here_address());
  std::array<std::byte, 1000> buffer{};

  pair.loop.run([&]() -> task<> {
    std::uint32_t received_count = 0;
    while (has_something(pair.here)) {
      static_cast<void>(co_await pair.here.receive_from(buffer));
      ++received_count;
    }
    send_now(pair.there, "last", pair.here_address());
    const auto last = co_await pair.here.receive_from(buffer);
    CHECK(last.facts.dropped_count == 100 - received_count);
  });
}

TEST_CASE("a datagram is sent from the address that is asked for, and from no address that is somebody else's") {
  executor loop;
  auto server = udp_socket::bind({.at = address::any(0)});
  auto client = udp_socket::bind({.at = address::loopback(0)});
  const send_options from_nine{.from = address::parse("127.0.0.9").value()};
  const send_options by_loopback{.interface_index = network_interface::named("lo").index};
  const send_options from_elsewhere{.from = address::parse("192.0.2.1").value()};
  std::array<std::byte, 16> buffer{};

  loop.run([&]() -> task<> {
    co_await server.send_to(bytes_of("x"), client.local_address(), from_nine);
    const auto came = co_await client.receive_from(buffer);
    CHECK(came.source == from_nine.from->with_port(server.local_address().port()));
    co_await server.send_to(bytes_of("x"), client.local_address(), by_loopback);
    CHECK((co_await client.receive_from(buffer)).bytes == 1);
    CHECK(static_cast<bool>(co_await error_of(server.send_to(bytes_of("x"), client.local_address(), from_elsewhere))));
  });
}

TEST_CASE("interfaces have names and numbers, and what has none says so") {
  const auto loopback = network_interface::named("lo");
  CHECK(loopback.name() == "lo");
  CHECK(refusal_of([] { static_cast<void>(network_interface::named("no such one")); }).code() ==
        std::errc::no_such_device);
  using namespace std::string_view_literals;
  const auto zero_in_it = refusal_of([] { static_cast<void>(network_interface::named("lo\0eth0"sv)); });
  CHECK(zero_in_it.code() == std::errc::invalid_argument);
  CHECK(std::string_view{zero_in_it.what()}.find("zero in it: lo…") != std::string_view::npos);
  const auto too_long = refusal_of([] { static_cast<void>(network_interface::named("sixteen-letters-")); });
  CHECK(too_long.code() == std::errc::invalid_argument);
  CHECK(std::string_view{too_long.what()}.find("at most 15 characters: sixteen-letters-") != std::string_view::npos);
  CHECK(refusal_of([] { static_cast<void>(network_interface::named("fifteen-letters")); }).code() ==
        std::errc::no_such_device);
  CHECK(refusal_of([] { static_cast<void>(network_interface::named("")); }).code() == std::errc::no_such_device);
  CHECK(refusal_of([] { static_cast<void>(network_interface{}.name()); }).code() ==
        std::errc::no_such_device_or_address);
}

TEST_CASE("switches of datagrams are on and off as they were set, on sockets of each kind") {
  std::vector<udp_socket> all;
  all.push_back(udp_socket::bind({.at = address::loopback(0)}));
  if (has_ipv6_loopback(without_it::goes_on)) {
    all.push_back(udp_socket::bind({.at = address::any_v6(0)}));
    all.push_back(udp_socket::bind({.at = address::any_v6(0), .dual_stack = false}));
  }
  for (auto& each : all) {
    for (const bool on : {true, false}) {
      each.set(multicast_loop{on});
      CHECK(each.get<multicast_loop>().on == on);
      each.set(multicast_all{on});
      CHECK(each.get<multicast_all>().on == on);
      each.set(report_errors{on});
      CHECK(each.get<report_errors>().on == on);
      each.set(receive_offload{on});
      CHECK(each.get<receive_offload>().on == on);
    }
    each.set(multicast_hop_limit{.hops = 5});
    CHECK(each.get<multicast_hop_limit>().hops == 5);
    each.set(mtu_discovery{.how = mtu_discovery::mode::probe});
    CHECK(each.get<mtu_discovery>().how == mtu_discovery::mode::probe);
    const auto refused = refusal_of([&] { each.set(hop_limit{.hops = 300}); });
    CHECK(refused.code() == std::errc::invalid_argument);
  }
}

// ------------------------------------------------------------------------------------------------------------ segments

TEST_CASE("send_segmented() is many datagrams of one size, and a last one of what is left") {
  for (const auto& at : loopbacks()) {
    udp_pair pair{at};
    const std::string bytes = "aaaabbbbccccdd";
    std::array<std::byte, 16> buffer{};

    pair.loop.run([&]() -> task<> {
      CHECK(co_await pair.here.send_segmented(bytes_of(bytes), 4, pair.there_address()) == bytes.size());
      for (const std::string_view expected : {"aaaa", "bbbb", "cccc", "dd"}) {
        const auto came = co_await pair.there.receive_from(buffer);
        CHECK(text_of(std::span{buffer}.first(came.bytes)) == expected);
      }
      pair.here.set_peer(pair.there_address());
      co_await pair.here.send_segmented(bytes_of("xy"), 1);
      for (const std::string_view expected : {"x", "y"}) {
        const auto came = co_await pair.there.receive(buffer);
        CHECK(text_of(std::span{buffer}.first(came.bytes)) == expected);
      }
      co_await pair.here.send_segmented(bytes_of("whole"), 0);
      CHECK((co_await pair.there.receive(buffer)).bytes == 5);
      co_await pair.here.send_segmented(bytes_of("whole"), 5);
      CHECK((co_await pair.there.receive(buffer)).bytes == 5);
    });
    CHECK(!has_something(pair.there));
  }
}

TEST_CASE("as many segments as any kernel takes go at a time; far more, or too many bytes, are refused in words") {
  udp_pair pair;
  pair.there.set(receive_buffer{.bytes = 1 << 20});
  const std::vector<std::byte> bytes(100'000);
  const auto first = [&](std::size_t count) { return std::span<const std::byte>{bytes}.first(count); };
  static_assert(segmented_bytes_max(1) == 64);
  static_assert(segmented_bytes_max(1200) == 54 * 1200);
  static_assert(segmented_bytes_max(60'000) == 60'000);
  static_assert(segmented_bytes_max(0) == 0);
  std::string text;

  pair.loop.run([&]() -> task<> {
    for (const std::uint16_t each : {std::uint16_t{1}, std::uint16_t{100}, std::uint16_t{1200}}) {
      const auto most = segmented_bytes_max(each);
      CHECK(co_await pair.here.send_segmented(first(most), each, pair.there_address()) == most);
    }
    CHECK(co_await error_of(pair.here.send_segmented(first(70'000), 1200, pair.there_address())) ==
          std::errc::message_size);
    try {
      co_await pair.here.send_segmented(first(1000), 1, pair.there_address());
    } catch (const std::system_error& error) {
      CHECK(error.code() == std::errc::invalid_argument);
      text = error.what();
    }
  });

  CHECK(text.find("1000 bytes in segments of 1") != std::string::npos);
}

TEST_CASE("what was sent in segments comes in one piece with receive_offload, and can be told apart") {
  for (const auto& at : loopbacks()) {
    udp_pair pair{at};
    pair.there.set(receive_offload{});
    std::array<std::byte, 64> buffer{};

    const auto came = pair.loop.run([&]() -> task<received_datagram> {
      co_await pair.here.send_segmented(bytes_of("aaaabbbbccccdd"), 4, pair.there_address());
      co_return co_await pair.there.receive_from(buffer);
    });

    CHECK(came.bytes == 14);
    CHECK(came.facts.segment_bytes == 4);
    std::vector<std::string> texts;
    for (const auto segment : came.segments_in(buffer)) texts.emplace_back(text_of(segment));
    CHECK(texts == std::vector<std::string>{"aaaa", "bbbb", "cccc", "dd"});
  }
}

// ---------------------------------------------------------------------------------------------- stopped, ended, closed

TEST_CASE("a wait that is stopped takes nothing from the socket, wherever it was") {
  for (const auto wait : all_that_wait) {
    for (int turns_before = 0; turns_before < 4; ++turns_before) {
      CAPTURE(turns_before);
      udp_pair pair;
      outcome noted;
      auto waiting = pair.loop.start(wait(pair.here, noted));

      for (int i = 0; i < turns_before; ++i) pair.loop.turn(/*may_park=*/false);
      waiting.cancel();
      turn_until_done(pair.loop, waiting);
      send_now(pair.there, "later", pair.here_address());

      CHECK(noted.how == ended::stopped);
      CHECK(has_something(pair.here));
    }
  }
}

TEST_CASE("a datagram that meets a stop is delivered, or stays in the socket") {
  for (const auto receive_it : {receive_one, receive_one_from}) {
    for (int turns_before = 0; turns_before < 4; ++turns_before) {
      for (int turns_between = 0; turns_between < 2; ++turns_between) {
        udp_pair pair;
        outcome noted;
        auto receiving = pair.loop.start(receive_it(pair.here, noted));

        for (int i = 0; i < turns_before; ++i) pair.loop.turn(/*may_park=*/false);
        send_now(pair.there, "crossing", pair.here_address());
        for (int i = 0; i < turns_between; ++i) pair.loop.turn(/*may_park=*/false);
        receiving.cancel();
        turn_until_done(pair.loop, receiving);

        CHECK((noted.how == ended::with_value) == !has_something(pair.here));
      }
    }
  }
}

TEST_CASE("a send that is stopped before it begins sends nothing; one that has begun has sent all") {
  for (int turns_before = 0; turns_before < 3; ++turns_before) {
    udp_pair pair;
    outcome noted;
    const auto send_it = [&]() -> task<> {
      co_await observe(pair.here.send_to(bytes_of("x"), pair.there_address()), noted);
    };
    auto sending = pair.loop.start(send_it());

    for (int i = 0; i < turns_before; ++i) pair.loop.turn(/*may_park=*/false);
    sending.cancel();
    turn_until_done(pair.loop, sending);

    CHECK((noted.how == ended::with_value) == has_something(pair.there));
  }
}

TEST_CASE("a wait with a deadline times out, and the socket is as good as before") {
  udp_pair pair;
  std::array<std::byte, 16> buffer{};

  pair.loop.run([&]() -> task<> {
    CHECK(co_await error_of(with_timeout(1ms, pair.here.receive_from(buffer))) == std::errc::timed_out);
    CHECK(co_await error_of(with_timeout(1ms, pair.here.receive(buffer))) == std::errc::timed_out);
    CHECK(co_await error_of(with_timeout(1ms, pair.here.receive_error())) == std::errc::timed_out);
    co_await with_timeout(1min, pair.there.send_to(bytes_of("x"), pair.here_address()));
    CHECK((co_await with_timeout(1min, pair.here.receive_from(buffer))).source == pair.there_address());
  });
}

TEST_CASE("close() ends what other tasks have in flight on the socket") {
  for (const bool is_connected : {true, false}) {
    udp_pair pair;
    if (is_connected) pair.here.set_peer(pair.there_address());
    const std::size_t open_before = open_descriptors_count();
    std::array<outcome, 3> noted;
    auto receiving = pair.loop.start(receive_one(pair.here, noted[0]));
    auto receiving_from = pair.loop.start(receive_one_from(pair.here, noted[1]));
    auto awaiting_error = pair.loop.start(await_error(pair.here, noted[2]));
    pair.loop.run_ready();

    pair.loop.run(pair.here.close());
    for (const auto* each : {&receiving, &receiving_from, &awaiting_error}) turn_until_done(pair.loop, *each);

    for (const auto& each : noted) CHECK(each.error == std::errc::operation_canceled);
    CHECK(open_descriptors_count() == open_before - 1);
  }
}

TEST_CASE("what is asked of a socket that was closed is bad_file_descriptor") {
  udp_pair pair;
  const auto to = pair.there_address();
  std::array<std::byte, 16> buffer{};

  pair.loop.run([&]() -> task<> {
    co_await pair.here.close();
    CHECK(co_await error_of(pair.here.receive(buffer)) == std::errc::bad_file_descriptor);
    CHECK(co_await error_of(pair.here.receive_from(buffer)) == std::errc::bad_file_descriptor);
    CHECK(co_await error_of(pair.here.send_to(bytes_of("x"), to)) == std::errc::bad_file_descriptor);
    CHECK(co_await error_of(pair.here.send(bytes_of("x"))) == std::errc::bad_file_descriptor);
    CHECK(co_await error_of(pair.here.receive_error()) == std::errc::bad_file_descriptor);
  });
  CHECK(refusal_of([&] { pair.here.set(broadcast{}); }).code() == std::errc::bad_file_descriptor);
  CHECK(refusal_of([&] { pair.here.clear_peer(); }).code() == std::errc::bad_file_descriptor);
}

TEST_CASE("a close() that is stopped has closed, wherever it was") {
  for (int turns_before = 0; turns_before < 5; ++turns_before) {
    udp_pair pair;
    const auto at = pair.here_address();
    auto closing = pair.loop.start(pair.here.close());

    for (int i = 0; i < turns_before; ++i) pair.loop.turn(/*may_park=*/false);
    closing.cancel();
    turn_until_done(pair.loop, closing);
    pair.loop.run_ready();

    CHECK(udp_socket::bind({.at = at}).local_address() == at);
  }
}

}  // namespace gyre::net
