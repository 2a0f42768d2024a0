// SPDX-License-Identifier: MIT
// A ring whose other side is a test: what the executor submits lands in a list, and the script decides how it ends.
//
// Nothing happens by itself but what stands here, so that every order of every race can be taken on purpose:
//
//   enter()       takes the entries in their order, or as many as the script lets it; runs what was left to it by
//                 complete_on_enter(); moves overflowed completions into the queue.
//   complete()    posts a completion at once, as the kernel does while the executor's thread is elsewhere.
//   advance()     moves the clocks, all of them. Timeouts that are due post -ETIME; an operation whose linked timeout
//                 is due is asked to stop, as by a cancel. suspend() moves those that go on while a machine is
//                 suspended, step_system_clock() is somebody who sets the time of day.
//   linked ones   that post completions do so as in the kernel: -ETIME before their operation's when they fire,
//                 -ECANCELED behind it when it ends by itself. With links_by_hand the script answers them.
//   links         begin one after the other, and end together where one breaks, as in the kernel. With links_by_hand
//                 all are there from the beginning, and the script ends each.
//   cancels       are answered as the kernel does: the one asked for ends with -ECANCELED, -ENOENT when there is none.
//                 With cancels::by_hand they stay in the list, and the script answers both; but for those of the
//                 executor's own poll, and the one that it ends with, of everything.
//   cancel_sync() ends what is in flight on a descriptor, as the kernel does. With cancels::by_hand it asks for that,
//                 and waits in on_cancel_sync(); for what is there still after that, until its time is up.
//   buffers       that were registered are taken by deliver_selected(), in the order in which they lie in their ring.
//   receive queues of a device that puts packets into memory are granted; deliver_zero_copy() is the device, and what
//                 comes back lies in refills() until take_refills().
//   sleep()       returns when the event descriptor was signalled: by wake(), or by a completion while they notify.
//                 If it was not, on_sleep() may cause something. If it does not, the clock moves to the end of the
//                 sleep; where that has none it is a bug, and the program stops.
//
// Memory that the kernel may touch is touched when a request completes: a buffer that died early shows under
// AddressSanitizer.
#pragma once

#include <gyre/runtime/detail/ring.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace gyre::detail {

class scripted_ring final : public ring {
 public:
  enum class cancels : std::uint8_t { like_the_kernel, by_hand };

  struct options {
    unsigned sq_entries = 64;    // a power of two
    unsigned cq_entries = 1024;  // completions beyond these overflow
    cancels on_cancel = cancels::like_the_kernel;
    clock_ns begin = 1'000'000'000;  // what the clock says at first
    clock_ns clock_shift = 0;  // what a time namespace adds to the kernel's clock, by which it takes points in time
    clock_ns boot_ahead = 0;   // of the boot clock before the executor's
    clock_ns system_begin = 1'700'000'000'000'000'000;  // what the system clock says at first
    ring_modes modes = {};             // only min_wait and big are scripted: the others are told, and nothing else
                                       // follows
    int direct_table_error = 0;        // what it says to a table of direct descriptors
    int buffer_ring_error = 0;         // what it says to a ring of buffers
    int buffer_table_error = 0;        // what it says to a table of registered buffers
    int zero_copy_error = 0;           // what it says to a receive queue of a device
    bool trusted_with_buffers = true;  // to use them bit by bit, and in bundles
    bool may_spin = false;             // pause() moves the clock by a microsecond
  };

