// SPDX-License-Identifier: MIT
// Messages on the kernel: parts, addresses, control data, and descriptors that travel in it.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/control.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/ops/socket.hpp>

#include "../../support/bytes.hpp"
#include "../../support/datagram_pair.hpp"
#include "../../support/outcome.hpp"
#include "../../support/socket_pair.hpp"
#include "../../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace test;

// The kernel only reads what is sent.
::iovec part_of(std::string_view text) { return {.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()}; }
::iovec part_of(std::string& room) { return {.iov_base = room.data(), .iov_len = room.size()}; }

}  // namespace

TEST_CASE("a message is sent from several places and received into others") {
  const socket_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    const std::array sent{part_of("one "), part_of("two")};
    CHECK(co_await ops::sendmsg(pair.here, {.parts = sent}) == 7);

    std::string first(3, '.');
    std::string rest(10, '.');
    const std::array landing{part_of(first), part_of(rest)};
    const auto got = co_await ops::recvmsg(pair.there, {.parts = landing});
    CHECK(got.bytes == 7);
    CHECK(got.flags == 0);
    CHECK(got.control.empty());
    CHECK(first == "one");
    CHECK(rest.substr(0, 4) == " two");
  });
}

TEST_CASE("a datagram goes to an address, by sendmsg or sendto, and tells where it is from") {
  const datagram_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    std::string room(10, '.');
    const std::array landing{part_of(room)};
    ::sockaddr_storage from{};
    const auto check_sender = [&](const ops::received_message& got) {
      CHECK(got.bytes == 3);
      CHECK(got.from_size == sizeof(sockaddr_in));
      CHECK(reinterpret_cast<const sockaddr_in&>(from).sin_port == pair.here_address.sin_port);
    };

    const std::array sent{part_of("abc")};
    CHECK(co_await ops::sendmsg(pair.here, {.parts = sent, .to = pair.to_there(), .to_size = sizeof(sockaddr_in)}) ==
          3);
    check_sender(co_await ops::recvmsg(pair.there, {.parts = landing, .from = &from}));
    from = {};
    CHECK(co_await ops::sendto(pair.here, bytes_of("xyz"), pair.to_there(), sizeof(sockaddr_in)) == 3);
    check_sender(co_await ops::recvmsg(pair.there, {.parts = landing, .from = &from}));
    CHECK(room.substr(0, 3) == "xyz");
  });
}

TEST_CASE("what does not fit of a datagram is lost, and the flags say so") {
  const datagram_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    std::string room(2, '.');
    const std::array landing{part_of(room)};
    co_await ops::sendto(pair.here, bytes_of("abcdef"), pair.to_there(), sizeof(sockaddr_in));
    const auto cut = co_await ops::recvmsg(pair.there, {.parts = landing});
    CHECK(cut.bytes == 2);
    CHECK((cut.flags & MSG_TRUNC) != 0);

    co_await ops::sendto(pair.here, bytes_of("abcdef"), pair.to_there(), sizeof(sockaddr_in));
    const auto measured = co_await ops::recvmsg(pair.there, {.parts = landing}, MSG_TRUNC);
    CHECK(measured.bytes == 6);
  });
}

TEST_CASE("control data is sent item by item, and found by its sort") {
  const datagram_pair pair;
  const int on = 1;
  REQUIRE(::setsockopt(pair.there.get(), IPPROTO_IP, IP_RECVTOS, &on, sizeof on) == 0);
  executor loop;

  loop.run([&]() -> task<> {
    const ops::control_item<int> low_delay{IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY};
    const std::array sent{part_of("abc")};
    co_await ops::sendmsg(
        pair.here,
        {.parts = sent, .to = pair.to_there(), .to_size = sizeof(sockaddr_in), .control = low_delay.bytes()});

    std::string room(10, '.');
    const std::array landing{part_of(room)};
    ops::control_room<int> control;
    const auto got = co_await ops::recvmsg(pair.there, {.parts = landing, .control = control.bytes()});
    const auto told = ops::control_value<std::uint8_t>(got.control, IPPROTO_IP, IP_TOS);
    CHECK(told == std::uint8_t{IPTOS_LOWDELAY});
    CHECK(!ops::control_value<int>(got.control, SOL_SOCKET, SCM_RIGHTS));
    CHECK(!ops::control_value<std::array<int, 40>>(got.control, IPPROTO_IP, IP_TOS));  // it carries less
  });
}

