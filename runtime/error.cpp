// SPDX-License-Identifier: MIT
// The texts of gyre's own errors, and the way from an errno to an exception.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/last_words.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace gyre {
namespace {

class gyre_category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "gyre"; }

  std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::no_progress:
        return "the transfer moved no bytes although some were left";
      case errc::end_of_stream:
        return "the stream ended before the bytes that were asked for";
      case errc::invalid_address:
        return "not an address";
      case errc::link_broken:
        return "it never ran: another operation of its chain failed, was cut short, or was refused";
    }
    return "unknown gyre error";
  }
};

// include/linux/errno.h: restart codes are the kernel's own business, but leak through io_uring when a
// worker is interrupted by a cancel.
constexpr int restart_code_first = 512;  // ERESTARTSYS
constexpr int restart_code_last = 516;   // ERESTART_RESTARTBLOCK

}  // namespace

const std::error_category& category() noexcept {
  static const gyre_category instance;
  return instance;
}

namespace detail {

std::error_code errno_code(int errno_value) noexcept {
  const bool restart = errno_value >= restart_code_first && errno_value <= restart_code_last;
  return {restart ? EINTR : errno_value, std::system_category()};
}

void fatal_errno(int errno_value, const char* what) noexcept {
  std::fprintf(stderr, "gyre: %s: %s\n", what, std::strerror(errno_value));
  last_words::say_all();
  std::abort();
}

void throw_errno(int errno_value, const char* operation) {
  throw std::system_error{errno_code(errno_value), operation};
}

}  // namespace detail
}  // namespace gyre