  /// A submission entry that enter() took, in the words of struct io_uring_sqe.
  struct request {
    std::uint64_t id = 0;        // counts from 1, in the order in which they were taken
    std::uint64_t taken_by = 0;  // the enter() that took it, counted from 1
    std::uint64_t user_data = 0;
    std::uint64_t off = 0;
    std::uint64_t addr = 0;
    std::uint64_t addr3 = 0;         // of a command's option
    std::uint32_t option_bytes = 0;  // the same
    std::uint32_t len = 0;
    std::uint32_t op_flags = 0;
    std::uint32_t file_index = 0;
    std::int32_t fd = -1;
    std::uint16_t ioprio = 0;  // of some opcodes: more flags
    std::uint16_t group = 0;   // of one that selects a buffer: among which
    std::uint8_t opcode = 0;
    std::uint8_t flags = 0;
    std::uint16_t buffer_slot = 0;  // of requests on registered buffers
    std::uint16_t personality = 0;
    bool linked = false;                // a link timeout follows it
    bool is_tried_again = false;        // see try_again_on_enter()
    bool stop_asked = false;            // by a cancel or its linked timeout, which the script has to answer
    std::optional<clock_ns> due;        // of a timeout, or of the timeout that is linked to it
    clock_id clock = clock_id::steady;  // by which it is due
    std::uint64_t linked_to = 0;        // of a linked timeout that posts a completion: the id of its operation
    std::uint64_t behind = 0;           // of a link that has not begun: the id of the one before it
  };

  scripted_ring();
  explicit scripted_ring(const options& chosen);
  ~scripted_ring() override;

  // ------------------------------------------------------------------------------------------- what was submitted

