// SPDX-License-Identifier: MIT
// An executor whose ring takes only what it lists: that works, and all that the executor needs for itself.
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/registered_buffer.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/forbidden.hpp"
#include "../support/modes.hpp"
#include "../support/outcome.hpp"
#include "../support/pinned.hpp"
#include "../support/socket_pair.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

executor_options only(std::vector<unsigned> opcodes, executor_options options = {}) {
  options.only_opcodes = std::move(opcodes);
  return options_under_test(std::move(options));
}

// Calls `fn()` on a thread whose kernel knows fewer registrations: a list longer than `restrictions_max` names one that
// it does not know. The newest are listed last.
template <class Fn>
auto on_a_kernel_that_takes(unsigned restrictions_max, Fn fn) {
  return std::async(std::launch::async,
                    [&] {
                      constexpr auto first_word_of = [](unsigned argument) {  // its lower half
                        return static_cast<unsigned>(offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
                      };
                      std::array program{
                          sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, io_uring_register_call, 0, 5),
                          sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first_word_of(1)),
                          sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IORING_REGISTER_RESTRICTIONS, 0, 3),
                          sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first_word_of(3)),
                          sock_filter BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, restrictions_max, 0, 1),
                          sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
                          sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
                      const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
                      if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
                          ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0)
                        throw std::runtime_error{"seccomp filters are not to be had here"};
                      return fn();
                    })
      .get();
}

template <class Awaitable>
task<std::string> text_of_failure(Awaitable failing) {
  try {
    static_cast<void>(co_await std::move(failing));
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::permission_denied);
    co_return error.what();
  }
  co_return "no failure";
}

bool says(const std::string& text, const char* words) { return text.find(words) != std::string::npos; }

}  // namespace

TEST_CASE("what is listed works, and everything else is refused by an error that names the option") {
  socket_pair pair;
  executor loop{only({IORING_OP_RECV})};
  REQUIRE(::send(pair.there.get(), "a", 1, 0) == 1);

  loop.run([&]() -> task<> {
    std::array<std::byte, 4> buffer{};
    CHECK(co_await ops::recv{pair.here, buffer} == 1);
    const auto opened = co_await text_of_failure(ops::openat{AT_FDCWD, "/", O_RDONLY});
    CHECK_MESSAGE(says(opened, "openat: executor_options::only_opcodes"), opened);
    const auto sent = co_await text_of_failure(ops::send{pair.here, buffer});
    CHECK_MESSAGE(says(sent, "send: executor_options::only_opcodes"), sent);
    CHECK((co_await as_result(ops::send{pair.here, buffer})).error() == std::errc::permission_denied);
  });
}

TEST_CASE("an executor that is restricted sleeps, wakes, times out, cancels and closes, however it parks") {
  for (const parking park : {parking::eventfd, parking::ring_wait}) {
    for (const auto linked_max : {0ns, std::chrono::nanoseconds{1s}}) {
      executor loop{only({IORING_OP_RECV}, {.park = park, .linked_timeout_max = linked_max})};
      socket_pair silent;
      outcome noted;

      loop.run([&]() -> task<> {
        std::array<std::byte, 4> buffer{};
        co_await sleep_for(1ms);
        const auto late = co_await as_result(with_timeout(1ms, ops::recv{silent.here, buffer}));
        CHECK(late.error() == std::errc::timed_out);
        co_await ops::close{unique_fd{::dup(silent.here.get())}};
      });
      auto waiting = loop.start([](fd_ref from, outcome& how) -> task<> {
        std::array<std::byte, 4> buffer{};
        co_await observe(ops::recv{from, buffer}, how);
      }(silent.here, noted));
      loop.run_ready();
      std::thread canceller{[&] { loop.post([&] { waiting.cancel(); }); }};
      while (!waiting.done()) loop.turn(/*may_park=*/true);
      canceller.join();

      CHECK(noted.how == ended::stopped);
    }
  }
}

TEST_CASE("tables of descriptors and buffers are used on a restricted ring, and end with it") {
  std::array<std::byte, 64> memory{};
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const unique_fd out{ends[0]};
  const unique_fd in{ends[1]};
  executor loop{only({IORING_OP_READ_FIXED, IORING_OP_FILES_UPDATE},
                     {.direct_descriptors = 4, .numbered_descriptors = 1, .registered_buffers = 2})};
  REQUIRE(::write(in.get(), "ab", 2) == 2);

  loop.run([&]() -> task<> {
    registered_buffer buffer{loop, memory};
    const direct_fd direct = co_await ops::to_direct{out};
    CHECK(co_await ops::read{direct, buffer.first(1)} == 1);
    buffer.reassign(std::span{memory}.first(8));
    CHECK(co_await ops::read{direct, buffer} == 1);
    const auto plain = co_await as_result(ops::read{direct, memory});
    CHECK(plain.error() == std::errc::permission_denied);
  });
  loop.run_ready();
  CHECK(loop.statistics().direct_fds == 0);
  CHECK(loop.cancel_sync(out, 0ns).value() == 0);
}

TEST_CASE("a kernel that knows fewer registrations restricts a ring to those that it knows") {
  constexpr unsigned all_but_two = 27;
  std::array<std::byte, 64> memory{};

  const auto used = on_a_kernel_that_takes(all_but_two, [&] {
    executor loop{only({IORING_OP_READ_FIXED}, {.registered_buffers = 2})};
    const registered_buffer buffer{loop, memory};
    const registered_buffer again{loop, buffer};  // by pinning the memory once more: clones are among the newest
    return used_buffers_count(loop);
  });
  const auto told = on_a_kernel_that_takes(3, []() -> std::string {
    try {
      const executor refused{only({IORING_OP_READ_FIXED})};
      return "an executor that may do anything";
    } catch (const std::system_error& error) {
      return error.what();
    }
  });

  CHECK(used == 2);
  CHECK_MESSAGE(says(told, "executor_options::only_opcodes"), told);
}

TEST_CASE("an opcode that the kernel does not know is refused where the executor is made") {
  for (const unsigned unknown : {200U, 1'000U}) {
    CHECK_THROWS_WITH_AS(executor{only({IORING_OP_NOP, unknown})}, doctest::Contains("executor_options::only_opcodes"),
                         std::system_error);
  }
}

}  // namespace gyre
