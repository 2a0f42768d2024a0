// SPDX-License-Identifier: MIT
// What is registered with the kernel's ring: descriptors, buffers, rights, devices. Each call is one of
// io_uring_register(2), and answers 0 or an errno.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>

#include <liburing.h>
#include <sys/uio.h>

#include <algorithm>

namespace gyre::detail {
namespace {

// Of what registers something: a count or 0, or a negative errno.
int errno_of(int answer) noexcept { return -std::min(answer, 0); }

}  // namespace

// Not by io_uring_register_files_sparse(3), which raises the process's RLIMIT_NOFILE when the table does not fit.
int kernel_ring::register_direct_table(unsigned count, unsigned numbered_count) noexcept {
  io_uring_rsrc_register asked{};
  asked.nr = count;
  asked.flags = IORING_RSRC_REGISTER_SPARSE;
  const auto fd = static_cast<unsigned>(ring_->ring_fd);
  const int error = errno_of(io_uring_register(fd, IORING_REGISTER_FILES2, &asked, sizeof asked));
  if (error != 0 || numbered_count == 0) return error;
  return errno_of(io_uring_register_file_alloc_range(ring_.get(), numbered_count, count - numbered_count));
}

int kernel_ring::set_direct(unsigned slot, int plain) noexcept {
  return errno_of(io_uring_register_files_update(ring_.get(), slot, &plain, 1));
}

int kernel_ring::register_buffer_table(unsigned count) noexcept {
  return errno_of(io_uring_register_buffers_sparse(ring_.get(), count));
}

int kernel_ring::set_buffer(unsigned slot, std::span<std::byte> memory) noexcept {
  const iovec its_memory{.iov_base = memory.data(), .iov_len = memory.size()};
  const __u64 no_tag = 0;
  const iovec none{};
  return errno_of(
      io_uring_register_buffers_update_tag(ring_.get(), slot, memory.empty() ? &none : &its_memory, &no_tag, 1));
}

// Not by io_uring_clone_buffers_offset(3), which wants the rings themselves: here the other one is a descriptor.
int kernel_ring::clone_buffer(unsigned slot, int of_ring, unsigned of_slot) noexcept {
  struct io_uring_clone_buffers asked{};
  asked.src_fd = static_cast<unsigned>(of_ring);
  asked.flags = IORING_REGISTER_DST_REPLACE;
  asked.src_off = of_slot;
  asked.dst_off = slot;
  asked.nr = 1;
  return errno_of(io_uring_register(static_cast<unsigned>(ring_->ring_fd), IORING_REGISTER_CLONE_BUFFERS, &asked, 1));
}

int kernel_ring::register_personality() noexcept { return io_uring_register_personality(ring_.get()); }

void kernel_ring::unregister_personality(int number) noexcept {
  static_cast<void>(io_uring_unregister_personality(ring_.get(), number));
}

// Newer than liburing 2.9's header: IORING_REGISTER_SEND_MSG_RING, include/uapi/linux/io_uring.h, Linux 6.13.
int post_to_ring(int descriptor, const completion& posted) noexcept {
  constexpr unsigned register_send_msg_ring = 31;
  io_uring_sqe message{};
  io_uring_prep_msg_ring_cqe_flags(&message, descriptor, static_cast<unsigned>(posted.res), posted.user_data, 0,
                                   posted.flags);
  return errno_of(io_uring_register(static_cast<unsigned>(-1), register_send_msg_ring, &message, 1));
}

// io_uring_register_buf_ring(3)
int kernel_ring::register_buffer_ring(const buffer_ring_request& asked) noexcept {
  io_uring_buf_reg told{};
  told.ring_addr = reinterpret_cast<std::uint64_t>(asked.entries);
  told.ring_entries = asked.count;
  told.bgid = asked.group;
  const unsigned flags = asked.incremental ? static_cast<unsigned>(IOU_PBUF_RING_INC) : 0U;
  return -io_uring_register_buf_ring(ring_.get(), &told, flags);
}

void kernel_ring::unregister_buffer_ring(std::uint16_t group) noexcept {
  const int rc = io_uring_unregister_buf_ring(ring_.get(), group);
  GYRE_ASSERT(rc == 0, "a ring of buffers is given back once, and on the thread of its executor");
}

int kernel_ring::look_at_buffer_ring(std::uint16_t group, std::uint16_t& head) noexcept {
  return -io_uring_buf_ring_head(ring_.get(), group, &head);  // IORING_REGISTER_PBUF_STATUS, Linux 6.8
}

// Both have worked on paper since 6.12 and 6.10. Bundles gave buffers out of order until 6.15, incremental ones
// together with other requests' completions (axboe/liburing, issues 1409 and 1423).
bool kernel_ring::is_trusted_with(buffer_use use) const noexcept {
  static const bool is_mended = kernel_is_at_least(6, 16);
  if (use == buffer_use::bundles) return is_mended && (report_.features & IORING_FEAT_RECVSEND_BUNDLE) != 0;
  return is_mended;
}

int kernel_ring::register_zero_copy_queue(const zero_copy_request& asked, zero_copy_grant& granted) noexcept {
  return register_receive_queue(*ring_, asked, granted);
}

int kernel_ring::poll_napi_id(unsigned id, bool on) noexcept { return -track_napi_id(*ring_, id, on); }

}  // namespace gyre::detail
