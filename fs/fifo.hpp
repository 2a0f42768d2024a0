// SPDX-License-Identifier: MIT
// Pipes that have a name: who opens a FIFO waits for somebody at the other end.
//
// An open(2) that waits would hold a worker thread of the kernel until somebody comes, and there are few of those
// (eight on a machine of two CPUs): that many FIFOs without a partner would keep every other file from being opened. So
// here a FIFO is opened without waiting, and looked at:
//
//   reader   open at once; done when a writer is there, or was: looked for after 1 ms, 2 ms, up to every 50 ms; bytes
//            that come are seen at once
//   writer   refused while nobody reads: tried again after 1 ms, 2 ms, up to every 50 ms
//
// A process that waits in open(2) is found by the other's look. What is opened is an end of a pipe as any other.
#pragma once

#include <gyre/fs/path_at.hpp>
#include <gyre/fs/pipe.hpp>
#include <gyre/runtime/task.hpp>

#include <sys/types.h>

namespace gyre::fs {

/// Makes a FIFO.
///
/// @param permissions  Less the umask.
/// @errors        file_exists, no_such_file_or_directory, permission_denied, …: mknod(2); invalid_argument: the path
///                has a NUL in it
/// @cancellation  A call that has begun runs to its end; one that has not is left out.
/// @limits        On a thread of the offload pool: the ring has no operation for it.
/// @source        mknodat(2).
[[nodiscard]] task<> make_fifo(path_at path, ::mode_t permissions = 0666);

/// Opens a FIFO for reading, close-on-exec, and waits until somebody writes to it, or has done so.
///
/// @errors        As file::open(); invalid_argument: this is no FIFO.
/// @cancellation  Safe: nothing is leaked, and nothing is read. A deadline ends the wait as well. A writer that has
///                opened it meanwhile gets broken_pipe.
/// @limits        Holds no thread while it waits. A writer that has written nothing is seen up to 50 ms late.
/// @source        fifo(7), tee(2).
[[nodiscard]] task<pipe_reader> open_fifo_reader(path_at path);

/// Opens a FIFO for writing, close-on-exec, and waits until somebody reads from it.
///
/// @errors        As open_fifo_reader().
/// @cancellation  Safe: nothing is leaked. A deadline ends the wait as well.
/// @limits        Holds no thread while it waits. A reader is seen up to 50 ms late.
/// @source        fifo(7).
[[nodiscard]] task<pipe_writer> open_fifo_writer(path_at path);

}  // namespace gyre::fs
