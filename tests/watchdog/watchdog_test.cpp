// SPDX-License-Identifier: MIT
// The watchdog finds what is planted for it, and nothing else: what waits in a turn, and neither what does not wait nor
// what is called outside a turn.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/child.hpp"
#include "../support/temp_folder.hpp"
#include "planted_calls.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

using namespace gyre;
using namespace gyre::test;

namespace {

// Descriptors that the calls are made on. They go with the process of the call.
planted_scene scene_in(const temp_folder& folder) {
  std::array<int, 2> plain{};
  std::array<int, 2> impatient{};
  REQUIRE(::pipe2(plain.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(impatient.data(), O_CLOEXEC | O_NONBLOCK) == 0);
  const std::string name = folder.file("file", "text");
  return {.folder = folder.path(),
          .file = ::open(name.c_str(), O_RDWR | O_CLOEXEC),
          .file_to_read = ::open(name.c_str(), O_RDONLY | O_CLOEXEC),
          .quiet_pipe = plain[0],
          .quiet_queue = impatient[0],
          .datagrams = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
}

void without_core_dumps() {
  constexpr ::rlimit none{};
  ::setrlimit(RLIMIT_CORE, &none);
}

child_end made_in_a_turn(const planted_call& call) {
  child caller{[&] {
    without_core_dumps();
    const temp_folder folder;
    const auto scene = scene_in(folder);
    executor loop;
    loop.run([&]() -> task<> {
      call.make(scene);
      co_return;
    });
    return 0;
  }};
  return caller.wait();
}

child_end made_outside_turns(const planted_call& call) {
  child caller{[&] {
    without_core_dumps();
    const temp_folder folder;
    const auto scene = scene_in(folder);
    call.make(scene);
    executor loop;
    loop.run([&]() -> task<> { co_await offload([&] { call.make(scene); }); });
    return 0;
  }};
  return caller.wait();
}

}  // namespace

TEST_CASE("a call that waits in a turn stops the program, and is named") {
  for (const auto& call : planted_calls_that_wait()) {
    CAPTURE(call.name);

    const auto end = made_in_a_turn(call);

    CHECK(end.killed_by == SIGABRT);
    CHECK(end.errors.find(std::string{"watchdog: "} + call.name + "()") != std::string::npos);
  }
}

TEST_CASE("a call that does not wait is made, whoever makes it") {
  for (const auto& call : planted_calls_that_do_not()) {
    CAPTURE(call.name);

    CHECK(made_in_a_turn(call).exit_status == 0);
    CHECK(made_outside_turns(call).exit_status == 0);
  }
}

TEST_CASE("outside a turn, and on a thread of a pool, a call that asks a file system is made") {
  for (const auto& call : planted_calls_that_wait()) {
    const std::string name = call.name;
    if (name != "open" && name != "write" && name != "pread" && name != "fsync" && name != "lseek") continue;
    CAPTURE(name);

    const auto end = made_outside_turns(call);

    CHECK(end.exit_status == 0);
    CHECK(end.errors.empty());
  }
}
