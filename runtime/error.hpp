// SPDX-License-Identifier: MIT
// How gyre tells of what went wrong in the world: error codes, and the two exceptions that carry them.
//
// What the kernel refused is a std::system_error whose text names the operation. A composed operation
// that had already moved some bytes throws transfer_error, which also says how many.
#pragma once

#include <cstddef>
#include <system_error>

namespace gyre {

/// Failures that have no errno: gyre's own.
enum class errc {
  no_progress = 1,      ///< A transfer moved 0 bytes although bytes were left to move.
  end_of_stream = 2,    ///< The peer closed, or the file ended, before the bytes asked for had come.
  invalid_address = 3,  ///< A text is not an address: see net::address.
  link_broken = 4       ///< An operation never ran, for what became of another one of its chain: see ops::link().
};

/// The category of gyre::errc.
[[nodiscard]] const std::error_category& category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}

/// A transfer that failed half way: what stopped it, and how far it got.
class transfer_error : public std::system_error {
 public:
  transfer_error(std::error_code why, std::size_t bytes, const char* operation)
      : std::system_error{why, operation}, bytes_{bytes} {}

  /// Bytes that were moved before the failure, counted from the first of the call.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_;
};

namespace detail {

/// Throws std::system_error for `errno_value` (positive), with `operation` in its text.
[[noreturn]] void throw_errno(int errno_value, const char* operation);

/// For what leaves a program no way to go on: logs it and aborts.
[[noreturn]] void fatal_errno(int errno_value, const char* what) noexcept;

/// The error code of `errno_value` (positive). Restart codes that leak from the kernel read as EINTR.
[[nodiscard]] std::error_code errno_code(int errno_value) noexcept;

}  // namespace detail
}  // namespace gyre

template <>
struct std::is_error_code_enum<gyre::errc> : std::true_type {};