TEST_CASE("control data that is none is refused, and what is no item is not looked at") {
  const datagram_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    std::array<std::byte, 32> nonsense{};
    nonsense.fill(std::byte{0xff});
    const std::array sent{part_of("abc")};
    const ops::outgoing_message wrong{
        .parts = sent, .to = pair.to_there(), .to_size = sizeof(sockaddr_in), .control = nonsense};
    CHECK((co_await as_result(ops::sendmsg(pair.here, wrong))).error() == std::errc::invalid_argument);
    CHECK(!ops::control_value<int>(nonsense, -1, -1));
    CHECK(!ops::control_value<int>(std::span{nonsense}.first(3), -1, -1));
  });
}

TEST_CASE("control data is walked item by item, wherever it lies, up to an item that says more than there is") {
  const ops::control_item<int> first{SOL_SOCKET, 7, 1};
  const ops::control_item<std::array<int, 3>> rights{SOL_SOCKET, SCM_RIGHTS, {4, 5, 6}};
  const ops::control_item<char> last{IPPROTO_IP, 8, 'x'};
  std::vector<std::byte> all(1);  // so that no item lies where a cmsghdr would
  for (const auto bytes : {first.bytes(), rights.bytes(), last.bytes()})
    all.insert(all.end(), bytes.begin(), bytes.end());
  const std::span<const std::byte> control = std::span{all}.subspan(1);
  const auto walked = [](std::span<const std::byte> some) {
    std::vector<std::pair<int, std::size_t>> told;
    ops::for_each_control(some, [&](const ::cmsghdr& item, std::span<const std::byte> payload) {
      told.emplace_back(item.cmsg_type, payload.size());
    });
    return told;
  };
  std::vector<int> descriptors;
  ops::for_each_descriptor(control, [&](int fd) { descriptors.push_back(fd); });

  using items = std::vector<std::pair<int, std::size_t>>;
  CHECK((walked(control) == items{{7, 4}, {SCM_RIGHTS, 12}, {8, 1}}));
  CHECK(descriptors == std::vector{4, 5, 6});
  const std::size_t without_padding = first.bytes().size() + rights.bytes().size() + CMSG_LEN(1);
  CHECK((walked(control.first(without_padding)) == items{{7, 4}, {SCM_RIGHTS, 12}, {8, 1}}));
  CHECK((walked(control.first(without_padding - 1)) == items{{7, 4}, {SCM_RIGHTS, 12}}));
  CHECK(walked({}).empty());
}

namespace {

// Sends descriptors of standard error.
template <std::size_t Count>
task<> send_descriptors(fd_ref socket) {
  std::array<int, Count> numbers{};
  numbers.fill(STDERR_FILENO);
  const ops::control_item<std::array<int, Count>> rights{SOL_SOCKET, SCM_RIGHTS, numbers};
  const std::array sent{part_of("x")};
  co_await ops::sendmsg(socket, {.parts = sent, .control = rights.bytes()});
}

task<ops::received_message> receive_descriptors(fd_ref socket, std::span<std::byte> control) {
  std::string room(1, '.');
  const std::array landing{part_of(room)};
  co_return co_await ops::recvmsg(socket, {.parts = landing, .control = control});
}

}  // namespace

TEST_CASE("descriptors that come with a message belong to it, and are not inherited by other programs") {
  const socket_pair pair;
  executor loop;
  const std::size_t open_before = open_descriptors_count();

  loop.run([&]() -> task<> {
    ops::control_room<std::array<int, 3>> control;
    co_await send_descriptors<3>(pair.here);
    {
      const auto got = co_await receive_descriptors(pair.there, control.bytes());
      REQUIRE(got.descriptors.size() == 3);
      for (const auto& each : got.descriptors) CHECK((::fcntl(each.get(), F_GETFD) & FD_CLOEXEC) != 0);
      CHECK(open_descriptors_count() == open_before + 3);
    }
    CHECK(open_descriptors_count() == open_before);
  });
}

TEST_CASE("descriptors for which there is no room are closed, and the flags say so") {
  const socket_pair pair;
  executor loop;
  const std::size_t open_before = open_descriptors_count();

  loop.run([&]() -> task<> {
    ops::control_room<int> control;
    co_await send_descriptors<3>(pair.here);
    const auto got = co_await receive_descriptors(pair.there, control.bytes());
    CHECK((got.flags & MSG_CTRUNC) != 0);
    CHECK(got.descriptors.size() <= 2);  // what is padding on this machine has room for one more
    CHECK(open_descriptors_count() == open_before + got.descriptors.size());
  });
}

