// SPDX-License-Identifier: MIT
// Connecting to the first of several addresses that answers (RFC 8305), and to a host by its name.
//
// The addresses are tried one after another, IPv6 and IPv4 in turns, each a while after the one before or as soon as
// one has failed; all that were begun go on side by side. The first connection wins; the others are stopped, waited for
// and closed. So a host of which one address is dead answers in a quarter of a second, and not after a minute.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/resolver.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/task.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace gyre::net {

/// How long an address has before the next one is tried, too: RFC 8305, section 5.
inline constexpr std::chrono::nanoseconds connection_attempt_delay = std::chrono::milliseconds{250};

/// The same addresses, the families in turns, each in its order; the first stays the first. RFC 8305, section 4.
[[nodiscard]] std::vector<address> interleaved(const std::vector<address>& peers);

/// Connects to one of the addresses, which are tried in their order.
///
/// @param peers         One or more; invalid_argument for none.
/// @param delay         From one attempt to the next, as long as none has failed.
/// @errors              That of the first address, when all have failed: connection_refused, timed_out, …; what() names
///                      the address
/// @cancellation        Safe: every socket is closed.
[[nodiscard]] task<tcp_stream> connect_to_first(std::vector<address> peers,
                                                std::chrono::nanoseconds delay = connection_attempt_delay);

/// Connects to a host: looks its name up, and connects to the first of its addresses that answers.
///
///   auto peer = co_await with_timeout(10s, net::connect("example.org", 80));
///
/// @param host          A name, or an address without brackets.
/// @param names         Who looks it up. Stays until then.
/// @errors              As resolver::resolve() and connect_to_first(); what() names the host as well.
/// @cancellation        Safe, and at once.
[[nodiscard]] task<tcp_stream> connect(std::string host, std::uint16_t port, resolver& names = resolver::common());

}  // namespace gyre::net
