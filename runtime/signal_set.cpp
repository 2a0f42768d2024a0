// SPDX-License-Identifier: MIT
// The way of a signal from its handler to who awaits it: a pipe of records.
//
// A pipe, as writing into one is all that a handler may do, and reading from it an operation as any other: it needs no
// lock, belongs to no executor, and loses nothing by a cancel. A record is written at one blow, and read whole.
//
//   the handler finds      does
//   room                   writes the record
//   the pipe full          notes the signal's number in `summed_up`; then writes once more, an empty record. Refused
//                          again, the pipe was full after the note: so whoever reads next looks at it after that
//
// The reader hands out what it has read, then what was summed up, and then waits.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/signal_table.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/signal_set.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre {
namespace {

// Pages of a pipe hold whole records, so that a read does not end inside of one.
static_assert(std::is_trivially_copyable_v<signal_info> && std::has_single_bit(sizeof(signal_info)) &&
              sizeof(signal_info) <= PIPE_BUF);

detail::signal_mask mask_of(std::span<const int> signals) {
  detail::signal_mask wanted = 0;
  for (const int number : signals) {
    const auto bit = detail::bit_of_signal(number);
    const bool is_none_for_sets = number == SIGPIPE || number == SIGSEGV || number == SIGBUS || number == SIGFPE ||
                                  number == SIGILL || number == SIGTRAP || number == SIGSYS;
    if (bit == 0 || is_none_for_sets) detail::throw_errno(EINVAL, "signal_set");
    wanted |= bit;
  }
  if (wanted == 0) detail::throw_errno(EINVAL, "signal_set");
  return wanted;
}

bool names_a_process(int number, int code) noexcept {
  return code == SI_USER || code == SI_QUEUE || code == SI_TKILL || code == SI_MESGQ || (number == SIGCHLD && code > 0);
}

signal_info info_of(int number, const ::siginfo_t& about) noexcept {
  signal_info told{.number = number, .code = about.si_code};
  if (names_a_process(number, about.si_code)) {
    told.process = about.si_pid;
    told.user = about.si_uid;
  }
  if (number == SIGCHLD && about.si_code > 0) told.status = about.si_status;
  if (about.si_code == SI_QUEUE || about.si_code == SI_TIMER || about.si_code == SI_MESGQ ||
      about.si_code == SI_ASYNCIO)
    told.value = about.si_value;
  return told;
}

}  // namespace

class signal_set::state final : detail::signal_hearer {
 public:
  explicit state(detail::signal_mask wanted) : signal_hearer{wanted, rank::set} {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) detail::throw_errno(errno, "signal_set");
    read_from_.reset(ends[0]);
    write_to_.reset(ends[1]);
    ::fcntl(write_to_.get(), F_SETFL, O_NONBLOCK);
    if (const auto heard_now = listen(); !heard_now) throw std::system_error{heard_now.error(), "signal_set"};
  }
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() {
    GYRE_ASSERT(!is_read_, "a signal_set was destroyed while its next() is awaited");
    leave();
  }

  task<std::optional<signal_info>> next() {
    const reader_guard one{*this};
    for (;;) {
      while (taken_ < count_) {
        const signal_info first = read_[taken_++];
        if (first.number != 0) co_return first;
      }
      if (const int number = next_summed_up(); number != 0) co_return signal_info{.number = number, .is_summary = true};
      const auto bytes = co_await ops::read{read_from_, std::as_writable_bytes(std::span{read_})};
      GYRE_ASSERT(bytes % sizeof(signal_info) == 0, "records are written and read whole");
      taken_ = 0;
      count_ = bytes / sizeof(signal_info);
    }
  }

 private:
  class reader_guard {
   public:
    explicit reader_guard(state& of) noexcept : of_{of} {
      GYRE_ASSERT(!of_.is_read_, "a signal_set's next() is awaited by one coroutine at a time");
      of_.is_read_ = true;
    }
    reader_guard(const reader_guard&) = delete;
    reader_guard& operator=(const reader_guard&) = delete;
    ~reader_guard() { of_.is_read_ = false; }

   private:
    state& of_;
  };

  // In a signal handler.
  void heard(int number, const ::siginfo_t& about) noexcept override {
    if (write(info_of(number, about))) return;
    summed_up_ |= detail::bit_of_signal(number);
    static_cast<void>(write({}));
  }

  [[nodiscard]] bool write(const signal_info& told) const noexcept {
    return ::write(write_to_.get(), &told, sizeof told) == sizeof told;
  }

  int next_summed_up() noexcept {
    const detail::signal_mask all = summed_up_;
    if (all == 0) return 0;
    const int lowest = std::countr_zero(all);
    summed_up_ &= ~(detail::signal_mask{1} << static_cast<unsigned>(lowest));
    return lowest + 1;
  }

  unique_fd read_from_;

  // Touched by handlers.
  unique_fd write_to_;
  std::atomic<detail::signal_mask> summed_up_ = 0;

  // Touched by who reads.
  bool is_read_ = false;
  std::size_t taken_ = 0;
  std::size_t count_ = 0;
  std::array<signal_info, 16> read_{};
};

signal_set::signal_set(std::initializer_list<int> signals)
    : signal_set{std::span<const int>{signals.begin(), signals.size()}} {}
signal_set::signal_set(std::span<const int> signals) : state_{std::make_unique<state>(mask_of(signals))} {}
signal_set::signal_set(signal_set&&) noexcept = default;
signal_set& signal_set::operator=(signal_set&&) noexcept = default;
signal_set::~signal_set() = default;

task<std::optional<signal_info>> signal_set::next() { return state_->next(); }

}  // namespace gyre
