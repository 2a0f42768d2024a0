// SPDX-License-Identifier: MIT
// Files as one piece: read whole, replaced at one blow, added to, taken line by line.
//
// How a file is replaced: what is new is written into a file of another name beside it, which then takes its name. Who
// opens the name meanwhile finds the old file or the new one, and so does who looks after a crash. A process that is
// killed in between leaves the other name behind, ".NAME." and twelve letters, and nothing else.
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/fs/path_at.hpp>
#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gyre::fs {

/// What lasts when the machine fails.
enum class durability : std::uint8_t {
  none,  ///< What the kernel has written by then. A name may stand for an empty file.
  full   ///< All that was reported as done.
};

/// Reads a file to its end, whatever it says of its size: files of /proc too, and pipes.
///
/// @param limit   Of bytes. No more than one beyond it is read, or held in memory.
/// @return        What was read, and nothing else, also of a file that is made shorter or longer meanwhile.
/// @errors        As file::open(); file_too_large: there are more than `limit`; is_a_directory, io_error
/// @cancellation  Safe.
/// @limits        One read for a regular file that stays as it is, up to transfer_bytes_max.
[[nodiscard]] task<std::vector<std::byte>> read_all(path_at path, std::size_t limit = std::size_t{1} << 30U);

/// The same as a string.
[[nodiscard]] task<std::string> read_text(path_at path, std::size_t limit = std::size_t{1} << 30U);

struct replace_options {
  fs::durability durability = durability::full;

  /// Of the new file. Empty: those of the file that is replaced; where there is none 0666, less the umask.
  std::optional<::mode_t> permissions = {};
};

/// Has a file hold `bytes`, and nothing else: all of them or what it held before, for whoever looks, whenever it ends.
///
/// @param path    A symbolic link is replaced, and not followed. It need not be there.
/// @param bytes   Stay until the task has ended.
/// @errors        As file::open() and rename(); transfer_error: no_space_on_device, …: then nothing has changed.
///                io_error, where the file has been replaced and nobody knows whether that lasts.
/// @cancellation  Safe: the old file is there or the new one, and no other.
/// @limits        Owner, attributes and other names of the old file are not those of the new one. With
///                durability::full the directory must be one that may be read.
[[nodiscard]] task<> write_atomically(path_at path, std::span<const std::byte> bytes, replace_options options = {});

/// Adds bytes to the end of a file, which is made when it is missing. Several who do so at once do not mix what each
/// adds, unless the disk is full or a signal comes in between.
///
/// @param bytes   Stay until the task has ended.
/// @param lasting  With durability::full the bytes are on the device when the task ends, and the name of the file. Its
///                 directory must be one that may be read. Many appends share what that costs in a log that stays open:
///                 examples/wal.
/// @errors        As file::open(); transfer_error, whose bytes() have been added
/// @cancellation  Any part of the bytes may have been added.
/// @limits        Where a link leads to a file that is missing, in another directory, its name may not last.
[[nodiscard]] task<> append(path_at path, std::span<const std::byte> bytes, durability lasting = durability::none);

/// The lines of a file or a pipe, from its own position on, without what ends them: "\n" or "\r\n".
///
/// @param from            Stays until the stream is gone; nobody else reads from its own position meanwhile.
/// @param line_bytes_max  A longer line is an error.
/// @return                Views that stay until the next next().
/// @errors                message_size: a line is longer; as file::read()
/// @cancellation          Takes the stream down.
[[nodiscard]] stream<std::string_view> lines(const file& from, std::size_t line_bytes_max = std::size_t{64} << 10U);

}  // namespace gyre::fs
