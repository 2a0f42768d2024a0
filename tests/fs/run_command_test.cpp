// SPDX-License-Identifier: MIT
// Commands and pipelines: what goes in, what comes out, how much of it, and what ends them early.
#include <gyre/fs/run_command.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/outcome.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;

template <class... Arguments>
process_options command(Arguments... arguments) {
  return {.arguments = {arguments...}};
}
process_options shell(std::string text) { return {.arguments = {"sh", "-c", std::move(text)}}; }

process_options in_group(process_options options) {
  options.group = child_group::own;
  return options;
}

template <class... Commands>
std::vector<process_options> in_a_row(Commands... commands) {
  return {std::move(commands)...};
}

command_result run_here(process_options options, command_options limits = {}) {
  return run_now(run_command(std::move(options), std::move(limits)));
}

template <class Task>
std::error_code failure_of(Task failing) {
  executor loop;
  return loop.run([](Task awaited) -> task<std::error_code> {
    const auto got = co_await as_result(std::move(awaited));
    co_return got.error();
  }(std::move(failing)));
}

bool has_children() {
  ::siginfo_t about{};
  return ::waitid(P_ALL, 0, &about, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0;
}

}  // namespace

TEST_CASE("a command's output, errors and status are told") {
  const auto ran = run_here(shell("echo out; echo err >&2; exit 3"));

  CHECK(ran.status.code() == 3);
  CHECK(ran.output == "out\n");
  CHECK(ran.errors == "err\n");
  CHECK(!ran.output_truncated);
  CHECK(!ran.errors_truncated);
  CHECK(!ran.left_open);
}

TEST_CASE("input, output and errors are served side by side, however much there is") {
  const std::string much(std::size_t{3} << 20U, 'x');
  auto options = shell("tee /dev/stderr");
  const auto ran = run_here(options, {.input = much, .errors_bytes_max = much.size()});
  CHECK(ran.status.success());
  CHECK(ran.output == much);
  CHECK(ran.errors == much);

  options.errors = child_stream::merged();
  const auto merged = run_here(options, {.input = much});
  CHECK(merged.output.size() == 2 * much.size());
  CHECK(merged.errors.empty());
}

TEST_CASE("without input a command reads nothing, and one that wants none of it is no failure") {
  CHECK(run_here(command("cat")).output.empty());
  const std::string much(std::size_t{1} << 20U, 'x');
  CHECK(run_here(command("true"), {.input = much}).status.success());
  CHECK(run_here(command("head", "-c", "3"), {.input = much}).output == "xxx");
}

TEST_CASE("of more than the limit a command is ended, or the rest is forgotten") {
  CHECK(failure_of(run_command(command("yes"), {.output_bytes_max = 1000})) == std::errc::file_too_large);
  CHECK(failure_of(run_command(shell("yes >&2"), {.errors_bytes_max = 1000})) == std::errc::file_too_large);
  CHECK(!has_children());

  const auto cut = run_here(shell("head -c 300000 /dev/zero; head -c 11 /dev/zero >&2"),
                            {.output_bytes_max = 1000, .errors_bytes_max = 10, .on_over_limit = over_limit::truncate});
  CHECK(cut.status.success());
  CHECK(cut.output.size() == 1000);
  CHECK(cut.output_truncated);
  CHECK(cut.errors.size() == 10);
  CHECK(cut.errors_truncated);

  const auto exact = run_here(shell("head -c 1000 /dev/zero"), {.output_bytes_max = 1000});
  CHECK(exact.output.size() == 1000);
  CHECK(!exact.output_truncated);
}

TEST_CASE("a command that takes too long is terminated, also one that does not listen") {
  CHECK(failure_of(run_command(command("sleep", "1000"), {.timeout = 20ms})) == std::errc::timed_out);
  CHECK(failure_of(run_command(shell("trap '' TERM; exec sleep 1000"), {.timeout = 20ms, .grace = 20ms})) ==
        std::errc::timed_out);
  CHECK(!has_children());
  CHECK(run_here(command("true"), {.timeout = 1h}).status.success());
}

