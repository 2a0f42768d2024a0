// SPDX-License-Identifier: MIT
// Opening a TCP connection, and asking about it.
#include <gyre/net/detail/socket_calls.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstddef>
#include <span>
#include <system_error>

namespace gyre::net {

task<tcp_stream> tcp_stream::connect(address peer) {
  unique_fd socket = co_await ops::socket{peer.family(), SOCK_STREAM, IPPROTO_TCP};
  const auto connected = co_await as_result(ops::connect{socket, peer.data(), peer.size()});
  if (!connected) throw std::system_error{connected.error(), "connect " + peer.to_string()};
  co_return tcp_stream{std::move(socket)};
}

namespace {

// A send without a copy cannot be had on this socket, or on this kernel.
bool is_refusal(std::error_code why) {
  return why == std::errc::operation_not_supported || why == std::errc::invalid_argument;
}

}  // namespace

// One that is cut short by the kernel goes on with the rest, by whichever way that is worth. MSG_WAITALL makes it one
// request, and one notification, in nearly all cases.
task<ops::zero_copy_sent> tcp_stream::send_zero_copy(const_buffer_ref bytes) {
  ops::zero_copy_sent all{.bytes = 0, .copied = false};
  bool out_of_memory = false;  // for pages that are lent to the network: what is sent meanwhile is copied
  try {
    while (all.bytes < bytes.size()) {
      const const_buffer_ref rest = bytes.subspan(all.bytes);
      if (out_of_memory || !zero_copy_.is_worth_it(rest.size())) {
        co_await ops::send_all{fd(), std::span{rest.data(), rest.size()}};
        co_return ops::zero_copy_sent{.bytes = bytes.size(), .copied = true};
      }
      constexpr ops::zero_copy_options in_full{.flags = MSG_WAITALL};
      const auto sent = co_await as_result(ops::send_zc{fd(), rest, in_full});
      if (sent) {
        if (sent->bytes == 0) throw std::system_error{errc::no_progress};
        zero_copy_.learn(sent->bytes, *sent->copied);
        all = {.bytes = all.bytes + sent->bytes, .copied = *all.copied || *sent->copied};
      } else if (is_refusal(sent.error())) {
        zero_copy_.give_up();
      } else if (sent.error() == std::errc::not_enough_memory) {
        out_of_memory = true;
      } else {
        throw std::system_error{sent.error()};
      }
    }
  } catch (const transfer_error& failed) {
    throw transfer_error{failed.code(), all.bytes + failed.bytes(), "send_zero_copy"};
  } catch (const std::system_error& failed) {
    throw transfer_error{failed.code(), all.bytes, "send_zero_copy"};
  }
  co_return all;
}

// All that is a reset is done before the first wait: a stop finds it done. A close alone would send it when the last
// request on the socket has ended, and a shutdown would send an end before it. To be connected to nobody is the way to
// reset a connection whose socket stays; and should that be refused, the close is a reset.
task<> tcp_stream::reset() {
  end_streams();
  unique_fd kept = release();
  const ::linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(kept.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  const ::sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  ::connect(kept.get(), &nobody, sizeof nobody);
  while (co_await ops::cancel_fd{kept} > 0) {
  }
  co_await ops::close{std::move(kept)};
}

address tcp_stream::local_address() const { return detail::local_address_of(fd()); }

address tcp_stream::peer_address() const { return detail::peer_address_of(fd()); }

void tcp_stream::set_no_delay(bool on) {
  detail::set_option(fd(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY");
}

}  // namespace gyre::net
