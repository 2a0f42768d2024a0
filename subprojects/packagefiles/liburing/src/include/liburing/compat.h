/* SPDX-License-Identifier: MIT */
/*
 * What liburing's configure script would write, decided by the preprocessor instead: the same file then serves kernel
 * headers of every age. Linux 6.1's (Debian 12) lack <linux/blkdev.h>, and all of them have the types used here.
 */
#ifndef LIBURING_COMPAT_H
#define LIBURING_COMPAT_H

#include <linux/futex.h>
#include <linux/ioctl.h>
#include <linux/openat2.h>
#include <linux/time_types.h>
#define UAPI_LINUX_IO_URING_H_SKIP_LINUX_TIME_TYPES_H 1

#if __has_include(<linux/blkdev.h>)
#include <linux/blkdev.h>
#endif
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

#endif