TEST_CASE("outputs that somebody else holds are waited for, or for as long as is said") {
  const auto waits = run_here(shell("(read line; echo late) </dev/null & echo early"));
  CHECK(waits.output.find("late") != std::string::npos);
  CHECK(!waits.left_open);

  executor loop;
  const auto leaves = in_group(shell("sleep 3 & echo early"));
  const auto cut = loop.run(run_command(leaves, {.linger = 1ms}));
  CHECK(cut.output == "early\n");
  CHECK(cut.status.success());
  CHECK(cut.left_open);
  CHECK(loop.run(run_command(shell("echo all"), {.linger = 1h})).output == "all\n");
}

TEST_CASE("a command whose streams are said keeps to that") {
  auto silent = shell("echo out; echo err >&2");
  silent.output = child_stream::null();
  const auto ran = run_here(silent);
  CHECK(ran.output.empty());
  CHECK(ran.errors == "err\n");

  auto piped = command("true");
  piped.output = child_stream::piped();
  CHECK(failure_of(run_command(piped)) == std::errc::invalid_argument);
  auto fed = command("true");
  fed.input = child_stream::null();
  CHECK(failure_of(run_command(fed, {.input = "x"})) == std::errc::invalid_argument);
  CHECK(failure_of(run_command(command("there-is-no-such-program"))) == std::errc::no_such_file_or_directory);
}

TEST_CASE("in a pipeline each command reads what the one before writes") {
  const auto row =
      in_a_row(shell("cat; echo one >&2"), command("tr", "a-z", "A-Z"), shell("rev; echo three >&2; exit 5"));
  const auto ran = run_now(pipeline(row, {.input = "abc\n"}));

  CHECK(ran.output == "CBA\n");
  CHECK(ran.errors.size() == std::string{"one\nthree\n"}.size());
  REQUIRE(ran.statuses.size() == 3);
  CHECK(ran.statuses[0].success());
  CHECK(ran.statuses[1].success());
  CHECK(ran.statuses[2].code() == 5);
  CHECK(!ran.success());
}

TEST_CASE("a pipeline whose last command has enough ends, by SIGPIPE for who still writes") {
  const auto ran = run_now(pipeline(in_a_row(command("yes"), command("head", "-n", "2"))));
  CHECK(ran.output == "y\ny\n");
  CHECK(ran.statuses[0].signal() == SIGPIPE);
  CHECK(ran.statuses[1].success());
}

TEST_CASE("a pipeline that cannot be started, takes too long, or is stopped, leaves nobody behind") {
  CHECK(failure_of(pipeline(in_a_row(command("sleep", "1000"), command("there-is-no-such-program")))) ==
        std::errc::no_such_file_or_directory);
  CHECK(!has_children());
  CHECK(failure_of(pipeline(in_a_row(command("sleep", "1000"), command("cat")), {.timeout = 20ms})) ==
        std::errc::timed_out);
  CHECK(!has_children());
  CHECK(failure_of(pipeline({})) == std::errc::invalid_argument);

  // Stopped before it begins, with its first command on the way, and when that is there.
  for (int moment = 0; moment < 3; ++moment) {
    executor loop;
    outcome noted;
    auto root = loop.start(observe(pipeline(in_a_row(command("sleep", "1000"), command("cat"))), noted));
    if (moment > 0) loop.run_ready();
    while (moment > 1 && !has_children()) loop.turn(/*may_park=*/false);
    root.cancel();
    turn_until_done(loop, root);
    CHECK(noted.how != ended::with_value);
    CHECK(noted.how != ended::with_error);
    CHECK(!has_children());
  }
}

TEST_CASE("gigabytes go through a pipeline in bounded memory") {
  const bool is_long = std::getenv("GYRE_STRESS_LONG") != nullptr;
  const std::size_t bytes_count = std::size_t{is_long ? 1024U : 32U} << 20U;
  const auto row = in_a_row(command("head", "-c", std::to_string(bytes_count), "/dev/zero"), command("cat"),
                            command("cat"), command("wc", "-c"));
  const auto counted = run_now(pipeline(row));
  CHECK(counted.success());
  CHECK(counted.output == std::to_string(bytes_count) + '\n');

  // And past this process, which keeps a little of it.
  const auto passed = run_now(pipeline(in_a_row(command("head", "-c", std::to_string(bytes_count), "/dev/zero")),
                                       {.output_bytes_max = 10, .on_over_limit = over_limit::truncate}));
  CHECK(passed.success());
  CHECK(passed.output_truncated);
}

}  // namespace gyre::fs
