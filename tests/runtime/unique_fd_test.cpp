// SPDX-License-Identifier: MIT
// unique_fd: closes what it owns, once, and nothing else.
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace gyre {
namespace {

int opened() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

}  // namespace

TEST_CASE("a descriptor is closed with its owner") {
  const int fd = opened();
  {
    const unique_fd owner{fd};
    CHECK(owner);
    CHECK(owner.get() == fd);
    CHECK(fd_ref{owner}.get() == fd);
  }
  CHECK(!is_open(fd));
}

TEST_CASE("a descriptor that is moved has one owner, the new one") {
  unique_fd first{opened()};
  const int fd = first.get();

  unique_fd second{std::move(first)};
  CHECK(!first);
  CHECK(second.get() == fd);

  unique_fd third{opened()};
  const int closed = third.get();
  third = std::move(second);
  CHECK(!is_open(closed));
  CHECK(third.get() == fd);
  CHECK(is_open(fd));
}

TEST_CASE("assigning a descriptor's owner to itself keeps it open") {
  unique_fd owner{opened()};
  const int fd = owner.get();

  unique_fd& same = owner;
  owner = std::move(same);

  CHECK(owner.get() == fd);
  CHECK(is_open(fd));
}

TEST_CASE("a released descriptor stays open, a reset one does not") {
  unique_fd owner{opened()};
  const int fd = owner.release();
  CHECK(!owner);
  CHECK(is_open(fd));

  owner.reset(fd);
  owner.reset();
  CHECK(!is_open(fd));
}

TEST_CASE("an owner of nothing closes nothing") {
  const unique_fd none;
  const unique_fd also_none{-1};
  CHECK(!none);
  CHECK(!also_none);
}

}  // namespace gyre
