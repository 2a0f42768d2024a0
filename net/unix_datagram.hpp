// SPDX-License-Identifier: MIT
// Datagrams between processes of one machine: each whole or not at all, in order, and none is lost. With them come open
// files, and who has sent them.
//
// Unlike over UDP a sender waits while the receiver's queue is full (net.unix.max_dgram_qlen, 10 as a rule). Who wants
// answers is bound to an address of its own: `bind({})` has the kernel choose one.
#pragma once

#include <gyre/net/detail/socket_file.hpp>
#include <gyre/net/socket_options.hpp>
#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_credentials.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>
#include <gyre/sync/event.hpp>

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace gyre::net {

/// Where a socket receives.
struct unix_datagram_options {
  /// A path or an abstract name. The unnamed address: an abstract name that the kernel chooses.
  unix_address at{};

  /// The permissions of the file, as for unix_listen_options; who may write to it may send.
  std::optional<::mode_t> permissions{};

  /// Whether a file that an earlier socket has left is removed first, as for unix_listen_options. Nobody notices.
  bool replace_stale = false;

  /// Whether close() removes the file.
  bool remove_on_close = true;
};

/// A datagram that has come.
struct received_unix_datagram {
  std::size_t bytes = 0;           ///< In the buffer.
  std::size_t datagram_bytes = 0;  ///< How long it was: more than `bytes` where the rest did not fit, and is lost.
  unix_address source{};           ///< Unnamed: the sender is bound to nothing, and cannot be answered.
  std::vector<unique_fd> descriptors{};           ///< In the order in which they were sent, close-on-exec.
  bool descriptors_were_lost = false;             ///< More came than were asked for, or than this process may open.
  std::optional<unix_credentials> credentials{};  ///< The sender's: see pass_credentials().

  [[nodiscard]] bool is_truncated() const noexcept { return datagram_bytes > bytes; }
};

class unix_datagram {
 public:
  /// A socket that sends only. Never blocks.
  ///
  /// @errors  std::system_error: too_many_files_open, …
  [[nodiscard]] static unix_datagram unbound();

  /// One that receives too. Where the address is a path it is bound on a thread of offload_pool::common(), as file
  /// systems may be slow.
  ///
  /// @errors, @cancellation  As unix_listener::bind().
  [[nodiscard]] static task<unix_datagram> bind(unix_datagram_options options);

  /// Two sockets that are connected to each other. Never blocks.
  ///
  /// @errors  std::system_error: too_many_files_open, …
  [[nodiscard]] static std::pair<unix_datagram, unix_datagram> pair();

  /// Takes over a socket.
  explicit unix_datagram(unique_fd socket) noexcept : fd_{std::move(socket)} {}

  /// Sends to that peer from now on where no other is named, and receives from it alone.
  ///
  /// @errors        connection_refused     nobody is bound there: a path may be the file of a socket that is gone
  ///                no_such_file_or_directory, permission_denied (who may write to the file may send)
  ///                operation_not_permitted   the peer is connected to somebody else
  ///                wrong_protocol_type    a socket of another sort: unix_stream
  ///                …: connect(2), unix(7). what() names the address.
  /// @cancellation  Safe: it is connected, or is as it was.
  [[nodiscard]] task<> connect(unix_address peer);

  /// Sends a datagram to the peer that it is connected to, and waits while that one's queue is full.
  ///
  /// @param bytes   All of it; empty is a datagram, too.
  /// @return        How many bytes: all.
  /// @errors        not_connected
  ///                connection_refused   the peer is gone
  ///                message_size         longer than the socket's buffer: net.core.wmem_max, send_buffer
  ///                permission_denied, …: send(2), unix(7)
  /// @cancellation  Safe: the datagram is sent, or not.
  [[nodiscard]] ops::send send(std::span<const std::byte> bytes) noexcept { return ops::send{fd_, bytes}; }

  /// The same to an address. While the receiver's queue is full it tries again, as unix_stream::connect() does: Linux
  /// tells of room only who is connected.
  ///
  /// @param to      Not the unnamed one.
  /// @errors        connection_refused, no_such_file_or_directory, permission_denied, wrong_protocol_type: as
  ///                connect(). operation_canceled: the socket was closed while it waited. Otherwise as send(). what()
  ///                names the address.
  /// @cancellation  As send().
  [[nodiscard]] task<> send_to(std::span<const std::byte> bytes, unix_address to) {
    return send_with_descriptors(bytes, {}, to);
  }

  /// Sends a datagram with descriptors.
  ///
  /// @param bytes        May be empty: a datagram carries descriptors alone, too.
  /// @param descriptors  Stay open until it is over, and remain the caller's. At most 253.
  /// @param to           The unnamed address: the peer that it is connected to.
  /// @errors        invalid_argument         too many descriptors
  ///                bad_file_descriptor      one of them is not open, or is a direct_fd
  ///                ETOOMANYREFS             as many of this user's as it may open are on their way (RLIMIT_NOFILE)
  ///                and as send_to()
  /// @cancellation  As send().
  /// @source        sendmsg(2), unix(7), SCM_RIGHTS.
  [[nodiscard]] task<> send_with_descriptors(std::span<const std::byte> bytes, std::span<const fd_ref> descriptors,
                                             unix_address to = {});

  /// Waits for a datagram, and tells whom it is from.
  ///
  /// @param buffer           What does not fit is lost; the result tells.
  /// @param descriptors_max  More are closed at once, and the result says so. At most 253 can come.
  /// @return        See received_unix_datagram. Descriptors that nobody takes out of it are closed.
  /// @errors        operation_canceled   the socket was closed
  ///                not_enough_memory    for the descriptors, which are then closed; the datagram is lost
  ///                …: recvmsg(2)
  /// @cancellation  Safe: a datagram with all that came with it is delivered, or stays in the socket.
  /// @source        recvmsg(2), unix(7). Linux 5.3.
  [[nodiscard]] task<received_unix_datagram> receive_from(std::span<std::byte> buffer, std::size_t descriptors_max = 0);

  /// Whether datagrams come with their senders' credentials, as the kernel vouches for them (SO_PASSCRED). Never
  /// blocks. Those that were sent before have none.
  void pass_credentials(bool on);

  /// Ends whatever is in flight on the socket, also a send_to() between two tries, which throws operation_canceled;
  /// then removes its file, unless remove_on_close is off, or another one is at its path by now, and closes it. What
  /// nobody has received is lost.
  ///
  /// A socket that is destroyed closes by itself, and its file stays; nothing may be in flight on it then.
  ///
  /// @errors        permission_denied, …: the file could not be removed. The socket is closed.
  /// @cancellation  Safe: it is closed in every case. The file may stay.
  [[nodiscard]] task<> close();

  /// The addresses of the two ends.
  ///
  /// @errors  std::system_error: not_connected, of the peer's.
  [[nodiscard]] unix_address local_address() const;
  [[nodiscard]] unix_address peer_address() const;

  /// Sets an option of socket_options.hpp.
  ///
  /// @errors  std::system_error that names the option: setsockopt(2)
  template <socket_option Option>
  void set(const Option& option) {
    Option::apply(fd_, option);
  }
  template <socket_option Option>
  [[nodiscard]] Option get() const {
    return Option::ask(fd_);
  }

  [[nodiscard]] fd_ref fd() const noexcept { return fd_; }

  /// Gives the socket away. Its file, if it has one, stays.
  [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

 private:
  [[nodiscard]] std::shared_ptr<sync::event> closing();

  unique_fd fd_;
  std::shared_ptr<sync::event> closing_;  // for those who send to an address, if any do
  unix_address at_;
  std::optional<detail::file_identity> file_to_remove_;
};

}  // namespace gyre::net
