// SPDX-License-Identifier: MIT
// Connecting Unix streams, and descriptors that go through them.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/detail/unix_calls.hpp>
#include <gyre/net/unix_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/timer.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <system_error>

namespace gyre::net {
namespace {

// <asm-generic/socket.h> of Linux 6.5; the headers may be older.
constexpr int so_peerpidfd = 77;

}  // namespace

task<unix_stream> unix_stream::connect(unix_address peer) {
  unique_fd socket = co_await ops::socket{AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK};
  for (detail::growing_wait wait;; co_await sleep_for(wait.next())) {
    const auto connected = co_await as_result(ops::connect{socket, peer.data(), peer.size()});
    if (connected) break;
    const bool backlog_is_full = connected.error() == std::errc::resource_unavailable_try_again;
    if (!backlog_is_full) throw std::system_error{connected.error(), "connect " + peer.to_string()};
  }
  // Else nothing would wait on it.
  if (::fcntl(socket.get(), F_SETFL, 0) != 0) detail::throw_socket_error("fcntl");
  co_return unix_stream{std::move(socket)};
}

std::pair<unix_stream, unix_stream> unix_stream::pair() {
  auto ends = detail::make_unix_pair(SOCK_STREAM);
  return {unix_stream{std::move(ends[0])}, unix_stream{std::move(ends[1])}};
}

task<> unix_stream::send_with_descriptors(std::span<const std::byte> bytes, std::span<const fd_ref> descriptors) {
  constexpr auto* name = "send_with_descriptors";
  std::size_t taken = 0;
  try {
    // The kernel takes such a message, and drops what is in it.
    if (bytes.empty()) throw std::system_error{std::make_error_code(std::errc::invalid_argument)};
    const auto control = detail::control_with(descriptors);
    const std::array<::iovec, 1> parts{{{const_cast<std::byte*>(bytes.data()), bytes.size()}}};
    const ops::outgoing_message message{.parts = parts, .control = control};
    taken = co_await ops::sendmsg{fd(), message};
    if (taken < bytes.size()) co_await write_all(bytes.subspan(taken));
  } catch (const transfer_error& failed) {  // of the rest
    throw transfer_error{failed.code(), taken + failed.bytes(), name};
  } catch (const std::system_error& failed) {
    throw transfer_error{failed.code(), 0, name};
  }
}

task<received_descriptors> unix_stream::receive_with_descriptors(std::span<std::byte> buffer,
                                                                 std::size_t descriptors_max) {
  detail::control_room_for room{descriptors_max, /*with_credentials=*/false};
  const std::array<::iovec, 1> parts{{{buffer.data(), buffer.size()}}};
  const ops::incoming_message into{.parts = parts, .control = room.bytes()};
  auto came = co_await ops::recvmsg{fd(), into};
  co_return received_descriptors{.bytes = came.bytes,
                                 .descriptors = std::move(came.descriptors),
                                 .descriptors_were_lost = (came.flags & MSG_CTRUNC) != 0};
}

unix_credentials unix_stream::peer_credentials() const {
  ::ucred found{};
  ::socklen_t size = sizeof found;
  if (::getsockopt(fd().get(), SOL_SOCKET, SO_PEERCRED, &found, &size) != 0) detail::throw_socket_error("SO_PEERCRED");
  return {.process = found.pid, .user = found.uid, .group = found.gid};
}

unique_fd unix_stream::peer_process() const {
  int found = -1;
  ::socklen_t size = sizeof found;
  if (::getsockopt(fd().get(), SOL_SOCKET, so_peerpidfd, &found, &size) != 0)
    detail::throw_socket_error("SO_PEERPIDFD");
  return unique_fd{found};
}

unix_address unix_stream::local_address() const { return detail::local_unix_address_of(fd()); }

unix_address unix_stream::peer_address() const { return detail::peer_unix_address_of(fd()); }

}  // namespace gyre::net
