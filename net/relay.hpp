// SPDX-License-Identifier: MIT
// Two connections made one: what comes from the one goes out to the other, both ways, until both have ended.
//
// A relay is two directions that share one idle deadline. Between two sockets no byte comes into the program: the
// kernel moves them through a pipe (splice(2)). A direction is in one of these states:
//
//   state     it holds              its step                                  and then
//   empty     nothing               takes a pipe from the executor's cache,   bytes came: holding
//                                   and splices the source into it            none are there: gives the pipe back, and
//                                                                             waits until the source can be read
//                                                                             the source has ended: shuts the target's
//                                                                             write side, ended
//   holding   bytes, in a pipe or   splices the pipe into the target, or      all are out: empty
//             in a buffer           sends what the buffer has                 no room: waits until the target can be
//                                                                             written
//   ended     nothing               none: the other direction goes on         the relay is over when both have ended
//
// The waits are polls through the ring; the splices are system calls, made directly, which do not block: on a ring each
// splice goes to a kernel worker, and takes four times as long. So a direction that waits for its source has no pipe,
// and ten thousand idle relays have none. A direction that has moved relay_turn_bytes_max waits once more, whatever is
// there, so that others get their turn.
//
// Where splice cannot, bytes are received into a buffer and sent on (the second form of `holding`): where no pipe is to
// be had, for the moment; where the kernel refuses to splice, from then on; and beside urgent data, which splice does
// not get past. Urgent data itself is left out, as in a read().
//
// What ends a relay, other than both ends: an error of either side, the idle deadline, a stop. What a direction holds
// then was read and not written: `read_bytes` and `written_bytes` tell it, and it is lost.
#pragma once

#include <gyre/net/stream_socket.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/byte_stream.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <type_traits>
#include <vector>

namespace gyre::net {

/// One direction of a relay, as far as it has come.
struct relayed {
  std::uint64_t read_bytes = 0;     ///< Taken from the source.
  std::uint64_t written_bytes = 0;  ///< Taken by the target; never more than was read.
  bool ended = false;               ///< The source has ended, and the target was told so, or is not connected any more.
};

/// Both directions.
struct relay_counts {
  relayed forth;  ///< From the first to the second.
  relayed back;   ///< From the second to the first.
};

/// How a relay ended that did not fail.
enum class relay_ending : std::uint8_t {
  both_ended,  ///< Each side has sent all that it will, and the other has been given it.
  idle         ///< No byte was moved for as long as relay_options::idle_max.
};

struct relay_outcome {
  relay_counts counts;
  relay_ending how = relay_ending::both_ended;
};

/// One of the two that are relayed.
enum class relay_side : std::uint8_t { first, second };

/// What failed there.
enum class relay_step : std::uint8_t { reading, writing };

/// A relay that failed: on which side, at what, and how far it had come.
class relay_error : public std::system_error {
 public:
  relay_error(std::error_code why, relay_side side, relay_step step, const relay_counts& counts);

  [[nodiscard]] relay_side side() const noexcept { return side_; }
  [[nodiscard]] relay_step step() const noexcept { return step_; }
  [[nodiscard]] const relay_counts& counts() const noexcept { return counts_; }

 private:
  relay_side side_;
  relay_step step_;
  relay_counts counts_;
};

/// What a direction moves at most before others get their turn.
inline constexpr std::size_t relay_turn_bytes_max = std::size_t{1} << 20U;

struct relay_options {
  /// How long no byte may be moved in either direction until the relay ends; the whole time without a byte counts, also
  /// that in which one side does not take what the other has sent. nanoseconds::max(): for ever.
  std::chrono::nanoseconds idle_max = std::chrono::nanoseconds::max();

  /// Kept up to date while the relay runs, and set to zero when it begins; not null: stays until the relay has ended.
  /// The way to the counts of a relay that was stopped.
  relay_counts* counts = nullptr;
};

/// Relays two connections to each other, until both have ended: what the one sends is given to the other, and its end
/// too, by shutdown_write(), while the other direction goes on. Closes neither.
///
///   const auto done = co_await net::relay(client, server, {.idle_max = 5min});
///
/// @param first, second  Stay until it has ended. Nobody else reads or writes them meanwhile. They may be of two kinds.
/// @return               How it ended, with the bytes of each direction.
/// @errors               relay_error, with the side, the step and the counts: connection_reset, broken_pipe, … The
///                       other direction is stopped then.
/// @cancellation         Both directions end at once. What they held is lost: see relay_options::counts.
/// @threads              The executor's thread. While it runs the sockets are in non-blocking mode (O_NONBLOCK), which
///                       everybody sees who has the same socket by another descriptor. It is taken back at the end.
/// @limits               At most relay_turn_bytes_max a direction and turn of the executor. A connection that breaks
///                       while its own direction has ended already is noticed when bytes are written to it. The end of
///                       the other side is no bytes: a target that is not_connected by then needs no telling. Whether
///                       SIGPIPE is ignored is looked at once: who lets it end the program does so before, or never.
/// @source               splice(2), fcntl(2) F_SETPIPE_SZ; io_uring_prep_poll_add(3). Linux 5.1.
[[nodiscard]] task<relay_outcome> relay(stream_socket& first, stream_socket& second, relay_options options = {});

/// A stream that can tell its peer that nothing more will come: by a call, or by something to be awaited.
template <class T>
concept half_closing_stream = async_stream<T> && requires(T& of) { of.shutdown_write(); };

namespace detail {

/// What the two directions of a relay have in common.
class relay_state {
 public:
  explicit relay_state(const relay_options& options) noexcept;
  relay_state(const relay_state&) = delete;
  relay_state& operator=(const relay_state&) = delete;

