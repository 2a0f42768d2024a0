// SPDX-License-Identifier: MIT
// Records as bytes, the commit that many share, and what is found after a crash.
#include "log.hpp"

#include "crc32c.hpp"

#include <gyre/fs/directory.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/scope.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>

namespace wal {
namespace {

namespace fs = gyre::fs;

constexpr std::size_t head_bytes = 16;
constexpr std::size_t checksum_bytes = 4;
using head = std::array<std::byte, head_bytes>;

template <class Number>
void put_number(std::span<std::byte> to, Number number) {
  for (std::size_t each = 0; each < sizeof number; ++each) to[each] = static_cast<std::byte>(number >> (8 * each));
}

template <class Number>
Number number_at(std::span<const std::byte> from) {
  Number number = 0;
  for (std::size_t each = 0; each < sizeof number; ++each) number |= std::to_integer<Number>(from[each]) << (8 * each);
  return number;
}

std::uint32_t checksum(const head& of, std::span<const std::byte> bytes) {
  return crc32c(bytes, crc32c(std::span{of}.subspan(checksum_bytes)));
}

// All of the bytes at a place; false where the file ends before.
gyre::task<bool> read_whole(const fs::file& from, std::span<std::byte> buffer, std::uint64_t at) {
  const auto done = co_await gyre::as_result(from.read_exactly_at(buffer, at));
  if (done) co_return true;
  if (done.error() == gyre::errc::end_of_stream) co_return false;
  throw std::system_error{done.error(), "log"};
}

gyre::task<std::optional<record>> record_at(const fs::file& from, std::uint64_t at) {
  head read_head;
  const bool has_head = co_await read_whole(from, read_head, at);
  if (!has_head) co_return std::nullopt;
  const auto size = number_at<std::uint32_t>(std::span{read_head}.subspan(4));
  if (size > record_bytes_max) co_return std::nullopt;
  record found{.number = number_at<std::uint64_t>(std::span{read_head}.subspan(8)), .bytes = {}};
  found.bytes.resize(size);
  const bool is_whole = co_await read_whole(from, found.bytes, at + head_bytes);
  if (!is_whole || checksum(read_head, found.bytes) != number_at<std::uint32_t>(read_head)) co_return std::nullopt;
  co_return found;
}

// The name is to last as its records do.
gyre::task<> sync_folder_of(const std::string& path) {
  const auto folder = std::filesystem::path{path}.parent_path().string();
  const auto opened = co_await fs::directory::open(folder.empty() ? std::string{"."} : folder);
  co_await opened.sync();
}

}  // namespace

gyre::stream<record> records(const fs::file& log, std::uint64_t* end_or_null) {
  std::uint64_t end = 0;
  for (std::uint64_t number = 1;; ++number) {
    auto found = co_await record_at(log, end);
    if (!found || found->number != number) break;
    end += head_bytes + found->bytes.size();
    co_yield std::move(*found);
  }
  if (end_or_null != nullptr) *end_or_null = end;
}

gyre::task<log> log::open(std::string path) {
  const fs::open_options making{.access = fs::file_access::read_write, .create = fs::file_creation::if_missing};
  auto opened = co_await fs::file::open(path, making);
  auto held = co_await fs::lock_if_free(opened, fs::lock_mode::exclusive);
  if (!held) throw std::system_error{EAGAIN, std::system_category(), "another process has the log open"};
  log made{std::move(opened), std::move(*held)};
  co_await made.recover();
  co_await sync_folder_of(path);
  co_return std::move(made);
}

gyre::task<> log::recover() {
  auto all = records(file_, &end_);
  while (const auto found = co_await all.next()) last_number_ = found->number;
  last_durable_ = last_number_;
  const std::uint64_t size = co_await file_.size();
  statistics_.bytes_cut = size - end_;
  if (size > end_) co_await file_.truncate(end_);
  // What was read may be in memory only: written by a process that was killed before its sync.
  co_await file_.sync();
}

void log::put(std::uint64_t number, std::span<const std::byte> bytes) {
  head made{};
  put_number(std::span{made}.subspan(4), static_cast<std::uint32_t>(bytes.size()));
  put_number(std::span{made}.subspan(8), number);
  put_number(made, checksum(made, bytes));
  waiting_.insert(waiting_.end(), made.begin(), made.end());
  waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
}

gyre::task<std::uint64_t> log::append(std::span<const std::byte> bytes) {
  if (bytes.size() > record_bytes_max) throw std::system_error{EMSGSIZE, std::system_category(), "append"};
  const std::uint64_t number = ++last_number_;
  put(number, bytes);
  const auto alone = co_await commits_->lock();
  if (last_durable_ < number && !failure_) co_await gyre::shield(commit());  // others are in it: no stop ends it
  if (last_durable_ < number) std::rethrow_exception(failure_);
  co_return number;
}

gyre::task<> log::commit() {
  const std::uint64_t last = last_number_;
  const auto written = std::exchange(waiting_, {});
  try {
    co_await file_.write_all_at(written, end_);
    co_await file_.sync(gyre::ops::sync_what::data);
  } catch (...) {
    // After a sync that failed nobody knows what is on the device, and a second one may succeed falsely: fsync(2).
    failure_ = std::current_exception();
    co_return;
  }
  end_ += written.size();
  statistics_.records += last - last_durable_;
  ++statistics_.syncs;
  last_durable_ = last;
}

}  // namespace wal
