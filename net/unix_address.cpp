// SPDX-License-Identifier: MIT
// Addresses of Unix sockets to text and back.
#include <gyre/net/unix_address.hpp>
#include <gyre/runtime/error.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <system_error>

namespace gyre::net {
namespace {

std::error_code too_long() noexcept { return std::make_error_code(std::errc::filename_too_long); }

std::optional<unsigned> value_of_digit(char digit) noexcept {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a') + 10;
  if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A') + 10;
  return std::nullopt;
}

// What follows a backslash, taken off the text.
std::optional<char> take_escaped(std::string_view& text) noexcept {
  if (text.starts_with('\\')) {
    text.remove_prefix(1);
    return '\\';
  }
  if (text.size() < 3 || text.front() != 'x') return std::nullopt;
  const auto high = value_of_digit(text[1]);
  const auto low = value_of_digit(text[2]);
  if (!high || !low) return std::nullopt;
  text.remove_prefix(3);
  return static_cast<char>(*high << 4U | *low);
}

std::optional<std::string> without_escapes(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    const char next = text.front();
    text.remove_prefix(1);
    const auto meant = next == '\\' ? take_escaped(text) : next;
    if (!meant) return std::nullopt;
    plain += *meant;
  }
  return plain;
}

void append_escaped(std::string& text, char byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto value = static_cast<unsigned char>(byte);
  text += "\\x";
  text += digits[value >> 4U];
  text += digits[value & 0xfU];
}

// Bytes above ASCII stay: they are letters in the UTF-8 of whoever named it so.
void append_readably(std::string& text, char byte) {
  const auto value = static_cast<unsigned char>(byte);
  if (byte == '\\') text += "\\\\";
  else if (value < 0x20 || value == 0x7f) append_escaped(text, byte);
  else text += byte;
}

}  // namespace

result<unix_address> unix_address::path(std::string_view name) noexcept {
  if (name.empty() || name.find('\0') != std::string_view::npos) return make_error_code(errc::invalid_address);
  if (name.size() > path_bytes_max) return too_long();
  unix_address made;
  std::memcpy(made.storage_.sun_path, name.data(), name.size());
  // With the NUL behind it that Linux does not need, and others look for, where there is room.
  made.size_ = static_cast<::socklen_t>(name_offset + std::min(name.size() + 1, path_bytes_max));
  return made;
}

result<unix_address> unix_address::abstract(std::string_view name) noexcept {
  if (name.size() > abstract_bytes_max) return too_long();
  unix_address made;
  if (!name.empty()) std::memcpy(made.storage_.sun_path + 1, name.data(), name.size());
  made.size_ = static_cast<::socklen_t>(name_offset + 1 + name.size());
  return made;
}

result<unix_address> unix_address::parse(std::string_view text) {
  if (text.empty()) return unix_address{};
  const bool is_abstract = text.starts_with('@');
  const auto name = without_escapes(is_abstract ? text.substr(1) : text);
  if (!name) return make_error_code(errc::invalid_address);
  return is_abstract ? abstract(*name) : path(*name);
}

result<unix_address> unix_address::from_kernel(const ::sockaddr_storage& storage, ::socklen_t size) noexcept {
  if (size < sizeof(::sa_family_t)) return unix_address{};
  if (storage.ss_family != AF_UNIX) return make_error_code(errc::invalid_address);
  unix_address made;
  // A path of full length has its NUL behind the structure, and the kernel counts it.
  made.size_ = std::min(size, static_cast<::socklen_t>(sizeof made.storage_));
  std::memcpy(&made.storage_, &storage, made.size_);
  return made;
}

std::string_view unix_address::all_of_name() const noexcept {
  const std::string_view all{storage_.sun_path, size_ - name_offset};
  return all.starts_with('\0') ? all : all.substr(0, all.find('\0'));
}

std::string_view unix_address::name() const noexcept { return all_of_name().substr(is_abstract() ? 1 : 0); }

std::string unix_address::to_string() const {
  std::string text;
  std::string_view rest = name();
  if (is_abstract()) text += '@';
  else if (rest.starts_with('@')) {
    append_escaped(text, '@');
    rest.remove_prefix(1);
  }
  for (const char each : rest) append_readably(text, each);
  return text;
}

}  // namespace gyre::net

std::size_t std::hash<gyre::net::unix_address>::operator()(const gyre::net::unix_address& hashed) const noexcept {
  return std::hash<std::string_view>{}(hashed.name()) ^ static_cast<std::size_t>(hashed.is_abstract());
}
