// SPDX-License-Identifier: MIT
// Calls on Unix sockets that never block, and control data for descriptors.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/detail/unix_calls.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <system_error>

namespace gyre::net::detail {
namespace {

using address_call = int (*)(int, ::sockaddr*, ::socklen_t*);

unix_address ask(address_call call, fd_ref socket, const char* name) {
  ::sockaddr_storage storage{};
  ::socklen_t size = sizeof storage;
  if (call(socket.get(), reinterpret_cast<::sockaddr*>(&storage), &size) != 0) throw_socket_error(name);
  return unix_address::from_kernel(storage, size).value();
}

void refuse(std::errc why) { throw std::system_error{std::make_error_code(why), "send_with_descriptors"}; }

}  // namespace

unix_address local_unix_address_of(fd_ref socket) { return ask(&::getsockname, socket, "getsockname"); }

unix_address peer_unix_address_of(fd_ref socket) { return ask(&::getpeername, socket, "getpeername"); }

unique_fd make_unix_socket(int type) {
  unique_fd made{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)};
  if (!made) throw_socket_error("socket");
  return made;
}

std::array<unique_fd, 2> make_unix_pair(int type) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0) throw_socket_error("socketpair");
  return {unique_fd{ends[0]}, unique_fd{ends[1]}};
}

std::vector<std::byte> control_with(std::span<const fd_ref> descriptors) {
  if (descriptors.empty()) return {};
  if (descriptors.size() > descriptors_per_message_max) refuse(std::errc::invalid_argument);
  const std::size_t bytes_count = descriptors.size() * sizeof(int);
  std::vector<std::byte> control(CMSG_SPACE(bytes_count));
  const ::cmsghdr header{.cmsg_len = CMSG_LEN(bytes_count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  std::memcpy(control.data(), &header, sizeof header);
  std::byte* place = control.data() + CMSG_LEN(0);
  for (const fd_ref each : descriptors) {
    const int number = each.get();
    if (number < 0) refuse(std::errc::bad_file_descriptor);
    std::memcpy(place, &number, sizeof number);
    place += sizeof number;
  }
  return control;
}

// The kernel goes by the room that there is: what CMSG_SPACE() rounds up would let one descriptor more in.
control_room_for::control_room_for(std::size_t descriptors_max, bool with_credentials) {
  const std::size_t count = std::min(descriptors_max, descriptors_per_message_max);
  std::size_t bytes_count = with_credentials ? CMSG_SPACE(sizeof(::ucred)) : 0;
  if (count > 0) bytes_count += CMSG_LEN(count * sizeof(int));
  storage_.resize(bytes_count);
}

}  // namespace gyre::net::detail
