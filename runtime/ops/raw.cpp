// SPDX-License-Identifier: MIT
// What a raw entry may ask for, and how it gets into the ring.
#include <gyre/runtime/detail/zero_copy_ring.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/raw.hpp>

#include <liburing.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace gyre {
namespace detail {
namespace {

// include/uapi/linux/io_uring.h of Linux 6.18, which liburing 2.9 does not know all of.
constexpr unsigned op_read_multishot = 49;
constexpr unsigned command_multishot = 1U << 1;  // IORING_URING_CMD_MULTISHOT, in uring_cmd_flags
static_assert(IORING_OP_READ_MULTISHOT == op_read_multishot);

bool is_multishot(const io_uring_sqe& asked) noexcept {
  switch (asked.opcode) {
    case IORING_OP_POLL_ADD:
      return (asked.len & IORING_POLL_ADD_MULTI) != 0;
    case IORING_OP_TIMEOUT:
      return (asked.timeout_flags & IORING_TIMEOUT_MULTISHOT) != 0;
    case IORING_OP_ACCEPT:
      return (asked.ioprio & IORING_ACCEPT_MULTISHOT) != 0;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
      return (asked.ioprio & IORING_RECV_MULTISHOT) != 0;
    case IORING_OP_URING_CMD:
      return (asked.uring_cmd_flags & command_multishot) != 0;
    default:
      return asked.opcode == op_read_multishot || asked.opcode == op_recv_zc;
  }
}

}  // namespace

const char* raw_request::refusal_of(const io_uring_sqe& asked) noexcept {
  if (asked.user_data != 0) return "raw: user_data is gyre's own, by which it finds who waits: leave it zero";
  if ((asked.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0)
    return "raw: IOSQE_IO_LINK would link it to somebody else's entry: ops::link() and ops::hard_link() link";
  if ((asked.flags & IOSQE_IO_DRAIN) != 0)
    return "raw: IOSQE_IO_DRAIN would hold back every cancel: ops::drain() has it run alone";
  if ((asked.flags & IOSQE_CQE_SKIP_SUCCESS) != 0)
    return "raw: with IOSQE_CQE_SKIP_SUCCESS nobody would hear of its end, and the coroutine would wait for ever";
  if ((asked.flags & IOSQE_BUFFER_SELECT) != 0)
    return "raw: IOSQE_BUFFER_SELECT takes a buffer that nobody would give back: receive into memory of your own";
  if (asked.opcode == IORING_OP_LINK_TIMEOUT)
    return "raw: IORING_OP_LINK_TIMEOUT is for the entry before it: with_timeout() and ops::link_timeout() submit both";
  if (is_multishot(asked))
    return "raw: a multishot request has many answers, and a co_await takes one: await a stream, or ask for one shot";
  return nullptr;
}

void raw_request::refuse(const char* why_or_null) noexcept {
  refusal_ = why_or_null;
  if (is_refused()) set_res(-EINVAL);
}

void raw_request::fail() const {
  if (!is_refused()) throw_error();
  throw std::system_error{error(), refusal_};
}

// All of a big entry, as the kernel reads of a command what no other operation writes.
void raw_request::lay_out(io_uring_sqe& sqe, std::span<const std::byte> entry) noexcept {  // io_uring_enter(2)
  may_wait_for_eventfd();                                                                  // for all that is known here
  const std::uint64_t its_own = sqe.user_data;
  std::memcpy(&sqe, entry.data(), entry.size());
  sqe.user_data = its_own;
}

void raw_request::describe(std::span<const std::byte> entry, wait_details& told) noexcept {
  io_uring_sqe read;
  std::memcpy(&read, entry.data(), sizeof read);
  told.fd = read.fd;
  told.is_direct = (read.flags & IOSQE_FIXED_FILE) != 0;
}

}  // namespace detail

namespace ops {

void raw::prepare(operation& self, io_uring_sqe& sqe) noexcept {
  auto& op = static_cast<raw&>(self);
  lay_out(sqe, op.entry_);
  if (op.loop().ring().modes().big) std::memset(reinterpret_cast<std::byte*>(&sqe) + sizeof sqe, 0, sizeof sqe);
}
void raw::describe(const gyre::detail::waiter& self, gyre::detail::wait_details& told) noexcept {
  raw_request::describe(static_cast<const raw&>(self).entry_, told);
}
constinit const operation_kind raw::opcode{"raw", &raw::prepare, runs_in::worker, &raw::describe};

void raw_command::begin_entry() noexcept { entry().opcode = IORING_OP_URING_CMD; }

const char* raw_command::refusal_of(const io_uring_sqe& asked) noexcept {
  if (asked.opcode != IORING_OP_URING_CMD) return "raw_command: an entry of another opcode is submitted by ops::raw()";
  return raw_request::refusal_of(asked);
}

void raw_command::refuse_without_room() noexcept {
  if (is_refused() || executor::current().ring().modes().big) return;
  refuse("raw_command: its entry has 128 bytes: make the executor with executor_options::big_entries");
  set_res(-EOPNOTSUPP);
}

void raw_command::note_rest(operation& answered, const gyre::detail::ring& of) noexcept {
  if (&answered.its_kind() == &opcode) static_cast<raw_command&>(answered).rest_ = of.rest_of_oldest();
}

void raw_command::prepare(operation& self, io_uring_sqe& sqe) noexcept {
  lay_out(sqe, static_cast<raw_command&>(self).entry_);
}
void raw_command::describe(const gyre::detail::waiter& self, gyre::detail::wait_details& told) noexcept {
  raw_request::describe(static_cast<const raw_command&>(self).entry_, told);
}
constinit const operation_kind raw_command::opcode{"raw_command", &raw_command::prepare, runs_in::worker,
                                                   &raw_command::describe};

}  // namespace ops
}  // namespace gyre
