// SPDX-License-Identifier: MIT
// The opcodes of vectored transfers on registered memory, which are newer than liburing 2.9's header.
#pragma once

namespace gyre::detail {

// include/uapi/linux/io_uring.h, Linux 6.15.
inline constexpr unsigned op_readv_fixed = 60;   // IORING_OP_READV_FIXED
inline constexpr unsigned op_writev_fixed = 61;  // IORING_OP_WRITEV_FIXED

}  // namespace gyre::detail
