// SPDX-License-Identifier: MIT
// Where a Unix socket is: a path, a name of this machine alone, or nowhere: unix(7).
//
//   path       "/run/app.sock"   a file of its own sort, whose permissions say who may connect. It stays when its
//                                socket is gone: see unix_listener for what removes it
//   abstract   "@app"            a name in the network namespace, gone with its socket. Anybody in there may connect,
//                                or take the name first
//   unnamed    ""                a socket that was bound to nothing: the connecting side, as a rule
//
// A type of its own beside `address`, so that each socket is told addresses of its own sort only.
#pragma once

#include <gyre/runtime/result.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <compare>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace gyre::net {

/// The address of a Unix socket. A value: 116 bytes, no allocation.
class unix_address {
 public:
  /// The longest path, in bytes. Where a folder lies deeper: a relative path, or "/proc/self/fd/N/NAME" beneath one
  /// that is open as N.
  static constexpr std::size_t path_bytes_max = sizeof ::sockaddr_un::sun_path;

  /// The longest abstract name, in bytes.
  static constexpr std::size_t abstract_bytes_max = path_bytes_max - 1;

  /// The unnamed address.
  unix_address() noexcept = default;

  /// A path, as it is.
  ///
  /// @return  The address. filename_too_long: more than path_bytes_max. errc::invalid_address: an empty one, or one
  ///          with a NUL in it.
  [[nodiscard]] static result<unix_address> path(std::string_view name) noexcept;

  /// A name without a file: any bytes, NUL among them, or none.
  ///
  /// @return  The address. filename_too_long: more than abstract_bytes_max.
  [[nodiscard]] static result<unix_address> abstract(std::string_view name) noexcept;

  /// Reads what to_string() prints, and so what people write: "@name" is abstract, "" unnamed, all else a path. A
  /// backslash stands before another one, or before "x" and the two hexadecimal digits of a byte: "@app\x00log".
  ///
  /// @return  The address. filename_too_long as for path() and abstract(). errc::invalid_address: a backslash before
  ///          something else, or a path with a NUL.
  [[nodiscard]] static result<unix_address> parse(std::string_view text);

  /// From what the kernel filled in. errc::invalid_address where the family is not AF_UNIX; an address of no length is
  /// the unnamed one.
  [[nodiscard]] static result<unix_address> from_kernel(const ::sockaddr_storage& storage, ::socklen_t size) noexcept;

  [[nodiscard]] bool is_unnamed() const noexcept { return size_ == name_offset; }
  [[nodiscard]] bool is_abstract() const noexcept { return !is_unnamed() && storage_.sun_path[0] == '\0'; }
  [[nodiscard]] bool is_path() const noexcept { return !is_unnamed() && !is_abstract(); }

  /// The path, or the abstract name without what marks it as one; empty for the unnamed. Refers to this object.
  [[nodiscard]] std::string_view name() const noexcept;

  /// As parse() reads it: what cannot be printed, and a "@" that begins a path, stand as "\xNN".
  [[nodiscard]] std::string to_string() const;

  /// As the socket calls want it. Valid as long as this object.
  [[nodiscard]] const ::sockaddr* data() const noexcept { return reinterpret_cast<const ::sockaddr*>(&storage_); }
  [[nodiscard]] ::socklen_t size() const noexcept { return size_; }

  /// Unnamed first, then abstract ones, then paths; by their bytes. Two paths to one file are different addresses.
  friend std::strong_ordering operator<=>(const unix_address& left, const unix_address& right) noexcept {
    return left.all_of_name() <=> right.all_of_name();
  }
  friend bool operator==(const unix_address& left, const unix_address& right) noexcept {
    return left.all_of_name() == right.all_of_name();
  }

 private:
  static constexpr ::socklen_t name_offset = offsetof(::sockaddr_un, sun_path);

  // What stands in sun_path, without the NUL that ends a path; it begins with one where it is abstract.
  [[nodiscard]] std::string_view all_of_name() const noexcept;

  ::sockaddr_un storage_{.sun_family = AF_UNIX, .sun_path = {}};
  ::socklen_t size_ = name_offset;
};

}  // namespace gyre::net

template <>
struct std::hash<gyre::net::unix_address> {
  std::size_t operator()(const gyre::net::unix_address& hashed) const noexcept;
};
