// SPDX-License-Identifier: MIT
// What still has to be said when the program ends without unwinding: lines of a log that nobody has written yet.
//
//   broken contract          GYRE_ASSERT prints its reason, last words are said, abort()
//   std::terminate()         last words are said, then the handler that there was before goes on
//   run() does not wait      a second signal, the end of the grace period: they are said before _exit()
//   a signal of the fault    SIGSEGV, abort(): nobody says anything, unless the program's own handler calls say_all()
//
// No signal handler is installed: who takes SIGSEGV is the program's choice.
#pragma once

#include <sys/types.h>

namespace gyre {

/// Something to be done when the program ends without unwinding, for as long as this lives.
///
///   const last_words registered{[](void* what) noexcept { static_cast<journal*>(what)->write_rest(); }, &mine};
///
/// The first one in a program sets a terminate handler, which calls the one that was set before. A program that sets
/// its own later calls from there what std::set_terminate() has returned.
///
/// @threads  Made and destroyed on any thread. One that is destroyed while words are said waits for the end of them.
class last_words {
 public:
  using speak_fn = void (*)(void* what) noexcept;

  /// @param speak  Called once at most for each say_all(), on the thread that dies, perhaps in a signal handler, while
  ///               other threads run: only what signal-safety(7) allows, no lock that is waited for without end.
  /// @param what   Its argument.
  last_words(speak_fn speak, void* what) noexcept;

  last_words(const last_words&) = delete;
  last_words& operator=(const last_words&) = delete;
  ~last_words();

  /// Has all of them said, the youngest first. For a program's own crash handler; the program may go on afterwards.
  ///
  /// Says nothing where this thread is saying them already, or another one is and does not come to an end within a
  /// second. In the child of a fork(2) those of the parent stay unsaid.
  ///
  /// @threads  Any, and signal handlers.
  static void say_all() noexcept;

  /// Whether this thread is in say_all(): then nobody minds any more how long a call takes.
  ///
  /// @threads  Any, and signal handlers.
  [[nodiscard]] static bool being_said_here() noexcept;

 private:
  // Constant.
  const speak_fn speak_;
  void* const what_;
  const ::pid_t its_process_;

  // Guarded by the list's lock: see last_words.cpp.
  last_words* older_ = nullptr;
  last_words* younger_ = nullptr;
};

}  // namespace gyre
