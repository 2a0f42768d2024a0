// SPDX-License-Identifier: MIT
// Zero-copy receive, as the kernel has it: numbers that are newer than liburing 2.9's header, and its registration.
#pragma once

#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>

#include <cstdint>
#include <string>

struct io_uring;

namespace gyre::detail {

// include/uapi/linux/io_uring.h, Linux 6.15.
inline constexpr std::uint8_t op_recv_zc = 58;             // IORING_OP_RECV_ZC
inline constexpr unsigned register_zcrx_ifq = 32;          // IORING_REGISTER_ZCRX_IFQ
inline constexpr unsigned zero_copy_area_shift = 48;       // IORING_ZCRX_AREA_SHIFT: above it, an offset names the area
inline constexpr unsigned zero_copy_refills_max = 32'768;  // io_uring/zcrx.c, IO_RQ_MAX_ENTRIES

/// ring::register_zero_copy_queue() of a ring of the kernel's. Returns 0 or an errno.
[[nodiscard]] int register_receive_queue(::io_uring& ring, const zero_copy_request& asked,
                                         zero_copy_grant& granted) noexcept;

/// Why a device's receive queue was refused with `error`, and what to do about it.
[[nodiscard]] setup_diagnosis diagnose_receive_queue(int error, const std::string& interface);

}  // namespace gyre::detail
