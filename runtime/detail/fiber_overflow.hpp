// SPDX-License-Identifier: MIT
// A fiber that comes to the end of its stack ends the program, with a sentence that says so.
//
// It touches the guard below its stack, and the kernel sends SIGSEGV. There is no stack left to handle that on, so each
// thread that runs fibers has one for signals (sigaltstack(2)), unless it has one already. The handler is installed by
// a thread's first fiber, where the program has none of its own: those of sanitizers, and of programs that handle the
// signal, stay, and say what they say.
#pragma once

namespace gyre::detail {

/// On the calling thread. Does nothing from the second call on.
void watch_for_fiber_overflow() noexcept;

}  // namespace gyre::detail
