// SPDX-License-Identifier: MIT
// Names to addresses: literals, getaddrinfo, errors, names that take long, queries that are shared, those who leave.
#include <gyre/net/resolver.hpp>
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/runtime.hpp>

#include "../support/child.hpp"
#include "../support/executor_thread.hpp"
#include "../support/gate.hpp"
#include "../support/outcome.hpp"
#include "../support/skip.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace gyre::net {
namespace {

using namespace std::chrono_literals;
using namespace test;
using addresses = std::vector<address>;

address parsed(const char* text) { return address::parse(text).value(); }

// Looks names up from a list; those that begin with "slow" when the gate is open.
struct names {
  gate slow_ones;
  std::atomic<int> looked_up_count = 0;

  resolver_options options(resolver_options with = {}) {
    with.look_up = [this](const std::string& host, const std::string& service) -> result<addresses> {
      ++looked_up_count;
      if (host.starts_with("slow")) slow_ones.pass();
      if (host == "unknown") return make_error_code(resolver_errc::host_not_found);
      if (host == "nothing") return addresses{};
      if (host == "broken") throw std::runtime_error{"broken"};
      return addresses{parsed("192.0.2.1").with_port(static_cast<std::uint16_t>(std::stoi(service)))};
    };
    return with;
  }
};

task<> resolve_into(resolver& by, std::string host, addresses& to) { to = co_await by.resolve(std::move(host), 80); }

task<> resolve_on(executor& there, resolver& by, addresses& to) { to = co_await on(there, by.resolve("slow", 80)); }

std::error_code error_of(resolver& by, const std::string& host, const std::string& service = "80") {
  return run_now(as_result(by.resolve(host, service))).error();
}

}  // namespace

TEST_CASE("an address in text is read at once, by no thread") {
  names of;
  resolver subject{of.options()};
  CHECK(run_now(subject.resolve("192.0.2.7", 80)) == addresses{parsed("192.0.2.7:80")});
  CHECK(run_now(subject.resolve("2001:db8::1", 443)) == addresses{parsed("[2001:db8::1]:443")});
  CHECK(of.looked_up_count == 0);
  CHECK(subject.statistics().looked_up == 0);
}

TEST_CASE("localhost is what the system says, with the port") {
  const addresses found = run_now(resolver::common().resolve("localhost", 1234));
  REQUIRE(!found.empty());
  for (const address& each : found) CHECK((each == parsed("127.0.0.1:1234") || each == parsed("[::1]:1234")));
}

TEST_CASE("a service goes by its name, where the system knows it") {
  CHECK(error_of(resolver::common(), "localhost", "no-such-service") == resolver_errc::service_not_found);
  if (!std::filesystem::exists("/etc/services")) {
    SAY_SKIPPED("there is no /etc/services here");
    return;
  }
  const addresses found = run_now(resolver::common().resolve("127.0.0.1", "http"));
  CHECK(found == addresses{parsed("127.0.0.1:80")});
}

TEST_CASE("each failure has its code, and a text that names the host") {
  names of;
  resolver subject{of.options()};
  CHECK(error_of(subject, "unknown") == resolver_errc::host_not_found);
  CHECK(error_of(subject, "nothing") == resolver_errc::host_not_found);
  CHECK(error_of(subject, "broken") == resolver_errc::other);
  CHECK(error_of(subject, std::string{"a\0b", 3}) == std::errc::invalid_argument);
  std::string text;
  try {
    run_now(subject.resolve("unknown", 80));
  } catch (const std::system_error& failed) {
    text = failed.what();
  }
  CHECK(text.find("resolving unknown") != std::string::npos);
  CHECK(text.find("no such host") != std::string::npos);
}

TEST_CASE("a name that takes long holds up no other") {
  names of;
  resolver subject{of.options({.threads_max = 2})};
  executor loop{options_under_test()};
  addresses slow;
  addresses quick;
  auto first = loop.start(resolve_into(subject, "slow", slow));
  auto second = loop.start(resolve_into(subject, "quick", quick));
  turn_until_done(loop, second);
  CHECK(quick == addresses{parsed("192.0.2.1:80")});
  CHECK(slow.empty());
  of.slow_ones.open();
  turn_until_done(loop, first);
  CHECK(slow == quick);
}

TEST_CASE("who is stopped, or runs out of time, leaves at once, whatever the name server does") {
  names of;
  resolver subject{of.options()};
  executor loop{options_under_test()};
  outcome stopped;
  outcome late;
  auto first = loop.start(observe(subject.resolve("slow", 80), stopped));
  auto second = loop.start(observe(with_timeout(1ms, subject.resolve("slow", 80)), late));
  loop.run_ready();
  of.slow_ones.wait_for_arrivals(1);
  first.cancel();
  turn_until_done(loop, first);
  CHECK(stopped.how == ended::stopped);
  turn_until_done(loop, second);
  CHECK(late.error == std::errc::timed_out);

  CHECK(subject.statistics().running == 1);  // and belongs to the resolver, which waits for it
  of.slow_ones.open();
}

