// SPDX-License-Identifier: MIT
// Which sanitizer the code is compiled with: each compiler says it in its own way.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define GYRE_DETAIL_ADDRESS_SANITIZER 1
#elif defined(__SANITIZE_THREAD__)
#define GYRE_DETAIL_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GYRE_DETAIL_ADDRESS_SANITIZER 1
#elif __has_feature(thread_sanitizer)
#define GYRE_DETAIL_THREAD_SANITIZER 1
#endif
#endif

// To be asked in #if, and as a value.
#ifndef GYRE_DETAIL_ADDRESS_SANITIZER
#define GYRE_DETAIL_ADDRESS_SANITIZER 0
#endif
#ifndef GYRE_DETAIL_THREAD_SANITIZER
#define GYRE_DETAIL_THREAD_SANITIZER 0
#endif
