// SPDX-License-Identifier: MIT
// Operations about no file, on the kernel: a nop, and one that does what it is asked for on its way.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/misc.hpp>

#include "../../support/skip.hpp"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace gyre {
namespace {

// Whether the kernel has the options of a nop: they are no opcode, so it is asked for one.
bool kernel_has_it(executor& loop, const ops::nop_options& options, const char* since) {
  const auto known = loop.run([&]() -> task<bool> {
    const auto got = co_await as_result(ops::nop_with(options));
    co_return got.error() != std::errc::invalid_argument;
  });
  if (!known) SAY_SKIPPED("this needs Linux ", since);
  return known;
}

}  // namespace

TEST_CASE("a nop comes back") {
  executor loop;
  loop.run([]() -> task<> {
    co_await ops::nop();
    CHECK(co_await ops::nop_with(ops::nop_options()) == 0);
  });
}

TEST_CASE("a nop answers as it is asked to, a result and an error") {
  executor loop;
  if (!kernel_has_it(loop, {.result = 1}, "6.10")) return;

  loop.run([]() -> task<> {
    const ops::nop_options good{.result = 1234};
    CHECK(co_await ops::nop_with(good) == 1234);
    const ops::nop_options bad{.result = -ENOSPC};
    const auto got = co_await as_result(ops::nop_with(bad));
    CHECK(got.error() == std::errc::no_space_on_device);
  });
}

TEST_CASE("a nop looks a file up, plain or direct, and a buffer") {
  const unique_fd file{::eventfd(0, EFD_CLOEXEC)};
  executor loop{{.direct_descriptors = 1}};
  if (!kernel_has_it(loop, {.file = file}, "6.13")) return;

  loop.run([&]() -> task<> {
    const ops::nop_options plain{.result = 5, .file = file};
    CHECK(co_await ops::nop_with(plain) == 5);
    const ops::nop_options closed{.file = -1};
    CHECK((co_await as_result(ops::nop_with(closed))).error() == std::errc::bad_file_descriptor);
    {
      const direct_fd in_slot = co_await ops::to_direct(file);
      const ops::nop_options direct{.file = in_slot};
      CHECK(co_await ops::nop_with(direct) == 0);
    }
    const ops::nop_options given_up{.file = direct_fd()};
    CHECK((co_await as_result(ops::nop_with(given_up))).error() == std::errc::bad_file_descriptor);
    for (const unsigned index : {0U, 0xffffU, 0x10000U}) {
      const ops::nop_options no_buffer{.buffer = index};
      CHECK((co_await as_result(ops::nop_with(no_buffer))).error() == std::errc::bad_address);
    }
  });
}

TEST_CASE("a nop completes by task work when it is asked to") {
  executor loop;
  if (!kernel_has_it(loop, {.by_task_work = true}, "6.17")) return;

  loop.run([]() -> task<> {
    const ops::nop_options later{.result = 3, .by_task_work = true};
    CHECK(co_await ops::nop_with(later) == 3);
  });
}

}  // namespace gyre