  /// That of the direction whose source is `from`.
  [[nodiscard]] relayed& counts_from(relay_side from) noexcept {
    return from == relay_side::first ? counts_.forth : counts_.back;
  }

  void was_read(relay_side from, std::size_t bytes) noexcept {
    counts_from(from).read_bytes += bytes;
    put_off();
  }
  void was_written(relay_side from, std::size_t bytes) noexcept {
    counts_from(from).written_bytes += bytes;
    put_off();
  }

  /// Notes what ended the relay, unless something has before, and stops both directions.
  void fail(relay_side side, relay_step step, std::error_code why) noexcept;

  /// Awaits both directions, for as long as they are not idle.
  [[nodiscard]] task<relay_outcome> run(task<> forth, task<> back);

 private:
  struct failure {
    failure(relay_side its_side, relay_step its_step, std::error_code its_reason) noexcept
        : side{its_side}, step{its_step}, why{its_reason} {}
    relay_side side;
    relay_step step;
    std::error_code why;
  };

  [[nodiscard]] task<> run_both(task<> forth, task<> back);
  void put_off() noexcept {
    if (has_deadline_) idle_.expires_after(idle_max_);
  }

  const std::chrono::nanoseconds idle_max_;
  const bool has_deadline_;
  relay_counts own_counts_;
  relay_counts& counts_;
  movable_deadline<> idle_;
  cancel_scope* scope_ = nullptr;  // of both directions, while they run
  std::optional<failure> failed_;
};

[[nodiscard]] constexpr relay_side other(relay_side side) noexcept {
  return side == relay_side::first ? relay_side::second : relay_side::first;
}

template <half_closing_stream To>
task<> shut_write_side(To& to) {
  if constexpr (awaitable<decltype(to.shutdown_write())>) co_await to.shutdown_write();
  else to.shutdown_write();
  co_return;
}

inline constexpr std::size_t relay_buffer_bytes = std::size_t{16} << 10U;

/// One direction, by read() and write().
template <async_reader From, half_closing_stream To>
task<> copy_on(relay_state& state, relay_side from_side, From& from, To& to) {
  std::vector<std::byte> buffer(relay_buffer_bytes);
  for (std::size_t moved_count = 0;;) {
    const auto came = co_await as_result(from.read(buffer));
    if (!came) co_return state.fail(from_side, relay_step::reading, came.error());
    if (*came == 0) break;
    state.was_read(from_side, *came);
    for (std::size_t written_count = 0; written_count < *came;) {
      const auto taken = co_await as_result(to.write(std::span{buffer}.subspan(written_count, *came - written_count)));
      if (!taken) co_return state.fail(other(from_side), relay_step::writing, taken.error());
      if (*taken == 0) co_return state.fail(other(from_side), relay_step::writing, errc::no_progress);
      state.was_written(from_side, *taken);
      written_count += *taken;
    }
    // A stream that never waits, as one that decrypts what it has, would keep the executor to itself.
    if (moved_count += *came; moved_count >= relay_turn_bytes_max) {
      moved_count = 0;
      co_await this_task::yield();
    }
  }
  const auto told = co_await as_result(shut_write_side(to));
  if (!told && told.error() != std::errc::not_connected)
    co_return state.fail(other(from_side), relay_step::writing, told.error());
  state.counts_from(from_side).ended = true;
}

template <class First, class Second>
task<relay_outcome> relay_streams(First& first, Second& second, relay_options options) {
  relay_state state{options};
  co_return co_await state.run(copy_on(state, relay_side::first, first, second),
                               copy_on(state, relay_side::second, second, first));
}

}  // namespace detail

/// The same for anything that reads, writes, and can say that it has ended: by read() and write(), through a buffer of
/// 16 KiB for each direction. A shutdown_write() that fails is a relay_error, at writing, unless it is not_connected.
template <half_closing_stream First, half_closing_stream Second>
  requires(!std::derived_from<First, stream_socket> || !std::derived_from<Second, stream_socket>)
[[nodiscard]] task<relay_outcome> relay(First& first, Second& second, relay_options options = {}) {
  return detail::relay_streams(first, second, options);
}

}  // namespace gyre::net