TEST_CASE("who asks for a name that is under way waits for the same query, also when the first has gone") {
  names of;
  resolver subject{of.options()};
  executor loop{options_under_test()};
  executor_thread other;
  outcome first_noted;
  addresses second_found;
  auto first = loop.start(observe(subject.resolve("slow", 80), first_noted));
  loop.run_ready();
  of.slow_ones.wait_for_arrivals(1);
  auto second = loop.start(resolve_into(subject, "slow", second_found));
  loop.run_ready();
  addresses third_found;
  auto third = loop.start(resolve_on(other.loop(), subject, third_found));
  loop.run_ready();
  while (subject.statistics().joined < 2) std::this_thread::yield();
  first.cancel();
  turn_until_done(loop, first);
  of.slow_ones.open();
  turn_until_done(loop, second);
  CHECK(second_found == addresses{parsed("192.0.2.1:80")});
  turn_until_done(loop, third);
  CHECK(third_found == second_found);
  CHECK(of.looked_up_count == 1);

  CHECK(run_now(subject.resolve("slow", 80)) == second_found);
  CHECK(of.looked_up_count == 2);  // nothing is kept
}

TEST_CASE("a name that nobody waits for any more leaves the queue, and is never looked up") {
  names of;
  resolver subject{of.options({.threads_max = 1})};
  executor loop{options_under_test()};
  addresses found;
  outcome noted;
  auto first = loop.start(resolve_into(subject, "slow", found));
  loop.run_ready();
  of.slow_ones.wait_for_arrivals(1);
  auto second = loop.start(observe(subject.resolve("unwanted", 80), noted));
  loop.run_ready();
  CHECK(subject.statistics().queued == 1);
  second.cancel();
  turn_until_done(loop, second);
  CHECK(noted.how == ended::stopped);
  CHECK(subject.statistics().queued == 0);
  of.slow_ones.open();
  turn_until_done(loop, first);
  CHECK(of.looked_up_count == 1);
}

TEST_CASE("in a scope that is cancelled already no name is asked for") {
  names of;
  {
    resolver subject{of.options()};
    run_now([&]() -> task<> {
      addresses found;
      co_await resolve_into(subject, "wanted", found);  // a thread is idle from here on
      co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
        scope.cancel();
        co_await resolve_into(subject, "unwanted", found);
      });
    }());
  }
  CHECK(of.looked_up_count == 1);
}

TEST_CASE("a full queue refuses, and says what to change") {
  names of;
  resolver subject{of.options({.threads_max = 1, .queue_max = 1})};
  executor loop{options_under_test()};
  addresses running_found;
  addresses queued_found;
  auto running = loop.start(resolve_into(subject, "slow", running_found));
  loop.run_ready();
  of.slow_ones.wait_for_arrivals(1);
  auto queued = loop.start(resolve_into(subject, "queued", queued_found));
  loop.run_ready();
  outcome refused;
  auto third = loop.start(observe(subject.resolve("refused", 80), refused));
  loop.run_ready();
  CHECK(refused.error == std::errc::resource_unavailable_try_again);
  of.slow_ones.open();
  turn_until_done(loop, queued);
  turn_until_done(loop, running);
  CHECK(!queued_found.empty());
}

TEST_CASE("names of a pinned executor are looked up wherever there is a CPU") {
  const auto allowed = allowed_cpus();
  std::vector<unsigned> used;
  resolver subject{{.look_up = [&](const std::string&, const std::string&) -> result<addresses> {
    used = allowed_cpus();
    return addresses{parsed("192.0.2.1:80")};
  }}};
  runtime pinned{{.executors = 1, .pin = pinning::always}};
  REQUIRE(allowed_cpus().size() == 1);

  pinned.run([&]() -> task<> { static_cast<void>(co_await subject.resolve("quick", 80)); });

  CHECK(used == allowed);
}

TEST_CASE("answers and stops that cross end as one or the other, and nothing is left") {
  names of;
  resolver subject{of.options()};
  executor loop{options_under_test()};
  for (int round = 0; round < 500; ++round) {
    outcome noted;
    auto root = loop.start(observe(subject.resolve("quick" + std::to_string(round % 3), 80), noted));
    for (int turns = round % 4; turns > 0; --turns) loop.turn(/*may_park=*/false);
    root.cancel();
    turn_until_done(loop, root);
    CHECK((noted.how == ended::stopped || noted.how == ended::with_value));
  }
  while (subject.statistics().running + subject.statistics().queued > 0) std::this_thread::yield();
}

TEST_CASE("the child of a fork leaves the resolvers of its parent alone") {
  if (sanitizer_forbids_threads_in_child) {
    SAY_SKIPPED("ThreadSanitizer does not let go of threads that the child of a fork has not");
    return;
  }
  names of;
  auto subject = std::make_unique<resolver>(of.options());
  CHECK(!run_now(subject->resolve("quick", 80)).empty());  // its thread is idle, and waits
  child forked{[&] {
    subject.reset();
    return 0;
  }};
  CHECK(forked.wait().exit_status == 0);
}

TEST_CASE("the child of a fork has a common resolver of its own") {
  if (sanitizer_forbids_threads_in_child) {
    SAY_SKIPPED("ThreadSanitizer lets the child of a fork start no threads");
    return;
  }
  CHECK(!run_now(resolver::common().resolve("localhost", 80)).empty());
  const ::pid_t child = ::fork();
  if (child == 0) ::_exit(run_now(resolver::common().resolve("localhost", 80)).empty() ? 1 : 0);
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

}  // namespace gyre::net