  /// What is in flight, oldest first; the other form only of one opcode.
  [[nodiscard]] const std::vector<request>& in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] std::vector<request> in_flight(unsigned opcode) const;

  /// The one request of that opcode that is in flight. There must be exactly one.
  [[nodiscard]] request only(unsigned opcode) const;

  /// How many entries of that opcode were ever taken.
  [[nodiscard]] std::size_t taken_count(unsigned opcode) const noexcept;

  // ------------------------------------------------------------------------------------------------ what it answers

  /// Posts a completion. The request stays in flight when `cqe_flags` has IORING_CQE_F_MORE.
  void complete(const request& done, std::int32_t res, std::uint32_t cqe_flags = 0);

  /// The same for a request that reads: puts `bytes` where it wants them, and completes it with their number.
  void deliver(const request& done, std::string_view bytes);

  /// The same for a request that selects a buffer: takes the next one of its group, for a bundle as many as it needs,
  /// puts in what they hold of `bytes`, and completes it with their number. It stays in flight if `more`. Where there
  /// is no buffer it ends with -ENOBUFS.
  void deliver_selected(const request& done, std::string_view bytes, bool more = true);

  /// Takes a buffer for a request that goes on. Returns the flags that its completion has then.
  [[nodiscard]] std::uint32_t take_buffer_for(const request& selecting);

  /// Ends a request that selects a buffer with `res`, and a buffer that was taken for nothing.
  void complete_with_buffer(const request& done, std::int32_t res);

  /// How many buffers of a group are there to be taken.
  [[nodiscard]] std::size_t buffers_in(std::uint16_t group);

  /// The groups that are registered.
  [[nodiscard]] std::vector<std::uint16_t> buffer_groups() const;

  /// A device has put `bytes` at an offset of its area, and the kernel tells a request of IORING_OP_RECV_ZC.
  void deliver_zero_copy(const request& done, std::uint64_t offset, std::string_view bytes, bool more = true);

  /// What came back of the area, and was not read yet, oldest first; has the kernel read the oldest of it.
  [[nodiscard]] std::vector<zero_copy_refill> refills() const;
  void take_refills(std::uint32_t count);

  /// The receive queue that was registered last.
  [[nodiscard]] const zero_copy_request& zero_copy_queue() const noexcept { return zero_copy_asked_; }

  /// The same as complete(), left to the executor's next enter(), which is told that there is work: IORING_SQ_TASKRUN.
  void complete_on_enter(const request& done, std::int32_t res, std::uint32_t cqe_flags = 0);

  /// The kernel is about to try a request again: until an enter() has done its task work, of which the executor is
  /// told, no cancel finds it. Then it waits.
  void try_again_on_enter(const request& waiting);

  /// Has the next enter() take only `taken_count` entries and return `error`: EAGAIN where the kernel has no memory for
  /// more. A link is taken up to there. Several calls make a queue of refusals.
  void refuse(int error, unsigned taken_count = 0) { refusals_.push_back({error, taken_count}); }

  /// Asked for each entry that enter() takes; an answer completes it there and then.
  std::function<std::optional<std::int32_t>(const request&)> answer;

  /// Asked for each futex_wake(): wakes whom it likes, and says how many; without it, nobody.
  std::function<std::size_t(const std::atomic<std::uint32_t>& word, std::uint32_t count_max)> on_futex_wake;

  // -------------------------------------------------------------------------------------------------------- the clock

  void advance(std::chrono::nanoseconds by);

  /// Moves the clock to the earliest timeout in flight, or to the end of the sleep. There must be one.
  void advance_to_next_timeout();

  /// In on_sleep: when the executor will wake by itself; none: never.
  [[nodiscard]] std::optional<clock_ns> sleeps_until() const noexcept { return sleeps_until_; }

  /// In on_sleep, with parking::ring_wait: how many completions the executor waits for.
  [[nodiscard]] unsigned waits_for() const noexcept { return waits_for_; }

  /// The machine sleeps for so long: the boot clock and the system clock go on, the executor's does not.
  void suspend(std::chrono::nanoseconds duration);

  /// Somebody sets the system clock, forth or back.
  void step_system_clock(std::chrono::nanoseconds by);

  /// Whether the script completes what is linked in its own order: operations, and linked timeouts that post
  /// completions. A timeout whose operation has ended stays in flight until then.
  bool links_by_hand = false;

  // ----------------------------------------------------------------- between the steps of the executor's own protocols

  std::function<void()> on_now;                // it looks at the clock: in each turn that has timers
  std::function<void()> on_enter;              // an enter() begins: nothing is taken yet
  std::function<void()> after_enter;           // it ends
  std::function<void(bool notify)> on_notify;  // notify_completions() has been called and is in force
  std::function<void()> on_sleep;              // it would sleep now: cause something
  std::function<void()> on_renew;              // its event descriptor has been registered anew
  std::function<void()> on_take_signals;       // it has taken what signals there were, for who sleeps for it
  std::function<void()> on_pause;              // it looks for work, awake
  std::function<void()> on_cancel_sync;        // with cancels::by_hand: it waits in cancel_sync() now

  // ---------------------------------------------------------------------------------------------- registered buffers

  /// What it says to the next set_buffer(), instead of doing it; 0: it does it.
  int buffer_error = 0;

  /// What each slot is for: empty memory where it is free. A request that begins on other memory than its slot's ends
  /// with -EFAULT, as in the kernel.
  [[nodiscard]] const std::vector<std::span<std::byte>>& buffers() const noexcept { return buffers_; }

  /// How often it slept, or would have.
  [[nodiscard]] std::uint64_t sleeps_count() const noexcept { return sleeps_count_; }

  /// Whether who polls the event descriptor finds it readable; and how often it was registered anew.
  [[nodiscard]] bool is_readable() const noexcept { return event_count_.load() != 0; }
  [[nodiscard]] std::uint64_t renewals_count() const noexcept { return renewals_count_; }

  /// How often the event descriptor was written by wake().
  [[nodiscard]] std::uint64_t wakes_count() const noexcept { return wakes_count_.load(); }

  // ------------------------------------------------------------------------------------------- the door: see ring.hpp

  using ring::enter;
  int enter(unsigned wait_count, clock_ns wait_max) noexcept override;
  void run_task_work() noexcept override;
  int register_direct_table(unsigned, unsigned) noexcept override { return options_.direct_table_error; }
  int register_buffer_ring(const buffer_ring_request& asked) noexcept override;
  void unregister_buffer_ring(std::uint16_t group) noexcept override;
  int look_at_buffer_ring(std::uint16_t group, std::uint16_t& head) noexcept override;
  bool is_trusted_with(buffer_use) const noexcept override { return options_.trusted_with_buffers; }
  int register_buffer_table(unsigned count) noexcept override;
  int set_buffer(unsigned slot, std::span<std::byte> memory) noexcept override;
  int register_zero_copy_queue(const zero_copy_request& asked, zero_copy_grant& granted) noexcept override;
  int register_personality() noexcept override { return ++personalities_count_; }
  bool pause() noexcept override;
  void notify_completions(bool on) noexcept override;
  int event_fd() const noexcept override { return its_event_fd; }
  int descriptor() const noexcept override { return its_descriptor; }
  int take_signals() noexcept override;
  void renew_event_fd() noexcept override;
  void sleep(clock_ns longest) noexcept override;
  void wake() noexcept override;
  int cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept override;
  std::size_t futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count_max,
                         bool process_private) noexcept override;
  clock_ns now() const noexcept override;
  clock_ns now_on(clock_id clock) const noexcept override;

 private:
  static constexpr int its_event_fd = 1'000'000;  // no descriptor at all: nobody may use it but as a number
  static constexpr int its_descriptor = 1'000'001;

  struct refusal {
    int error;
    unsigned taken_count;
  };
  struct late_completion {
    std::uint64_t id;
    std::int32_t res;
    std::uint32_t cqe_flags;
  };

  struct buffer_ring {
    buffer_ring_request given;
    std::uint16_t head = 0;
  };

  request& find(std::uint64_t id);
  [[nodiscard]] buffer_ring* buffer_ring_or_null(std::uint16_t group) noexcept;
  [[nodiscard]] buffer_ring& ring_selected_by(const request& selecting) noexcept;
  void finish_enter(unsigned wait_count, clock_ns wait_max);
  [[nodiscard]] std::optional<clock_ns> sleep_on_script(clock_ns longest);
  void sleep_out(std::optional<clock_ns> until);
  void take(std::size_t index);
  void begin(request taken);
  void put_in_flight(request begun);
  void end_links_behind(const request& ended, std::int32_t res);
  [[nodiscard]] point_in_time due_at(std::uint64_t address, std::uint32_t flags) const noexcept;
  [[nodiscard]] clock_ns left_of(const request& each) const noexcept { return *each.due - now_on(each.clock); }
  request* linked_timeout_of(std::uint64_t id) noexcept;
  void end_link_of(std::uint64_t id, std::int32_t res);
  void link_timeout(request taken);
  void cancel(const request& asking);
  void move_timeout(const request& asking);
  void answer_request(const request& asking, std::int32_t res);
  void ask_to_stop(request& victim, bool by_kernel);
  void expire();
  void poll_event_fd();
  void flush_overflow();
  void post(const completion& posted);
  void push(const completion& posted);
  [[nodiscard]] bool has_room() const noexcept { return cq_tail_of_script_ - cq_freed_by_executor_ < cq_entries_; }
  void signal();
  void set_flag(unsigned flag, bool on) noexcept;
  bool was_signalled() noexcept { return event_count_.exchange(0) != 0; }
  [[nodiscard]] bool is_own(const request& each) const noexcept;
  [[nodiscard]] bool has_its_buffer(const request& each) const noexcept;

  const options options_;
  std::optional<clock_ns> sleeps_until_;
  std::unique_ptr<std::byte[]> entries_;
  unsigned sq_head_ = 0;
  unsigned flags_ = 0;
  unsigned waits_for_ = 0;
  unsigned cq_tail_of_script_ = 0;
  unsigned cq_freed_by_executor_ = 0;
  std::vector<request> in_flight_;
  std::vector<std::span<std::byte>> buffers_;
  int personalities_count_ = 0;
  std::vector<std::uint64_t> taken_counts_ = std::vector<std::uint64_t>(256);
  std::uint64_t taken_count_ = 0;
  std::uint64_t sleeps_count_ = 0;
  std::uint64_t renewals_count_ = 0;
  std::vector<completion> posted_;
  std::deque<completion> overflowed_;
  std::vector<late_completion> task_work_;
  std::vector<buffer_ring> buffer_rings_;
  zero_copy_request zero_copy_asked_;
  zero_copy_grant zero_copy_granted_;
  std::deque<refusal> refusals_;
  std::uint64_t link_head_ = 0;    // the id of an entry whose link waits for the next one
  std::uint64_t broken_link_ = 0;  // the id of one that ended at once, and broke its link
  bool notifying_ = false;
  clock_ns now_;
  clock_ns boot_ahead_;    // of now_
  clock_ns system_ahead_;  // the same

  // Touched by any thread.
  std::atomic<std::uint64_t> event_count_ = 0;  // what an eventfd would hold
  std::atomic<std::uint64_t> wakes_count_ = 0;
};

}  // namespace gyre::detail
