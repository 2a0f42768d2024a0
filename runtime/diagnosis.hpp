// SPDX-License-Identifier: MIT
// Who waits for what, where, and since when: for logs and for people.
#pragma once

#include <string>

namespace gyre {

class executor;

/// One line for everything that waits on the executor: what it waits for, for how long, and the co_await's file and
/// line, followed by those of the coroutines that wait for it. Empty when nothing waits.
///
///   recv for 12.3 s at echo.cpp:14, awaited at echo.cpp:31
///
/// What waits in a scope that is cancelled, or in a shield inside one, says so, and why where cancel() was given a
/// reason:
///
///   fsync for 3.0 s at log.cpp:20; asked to stop: a signal came
///   send for 0.2 s at log.cpp:34; shielded from a stop: a signal came
///
/// @threads  The executor's thread.
[[nodiscard]] std::string describe_waits(executor& loop);

}  // namespace gyre
