// SPDX-License-Identifier: MIT
// Extended attributes of files: small values under names such as "user.comment".
//
// What a file system knows of them differs; where it knows none they are operation_not_supported. Symbolic links are
// followed. Reading and writing are operations of the ring, listing and removing go to the offload pool.
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/task.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gyre::fs {

/// Whose attributes: a path, or an open file, which stays open until the task has ended.
class attributed {
 public:
  template <class Path>
    requires std::convertible_to<Path, path_at>
  attributed(Path&& path) : path_{std::forward<Path>(path)} {}
  attributed(const file& opened) noexcept : opened_{opened.fd()}, path_{""}, is_open_{true} {}

  [[nodiscard]] bool is_open() const noexcept { return is_open_; }
  [[nodiscard]] fd_ref fd() const noexcept { return opened_; }
  [[nodiscard]] const path_at& path() const noexcept { return path_; }

 private:
  fd_ref opened_ = -1;
  path_at path_;
  bool is_open_ = false;
};

/// Reads an attribute.
///
/// @param name    With its class: "user.comment".
/// @return        Its value, which may be empty; nothing when there is no such attribute.
/// @errors        operation_not_supported, result_out_of_range (the name is too long), permission_denied,
///                no_such_file_or_directory, …: getxattr(2)
/// @cancellation  Safe.
/// @source        getxattr(2). Linux 5.19.
[[nodiscard]] task<std::optional<std::vector<std::byte>>> get_attribute(attributed of, std::string name);

/// What is there already.
enum class attribute_change : std::uint8_t {
  any,      ///< Made or replaced.
  create,   ///< There must be none yet: file_exists.
  replace,  ///< There must be one: no_message_available (ENODATA).
};

/// Writes an attribute.
///
/// @param value   At most 64 KiB; stays until the task has ended. May be empty: an attribute without a value.
/// @errors        As for get_attribute(); file_exists, no_message_available; no_space_on_device;
///                argument_list_too_long (E2BIG: a value of more than 64 KiB)
/// @cancellation  Once a kernel worker has begun it, it is done, and reported.
/// @source        setxattr(2). Linux 5.19.
[[nodiscard]] task<> set_attribute(attributed of, std::string name, std::span<const std::byte> value,
                                   attribute_change how = attribute_change::any);

/// The names of all attributes that the caller may see, in no particular order.
///
/// @errors        operation_not_supported, no_such_file_or_directory, …: listxattr(2)
/// @cancellation  Safe.
/// @source        listxattr(2).
[[nodiscard]] task<std::vector<std::string>> list_attributes(attributed of);

/// Removes an attribute.
///
/// @return        Whether there was one.
/// @errors        As for list_attributes(); permission_denied.
/// @cancellation  Once a thread has begun it, it is done, and reported.
/// @source        removexattr(2).
[[nodiscard]] task<bool> remove_attribute(attributed of, std::string name);

}  // namespace gyre::fs
