// SPDX-License-Identifier: MIT
// The socket calls that never block, with their errors as exceptions.
#include <gyre/net/detail/socket_calls.hpp>

#include <cerrno>
#include <system_error>

namespace gyre::net::detail {
namespace {

using address_call = int (*)(int, ::sockaddr*, ::socklen_t*);

address ask(address_call call, fd_ref socket, const char* name) {
  ::sockaddr_storage storage{};
  ::socklen_t size = sizeof storage;
  if (call(socket.get(), reinterpret_cast<::sockaddr*>(&storage), &size) != 0) throw_socket_error(name);
  return address::from_kernel(storage).value();
}

}  // namespace

void throw_socket_error(const char* call) { throw std::system_error{errno, std::system_category(), call}; }

address local_address_of(fd_ref socket) { return ask(&::getsockname, socket, "getsockname"); }

address peer_address_of(fd_ref socket) { return ask(&::getpeername, socket, "getpeername"); }

void set_option(fd_ref socket, int level, int option, int value, const char* name) {
  if (::setsockopt(socket.get(), level, option, &value, sizeof value) != 0) throw_socket_error(name);
}

}  // namespace gyre::net::detail
