// SPDX-License-Identifier: MIT
// What a stream of datagrams asks the kernel for.
#include <gyre/net/incoming_datagrams.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <utility>

namespace gyre::net {
namespace {

// Both multiples of 16, and the kernel's own head is one: so payloads lie as the pool's buffers do.
constexpr std::size_t head_bytes = 16;  // struct io_uring_recvmsg_out
constexpr std::size_t name_bytes = 32;
static_assert(name_bytes >= sizeof(::sockaddr_in6));

constexpr std::size_t padded(std::size_t bytes) noexcept { return (bytes + 15) / 16 * 16; }

// MSG_TRUNC: to be told how long a datagram was that did not fit.
ops::recvmsg_stream_options options_for(std::size_t control_bytes, std::size_t pause_at) noexcept {
  return {.pause_at = pause_at,
          .flags = MSG_TRUNC,
          .name_bytes = name_bytes,
          .control_bytes = static_cast<std::uint32_t>(padded(control_bytes))};
}

}  // namespace

ops::recvmsg_stream incoming_datagrams::messages_of(fd_ref socket, const buffer_pool& pool, std::size_t control_bytes,
                                                    std::size_t pause_at) {
  return ops::recvmsg_stream{socket, pool, options_for(control_bytes, pause_at)};
}

std::size_t incoming_datagrams::overhead_bytes(std::size_t control_bytes) noexcept {
  return head_bytes + name_bytes + padded(control_bytes);
}

}  // namespace gyre::net
