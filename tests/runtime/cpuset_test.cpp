// SPDX-License-Identifier: MIT
// A runtime in a control group of CPUs, as containers have: which it takes, and what becomes of those that are taken
// away meanwhile. Where there is none to be had, the cases are skipped.
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/child.hpp"
#include "../support/cpuset.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;

// Says why, where these cases cannot be had.
bool cannot_be_had() {
  if (const auto why = cpuset::why_not()) {
    MESSAGE("skipped: ", *why);
    return true;
  }
  if (sanitizer_forbids_threads_in_child) MESSAGE("skipped: ThreadSanitizer lets the child of a fork start no threads");
  return sanitizer_forbids_threads_in_child;
}

bool needs_two(const std::vector<unsigned>& cpus) {
  if (cpus.size() < 2) MESSAGE("skipped: there is one CPU only");
  return cpus.size() < 2;
}

executor_options small() { return {.sq_entries = 8, .cq_entries = 64}; }

}  // namespace

TEST_CASE("in a control group of CPUs there is an executor for each of them, there") {
  if (cannot_be_had()) return;
  const unsigned last = allowed_cpus().back();
  const cpuset group{{last}};

  const auto ended = child{[&] {
                       if (!group.enter()) return 2;
                       if (allowed_cpus() != std::vector{last}) return 3;
                       runtime all{{.executor = small()}};
                       if (all.size() != 1 || !all.notes().empty()) return 4;
                       return all.run([&]() -> task<int> { co_return allowed_cpus() == std::vector{last} ? 0 : 5; });
                     }}.wait();

  CHECK(ended.exit_status == 0);
  CHECK(ended.errors == "");
}

TEST_CASE("a CPU outside of the control group is noted, and its executor stays within") {
  const auto cpus = allowed_cpus();
  if (cannot_be_had() || needs_two(cpus)) return;
  const cpuset group{{cpus.front()}};

  const auto ended = child{[&] {
                       if (!group.enter()) return 2;
                       const std::vector inside{cpus.front()};
                       runtime all{{.executors = 2, .cpus = {cpus.front(), cpus.back()}, .executor = small()}};
                       if (all.notes().find("executor 1 is not pinned on CPU") == std::string::npos) return 3;
                       return all.run([&]() -> task<int> { co_return allowed_cpus() == inside ? 0 : 4; });
                     }}.wait();

  CHECK(ended.exit_status == 0);
}

TEST_CASE("an executor whose CPU is taken away goes on with what is left, and so do its pool and what comes after it") {
  const auto cpus = allowed_cpus();
  if (cannot_be_had() || needs_two(cpus)) return;
  const std::vector both{cpus.front(), cpus.back()};
  const std::vector left{cpus.front()};
  const cpuset group{both};

  const auto ended = child{[&] {
                       if (!group.enter()) return 2;
                       std::vector<unsigned> offloaded;
                       {
                         runtime all{{.executor = small()}};
                         if (all.size() != 2) return 3;
                         const int status = all.run([&](std::size_t index) -> task<int> {
                           co_await sleep_for(1ms);
                           if (index == 0) co_return 0;
                           if (allowed_cpus() != std::vector{both.back()}) co_return 4;
                           if (!group.allow(left)) co_return 5;
                           co_await sleep_for(1ms);
                           offloaded = co_await offload([] { return allowed_cpus(); });
                           co_return allowed_cpus() == left ? 0 : 6;
                         });
                         if (status != EXIT_SUCCESS) return status;
                         if (offloaded != left) return 7;
                       }
                       return allowed_cpus() == left ? 0 : 8;
                     }}.wait();

  CHECK(ended.exit_status == 0);
  CHECK(ended.errors == "");
}

}  // namespace gyre
