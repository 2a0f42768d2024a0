// SPDX-License-Identifier: MIT
// A connection between two processes of one machine: bytes both ways, and open files with them.
//
// A descriptor that is sent is sent as the open file behind it: the receiver gets a number of its own for it, with the
// same position and flags. It travels with bytes, and is received with the first of them: who reads those by read()
// loses it, and the kernel closes it. So both ends agree on where in the stream descriptors come.
#pragma once

#include <gyre/net/stream_socket.hpp>
#include <gyre/net/unix_address.hpp>
#include <gyre/net/unix_credentials.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace gyre::net {

/// Bytes that have come, and the descriptors that came with them.
struct received_descriptors {
  std::size_t bytes = 0;                 ///< In the buffer; 0: the peer has sent all that it will.
  std::vector<unique_fd> descriptors{};  ///< In the order in which they were sent, close-on-exec.
  bool descriptors_were_lost = false;    ///< More came than were asked for, or than this process may open.
};

/// What it does with bytes: stream_socket.hpp.
class unix_stream : public stream_socket {
 public:
  /// Takes over a connected socket.
  explicit unix_stream(unique_fd connected) noexcept : stream_socket{std::move(connected)} {}

  /// Connects to a path or an abstract name. While the listener's backlog is full it tries again, at first after 1 ms,
  /// then less and less often, every 50 ms at last: Linux tells nobody when there is room. what() of an error names the
  /// address.
  ///
  /// @errors        connection_refused     nobody listens there: a path may be the file of a socket that is gone
  ///                no_such_file_or_directory, permission_denied (who may write to the file may connect)
  ///                wrong_protocol_type    a socket of another sort: unix_datagram
  ///                invalid_argument       the unnamed address
  ///                …: connect(2), unix(7)
  /// @cancellation  Safe: the socket is closed.
  [[nodiscard]] static task<unix_stream> connect(unix_address peer);

  /// Two streams that are connected to each other. Never blocks.
  ///
  /// @errors  std::system_error: too_many_files_open, …
  [[nodiscard]] static std::pair<unix_stream, unix_stream> pair();

  /// Writes all of the bytes, and sends descriptors with the first of them.
  ///
  /// @param bytes        Not empty: descriptors alone do not travel.
  /// @param descriptors  Stay open until it is over, and remain the caller's. At most 253.
  /// @errors        invalid_argument         no bytes, or too many descriptors. Nothing was sent
  ///                bad_file_descriptor      one of them is not open, or is a direct_fd. Nothing was sent
  ///                ETOOMANYREFS             as many of this user's as it may open are on their way (RLIMIT_NOFILE)
  ///                all as transfer_error, with the count of bytes that were taken; descriptors went where it is not 0.
  ///                Otherwise as write_all().
  /// @cancellation  As write_all().
  /// @source        sendmsg(2), unix(7), SCM_RIGHTS.
  [[nodiscard]] task<> send_with_descriptors(std::span<const std::byte> bytes, std::span<const fd_ref> descriptors);

  /// Reads what is there, or waits until something comes, and takes descriptors that were sent with it. It ends before
  /// bytes that were sent with other descriptors.
  ///
  /// @param buffer           Not empty.
  /// @param descriptors_max  More are closed at once, and the result says so: a peer does not have this process open
  ///                         more files than it expects. At most 253 can come.
  /// @return        See received_descriptors. Descriptors that nobody takes out of it are closed.
  /// @errors        As read(); not_enough_memory for the descriptors, which are then closed.
  /// @cancellation  Safe: bytes and descriptors are delivered, or stay in the connection. None is leaked.
  /// @source        recvmsg(2), unix(7), SCM_RIGHTS.
  [[nodiscard]] task<received_descriptors> receive_with_descriptors(std::span<std::byte> buffer,
                                                                    std::size_t descriptors_max = 1);

  /// Who connected, or who listened; of a pair(), who made it (SO_PEERCRED).
  ///
  /// @errors  std::system_error: getsockopt(2)
  [[nodiscard]] unix_credentials peer_credentials() const;

  /// The same process as a descriptor, which no other can slip under: a pidfd, readable when that process has ended
  /// (ops::poll), and good for pidfd_send_signal(2). Close-on-exec.
  ///
  /// @errors  std::system_error: no_protocol_option before Linux 6.5; no_message_available for a socket that is not
  ///          connected; an older kernel has none of a process that was waited for: no_such_process
  /// @source  unix(7), SO_PEERPIDFD. Linux 6.5.
  [[nodiscard]] unique_fd peer_process() const;

  /// The addresses of the two ends. Who connects is unnamed, as a rule.
  ///
  /// @errors  std::system_error: not_connected.
  [[nodiscard]] unix_address local_address() const;
  [[nodiscard]] unix_address peer_address() const;
};

}  // namespace gyre::net
