// SPDX-License-Identifier: MIT
// Paths taken apart, put together, and made up.
#include <gyre/fs/detail/names.hpp>

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

namespace gyre::fs::detail {

void refuse_nul(const std::string& path, const char* who) {
  if (path.find('\0') != std::string::npos)
    throw std::system_error{EINVAL, std::system_category(), std::string{who} + ": the path has a NUL in it"};
}

split_path split(std::string_view path) {
  const bool absolute = path.starts_with('/');
  while (path.ends_with('/')) path.remove_suffix(1);
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return {absolute ? "/" : ".", std::string{path}};
  std::string_view directory = path.substr(0, slash);
  while (directory.ends_with('/')) directory.remove_suffix(1);
  return {directory.empty() ? "/" : std::string{directory}, std::string{path.substr(slash + 1)}};
}

std::string join(std::string_view directory, std::string_view name) {
  std::string joined{directory};
  if (!joined.empty() && joined.back() != '/') joined += '/';
  return joined += name;
}

std::string unique_name(std::string_view prefix) {
  static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  std::array<unsigned char, 12> chance{};
  // Waits only while a machine boots: getrandom(2).
  if (::getrandom(chance.data(), chance.size(), 0) != static_cast<ssize_t>(chance.size()))
    throw std::system_error{errno, std::system_category(), "getrandom"};
  std::string name{prefix};
  for (const unsigned char each : chance) name += letters[each % letters.size()];
  return name;
}

std::string whole_path(const path_at& where) {
  if (where.directory().get() == AT_FDCWD || where.path().starts_with('/')) return where.path();
  return join("/proc/self/fd/" + std::to_string(where.directory().get()), where.path());
}

}  // namespace gyre::fs::detail
