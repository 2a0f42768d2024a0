// SPDX-License-Identifier: MIT
// How waiting for readiness is described to the kernel, and what lies behind a stream of it.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/poll.hpp>

#include <liburing.h>

#include <cerrno>
#include <utility>

namespace gyre::ops {

void poll::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_poll_add(3)
  auto& op = static_cast<poll&>(self);
  gyre::detail::may_wait_for_eventfd();
  io_uring_prep_poll_add(&sqe, op.fd_.in(sqe), op.events_);
}
constinit const operation_kind poll::opcode{"poll", &poll::prepare, runs_in::ring, &describe_fd<&poll::fd_>};

// ------------------------------------------------------------------------------------------------- poll_stream

namespace {

constinit const detail::waiter_kind kind_of_reader = detail::multishot_reader::kind_named("poll");

// The request is ended on purpose where it would tell of something that nobody wants to know: of other events than now,
// or of what held when a reader was there. Its end is nobody's error then; a reader that waits has it armed anew.
class polling final : public detail::multishot_of<std::uint32_t> {
 public:
  polling(fd_ref fd, std::uint32_t events, poll_trigger trigger) noexcept
      : multishot_of{kind_of_reader, &prepare}, fd_{fd}, wanted_{events}, trigger_{trigger} {}

  bool has_result() const noexcept override { return come_ != 0 || error_ != 0; }
  void describe(detail::wait_details& told) const noexcept override { told.tell(fd_); }

  result<std::uint32_t> take() noexcept override {
    may_take(has_result());
    if (come_ != 0) return std::exchange(come_, 0U);
    return detail::errno_code(std::exchange(error_, 0));
  }

  void want(std::uint32_t events) noexcept {
    wanted_ = events;
    come_ &= events | POLLERR | POLLHUP | POLLNVAL;
  }

  [[nodiscard]] unsigned multishot_flag() const noexcept {
    return trigger_ == poll_trigger::edge ? IORING_POLL_ADD_MULTI : 0U;
  }

  // What it would still tell is not wanted; `asked` says whether the kernel was told already.
  void give_up_request(bool asked) noexcept {
    if (!is_armed()) return;
    given_up_ = true;
    if (!asked) loop().submit_cancel(*this);
  }

 private:
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_poll_multishot(3)
    auto& mine = static_cast<polling&>(self);
    mine.loop().wait_in_ring_from_now_on();  // it may be an eventfd
    io_uring_prep_poll_add(&sqe, mine.fd_.in(sqe), mine.wanted_);
    sqe.len = mine.multishot_flag();
  }

  bool store(std::int32_t res, std::uint32_t flags) noexcept override {
    const bool ends = (flags & IORING_CQE_F_MORE) == 0;
    const bool is_given_up = given_up_;
    if (ends) given_up_ = false;
    if (is_given_up && (res == -ECANCELED || trigger_ == poll_trigger::level)) return false;
    if (res < 0) error_ = -res;
    else come_ |= static_cast<std::uint32_t>(res) & (wanted_ | POLLERR | POLLHUP | POLLNVAL);
    return has_result();
  }

  void discard(std::int32_t, std::uint32_t) noexcept override {}
  void clear() noexcept override {}

  // What holds now may not hold when the next reader comes.
  void unwanted() noexcept override {
    if (trigger_ == poll_trigger::level) give_up_request(/*asked=*/false);
  }

  fd_ref fd_;
  std::uint32_t wanted_;
  std::uint32_t come_ = 0;  // and was not taken
  int error_ = 0;
  poll_trigger trigger_;
  bool given_up_ = false;
};

polling& state_of(detail::multishot_of<std::uint32_t>& stream) noexcept { return static_cast<polling&>(stream); }

}  // namespace

poll_stream::poll_stream(fd_ref fd, std::uint32_t events, poll_trigger trigger)
    : state_{new polling{fd, events, trigger}} {}

// -EALREADY: it is just telling of an event, and cannot be changed at this moment. So it makes place for another one.
void poll_update::take_answer() noexcept {
  if (res() == -EALREADY) state_of(*of_).give_up_request(/*asked=*/false);
  if (res() == -EALREADY || res() == -ENOENT) set_res(0);
}

void poll_update::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_poll_update(3)
  auto& op = static_cast<poll_update&>(self);
  polling& stream = state_of(*op.of_);
  stream.want(op.events_);
  io_uring_prep_poll_update(&sqe, detail::tagged(stream), 0, op.events_,
                            IORING_POLL_UPDATE_EVENTS | stream.multishot_flag());
}
constinit const operation_kind poll_update::opcode{"poll_update", &poll_update::prepare, runs_in::ring};

void poll_remove::take_answer() noexcept {
  if (res() == -EALREADY) state_of(*of_).give_up_request(/*asked=*/false);
  if (res() == 0 || res() == -EALREADY) set_res(1);
  else if (res() == -ENOENT) set_res(0);
}

void poll_remove::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_poll_remove(3)
  polling& stream = state_of(*static_cast<poll_remove&>(self).of_);
  stream.give_up_request(/*asked=*/true);
  io_uring_prep_poll_remove(&sqe, detail::tagged(stream));
}
constinit const operation_kind poll_remove::opcode{"poll_remove", &poll_remove::prepare, runs_in::ring};

}  // namespace gyre::ops
