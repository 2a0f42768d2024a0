// SPDX-License-Identifier: MIT
// A VFS of SQLite's whose files are gyre's: while one connection waits for its disk, or for somebody's lock, the thread
// runs others.
//
//   sqlite::register_vfs();
//   co_await gyre::on_fiber([&] { sqlite3_open_v2(path, &opened, sqlite::open_flags, sqlite::vfs_name); … });
//
// SQLite is C, and knows nothing of coroutines. It runs on a fiber, and what its VFS has to wait for is awaited there:
//
//   xOpen, xRead, xWrite, xSync, xDelete, xAccess, xClose   by io_uring
//   xFullPathname, xTruncate, temporary files               on a thread of the pool: io_uring has nothing for them, or
//                                                           not in the kernels that are about
//   xLock, xUnlock, xCheckReservedLock, xFileSize           here, by a system call, where the file system answers from
//                                                           memory; else on a thread of the pool
//   xSleep, by which a busy connection waits                the fiber sleeps; a stop ends the sleep
//
// SQLite's mutexes. A fiber that waits while it holds one stops the thread for ever, as soon as another fiber of that
// thread wants it: a mutex knows threads, and the thread waits for itself. What SQLite holds while it calls a VFS:
//
//   of a connection   for as long as any call on that takes. Nobody else has the connection, so that nobody waits; but
//                     the mutex is recursive, and would let another fiber of the thread in, into the midst of a call.
//                     So it protects nothing: open_flags does without it (SQLITE_OPEN_NOMUTEX), and a connection is one
//                     fiber's at a time, as it would be one thread's.
//   of a shared cache (SQLITE_OPEN_SHAREDCACHE)   while it reads and writes, and a mutex of all processes' openings
//                     while it opens one. So a cache is no two connections': open_flags says so, and "cache=shared" in
//                     a URI is SQLITE_CANTOPEN. sqlite3_enable_shared_cache() is not to be called.
//   of random numbers while it asks the first VFS for a seed. xRandomness never waits.
//   of temp_store_directory   while that pragma, which is deprecated, asks xAccess. It is not to be used.
//   of memory, of page caches, of the list of VFSs   never.
//
// SQLITE_CONFIG_SINGLETHREAD would have no mutexes at all, and for that no second executor, and no thread of the pool,
// that may use SQLite. So this needs no sqlite3_config(), and any build that is not single-threaded. vfs_test watches
// every mutex: none is wanted by a fiber while another one has it.
//
// A stop does not end what SQLite is doing: waiting.hpp. Who hears of it: connection.hpp.
//
// What it does not do. There is no shared memory (xShmMap), so that a database in WAL mode can be opened in exclusive
// locking mode only: PRAGMA locking_mode=EXCLUSIVE, before the file is read. There is no memory-mapped I/O, as a page
// fault would make the thread wait. And one file is not to be opened by this VFS and by SQLite's own in one process:
// lock_level.hpp.
#pragma once

#include <sqlite3.h>

namespace sqlite {

inline constexpr const char* vfs_name = "gyre";

/// For sqlite3_open_v2(): what the mutexes ask for, see above, and to read, write and make the file.
inline constexpr int open_flags =
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

/// Makes the VFS known to SQLite, under its name. More than once is once.
///
/// @errors   std::runtime_error: SQLite cannot be initialised, or has no mutexes.
/// @threads  Any. What SQLite does by this VFS, is done on fibers; else an assertion says so.
void register_vfs();

}  // namespace sqlite
