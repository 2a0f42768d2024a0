// SPDX-License-Identifier: MIT
// Who hears of which signal of the process: the sets, and run().
//
// There is one handler. It walks a list of hearers, which it may on any thread and at any moment: it takes no lock, and
// calls who wants the signal. Lists change under a lock, which no handler takes.
//
//   rank          hears of a signal
//   set           whenever it comes, side by side with other sets
//   last_resort   when no set wants it: run()
//
// The handler is installed when the first hearer comes for a signal, and the action before is put back when the last
// has left: unless somebody else has set another meanwhile, which then stays. One who leaves is out of the list first;
// then it waits until no handler runs, as one may be looking at it.
//
//   a signal comes                        then
//   while one leaves who hears of it      it hears of it, or not: it is there until leave() returns
//   when nobody wants it, and the         the action before is put back and the signal raised again: it is not lost
//   handler was on its way already
//   in the child of a fork(2)             the same: the child's list is empty from the start, as who hears is in the
//                                         parent
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/result.hpp>

#include <atomic>
#include <csignal>
#include <cstdint>

namespace gyre::detail {

/// A set of signals as a word: bit n - 1 for signal n.
using signal_mask = std::uint64_t;
inline constexpr int last_signal = 64;
[[nodiscard]] constexpr signal_mask bit_of_signal(int number) noexcept {
  return number >= 1 && number <= last_signal ? signal_mask{1} << static_cast<unsigned>(number - 1) : 0;
}

/// Hears of signals, in their handler: what heard() does must be safe there, and on any thread.
class signal_hearer {
 public:
  enum class rank : std::uint8_t { set, last_resort };

  signal_hearer(const signal_hearer&) = delete;
  signal_hearer& operator=(const signal_hearer&) = delete;

  /// From here on it is called.
  ///
  /// @errors   invalid_argument: a signal that cannot be handled. Then it hears of none.
  /// @threads  Any.
  [[nodiscard]] result<void> listen() noexcept;

  /// It is not called any more, and no call is under way. Nothing, if it did not listen.
  ///
  /// @threads  Any.
  void leave() noexcept;

 protected:
  signal_hearer(signal_mask wanted, rank its_rank) noexcept : wanted_{wanted}, rank_{its_rank} {}
  ~signal_hearer() { GYRE_ASSERT(!listens_, "who hears of signals has left before it goes"); }

  virtual void heard(int number, const ::siginfo_t& about) noexcept = 0;

 private:
  friend class signal_table;
  const signal_mask wanted_;
  const rank rank_;
  bool listens_ = false;                                // guarded by the table's lock
  std::atomic<signal_hearer*> next_or_null_ = nullptr;  // changed under that lock, read by handlers
};

}  // namespace gyre::detail
