// SPDX-License-Identifier: MIT
// What two directions have in common; and one direction between two sockets, step by step: the states in relay.hpp.
#include <gyre/net/detail/end_socket.hpp>
#include <gyre/net/detail/pipe_cache.hpp>
#include <gyre/net/detail/without_sigpipe.hpp>
#include <gyre/net/relay.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/when_all.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

namespace gyre::net {
namespace {

using detail::other;
using detail::pipe_cache;
using detail::relay_buffer_bytes;
using detail::relay_state;
using detail::splice_pipe;
using detail::without_sigpipe;

std::string text_of(relay_side side, relay_step step) {
  const char* const doing = step == relay_step::reading ? "relay: reading from" : "relay: writing to";
  return std::string{doing} + (side == relay_side::first ? " the first" : " the second");
}

// SPLICE_F_NONBLOCK is about the pipe; whether a call waits for the socket, the socket says. Without it a splice to a
// socket that has room for some of the bytes waits for room for all.
class not_blocking {
 public:
  explicit not_blocking(const stream_socket& socket) noexcept
      : socket_{socket}, before_{::fcntl(socket.fd().get(), F_GETFL)} {
    if (has_changed()) ::fcntl(socket.fd().get(), F_SETFL, before_ | O_NONBLOCK);
  }
  not_blocking(const not_blocking&) = delete;
  not_blocking& operator=(const not_blocking&) = delete;
  // Where the socket was closed meanwhile, by its close(), the number is -1 by now and nobody else's.
  ~not_blocking() {
    if (has_changed()) ::fcntl(socket_.fd().get(), F_SETFL, before_);
  }

 private:
  [[nodiscard]] bool has_changed() const noexcept { return before_ >= 0 && (before_ & O_NONBLOCK) == 0; }

  const stream_socket& socket_;
  const int before_;
};

std::error_code code_of(int errno_value) noexcept { return {errno_value, std::system_category()}; }

// Calls again what a signal has interrupted.
template <class Call>
::ssize_t uninterrupted(Call call) noexcept {
  for (;;)
    if (const ::ssize_t got = call(); got >= 0 || errno != EINTR) return got;
}

class spliced_direction {
 public:
  spliced_direction(relay_state& state, relay_side from_side, const stream_socket& from, const stream_socket& to,
                    pipe_cache& pipes, bool sigpipe_ignored) noexcept
      : state_{state}, from_side_{from_side}, from_{from}, to_{to}, pipes_{pipes}, sigpipe_ignored_{sigpipe_ignored} {}

  task<> run() {
    for (waits_for awaited{}; (awaited = go_on()) != waits_for::nothing;) {
      const bool reads = awaited == waits_for::reading;
      const auto events = co_await as_result(reads ? ops::poll(from_.fd(), POLLIN) : ops::poll(to_.fd(), POLLOUT));
      if (!events) co_return fail_to_wait(reads, events.error());
      told_readable_ = reads;
      if (reads || tells_of_room(*events)) continue;
      const auto waited = co_await as_result(detail::wait_for_room(to_.fd()));
      if (!waited) co_return fail_to_wait(/*reads=*/false, waited.error());
    }
  }

 private:
  enum class waits_for : std::uint8_t { reading, writing, nothing };

  // How a step ended: the next one can follow, or something stands in its way, or there is none.
  enum class step : std::uint8_t { done, must_wait, ended };

  // Moves bytes until one of the two would block, or enough was moved for a turn.
  waits_for go_on() {
    const without_sigpipe quiet{!sigpipe_ignored_};
    for (std::size_t moved_count = 0;;) {
      if (held_count_ == 0) {
        const step filled = moved_count < relay_turn_bytes_max ? fill() : step::must_wait;
        if (filled == step::ended) return waits_for::nothing;
        if (filled == step::must_wait) return waits_for::reading;
        moved_count += held_count_;
      }
      const step drained = drain(quiet);
      if (drained == step::ended) return waits_for::nothing;
      if (drained == step::must_wait) return waits_for::writing;
      if (is_likely_empty_) return waits_for::reading;
    }
  }

  // ------------------------------------------------------------------------------------------------------- the source

