// SPDX-License-Identifier: MIT
// Attributes by path and by descriptor. The calls know no directory to begin at: such a path goes through /proc.
#include <gyre/fs/attributes.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/xattr.hpp>

#include <sys/xattr.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

constexpr std::size_t value_bytes_max = std::size_t{64} << 10U;  // XATTR_SIZE_MAX of linux/limits.h
constexpr std::size_t list_bytes_max = std::size_t{64} << 10U;   // XATTR_LIST_MAX

[[noreturn]] void fail(int error, const char* who) { throw std::system_error{error, std::system_category(), who}; }

// What the calls by path are given. Empty for an open file.
std::string checked(const attributed& of, const std::string& name, const char* who) {
  detail::refuse_nul(name, who);
  detail::refuse_nul(of.path(), who);
  return of.is_open() ? std::string{} : detail::whole_path(of.path());
}

int flags_of(attribute_change how) noexcept {
  switch (how) {
    case attribute_change::create:
      return XATTR_CREATE;
    case attribute_change::replace:
      return XATTR_REPLACE;
    case attribute_change::any:
      break;
  }
  return 0;
}

// NUL behind each of them.
std::vector<std::string> names_in(const std::string& list) {
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < list.size(); begin = list.find('\0', begin) + 1)
    names.emplace_back(list.c_str() + begin);
  return names;
}

}  // namespace

task<std::optional<std::vector<std::byte>>> get_attribute(attributed of, std::string name) {
  const auto path = checked(of, name, "get_attribute");
  std::vector<std::byte> value(value_bytes_max);
  const auto size = of.is_open() ? co_await as_result(ops::fgetxattr{of.fd(), name.c_str(), value})
                                 : co_await as_result(ops::getxattr{path.c_str(), name.c_str(), value});
  if (!size && size.error() == std::errc::no_message_available) co_return std::nullopt;
  if (!size) throw std::system_error{size.error(), "get_attribute"};
  value.resize(*size);
  co_return std::move(value);
}

task<> set_attribute(attributed of, std::string name, std::span<const std::byte> value, attribute_change how) {
  const auto path = checked(of, name, "set_attribute");
  if (of.is_open()) co_await ops::fsetxattr{of.fd(), name.c_str(), value, flags_of(how)};
  else co_await ops::setxattr{path.c_str(), name.c_str(), value, flags_of(how)};
}

task<std::vector<std::string>> list_attributes(attributed of) {
  const auto path = checked(of, {}, "list_attributes");
  const std::string list = co_await offload([&] {
    std::string bytes(list_bytes_max, '\0');
    const auto count = of.is_open() ? ::flistxattr(of.fd().get(), bytes.data(), bytes.size())
                                    : ::listxattr(path.c_str(), bytes.data(), bytes.size());
    if (count < 0) fail(errno, "list_attributes");
    bytes.resize(static_cast<std::size_t>(count));
    return bytes;
  });
  co_return names_in(list);
}

task<bool> remove_attribute(attributed of, std::string name) {
  const auto path = checked(of, name, "remove_attribute");
  co_return co_await offload([&] {
    const int failed =
        of.is_open() ? ::fremovexattr(of.fd().get(), name.c_str()) : ::removexattr(path.c_str(), name.c_str());
    if (failed != 0 && errno != ENODATA) fail(errno, "remove_attribute");
    return failed == 0;
  });
}

}  // namespace gyre::fs