TEST_CASE("descriptors that nobody takes are closed: their receiver was stopped when they had come") {
  const socket_pair pair;
  executor loop;
  const std::size_t open_before = open_descriptors_count();
  for (int turns = 0; turns < 4; ++turns) {
    ops::control_room<std::array<int, 3>> control;
    auto receiving = loop.start([](fd_ref from, std::span<std::byte> room) -> task<> {
      static_cast<void>(co_await receive_descriptors(from, room));
    }(pair.there, control.bytes()));
    auto sending = loop.start(send_descriptors<3>(pair.here));
    for (int i = 0; i < turns; ++i) loop.turn(/*may_park=*/false);

    receiving.cancel();
    turn_until_done(loop, receiving);
    turn_until_done(loop, sending);

    std::array<char, 100> rest{};  // where the stop came first they are still in the socket
    static_cast<void>(::recv(pair.there.get(), rest.data(), rest.size(), MSG_DONTWAIT));
    CHECK(open_descriptors_count() == open_before);
  }
}

TEST_CASE("messages go through direct descriptors as well") {
  const socket_pair pair;
  executor loop{{.direct_descriptors = 4}};

  loop.run([&]() -> task<> {
    const auto here = co_await ops::to_direct(pair.here);
    const auto there = co_await ops::to_direct(pair.there);
    const std::array sent{part_of("abc")};
    CHECK(co_await ops::sendmsg(here, {.parts = sent}, 0, ops::first_step::poll) == 3);
    std::string room(10, '.');
    const std::array landing{part_of(room)};
    CHECK((co_await ops::recvmsg(there, {.parts = landing}, 0, ops::first_step::poll)).bytes == 3);
  });
}

TEST_CASE("bad messages are errors: a closed socket, no destination, too long, more parts than IOV_MAX") {
  const datagram_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    const std::array sent{part_of("abc")};
    std::string room(10, '.');
    const std::array landing{part_of(room)};
    CHECK((co_await as_result(ops::sendmsg(-1, {.parts = sent}))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::recvmsg(-1, {.parts = landing}))).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::sendmsg(pair.here, {.parts = sent}))).error() ==
          std::errc::destination_address_required);
    CHECK((co_await as_result(ops::sendto(pair.here, bytes_of("abc"), pair.to_there(), 1 << 20))).error() ==
          std::errc::invalid_argument);
    CHECK((co_await as_result(
               ops::sendto(pair.here, std::vector<std::byte>(70'000), pair.to_there(), sizeof(sockaddr_in))))
              .error() == std::errc::message_size);

    const std::vector<::iovec> too_many(IOV_MAX + 1, part_of("x"));
    CHECK((co_await as_result(ops::sendmsg(pair.here, {.parts = too_many}))).error() == std::errc::message_size);
    CHECK((co_await as_result(ops::recvmsg(pair.here, {.parts = too_many}))).error() == std::errc::message_size);
  });
}

TEST_CASE("an empty message is a datagram like any other") {
  const datagram_pair pair;
  executor loop;

  loop.run([&]() -> task<> {
    CHECK(co_await ops::sendmsg(pair.here, {.to = pair.to_there(), .to_size = sizeof(sockaddr_in)}) == 0);
    CHECK((co_await ops::recvmsg(pair.there, {})).bytes == 0);
  });
}

TEST_CASE("a receiver of messages that is stopped leaves them in the socket") {
  const datagram_pair pair;
  executor loop;
  outcome noted;
  std::string room(10, '.');
  const std::array landing{part_of(room)};
  auto receiving = loop.start(observe(ops::recvmsg(pair.there, {.parts = landing}), noted));
  loop.run_ready();
  REQUIRE(noted.how == ended::not_yet);

  receiving.cancel();
  turn_until_done(loop, receiving);

  CHECK(noted.how == ended::stopped);
  loop.run([&]() -> task<> {
    co_await ops::sendto(pair.here, bytes_of("abc"), pair.to_there(), sizeof(sockaddr_in));
    CHECK((co_await ops::recvmsg(pair.there, {.parts = landing})).bytes == 3);
  });
}

}  // namespace gyre
