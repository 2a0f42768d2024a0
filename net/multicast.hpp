// SPDX-License-Identifier: MIT
// Groups of receivers, and the interfaces by which they are reached. Joining and leaving: udp_socket.
#pragma once

#include <gyre/net/address.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace gyre::net {

/// A network interface of this machine, by its number. 0 is none in particular: the routing table decides.
struct network_interface {
  unsigned index = 0;

  /// The one of that name, "eth0".
  ///
  /// @errors  std::system_error: no_such_device; invalid_argument, where no interface can have that name: it is longer
  ///          than 15 characters, or has a NUL in it. what() names it. Never blocks.
  /// @source  if_nametoindex(3)
  [[nodiscard]] static network_interface named(std::string_view name);

  /// What it is called.
  ///
  /// @errors  std::system_error: no_such_device_or_address, also for index 0.
  /// @source  if_indextoname(3)
  [[nodiscard]] std::string name() const;

  [[nodiscard]] friend bool operator==(const network_interface&, const network_interface&) noexcept = default;
};

/// Whom to receive from beside those who send to this socket alone.
struct multicast_group {
  /// The group's address; its port says nothing.
  address group{};

  /// By which interface. A machine with several receives by this one only.
  network_interface interface{};

  /// Only what comes from this address (source-specific multicast); its port says nothing.
  std::optional<address> source{};
};

}  // namespace gyre::net
