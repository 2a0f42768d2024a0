// SPDX-License-Identifier: MIT
// The ring whose other side is the kernel.
#pragma once

#include <gyre/runtime/detail/prompt_sleeps.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

struct io_uring;

namespace gyre::detail {

/// How long to ask epoll_pwait2(2) to sleep, so that it ends no later than a sleep of `longest` may, by 50 us.
///
/// Linux lets it come later than any other sleep: by a thousandth of its length, by five for a thread that is nice, by
/// 100 ms at most (fs/select.c, select_estimate_accuracy()). So what is long is asked for shorter, and the rest is
/// another sleep.
[[nodiscard]] constexpr clock_ns epoll_sleep_within(clock_ns longest) noexcept {
  constexpr clock_ns millisecond = 1'000'000;
  if (longest <= 50 * millisecond) return longest;
  return longest - std::min(longest / 200, 100 * millisecond);
}

class kernel_ring : public ring {
 public:
  /// Sets up a ring for the calling thread, as near to `request` as the machine allows. Throws setup_error, whose text
  /// names cause and cure.
  explicit kernel_ring(const ring_request& request);

  /// Nothing may be in flight: the kernel would go on writing into buffers after the ring is closed.
  ~kernel_ring() override;

  using ring::enter;
  int enter(unsigned wait_count, clock_ns wait_max) noexcept override;
  void run_task_work() noexcept override;
  bool grow(unsigned sq_entries, unsigned cq_entries) noexcept override;
  int register_buffer_ring(const buffer_ring_request& asked) noexcept override;
  void unregister_buffer_ring(std::uint16_t group) noexcept override;
  int look_at_buffer_ring(std::uint16_t group, std::uint16_t& head) noexcept override;
  bool is_trusted_with(buffer_use use) const noexcept override;
  int register_direct_table(unsigned count, unsigned numbered_count) noexcept override;
  int set_direct(unsigned slot, int plain) noexcept override;
  int register_buffer_table(unsigned count) noexcept override;
  int set_buffer(unsigned slot, std::span<std::byte> memory) noexcept override;
  int clone_buffer(unsigned slot, int of_ring, unsigned of_slot) noexcept override;
  int register_personality() noexcept override;
  void unregister_personality(int number) noexcept override;
  int register_zero_copy_queue(const zero_copy_request& asked, zero_copy_grant& granted) noexcept override;
  int poll_napi_id(unsigned id, bool on) noexcept override;
  bool pause() noexcept override;
  void notify_completions(bool on) noexcept override;
  int event_fd() const noexcept override { return event_fd_.get(); }
  int descriptor() const noexcept override;
  void sleep(clock_ns longest) noexcept override;
  void wake() noexcept override;
  int cancel_sync(fd_ref fd, std::chrono::nanoseconds timeout) noexcept override;
  void part_from_parent() noexcept override;
  std::size_t futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count_max,
                         bool process_private) noexcept override;
  clock_ns now() const noexcept override;
  clock_ns now_on(clock_id clock) const noexcept override;
  std::string notes() const override { return report_.notes; }
  int take_signals() noexcept override;
  void renew_event_fd() noexcept override;

 private:
  void look_at_queues() noexcept;
  void ask_for_opcodes();
  [[nodiscard]] int enter_beside_poller(unsigned wait_count, clock_ns wait_max) noexcept;
  void wait_for_poller() noexcept;
  [[nodiscard]] unsigned min_wait_within(clock_ns wait_max) const noexcept;
  void enter_for_task_work() noexcept;
  void end_stale_task_work() noexcept;
  [[nodiscard]] int make_event_fd(bool completions_signal_it) noexcept;
  bool wait_for_signal() noexcept;
  bool sleep_within(clock_ns longest) noexcept;
  [[nodiscard]] int enter_within(clock_ns wait_max, unsigned entries_count, unsigned wait_count,
                                 unsigned flags) noexcept;
  void wait_for_one_more(clock_ns duration) noexcept;

  std::unique_ptr<::io_uring> ring_;
  ring_report report_;
  unique_fd event_fd_;
  std::optional<prompt_sleeps> prompt_sleeps_;
  unique_fd event_poll_;  // an epoll set of it alone, for sleeps that end in time; none: ppoll(2) does
  unsigned enter_flags_ = 0;
  unsigned min_wait_usec_ = 0;
  bool may_grow_ = false;
  unsigned enter_fd_ = 0;
  unsigned* sq_tail_told_ = nullptr;  // up to where the kernel may take entries, and has taken them
  unsigned* sq_head_told_ = nullptr;
};

}  // namespace gyre::detail
