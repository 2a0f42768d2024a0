// SPDX-License-Identifier: MIT
// Last words: said by each way in which a program ends without unwinding, and by no other.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/last_words.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/child.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

void put(void* text) noexcept {
  const auto& said = *static_cast<const std::string*>(text);
  static_cast<void>(::write(STDERR_FILENO, said.data(), said.size()));
}

// How a process ends that has two last words, and then does `how`.
child_end end_of(const std::function<void()>& how) {
  return child{[&] {
           std::string elder{"<elder>"};
           std::string younger{"<younger>"};
           const last_words first{&put, &elder};
           const last_words second{&put, &younger};
           how();
           return 0;
         }}
      .wait();
}

bool said_both(const child_end& end) { return end.errors.find("<younger><elder>") != std::string::npos; }
bool said_any(const child_end& end) { return end.errors.find('<') != std::string::npos; }

task<> never_ends() {
  co_await shield([]() -> task<> { co_await sleep_for(24h); }());
}

}  // namespace

TEST_CASE("a broken contract, and std::terminate(), have last words said, the youngest first") {
  const auto broken = end_of([] { GYRE_ASSERT(false, "on purpose"); });
  CHECK(broken.killed_by == SIGABRT);
  CHECK(broken.errors.find("on purpose") < broken.errors.find("<younger>"));
  CHECK(said_both(broken));

  const auto terminated = end_of([] { std::terminate(); });
  CHECK(terminated.killed_by == SIGABRT);
  CHECK(said_both(terminated));
}

TEST_CASE("an exception that nobody catches is still told by the handler that was there before") {
  const auto end = end_of([] { std::thread{[] { throw std::runtime_error{"nobody catches this"}; }}.join(); });

  CHECK(end.killed_by == SIGABRT);
  CHECK(said_both(end));
  CHECK(end.errors.find("nobody catches this") != std::string::npos);
}

TEST_CASE("run() has them said when it does not wait for the tasks any longer") {
  const auto end = end_of([] {
    run(
        []() -> task<> {
          std::raise(SIGTERM);
          co_await never_ends();
        }(),
        {.grace_period = 1ms});
  });

  CHECK(end.exit_status == EXIT_FAILURE);
  CHECK(said_both(end));
}

TEST_CASE("a handler of the program's own has them said, and the program may go on") {
  const auto end = end_of([] {
    std::signal(SIGUSR1, [](int) { last_words::say_all(); });
    std::raise(SIGUSR1);
  });

  CHECK(end.exit_status == 0);
  CHECK(said_both(end));
}

TEST_CASE("a program that ends as it should says nothing, nor do words that are gone") {
  CHECK(!said_any(end_of([] {})));

  const auto end = child{[] {
                     std::string text{"<gone>"};
                     {
                       const last_words gone{&put, &text};
                     }
                     std::string kept_text{"<kept>"};
                     const last_words kept{&put, &kept_text};
                     {
                       const last_words gone_too{&put, &text};
                     }
                     last_words::say_all();
                     return 0;
                   }}.wait();
  CHECK(end.errors.find("<kept>") != std::string::npos);
  CHECK(end.errors.find("<gone>") == std::string::npos);
}

TEST_CASE("the child of a fork does not say its parent's") {
  const auto end = end_of([] {
    const ::pid_t forked = ::fork();
    if (forked == 0) {
      last_words::say_all();
      ::_exit(0);
    }
    ::waitpid(forked, nullptr, 0);
  });

  CHECK(!said_any(end));
}

TEST_CASE("words that say all once more find that they are being said") {
  const auto end = child{[] {
                     std::string text{"<once>"};
                     const last_words plain{&put, &text};
                     bool known = false;
                     const auto say_again = [](void* to) noexcept {
                       *static_cast<bool*>(to) = last_words::being_said_here();
                       last_words::say_all();
                     };
                     const last_words again{say_again, &known};
                     last_words::say_all();
                     return known && !last_words::being_said_here() ? 0 : 1;
                   }}.wait();

  CHECK(end.exit_status == 0);
  CHECK(end.errors.find("<once>") == end.errors.rfind("<once>"));
  CHECK(end.errors.find("<once>") != std::string::npos);
}

TEST_CASE("words are made, destroyed and said by several threads at once") {
  constexpr int rounds_count = 2000;
  std::atomic<int> said_count = 0;
  const auto count = [](void* of) noexcept { ++*static_cast<std::atomic<int>*>(of); };
  std::vector<std::thread> threads;
  for (int each = 0; each < 3; ++each)
    threads.emplace_back([&] {
      for (int round = 0; round < rounds_count; ++round) const last_words mine{count, &said_count};
    });

  const last_words lasting{count, &said_count};
  last_words::say_all();
  for (auto& each : threads) each.join();
  last_words::say_all();

  CHECK(said_count >= 2);
}

}  // namespace gyre
