// SPDX-License-Identifier: MIT
// What gyre says of a machine: of this one, and of machines that forbid or lack something.
#include <gyre/runtime/capabilities.hpp>
#include <gyre/runtime/detail/json_text.hpp>

#include "../support/forbidden.hpp"
#include "../support/skip.hpp"

#include <doctest/doctest.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string>

namespace gyre {
namespace {

using namespace gyre::test;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const capabilities::facility& facility_named(const capabilities& found, const std::string& name) {
  const auto facility = std::find_if(found.facilities.begin(), found.facilities.end(),
                                     [&](const auto& candidate) { return candidate.name == name; });
  REQUIRE(facility != found.facilities.end());
  return *facility;
}

}  // namespace

TEST_CASE("a machine on which gyre runs is described") {
  utsname name{};
  uname(&name);

  const auto found = capabilities::query();

  REQUIRE(found.can_run());
  CHECK(found.kernel_release == static_cast<const char*>(name.release));
  CHECK(found.limits.size() == 3);
  CHECK(found.opcodes_count > IORING_OP_ACCEPT);
  if (found.registrations_count) CHECK(*found.registrations_count > IORING_REGISTER_RESIZE_RINGS);
  std::set<std::string> names;
  for (const auto& facility : found.facilities) {
    CHECK(names.insert(facility.name).second);
    CHECK(!facility.since.empty());
    CHECK(facility.used != facility.consequence.starts_with("gyre does not use it"));
  }
  for (const auto& limit : found.limits)
    CHECK((!limit.value.empty() && !limit.meaning.empty() && !limit.raise.empty()));
}

TEST_CASE("what an option of an executor asks for is said to be used, and by which option") {
  const auto found = capabilities::query();

  for (const char* const wide : {"128-byte entries", "32-byte completions"}) {
    CHECK(facility_named(found, wide).used);
    CHECK(contains(facility_named(found, wide).consequence, "executor_options::big_entries"));
  }
}

TEST_CASE("asking leaves no descriptor behind") {
  const auto open_descriptors_count = [] {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return std::distance(begin(all), end(all));
  };
  const auto before = open_descriptors_count();

  (void)capabilities::query();

  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a network device that cannot receive without a copy is refused with the cause and the cure") {
  const auto of_loopback = capabilities::zero_copy_receive_refusal("lo");
  const auto of_nobody = capabilities::zero_copy_receive_refusal("no-such-device");

  REQUIRE(of_loopback.has_value());
  CHECK(!of_loopback->cause.empty());
  CHECK(!of_loopback->cure.empty());
  CHECK(of_nobody.value_or(capabilities::refusal{}).cause == "There is no network device called no-such-device");
}

TEST_CASE("who may not take a queue of a network device is told so, where the kernel has zero-copy receive") {
  if (!facility_named(capabilities::query(), "zero-copy receive").available) {
    SAY_SKIPPED("this kernel has none");
    return;
  }
  const auto told = in_a_child([] {
    if (::setresuid(65534, 65534, 65534) != 0 && ::getuid() == 0) return std::string{"CAP_NET_ADMIN"};
    return capabilities::zero_copy_receive_refusal("lo").value_or(capabilities::refusal{}).cure;
  });

  CHECK(contains(told, "CAP_NET_ADMIN"));
}

TEST_CASE("a machine that forbids io_uring has a cause, a cure and limits, and no facilities") {
  const auto found = where_calls_fail(EPERM, {io_uring_setup_call}, [] { return capabilities::query(); });

  const auto refused = found.refused.value_or(capabilities::refusal{});
  CHECK(!found.can_run());
  CHECK(contains(refused.cause, "seccomp filter"));
  CHECK(contains(refused.cure, "Allow io_uring_setup"));
  CHECK(found.facilities.empty());
  CHECK(found.limits.size() == 3);
}

TEST_CASE("a machine that forbids registering has no eventfd to park on, so gyre does not run") {
  const auto found = where_calls_fail(EPERM, {io_uring_register_call}, [] { return capabilities::query(); });

  CHECK(!found.can_run());
  CHECK(contains(found.refused.value_or(capabilities::refusal{}).cause, "seccomp filter"));
}

TEST_CASE("what an older kernel lacks is a no with its consequence") {
  constexpr unsigned linux_6_0 = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
                                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER;

  const auto found = on_a_kernel_that(knows_only(linux_6_0), [] { return capabilities::query(); });

  REQUIRE(found.can_run());
  CHECK(contains(found.ring_notes, "No IORING_SETUP_DEFER_TASKRUN"));
  const auto& deferred = facility_named(found, "deferred task work");
  CHECK(!deferred.available);
  CHECK(contains(deferred.consequence, "slower"));
  for (const char* const wide : {"128-byte entries", "32-byte completions"}) {
    CHECK(!facility_named(found, wide).available);
    CHECK(contains(facility_named(found, wide).consequence, "executor_options::big_entries is refused"));
  }
  CHECK(!facility_named(found, "submission thread (SQPOLL)").available);
  CHECK(facility_named(found, "cancel an operation").available);
}

TEST_CASE("text becomes JSON whatever bytes it has") {
  CHECK(detail::json_text("") == R"("")");
  CHECK(detail::json_text("6.1.0-18-amd64") == R"("6.1.0-18-amd64")");
  CHECK(detail::json_text("\"quoted\" \\ \n\t") == R"("\"quoted\" \\ \u000a\u0009")");
  CHECK(detail::json_text(std::string_view{"\0\x1f\x7f\xff", 4}) == R"("\u0000\u001f\u007f\u00ff")");
}

}  // namespace gyre
