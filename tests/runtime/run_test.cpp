// SPDX-License-Identifier: MIT
// The door from main(): exit statuses, and signals at every moment.
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>

#include <doctest/doctest.h>
#include <signal.h>
#include <spdlog/logger.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>

namespace gyre {
namespace {

using namespace std::chrono_literals;

// The exit status of a child process that calls `fn()` and exits with what it returns.
template <class Fn>
int status_of_child(Fn fn) {
  const pid_t child = ::fork();
  if (child == 0) {
    log::logger()->set_level(spdlog::level::off);
    ::_exit(fn());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

task<> sleeps() { co_await sleep_for(1h); }

}  // namespace

TEST_CASE("the exit status is the task's, or tells that it went well") {
  CHECK(run([]() -> task<> { co_return; }()) == EXIT_SUCCESS);
  CHECK(run([]() -> task<int> { co_return 7; }()) == 7);
}

TEST_CASE("an exception that leaves the task is logged, and fails the program") {
  const auto before = log::logger()->level();
  log::logger()->set_level(spdlog::level::off);
  CHECK(run([]() -> task<> {
          throw std::runtime_error{"as planned"};
          co_return;
        }()) == EXIT_FAILURE);
  log::logger()->set_level(before);
}

TEST_CASE("SIGINT and SIGTERM stop the task, which is a success") {
  for (const int number : {SIGINT, SIGTERM}) {
    bool went_on = false;
    const int status = run([](int to_raise, bool& after) -> task<> {
      co_await ops::nop();
      ::raise(to_raise);
      co_await sleep_for(1h);
      after = true;
    }(number, went_on));

    CHECK(status == EXIT_SUCCESS);
    CHECK(!went_on);
  }
}

TEST_CASE("a signal that comes as the task ends harms nobody") {
  for (const int number : {SIGINT, SIGTERM}) {
    const int status = run([](int to_raise) -> task<int> {
      ::raise(to_raise);
      co_return 3;
    }(number));

    CHECK(status == 3);
  }
}

TEST_CASE("signal handlers are put back") {
  struct sigaction before{};
  struct sigaction after{};
  ::sigaction(SIGINT, nullptr, &before);

  CHECK(run([]() -> task<> { co_return; }()) == EXIT_SUCCESS);

  ::sigaction(SIGINT, nullptr, &after);
  CHECK((after.sa_handler == before.sa_handler));
}

TEST_CASE("SIGPIPE does not end the program while it runs") {
  CHECK(status_of_child([] {
          return run([]() -> task<int> {
            ::raise(SIGPIPE);
            co_return 5;
          }());
        }) == 5);
}

TEST_CASE("a second signal ends a program that does not stop, as a failure") {
  CHECK(status_of_child([] {
          return run([]() -> task<> {
            ::raise(SIGTERM);
            co_await ops::nop();
            co_await shield([]() -> task<> {
              ::raise(SIGTERM);
              co_await sleep_for(1h);
            }());
          }());
        }) == EXIT_FAILURE);
}

TEST_CASE("the end of the grace period ends a program that does not stop, as a failure") {
  CHECK(status_of_child([] {
          return run(
              []() -> task<> {
                ::raise(SIGTERM);
                co_await shield(sleeps());
              }(),
              {.grace_period = 1ms});
        }) == EXIT_FAILURE);
}

}  // namespace gyre
