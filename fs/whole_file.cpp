// SPDX-License-Identifier: MIT
// Files read and written as one piece.
#include <gyre/fs/detail/replacement.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

constexpr std::size_t least_bytes = 4096;

// What a regular file says of its size; 0 where it says nothing that can be gone by, or more than is wanted.
std::size_t told_size(const file& opened, std::size_t limit) {
  const auto about = opened.try_metadata();
  return about && about->is_regular() && about->size_bytes <= limit ? static_cast<std::size_t>(about->size_bytes) : 0;
}

// As much as was read, by whatever the file says of its size: it may change meanwhile.
template <class Bytes>
task<Bytes> read_whole(path_at path, std::size_t limit) {
  const auto opened = co_await file::open(std::move(path));
  const std::size_t told = told_size(opened, limit);
  const std::size_t most = limit < SIZE_MAX ? limit + 1 : limit;  // one more byte tells that there are too many
  Bytes all;
  all.resize(std::min(std::max(told + 1, least_bytes), most));  // and one tells of the end
  std::size_t filled = 0;
  for (;;) {
    const auto room = std::as_writable_bytes(std::span{all}).subspan(filled);
    const std::size_t count = co_await opened.read(room);
    filled += count;
    if (filled > limit) throw std::system_error{std::make_error_code(std::errc::file_too_large), "read_all"};
    // A read that finds just what was told, and has room for more, has seen the end.
    const bool is_all = filled == told && count == told && count < room.size();
    if (count == 0 || is_all) break;
    if (filled == all.size()) all.resize(all.size() < most / 2 ? 2 * all.size() : most);
  }
  all.resize(filled);
  co_return std::move(all);
}

// Those of the file that is to be replaced.
task<std::optional<::mode_t>> permissions_of(const path_at& path) {
  const auto found = co_await as_result(metadata_of(path, links::keep));
  if (!found || !found->is_regular()) co_return std::nullopt;
  co_return found->permissions & 0777U;  // without the bits that let a program run as the owner of that one
}

}  // namespace

task<std::vector<std::byte>> read_all(path_at path, std::size_t limit) {
  return read_whole<std::vector<std::byte>>(std::move(path), limit);
}

task<std::string> read_text(path_at path, std::size_t limit) { return read_whole<std::string>(std::move(path), limit); }

task<> write_atomically(path_at path, std::span<const std::byte> bytes, replace_options options) {
  auto permissions = options.permissions;
  if (!permissions) permissions = co_await permissions_of(path);
  // Never more open than it is to be, not for a moment.
  const detail::replacement how{.durability = options.durability,
                                .how = rename_how::replace,
                                .permissions_at_first = permissions.value_or(0666) & 0777,
                                .permissions_at_last = permissions};
  co_await detail::replace_file(std::move(path), how, [bytes](const file& unfinished) -> task<> {
    return unfinished.write_all_at(bytes, /*offset=*/0);
  });
}

task<> append(path_at path, std::span<const std::byte> bytes, durability lasting) {
  const open_options appending{
      .access = file_access::write,
      .create = file_creation::if_missing,
      .append = true,
      .write_through = lasting == durability::full ? write_through::everything : write_through::no};
  auto opened = co_await file::open(path, appending);
  co_await opened.write_all(bytes);
  co_await opened.close();
  // Also where the file was there: who made it may not have come to this yet.
  if (lasting == durability::full) co_await detail::sync_parent(std::move(path));
}

stream<std::string_view> lines(const file& from, std::size_t line_bytes_max) {
  buffered_reader<const file> reader{from, line_bytes_max};
  while (auto line = co_await reader.read_line()) co_yield *line;
}

}  // namespace gyre::fs
