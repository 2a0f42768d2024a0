/* SPDX-License-Identifier: MIT */
/* What liburing's configure script would write for release 2.9. */
#ifndef LIBURING_VERSION_H
#define LIBURING_VERSION_H

#define IO_URING_VERSION_MAJOR 2
#define IO_URING_VERSION_MINOR 9

#endif