  step fill() {
    const bool told_so = std::exchange(told_readable_, false);
    if (!copies_only_ && !pipe_) pipe_ = pipes_.take();
    if (copies_only_ || !pipe_) return fill_buffer();

    const ::ssize_t came = uninterrupted([&] {
      return ::splice(from_.fd().get(), nullptr, pipe_.writing.get(), nullptr, pipe_.capacity,
                      SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    });
    if (came > 0) return took(static_cast<std::size_t>(came), pipe_.capacity);
    const int error = came < 0 ? errno : 0;
    give_pipe_back();
    if (error == EAGAIN && !told_so) return step::must_wait;
    // Urgent data stops a splice for good, as if nothing were there or would ever come: only recv(2) gets past.
    if (error == EAGAIN || error == 0) return fill_buffer();
    copies_only_ = error == EINVAL || error == ENOSYS || error == EPERM;
    return copies_only_ ? fill_buffer() : fail(from_side_, relay_step::reading, code_of(error));
  }

  step fill_buffer() {
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(relay_buffer_bytes);
    const ::ssize_t came =
        uninterrupted([&] { return ::recv(from_.fd().get(), buffer_.get(), relay_buffer_bytes, MSG_DONTWAIT); });
    if (came > 0) return took(static_cast<std::size_t>(came), relay_buffer_bytes);
    const int error = errno;
    buffer_.reset();  // who waits has neither a pipe nor a buffer
    if (came == 0) return end();
    return error == EAGAIN ? step::must_wait : fail(from_side_, relay_step::reading, code_of(error));
  }

  step took(std::size_t count, std::size_t asked_count) noexcept {
    held_count_ = count;
    filled_count_ = count;
    is_likely_empty_ = count < asked_count;
    state_.was_read(from_side_, count);
    return step::done;
  }

  // The other direction tells of a target that is gone, if it was: shutdown(2) fails with ENOTCONN then. Where that has
  // ended before, the target has said all that it had to, and closed: many do before they have read all.
  step end() noexcept {
    if (::shutdown(to_.fd().get(), SHUT_WR) != 0 && errno != ENOTCONN)
      return fail(other(from_side_), relay_step::writing, code_of(errno));
    state_.counts_from(from_side_).ended = true;
    return step::ended;
  }

  // ------------------------------------------------------------------------------------------------------- the target

  step drain(const without_sigpipe& quiet) {
    while (held_count_ > 0) {
      const ::ssize_t taken = uninterrupted([&] { return buffer_ ? send_out() : splice_out(); });
      if (taken < 0 && errno == EAGAIN) return step::must_wait;
      if (taken < 0) return fail_to_write(errno, quiet);
      if (taken == 0) return fail(other(from_side_), relay_step::writing, errc::no_progress);
      held_count_ -= static_cast<std::size_t>(taken);
      state_.was_written(from_side_, static_cast<std::size_t>(taken));
    }
    buffer_.reset();
    if (pipe_) give_pipe_back();
    return step::done;
  }

  ::ssize_t splice_out() noexcept {
    return ::splice(pipe_.reading.get(), nullptr, to_.fd().get(), nullptr, held_count_,
                    SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  }

  ::ssize_t send_out() noexcept {
    return ::send(to_.fd().get(), buffer_.get() + (filled_count_ - held_count_), held_count_,
                  MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  step fail_to_write(int error, const without_sigpipe& quiet) noexcept {
    if (error == EPIPE && !buffer_) quiet.take_signal();
    return fail(other(from_side_), relay_step::writing, code_of(error));
  }

  // -------------------------------------------------------------------------------------------------------- the waits

  static bool tells_of_room(std::uint32_t events) noexcept { return (events & (POLLOUT | POLLERR | POLLHUP)) != 0; }

  // Somebody has closed the connection meanwhile, or there is no memory to wait with.
  void fail_to_wait(bool reads, std::error_code why) noexcept {
    if (reads) state_.fail(from_side_, relay_step::reading, why);
    else state_.fail(other(from_side_), relay_step::writing, why);
  }

  void give_pipe_back() noexcept {
    GYRE_ASSERT(held_count_ == 0, "only an empty pipe is for somebody else");
    pipes_.give_back(std::exchange(pipe_, {}));
  }

  step fail(relay_side side, relay_step at, std::error_code why) noexcept {
    state_.fail(side, at, why);
    return step::ended;
  }

  relay_state& state_;
  const relay_side from_side_;
  const stream_socket& from_;
  const stream_socket& to_;
  pipe_cache& pipes_;
  const bool sigpipe_ignored_;

  splice_pipe pipe_;                     // none: nothing is held, or it is in the buffer
  std::unique_ptr<std::byte[]> buffer_;  // null: nothing is held, or it is in the pipe
  std::size_t held_count_ = 0;           // bytes that were read and not written
  std::size_t filled_count_ = 0;         // how many there were of them at first
  bool copies_only_ = false;             // the kernel does not splice this source
  bool told_readable_ = false;           // a poll has said so, and nobody has tried since
  bool is_likely_empty_ = false;         // the source had less than there was room for
};

}  // namespace

relay_error::relay_error(std::error_code why, relay_side side, relay_step step, const relay_counts& counts)
    : std::system_error{why, text_of(side, step)}, side_{side}, step_{step}, counts_{counts} {}

namespace detail {

relay_state::relay_state(const relay_options& options) noexcept
    : idle_max_{options.idle_max},
      has_deadline_{idle_max_ != std::chrono::nanoseconds::max()},
      counts_{options.counts != nullptr ? *options.counts : own_counts_},
      idle_{movable_deadline<>::time_point::max()} {
  counts_ = {};
  put_off();
}

void relay_state::fail(relay_side side, relay_step step, std::error_code why) noexcept {
  if (failed_) return;
  failed_.emplace(side, step, why);
  scope_->cancel("the other direction of the relay has failed");
}

task<relay_outcome> relay_state::run(task<> forth, task<> back) {
  const bool ended = co_await move_on_at(idle_, run_both(std::move(forth), std::move(back)));
  if (failed_) throw relay_error{failed_->why, failed_->side, failed_->step, counts_};
  co_return relay_outcome{counts_, ended ? relay_ending::both_ended : relay_ending::idle};
}

task<> relay_state::run_both(task<> forth, task<> back) {
  scope_ = &co_await this_task::scope();
  co_await when_all(std::move(forth), std::move(back));
}

}  // namespace detail

task<relay_outcome> relay(stream_socket& first, stream_socket& second, relay_options options) {
  detail::relay_state state{options};
  const not_blocking first_meanwhile{first};
  const not_blocking second_meanwhile{second};
  auto& pipes = executor::current().local<pipe_cache>();
  const bool sigpipe_ignored = detail::sigpipe_is_ignored();
  spliced_direction forth{state, relay_side::first, first, second, pipes, sigpipe_ignored};
  spliced_direction back{state, relay_side::second, second, first, pipes, sigpipe_ignored};
  co_return co_await state.run(forth.run(), back.run());
}

}  // namespace gyre::net
