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
/// @threads  The executor's thread.
[[nodiscard]] std::string describe_waits(executor& loop);

}  // namespace gyre
