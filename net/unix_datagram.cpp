// SPDX-License-Identifier: MIT
// Datagrams of Unix sockets, with what comes beside the bytes.
#include <gyre/net/detail/end_socket.hpp>
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/detail/socket_file.hpp>
#include <gyre/net/detail/unix_calls.hpp>
#include <gyre/net/unix_datagram.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/scope.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace gyre::net {

unix_datagram unix_datagram::unbound() { return unix_datagram{detail::make_unix_socket(SOCK_DGRAM)}; }

task<unix_datagram> unix_datagram::bind(unix_datagram_options options) {
  const detail::socket_binding how{
      .type = SOCK_DGRAM, .at = options.at, .permissions = options.permissions, .replace_stale = options.replace_stale};
  auto bound = co_await detail::bind_unix_socket(how);
  unix_datagram made{std::move(bound.socket)};
  made.at_ = options.at;
  if (options.remove_on_close) made.file_to_remove_ = bound.file;
  co_return made;
}

std::pair<unix_datagram, unix_datagram> unix_datagram::pair() {
  auto ends = detail::make_unix_pair(SOCK_DGRAM);
  return {unix_datagram{std::move(ends[0])}, unix_datagram{std::move(ends[1])}};
}

task<> unix_datagram::connect(unix_address peer) {
  const auto connected = co_await as_result(ops::connect{fd_, peer.data(), peer.size()});
  if (!connected) throw std::system_error{connected.error(), "connect " + peer.to_string()};
}

std::shared_ptr<sync::event> unix_datagram::closing() {
  if (!closing_) closing_ = std::make_shared<sync::event>();
  return closing_;
}

task<> unix_datagram::send_with_descriptors(std::span<const std::byte> bytes, std::span<const fd_ref> descriptors,
                                            unix_address to) {
  const auto control = detail::control_with(descriptors);
  const std::array<::iovec, 1> parts{{{const_cast<std::byte*>(bytes.data()), bytes.size()}}};
  const bool to_peer = to.is_unnamed();
  const ops::outgoing_message message{
      .parts = parts, .to = to_peer ? nullptr : to.data(), .to_size = to_peer ? 0 : to.size(), .control = control};
  if (to_peer) {
    co_await ops::sendmsg{fd_, message};
    co_return;
  }
  detail::growing_wait wait;
  const auto closed = closing();  // once that is set, this socket may be gone
  while (!closed->is_set()) {
    const auto sent = co_await as_result(ops::sendmsg{fd_, message, MSG_DONTWAIT});
    if (sent) co_return;
    const bool queue_is_full = sent.error() == std::errc::resource_unavailable_try_again;
    if (!queue_is_full) throw std::system_error{sent.error(), "send_to " + to.to_string()};
    co_await move_on_after(wait.next(), closed->wait());
  }
  throw std::system_error{std::make_error_code(std::errc::operation_canceled), "send_to " + to.to_string()};
}

task<received_unix_datagram> unix_datagram::receive_from(std::span<std::byte> buffer, std::size_t descriptors_max) {
  detail::control_room_for room{descriptors_max, /*with_credentials=*/true};
  const std::array<::iovec, 1> parts{{{buffer.data(), buffer.size()}}};
  ::sockaddr_storage from{};
  const ops::incoming_message into{.parts = parts, .from = &from, .control = room.bytes()};
  auto came = co_await ops::recvmsg{fd_, into, MSG_TRUNC};

  received_unix_datagram received{.bytes = std::min(came.bytes, buffer.size()), .datagram_bytes = came.bytes};
  received.source = unix_address::from_kernel(from, came.from_size).value();
  received.descriptors = std::move(came.descriptors);
  // Where no credentials came, descriptors may have taken the room that was for them.
  const bool too_many = received.descriptors.size() > descriptors_max;
  if (too_many) received.descriptors.resize(descriptors_max);
  received.descriptors_were_lost = too_many || (came.flags & MSG_CTRUNC) != 0;
  if (const auto sender = ops::control_value<::ucred>(came.control, SOL_SOCKET, SCM_CREDENTIALS))
    received.credentials = {.process = sender->pid, .user = sender->uid, .group = sender->gid};
  co_return received;
}

void unix_datagram::pass_credentials(bool on) {
  detail::set_option(fd_, SOL_SOCKET, SO_PASSCRED, on ? 1 : 0, "SO_PASSCRED");
}

namespace {

// While the socket is open its file's number is nobody else's.
task<> end_with_file(unique_fd closing, unix_address at, std::optional<detail::file_identity> file) {
  co_await detail::end_requests(closing);
  if (file) co_await detail::remove_socket_file(at, *file);
  co_await ops::close{std::move(closing)};
}

}  // namespace

task<> unix_datagram::close() {
  if (closing_) std::exchange(closing_, nullptr)->set();
  unique_fd closing = std::move(fd_);
  const auto file = std::exchange(file_to_remove_, std::nullopt);
  co_await shield(end_with_file(std::move(closing), at_, file));
}

unix_address unix_datagram::local_address() const { return detail::local_unix_address_of(fd_); }

unix_address unix_datagram::peer_address() const { return detail::peer_unix_address_of(fd_); }

}  // namespace gyre::net
