// SPDX-License-Identifier: MIT
// A write-ahead log in one file: records go to its end, many at once, and who has been told that one is there finds it
// after a crash.
//
// A record is a head of 16 bytes, numbers with the lowest byte first, and what was appended:
//
//   0   4   checksum of all that follows, CRC-32C
//   4   4   how many bytes were appended
//   8   8   its number: 1 is the first, and each is one more than the one before
//   16      the bytes
//
// The commit. An append puts its record behind those that wait, and takes a mutex. Who has it writes all that wait with
// one write and one sync; who gets it after that mostly finds its record among those, and returns. So as many as come
// while the device is busy share the next sync, and a single one waits for nobody.
//
// A record is written only when all before it are on the device. So what a crash can tear lies behind all that was
// acknowledged, and opening the log cuts it off.
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/fs/file_lock.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/sync/mutex.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace wal {

inline constexpr std::size_t record_bytes_max = std::size_t{16} << 20U;

struct record {
  std::uint64_t number = 0;
  std::vector<std::byte> bytes;
};

/// The records of a log from its beginning on, up to the first that is not whole.
///
/// @param end_or_null  Where the last whole record ends, when the stream does.
gyre::stream<record> records(const gyre::fs::file& log, std::uint64_t* end_or_null = nullptr);

/// What a log has done since it was opened.
struct log_statistics {
  std::uint64_t records = 0;    ///< That are on the device.
  std::uint64_t syncs = 0;      ///< That it took.
  std::uint64_t bytes_cut = 0;  ///< A torn end that was found, and cut off.
};

class log {
 public:
  /// Opens a log, or makes it; locks it against other processes; and cuts off what is not whole at its end.
  ///
  /// @errors  As gyre::fs::file::open(); resource_unavailable_try_again: another process has it.
  static gyre::task<log> open(std::string path);

  /// Adds a record, and returns its number when it is on the device, with all before it.
  ///
  /// @param bytes   At most record_bytes_max: message_size. They stay until the task has ended.
  /// @errors        What kept a commit from being done, for all that were in it and all after it: whether those are in
  ///                the log is known when it is opened again.
  /// @cancellation  The record may come to be in the log, or not.
  gyre::task<std::uint64_t> append(std::span<const std::byte> bytes);

  [[nodiscard]] const log_statistics& statistics() const noexcept { return statistics_; }

 private:
  log(gyre::fs::file opened, gyre::fs::file_lock held) noexcept : file_{std::move(opened)}, lock_{std::move(held)} {}

  gyre::task<> recover();
  gyre::task<> commit();
  void put(std::uint64_t number, std::span<const std::byte> bytes);

  gyre::fs::file file_;
  gyre::fs::file_lock lock_;
  std::uint64_t end_ = 0;          // of what is on the device
  std::uint64_t last_number_ = 0;  // that was given
  std::uint64_t last_durable_ = 0;
  std::vector<std::byte> waiting_;  // records that are to be written
  std::exception_ptr failure_;      // of a commit: none is tried after it
  std::unique_ptr<gyre::sync::mutex> commits_ = std::make_unique<gyre::sync::mutex>();  // so that a log can be moved
  log_statistics statistics_;
};

}  // namespace wal
