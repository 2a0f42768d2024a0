// SPDX-License-Identifier: MIT
// What streams, listeners and datagrams of Unix sockets have in common: addresses asked for, descriptors packed.
#pragma once

#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_credentials.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace gyre::net::detail {

[[nodiscard]] unix_address local_unix_address_of(fd_ref socket);
[[nodiscard]] unix_address peer_unix_address_of(fd_ref socket);

/// A socket of AF_UNIX, not bound.
[[nodiscard]] unique_fd make_unix_socket(int type);

/// Two that are connected to each other.
[[nodiscard]] std::array<unique_fd, 2> make_unix_pair(int type);

/// Waits between tries for room at a peer, of which the kernel tells nobody: a backlog, or the queue of a socket that
/// this one is not connected to. poll(2) says of both that there is room. A request that waits in the kernel would be
/// tried a hundred times in a row, then block a worker thread, and until that a cancel does not find it.
class growing_wait {
 public:
  /// How long the next one is.
  [[nodiscard]] std::chrono::milliseconds next() noexcept {
    return std::exchange(next_, std::min<std::chrono::milliseconds>(2 * next_, longest));
  }

 private:
  static constexpr std::chrono::milliseconds longest{50};
  std::chrono::milliseconds next_{1};
};

/// unix(7): SCM_MAX_FD.
inline constexpr std::size_t descriptors_per_message_max = 253;

/// Descriptors as sendmsg(2) wants them: SCM_RIGHTS. Nothing where there are none.
///
/// @errors  std::system_error: bad_file_descriptor for a direct one, which is none of the process's;
///          invalid_argument for more than a message can have.
[[nodiscard]] std::vector<std::byte> control_with(std::span<const fd_ref> descriptors);

/// Room for so many descriptors and no more, behind the sender's credentials where those come.
class control_room_for {
 public:
  control_room_for(std::size_t descriptors_max, bool with_credentials);

  /// For ops::incoming_message::control. Refers to this.
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return storage_; }

 private:
  std::vector<std::byte> storage_;
};

}  // namespace gyre::net::detail
