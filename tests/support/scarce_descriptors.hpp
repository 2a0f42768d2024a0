// SPDX-License-Identifier: MIT
// A process that has no descriptor left, for what has to live through that.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace gyre::test {

/// While it lives this process gets no new descriptor: EMFILE. Those that it has stay open.
class no_descriptor_left {
 public:
  no_descriptor_left() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const int lowest_free = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    REQUIRE(lowest_free >= 0);
    ::close(lowest_free);
    ::rlimit none_left = before_;
    none_left.rlim_cur = static_cast<::rlim_t>(lowest_free);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none_left) == 0);
  }
  no_descriptor_left(const no_descriptor_left&) = delete;
  no_descriptor_left& operator=(const no_descriptor_left&) = delete;
  ~no_descriptor_left() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  ::rlimit before_{};
};

}  // namespace gyre::test
