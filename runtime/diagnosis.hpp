// SPDX-License-Identifier: MIT
// Who waits for what, where, and since when: the tree of an executor's tasks, for logs and for people.
//
// The same tree from a core file, or of a process that a debugger stands in: gyre-gdb.py. How to read it:
// docs/diagnosis.md.
#pragma once

#include <gyre/runtime/executor.hpp>

#include <iosfwd>
#include <string>

namespace gyre {

/// The tree of the tasks of an executor: a line for each coroutine, indented below the one that awaits it, with the
/// file and line of its co_await; and behind the innermost what it waits for. Empty when nothing runs.
///
///   root task; asked to stop: a signal came
///     serve at server.cpp:52: with_task_group, 2 tasks
///       body: accept_all at server.cpp:31: accept on fd 5 for 12.3 s
///       session at server.cpp:40: with_timeout, 4.2 s left
///         read_request at server.cpp:17: recv on fd 7 for 0.8 s
///       session at server.cpp:44: shield; shielded from a stop: a signal came
///         flush at server.cpp:23: fsync on fd 9 for 3.0 s
///
/// Of a long line of coroutines, each awaiting the next, the middle is left out and counted. A scope that is cancelled
/// says so, with the reason that cancel() was given. Of a coroutine that does not wait, only the outermost that awaits
/// it is known: it runs, or is about to.
///
/// @errors   std::bad_alloc: it takes memory for each task.
/// @threads  The executor's thread; inside a task too.
[[nodiscard]] std::string dump_tasks(executor& loop = executor::current());

/// Writes the same to a stream.
void dump_tasks(std::ostream& out, executor& loop = executor::current());

}  // namespace gyre
