// SPDX-License-Identifier: MIT
// gyre-doctor as its user meets it: the program, its exit status and what it prints.
#include "../support/forbidden.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

using namespace gyre::test;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct outcome {
  int status;
  std::string printed;  // both streams
};

// Has a shell run `command`, in which $GYRE_DOCTOR is the program: the build's test set-up passes it.
outcome run(const std::string& command) {
  FILE* printing = popen((command + " 2>&1").c_str(), "r");
  if (printing == nullptr) throw std::runtime_error{"popen"};
  std::string printed;
  std::array<char, 4096> piece{};
  while (const auto count = std::fread(piece.data(), 1, piece.size(), printing)) printed.append(piece.data(), count);
  const int status = pclose(printing);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, printed};
}

// The value of a Python expression over `d`, the JSON that the doctor printed; the doctor's own status is left aside.
std::string json_value(const std::string& expression) {
  const auto [status, printed] = run(
      "\"$GYRE_DOCTOR\" --json | python3 -c 'import json, sys; d = json.load(sys.stdin); print(" + expression + ")'");
  return status == 0 ? printed : "not JSON: " + printed;
}

}  // namespace

TEST_CASE("the doctor says that gyre runs here, and exits with 0") {
  const auto [status, printed] = run("\"$GYRE_DOCTOR\"");

  CHECK(status == 0);
  CHECK(contains(printed, "gyre runs here."));
  CHECK(contains(printed, "linked timeouts"));
  CHECK(contains(printed, "memlock"));
}

TEST_CASE("--json prints one JSON object with the same") {
  CHECK(run("\"$GYRE_DOCTOR\" --json").status == 0);
  CHECK(json_value("d[\"can_run\"], d[\"refused\"]") == "True None\n");
  CHECK(json_value("sorted(d)") ==
        "['can_run', 'facilities', 'kernel', 'limits', 'refused', 'ring_notes', 'version']\n");
  CHECK(json_value("[l[\"name\"] for l in d[\"limits\"]]") == "['memlock', 'nofile', 'max_map_count']\n");
  CHECK(json_value("all(f[\"consequence\"] for f in d[\"facilities\"])") == "True\n");
}

TEST_CASE("where io_uring is forbidden the doctor says why and what to do, and exits with 1") {
  for (const int error : {EPERM, ENOSYS}) {
    const auto [status, printed] =
        where_calls_fail(error, {io_uring_setup_call}, [] { return run("\"$GYRE_DOCTOR\""); });

    CHECK(status == 1);
    CHECK(contains(printed, "gyre cannot run here."));
    CHECK(contains(printed, "Why:   A seccomp filter of this process"));
    CHECK(contains(printed, "Cure:  Allow io_uring_setup, io_uring_enter and io_uring_register"));
    CHECK(contains(printed, "memlock"));
  }
}

TEST_CASE("where io_uring is forbidden --json is still JSON") {
  const auto cause =
      where_calls_fail(EPERM, {io_uring_setup_call}, [] { return json_value("d[\"refused\"][\"cause\"]"); });

  CHECK(contains(cause, "A seccomp filter of this process forbids io_uring"));
}

TEST_CASE("--help and --version are answered anywhere") {
  where_calls_fail(EPERM, {io_uring_setup_call}, [] {
    const auto help = run("\"$GYRE_DOCTOR\" --help");
    CHECK(help.status == 0);
    CHECK(contains(help.printed, "Usage: gyre-doctor"));

    const auto version = run("\"$GYRE_DOCTOR\" --version");
    CHECK(version.status == 0);
    CHECK(contains(version.printed, "gyre-doctor "));
    CHECK(!contains(version.printed, "unknown"));
    return 0;
  });
}

TEST_CASE("a wrong command line is shown the right one, and exits with 2") {
  for (const std::string wrong : {"--nonsense", "--json=yes", "here", "-x"}) {
    const auto [status, printed] = run("\"$GYRE_DOCTOR\" " + wrong);

    CHECK(status == 2);
    CHECK(contains(printed, "Usage: gyre-doctor"));
  }
}

TEST_CASE("an answer that cannot be printed is not taken for one") {
  CHECK(run("\"$GYRE_DOCTOR\" >/dev/full").status == 3);
}
