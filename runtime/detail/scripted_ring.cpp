// SPDX-License-Identifier: MIT
// The script's side of the door: as much of io_uring as an executor can tell apart.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/detail/scripted_ring.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>
#include <gyre/runtime/executor.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <utility>

namespace gyre::detail {
namespace {

using request = scripted_ring::request;

// Those that liburing 2.9 lacks.
constexpr std::uint8_t op_epoll_wait = 59;  // IORING_OP_EPOLL_WAIT
constexpr std::uint8_t op_pipe = 62;        // IORING_OP_PIPE

template <class T>
T* pointer(std::uint64_t address) noexcept {
  return reinterpret_cast<T*>(address);
}

clock_ns time_at(std::uint64_t address) noexcept {
  const auto& time = *pointer<const __kernel_timespec>(address);
  return time.tv_sec * clock_ns{1'000'000'000} + time.tv_nsec;
}

void read_bytes(std::uint64_t address, std::size_t count) noexcept {
  const volatile char* const bytes = pointer<const volatile char>(address);
  for (std::size_t i = 0; i < count; ++i) static_cast<void>(bytes[i]);
}

// What the kernel writes while a request is in flight, it may write until the last moment.
void scribble(std::uint64_t address, std::size_t count) noexcept {
  if (count > 0) std::memset(pointer<void>(address), 0xdb, count);
}

void read_text(std::uint64_t address) noexcept { read_bytes(address, std::strlen(pointer<const char>(address)) + 1); }

void touch_part(const iovec& part, bool writes) noexcept {
  if (writes) std::memset(part.iov_base, 0xdb, part.iov_len);
  else read_bytes(reinterpret_cast<std::uint64_t>(part.iov_base), part.iov_len);
}

void touch_message(const msghdr& message, bool writes) noexcept {
  for (const iovec& part : std::span{message.msg_iov, message.msg_iovlen}) touch_part(part, writes);
  touch_part({.iov_base = message.msg_name, .iov_len = message.msg_namelen}, writes);
  touch_part({.iov_base = message.msg_control, .iov_len = message.msg_controllen}, writes);
}

std::span<const iovec> parts_of(const request& each) noexcept { return {pointer<const iovec>(each.addr), each.len}; }

void touch_memory(const request& each) noexcept {
  switch (each.opcode) {
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED:
    case IORING_OP_RECV:
      return scribble(each.addr, each.len);
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED:
    case IORING_OP_SEND:
    case IORING_OP_SEND_ZC:
      return read_bytes(each.addr, each.len);
    case IORING_OP_READV:
    case op_readv_fixed:
    case IORING_OP_WRITEV:
    case op_writev_fixed:
      for (const iovec& part : parts_of(each))
        touch_part(part, /*writes=*/each.opcode == IORING_OP_READV || each.opcode == op_readv_fixed);
      return;
    case IORING_OP_SENDMSG:
    case IORING_OP_SENDMSG_ZC:
    case IORING_OP_RECVMSG:
      return touch_message(*pointer<const msghdr>(each.addr), /*writes=*/each.opcode == IORING_OP_RECVMSG);
    case IORING_OP_STATX:
      scribble(each.off, sizeof(struct statx));
      [[fallthrough]];
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
    case IORING_OP_UNLINKAT:
    case IORING_OP_MKDIRAT:
      return read_text(each.addr);
    case IORING_OP_RENAMEAT:
    case IORING_OP_LINKAT:
    case IORING_OP_SYMLINKAT:
      read_text(each.addr);
      return read_text(each.off);
    case IORING_OP_GETXATTR:
    case IORING_OP_SETXATTR:
      read_text(each.addr3);
      [[fallthrough]];
    case IORING_OP_FGETXATTR:
    case IORING_OP_FSETXATTR:
      read_text(each.addr);
      if (each.opcode == IORING_OP_GETXATTR || each.opcode == IORING_OP_FGETXATTR) return scribble(each.off, each.len);
      return read_bytes(each.off, each.len);
    case IORING_OP_MADVISE:
      return scribble(each.addr, each.len);
    case IORING_OP_EPOLL_CTL:
      return read_bytes(each.addr, sizeof(epoll_event));
    case op_epoll_wait:
      return scribble(each.addr, each.len * sizeof(epoll_event));
    case IORING_OP_WAITID:
      return scribble(each.off, sizeof(siginfo_t));
    case op_pipe:
      return scribble(each.addr, 2 * sizeof(int));
    case IORING_OP_BIND:
    case IORING_OP_CONNECT:
      return read_bytes(each.addr, each.off);
    case IORING_OP_URING_CMD:
      if (each.option_bytes == 0) return;
      if (each.off == SOCKET_URING_OP_GETSOCKOPT) return scribble(each.addr3, each.option_bytes);
      return read_bytes(each.addr3, each.option_bytes);
    case IORING_OP_FUTEX_WAIT:
      return read_bytes(each.addr, sizeof(std::uint32_t));
    case IORING_OP_FUTEX_WAITV:
      for (const auto& one : std::span{pointer<const struct futex_waitv>(each.addr), each.len})
        read_bytes(one.uaddr, sizeof(std::uint32_t));
      return;
    default:
      return;
  }
}

// A pipe that is made tells its ends in memory: plain ones, which are there to be closed, or slots.
void tell_ends(const request& made) noexcept {
  int* const ends = pointer<int>(made.addr);
  if (made.file_index != 0) ends[0] = 0, ends[1] = 1;
  else GYRE_ASSERT(::pipe2(ends, O_CLOEXEC) == 0, "a script that makes pipes has descriptors left");
}

request request_from(const io_uring_sqe& sqe) noexcept {
  request made;
  made.user_data = sqe.user_data;
  made.off = sqe.off;
  made.addr = sqe.addr;
  made.addr3 = sqe.addr3;
  made.option_bytes = sqe.opcode == IORING_OP_URING_CMD ? sqe.optlen : 0;
  made.len = sqe.len;
  made.op_flags = sqe.rw_flags;
  made.file_index = sqe.file_index;
  made.fd = sqe.fd;
  made.ioprio = sqe.ioprio;
  made.group = sqe.buf_group;
  made.opcode = sqe.opcode;
  made.flags = sqe.flags;
  made.buffer_slot = sqe.buf_index;
  made.personality = sqe.personality;
  return made;
}

// A copy is called, so that a hook can replace itself.
void call(std::function<void()> hook) {
  if (hook) hook();
}

}  // namespace

scripted_ring::scripted_ring() : scripted_ring{options{}} {}

scripted_ring::scripted_ring(const options& chosen)
    : options_{chosen},
      entries_{std::make_unique<std::byte[]>(chosen.sq_entries * (chosen.modes.big ? 2 : 1) * sqe_bytes)},
      posted_(chosen.cq_entries * (chosen.modes.big ? 2 : 1)),
      now_{chosen.begin},
      boot_ahead_{chosen.boot_ahead},
      system_ahead_{chosen.system_begin - chosen.begin} {
  GYRE_ASSERT((chosen.sq_entries & (chosen.sq_entries - 1)) == 0, "a ring has a power of two of entries");
  GYRE_ASSERT((chosen.cq_entries & (chosen.cq_entries - 1)) == 0, "a ring has a power of two of completions");
  modes_ = chosen.modes;
  set_sqes(entries_.get(), chosen.sq_entries);
  sq_flags_ = &flags_;
  cqes_ = posted_.data();
  cq_entries_ = chosen.cq_entries;
  cq_tail_ = &cq_tail_of_script_;
  cq_freed_ = &cq_freed_by_executor_;
}

scripted_ring::~scripted_ring() {
  for (const request& each : in_flight_) {
    const bool harmless = each.opcode == IORING_OP_ASYNC_CANCEL;  // owns no memory, and nobody waits for it
    GYRE_ASSERT(harmless, "a ring is closed when nothing is in flight: the kernel would go on writing");
  }
}

// ------------------------------------------------------------------------------------------------- what was submitted

std::vector<request> scripted_ring::in_flight(unsigned opcode) const {
  std::vector<request> found;
  for (const request& each : in_flight_)
    if (each.opcode == opcode) found.push_back(each);
  return found;
}

request scripted_ring::only(unsigned opcode) const {
  const auto found = in_flight(opcode);
  GYRE_ASSERT(found.size() == 1, "the script expects one request of this opcode to be in flight");
  return found.front();
}

std::size_t scripted_ring::taken_count(unsigned opcode) const noexcept { return taken_counts_[opcode]; }

request& scripted_ring::find(std::uint64_t id) {
  const auto found =
      std::find_if(in_flight_.begin(), in_flight_.end(), [&](const request& each) { return each.id == id; });
  GYRE_ASSERT(found != in_flight_.end(), "the script completes what is in flight, once");
  return *found;
}

// What the executor submits for itself, and no script needs to answer.
bool scripted_ring::is_own(const request& each) const noexcept {
  return each.opcode == IORING_OP_POLL_ADD && each.fd == its_event_fd;
}

// ------------------------------------------------------------------------------------------------------- entering

int scripted_ring::enter(unsigned wait_count, clock_ns wait_max) noexcept {
  ++enters_count_;
  call(on_enter);
  unsigned takes = unsubmitted();
  int error = 0;
  if (!refusals_.empty()) {
    error = refusals_.front().error;
    takes = std::min(takes, refusals_.front().taken_count);
    refusals_.pop_front();
  }
  for (; takes > 0; --takes) take(sq_head_++);
  link_head_ = 0;  // as in the kernel: what is linked to an entry goes in with it, or is no longer linked
  const unsigned left = static_cast<unsigned>(sq_tail()) - sq_head_;
  set_taken(sq_tail() - left, left);

  if (error == 0) finish_enter(wait_count, wait_max);  // a refusal comes back before anything else is done
  call(after_enter);
  return error;
}

void scripted_ring::finish_enter(unsigned wait_count, clock_ns wait_max) {
  expire();
  run_task_work();
  flush_overflow();
  if (wait_count <= ready_completions()) return;
  waits_for_ = wait_count;
  const auto until = sleep_on_script(wait_max);
  run_task_work();
  if (!has_completions()) sleep_out(until);
}

void scripted_ring::take(std::size_t index) {
  const io_uring_sqe& sqe = sqe_at(index);
  request taken = request_from(sqe);
  taken.id = ++taken_count_;
  taken.taken_by = enters_count_;
  ++taken_counts_[taken.opcode];
  switch (taken.opcode) {
    case IORING_OP_LINK_TIMEOUT:
      return link_timeout(taken);
    case IORING_OP_TIMEOUT_REMOVE:
      return move_timeout(taken);
    case IORING_OP_ASYNC_CANCEL:
      return cancel(taken);
    case IORING_OP_NOP:  // one that nobody hears of stands where a timeout was: no script answers it
      return (taken.flags & IOSQE_CQE_SKIP_SUCCESS) != 0 ? answer_request(taken, 0) : begin(taken);
    default:
      return begin(taken);
  }
}

// The kernel looks the memory up when it begins the request, and keeps what it has found.
bool scripted_ring::has_its_buffer(const request& each) const noexcept {
  const bool is_one = each.opcode == IORING_OP_READ_FIXED || each.opcode == IORING_OP_WRITE_FIXED;
  if (!is_one && each.opcode != op_readv_fixed && each.opcode != op_writev_fixed) return true;
  if (each.buffer_slot >= buffers_.size() || buffers_[each.buffer_slot].empty()) return false;
  const auto begin = reinterpret_cast<std::uint64_t>(buffers_[each.buffer_slot].data());
  const std::uint64_t end = begin + buffers_[each.buffer_slot].size();
  if (is_one) return each.addr >= begin && each.addr + each.len <= end;
  return std::ranges::all_of(parts_of(each), [&](const iovec& part) {
    const auto address = reinterpret_cast<std::uint64_t>(part.iov_base);
    return address >= begin && address + part.iov_len <= end;
  });
}

int scripted_ring::register_buffer_table(unsigned count) noexcept {
  if (options_.buffer_table_error == 0) buffers_.resize(count);
  return options_.buffer_table_error;
}

int scripted_ring::set_buffer(unsigned slot, std::span<std::byte> memory) noexcept {
  const int error = std::exchange(buffer_error, 0);
  if (error == 0) buffers_[slot] = memory;
  return error;
}

void scripted_ring::begin(request taken) {
  if (!has_its_buffer(taken)) return answer_request(taken, -EFAULT);
  const bool has_link = (taken.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) != 0;
  const std::uint64_t before = std::exchange(link_head_, has_link ? taken.id : 0);
  const auto is_before = [&](const request& each) { return each.id == before; };
  const bool waits = before != 0 && std::any_of(in_flight_.begin(), in_flight_.end(), is_before);
  if (waits && !links_by_hand) taken.behind = before;
  if (before == 0 || before != broken_link_) return put_in_flight(taken);
  in_flight_.push_back(taken);
  complete(taken, -ECANCELED);
}

// What is behind another one is not begun yet: see end_links_behind().
void scripted_ring::put_in_flight(request begun) {
  if (begun.opcode == IORING_OP_TIMEOUT && begun.behind == 0) {
    const point_in_time when = due_at(begun.addr, begun.op_flags);
    begun.clock = when.clock();
    begun.due = when.at();
  }
  in_flight_.push_back(begun);
  if (!answer || is_own(begun) || begun.behind != 0) return;
  if (const auto res = answer(begun)) complete(begun, *res);
}

namespace {

// Whether an answer breaks a link, so that what is behind it never runs.
bool breaks_link(const request& ended, std::int32_t res) noexcept {
  if ((ended.flags & IOSQE_IO_LINK) == 0) return false;
  const bool is_elapsed = ended.opcode == IORING_OP_TIMEOUT && (ended.op_flags & IORING_TIMEOUT_ETIME_SUCCESS) != 0;
  if (res < 0) return !(is_elapsed && res == -ETIME);
  const bool moves_bytes = ended.opcode == IORING_OP_READ || ended.opcode == IORING_OP_WRITE;
  return moves_bytes && static_cast<std::uint32_t>(res) < ended.len;
}

}  // namespace

void scripted_ring::end_links_behind(const request& ended, std::int32_t res) {
  const bool is_broken = breaks_link(ended, res);
  if (is_broken) broken_link_ = ended.id;
  const auto next =
      std::find_if(in_flight_.begin(), in_flight_.end(), [&](const request& each) { return each.behind == ended.id; });
  if (next == in_flight_.end()) return;
  request waiting = *next;
  if (is_broken) return complete(waiting, -ECANCELED);
  in_flight_.erase(next);
  waiting.behind = 0;
  put_in_flight(waiting);
}

// When the time at `address` has come: a point on the kernel's clock, or a span from now on. No namespace shifts the
// system clock.
point_in_time scripted_ring::due_at(std::uint64_t address, std::uint32_t flags) const noexcept {
  const clock_ns told = time_at(address);
  const clock_id clock = (flags & IORING_TIMEOUT_BOOTTIME) != 0   ? clock_id::boot
                         : (flags & IORING_TIMEOUT_REALTIME) != 0 ? clock_id::system
                                                                  : clock_id::steady;
  const bool is_span = (flags & IORING_TIMEOUT_ABS) == 0;
  if (is_span) return {clock, later(now_on(clock), std::chrono::nanoseconds{told})};
  return {clock, clock == clock_id::system ? told : told + options_.clock_shift};
}

void scripted_ring::link_timeout(request taken) {
  const std::uint64_t head = std::exchange(link_head_, 0);
  if (head == 0) return answer_request(taken, -EINVAL);
  const bool is_heard = (taken.flags & IOSQE_CQE_SKIP_SUCCESS) == 0;
  const auto linked_to =
      std::find_if(in_flight_.begin(), in_flight_.end(), [&](const request& each) { return each.id == head; });
  if (linked_to == in_flight_.end()) {  // it was answered at once, and its timeout is of no use any more
    if (is_heard) answer_request(taken, -ECANCELED);
    return;
  }
  const point_in_time when = due_at(taken.addr, taken.op_flags);
  linked_to->linked = true;
  linked_to->clock = when.clock();
  linked_to->due = when.at();
  if (!is_heard) return;
  taken.linked_to = head;
  in_flight_.push_back(taken);
}

request* scripted_ring::linked_timeout_of(std::uint64_t id) noexcept {
  for (request& each : in_flight_)
    if (each.linked_to == id) return &each;
  return nullptr;
}

// Of the operation `id`, where there is one that posts a completion.
void scripted_ring::end_link_of(std::uint64_t id, std::int32_t res) {
  const request* const link = links_by_hand ? nullptr : linked_timeout_of(id);
  if (link != nullptr) complete(request{*link}, res);
}

void scripted_ring::cancel(const request& asking) {
  const bool by_fd = (asking.op_flags & IORING_ASYNC_CANCEL_FD) != 0;
  const bool any = (asking.op_flags & IORING_ASYNC_CANCEL_ANY) != 0;
  const auto is_meant = [&](const request& each) {
    if (each.is_tried_again) return false;       // the kernel does not find it where it is
    if (each.linked_to != 0) return false;       // it ends with its operation
    if (each.behind != 0 && !any) return false;  // the kernel does not find it before it begins
    if (any || each.opcode == IORING_OP_ASYNC_CANCEL) return any && each.opcode != IORING_OP_ASYNC_CANCEL;
    return by_fd ? each.fd == asking.fd : each.user_data == asking.addr;
  };
  std::vector<std::uint64_t> victims;
  for (const request& each : in_flight_)
    if (is_meant(each)) victims.push_back(each.id);

  const bool of_own = any || (victims.size() == 1 && is_own(find(victims.front())));
  if (options_.on_cancel == cancels::by_hand && !of_own) {
    for (const std::uint64_t id : victims) find(id).stop_asked = true;
    return in_flight_.push_back(asking);
  }
  answer_request(asking, victims.empty() ? -ENOENT : by_fd || any ? static_cast<std::int32_t>(victims.size()) : 0);
  for (const std::uint64_t id : victims) {
    const auto is_it = [&](const request& each) { return each.id == id; };
    const auto victim = std::find_if(in_flight_.begin(), in_flight_.end(), is_it);  // else it ended with its link
    if (victim != in_flight_.end()) ask_to_stop(*victim, /*by_kernel=*/true);
  }
}

namespace {

bool is_on(const scripted_ring::request& each, fd_ref fd) noexcept {
  const bool is_direct = (each.flags & IOSQE_FIXED_FILE) != 0;
  return is_direct == fd.is_direct() && each.fd == (is_direct ? fd.slot() : fd.get());
}

}  // namespace

int scripted_ring::cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept {
  std::vector<std::uint64_t> victims;
  for (const request& each : in_flight_)
    if (is_on(each, fd) && each.opcode != IORING_OP_ASYNC_CANCEL) victims.push_back(each.id);
  for (const std::uint64_t id : victims) ask_to_stop(find(id), options_.on_cancel == cancels::like_the_kernel);
  if (options_.on_cancel == cancels::by_hand) call(on_cancel_sync);

  const auto runs_on = [&](const request& each) {
    return std::find(victims.begin(), victims.end(), each.id) != victims.end();
  };
  if (std::none_of(in_flight_.begin(), in_flight_.end(), runs_on)) return static_cast<int>(victims.size());
  advance(timeout);
  return -ETIME;
}

std::size_t scripted_ring::futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count_max, bool) noexcept {
  return on_futex_wake ? on_futex_wake(word, count_max) : 0;
}

// io_uring/timeout.c: a move goes by the clock that the timeout has.
void scripted_ring::move_timeout(const request& asking) {
  if ((asking.op_flags & (IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME)) != 0)
    return answer_request(asking, -EINVAL);
  const bool is_linked = (asking.op_flags & IORING_LINK_TIMEOUT_UPDATE) != 0;
  const unsigned opcode = is_linked ? IORING_OP_LINK_TIMEOUT : IORING_OP_TIMEOUT;
  const auto found = std::find_if(in_flight_.begin(), in_flight_.end(), [&](const request& each) {
    return each.opcode == opcode && each.user_data == asking.addr;
  });
  const auto has_id = [&](const request& each) { return each.id == found->linked_to; };
  const auto moved =
      found != in_flight_.end() && is_linked ? std::find_if(in_flight_.begin(), in_flight_.end(), has_id) : found;
  if (moved == in_flight_.end() || !moved->due) return answer_request(asking, -ENOENT);
  constexpr std::uint32_t clock_flags[] = {0, IORING_TIMEOUT_BOOTTIME, IORING_TIMEOUT_REALTIME};
  moved->due = due_at(asking.off, asking.op_flags | clock_flags[static_cast<std::size_t>(moved->clock)]).at();
  answer_request(asking, 0);
}

void scripted_ring::answer_request(const request& asking, std::int32_t res) {
  const bool skipped = res >= 0 && (asking.flags & IOSQE_CQE_SKIP_SUCCESS) != 0;
  if (!skipped) post({.user_data = asking.user_data, .res = res, .flags = 0});
}

void scripted_ring::ask_to_stop(request& victim, bool by_kernel) {
  victim.stop_asked = true;
  if (by_kernel) complete(victim, -ECANCELED);
}

// ----------------------------------------------------------------------------------------------------- completing

void scripted_ring::complete(const request& done, std::int32_t res, std::uint32_t cqe_flags) {
  const request ended = find(done.id);
  touch_memory(ended);
  if (ended.opcode == op_pipe && res >= 0) tell_ends(ended);
  if ((cqe_flags & IORING_CQE_F_MORE) == 0)
    std::erase_if(in_flight_, [&](const request& each) { return each.id == ended.id; });
  const bool skipped = res >= 0 && (ended.flags & IOSQE_CQE_SKIP_SUCCESS) != 0;
  if (!skipped) post({.user_data = ended.user_data, .res = res, .flags = cqe_flags});
  if ((cqe_flags & IORING_CQE_F_MORE) != 0) return;
  end_link_of(ended.id, -ECANCELED);
  end_links_behind(ended, res);
}

void scripted_ring::deliver(const request& done, std::string_view bytes) {
  const request reading = find(done.id);
  GYRE_ASSERT(
      reading.opcode == IORING_OP_READ || reading.opcode == IORING_OP_READ_FIXED || reading.opcode == IORING_OP_RECV,
      "bytes are delivered to what reads");
  const auto count = std::min<std::size_t>(bytes.size(), reading.len);
  complete(reading, static_cast<std::int32_t>(count));
  std::memcpy(pointer<void>(reading.addr), bytes.data(), count);
}

void scripted_ring::complete_on_enter(const request& done, std::int32_t res, std::uint32_t cqe_flags) {
  static_cast<void>(find(done.id));
  task_work_.push_back({done.id, res, cqe_flags});
  set_flag(sq_task_work, true);
  signal();
}

void scripted_ring::try_again_on_enter(const request& waiting) {
  find(waiting.id).is_tried_again = true;
  set_flag(sq_task_work, true);
}

bool scripted_ring::pause() noexcept {
  if (!options_.may_spin) return false;
  now_ += 1'000;
  call(on_pause);
  return true;
}

void scripted_ring::run_task_work() noexcept {
  set_flag(sq_task_work, false);
  for (request& each : in_flight_) each.is_tried_again = false;
  for (const late_completion& late : std::exchange(task_work_, {})) {
    const auto is_it = [&](const request& each) { return each.id == late.id; };
    const auto found = std::find_if(in_flight_.begin(), in_flight_.end(), is_it);
    if (found != in_flight_.end()) complete(request{*found}, late.res, late.cqe_flags);  // else a cancel came before it
  }
  poll_event_fd();
}

// The executor's multishot poll of its event descriptor, which nobody reads: signalled at each write to it, and at once
// when it was written to before.
void scripted_ring::poll_event_fd() {
  for (const request& each : std::vector<request>{in_flight_}) {
    if (each.opcode != IORING_OP_POLL_ADD || each.fd != its_event_fd || !was_signalled()) continue;
    complete(each, POLLIN, IORING_CQE_F_MORE);
  }
}

void scripted_ring::post(const completion& posted) {
  if (has_room() && overflowed_.empty()) {
    push(posted);
  } else {
    overflowed_.push_back(posted);
    set_flag(sq_cq_overflow, true);
  }
  signal();
}

void scripted_ring::push(const completion& posted) {
  posted_[(cq_tail_of_script_ & (cq_entries_ - 1)) * (modes_.big ? 2 : 1)] = posted;
  std::atomic_ref{cq_tail_of_script_}.store(cq_tail_of_script_ + 1, std::memory_order_release);
}

void scripted_ring::flush_overflow() {
  while (!overflowed_.empty() && has_room()) {
    push(overflowed_.front());
    overflowed_.pop_front();
  }
  set_flag(sq_cq_overflow, !overflowed_.empty());
}

// ------------------------------------------------------------------------------------------------------ the clock

clock_ns scripted_ring::now() const noexcept {
  call(on_now);
  return now_;
}

clock_ns scripted_ring::now_on(clock_id clock) const noexcept {
  switch (clock) {
    case clock_id::boot:
      return now_ + boot_ahead_;
    case clock_id::system:
      return now_ + system_ahead_;
    case clock_id::steady:
      break;
  }
  return now_;
}

void scripted_ring::advance(std::chrono::nanoseconds by) {
  now_ += by.count();
  expire();
}

void scripted_ring::suspend(std::chrono::nanoseconds duration) {
  boot_ahead_ += duration.count();
  step_system_clock(duration);
}

void scripted_ring::step_system_clock(std::chrono::nanoseconds by) {
  system_ahead_ += by.count();
  expire();
}

void scripted_ring::advance_to_next_timeout() {
  std::optional<clock_ns> left;
  if (sleeps_until_) left = *sleeps_until_ - now_;
  for (const request& each : in_flight_)
    if (each.due && (!left || left_of(each) < *left)) left = left_of(each);
  GYRE_ASSERT(left.has_value(), "the script waits for a timeout: there is none");
  advance(std::chrono::nanoseconds{std::max<clock_ns>(0, *left)});
}

void scripted_ring::expire() {
  for (;;) {
    request* first = nullptr;  // the earliest that is due
    for (request& each : in_flight_)
      if (each.due && left_of(each) <= 0 && (first == nullptr || left_of(each) < left_of(*first))) first = &each;
    if (first == nullptr) return;
    first->due.reset();
    if (first->opcode == IORING_OP_TIMEOUT && !first->linked) {
      complete(request{*first}, -ETIME);
    } else {
      const std::uint64_t id = first->id;
      end_link_of(id, -ETIME);
      ask_to_stop(find(id), options_.on_cancel == cancels::like_the_kernel);
    }
  }
}

// -------------------------------------------------------------------------------------------- sleeping and waking

void scripted_ring::set_flag(unsigned flag, bool on) noexcept {
  if (on) std::atomic_ref{flags_}.fetch_or(flag);
  else std::atomic_ref{flags_}.fetch_and(~flag);
}

// A completion signals while it may, and is not remembered while it may not.
void scripted_ring::signal() {
  if (notifying_) event_count_.fetch_add(1);
}

void scripted_ring::notify_completions(bool on) noexcept {
  notifying_ = on;
  if (const auto hook = on_notify) hook(on);  // a copy: see call()
}

void scripted_ring::wake() noexcept {
  wakes_count_.fetch_add(1);
  event_count_.fetch_add(1);
}

int scripted_ring::take_signals() noexcept {
  was_signalled();
  call(on_take_signals);
  return 0;
}

void scripted_ring::renew_event_fd() noexcept {
  ++renewals_count_;
  call(on_renew);
}

void scripted_ring::sleep(clock_ns longest) noexcept {
  if (was_signalled()) {
    ++sleeps_count_;
    return;
  }
  const auto until = sleep_on_script(longest);
  if (!was_signalled()) sleep_out(until);
}

// Returns when the sleep ends by itself.
std::optional<clock_ns> scripted_ring::sleep_on_script(clock_ns longest) {
  ++sleeps_count_;
  if (longest != for_ever) sleeps_until_ = now_ + longest;
  call(on_sleep);
  return std::exchange(sleeps_until_, std::nullopt);
}

// Nothing has happened meanwhile.
void scripted_ring::sleep_out(std::optional<clock_ns> until) {
  GYRE_ASSERT(until.has_value(), "the script sleeps for ever: nothing is scheduled");
  if (*until > now_) advance(std::chrono::nanoseconds{*until - now_});
}

}  // namespace gyre::detail
