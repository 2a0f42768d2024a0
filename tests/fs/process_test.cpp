// SPDX-License-Identifier: MIT
// Child processes: what they get, what keeps them from being started, how they end, and that none is left behind.
#include <gyre/fs/detail/until_ended.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/fs/process.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scarce_descriptors.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ops::process_event;

template <class... Arguments>
process_options command(Arguments... arguments) {
  return {.arguments = {arguments...}};
}

/// A command for the shell, whose output is read.
process_options shell(std::string text) {
  return {.arguments = {"sh", "-c", std::move(text)}, .output = child_stream::piped()};
}

process_options fed(process_options options) {
  options.input = child_stream::piped();
  return options;
}

process_options in_group(process_options options) {
  options.group = child_group::own;
  return options;
}

process_options in_folder(std::string folder, process_options options) {
  options.working_directory = std::move(folder);
  return options;
}

process_options reading(child_stream from, process_options options) {
  options.input = from;
  return options;
}

process_options writing(child_stream to, process_options options) {
  options.output = to;
  return options;
}

task<std::string> all_of(const pipe_reader& from) {
  std::string text;
  std::array<std::byte, 4096> piece{};
  while (const std::size_t count = co_await from.read(piece)) text += text_of(std::span{piece}.first(count));
  co_return text;
}

/// What a child says until it closes its output; it has exited with 0 then.
task<std::string> said_by(process_options options) {
  options.output = child_stream::piped();
  auto child = co_await spawn(std::move(options));
  auto said = co_await all_of(*child.output);
  const auto status = co_await child.wait();
  CHECK(status.text() == "exited with 0");
  co_return said;
}

/// Waits for a line that says that the child is ready.
task<> until_ready(const process& child) {
  std::array<std::byte, 16> line{};
  const std::size_t count = co_await child.output->read(line);
  CHECK(count > 0);
}

int signal_of(const exit_status& status) { return status.signal(); }
int code_of(const exit_status& status) { return status.code(); }
bool is_success(const exit_status& status) { return status.success(); }
std::string text_of_end(const exit_status& status) { return status.text(); }

struct failed_spawn {
  std::error_code why;
  spawn_step step = spawn_step::none;
  std::string what;
};

task<failed_spawn> failure_of(process_options options) {
  try {
    auto started = co_await spawn(std::move(options));
    co_await started.wait();
  } catch (const spawn_error& error) {
    co_return failed_spawn{error.code(), error.step(), error.what()};
  } catch (const std::system_error& error) {
    co_return failed_spawn{error.code(), spawn_step::none, error.what()};
  }
  co_return failed_spawn{};
}

failed_spawn failure_now(process_options options) { return run_now(failure_of(std::move(options))); }

/// Whether this process has any child, a zombie included.
bool has_children() {
  ::siginfo_t about{};
  return ::waitid(P_ALL, 0, &about, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0;
}

/// What nobody waits for is reaped by a thread, which takes its time.
bool has_soon_no_children() {
  for (int each = 0; each < 10'000 && has_children(); ++each) std::this_thread::sleep_for(1ms);
  return !has_children();
}

/// A zombie is not there: whose it is may take its time.
bool is_there(::pid_t process) {
  std::ifstream about{"/proc/" + std::to_string(process) + "/stat"};
  std::string text;
  std::getline(about, text);
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && text.substr(name_end).find("Z") != 2;
}

bool is_soon_gone(::pid_t process) {
  for (int each = 0; each < 10'000 && is_there(process); ++each) std::this_thread::sleep_for(1ms);
  return !is_there(process);
}

task<::pid_t> number_said(const pipe_reader& from) {
  std::array<std::byte, 32> line{};
  const std::size_t count = co_await from.read(line);
  co_return static_cast<::pid_t>(std::stol(std::string{text_of(std::span{line}.first(count))}));
}

const process_options sleeps{.arguments = {"sleep", "1000"}};
const std::string ignores_sigterm = "trap '' TERM; echo ready; exec sleep 1000";

}  // namespace

TEST_CASE("a child runs its program with its arguments, and its end is told") {
  run_now([]() -> task<> {
    const auto said = co_await said_by(command("printf", "%s|", "one", "", "two three", "$HOME"));
    CHECK(said == "one||two three|$HOME|");

    auto child = co_await spawn(command("sh", "-c", "exit 7"));
    CHECK(child.id() > 0);
    const auto status = co_await child.wait();
    CHECK(status.exited());
    CHECK(!status.success());
    CHECK(status.code() == 7);
    CHECK(status.signal() == 0);
    CHECK(status.text() == "exited with 7");
    CHECK(child.ended()->code() == 7);
    const auto again = co_await child.wait();
    CHECK(again.code() == 7);
    CHECK(!has_children());
  }());
}

TEST_CASE("a child that a signal kills says so, and whether it left its memory") {
  run_now([]() -> task<> {
    auto child = co_await spawn(command("sh", "-c", "kill -TERM $$"));
    const auto killed = co_await child.wait();
    CHECK(!killed.exited());
    CHECK(killed.code() == -1);
    CHECK(killed.signal() == SIGTERM);
    CHECK(!killed.core_dumped());
    CHECK(killed.text() == "killed by SIGTERM");
    CHECK(exit_status{process_event::dumped, SIGSEGV, {}}.text() == "killed by SIGSEGV, core dumped");
    CHECK(exit_status{process_event::killed, 63, {}}.text() == "killed by signal 63");
    CHECK(exit_status{}.text() == "has not ended");
  }());
}

TEST_CASE("what a child has used is told") {
  run_now([]() -> task<> {
    auto child = co_await spawn(command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"));
    const auto status = co_await child.wait();
    CHECK(status.success());
    CHECK(status.used.ru_maxrss > 0);
    CHECK(status.used.ru_utime.tv_sec * 1'000'000 + status.used.ru_utime.tv_usec + status.used.ru_stime.tv_usec > 0);
  }());
}

TEST_CASE("a program is found in PATH, or by its path, or under another name than its own") {
  const temp_folder folder;
  run_now([&]() -> task<> {
    const auto script = folder.path() + "/tool";
    std::ofstream{script} << "#!/bin/sh\necho tool\n";
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);

    CHECK(co_await said_by(command(script)) == "tool\n");
    CHECK(co_await said_by(in_folder(folder.path(), command("./tool"))) == "tool\n");
    auto unsearched = in_folder(folder.path(), command("tool"));
    unsearched.search_path = false;
    CHECK(co_await said_by(unsearched) == "tool\n");
    auto renamed = command("another name", "-c", "echo $0");
    renamed.program = "sh";
    CHECK(co_await said_by(renamed) == "another name\n");
    const auto failed = co_await failure_of(command("tool"));
    CHECK(failed.why == std::errc::no_such_file_or_directory);
  }());
}

TEST_CASE("the environment is inherited, cleared, and changed") {
  ::setenv("GYRE_TEST_INHERITED", "yes", 1);
  run_now([]() -> task<> {
    const auto text = "echo ${GYRE_TEST_INHERITED-none} ${GYRE_TEST_SET-none}";
    CHECK(co_await said_by(shell(text)) == "yes none\n");
    auto set = shell(text);
    set.variables = {{"GYRE_TEST_SET", "a=b c"}, {"GYRE_TEST_INHERITED", "no"}};
    CHECK(co_await said_by(set) == "no a=b c\n");
    auto unset = shell(text);
    unset.unset_variables = {"GYRE_TEST_INHERITED"};
    CHECK(co_await said_by(unset) == "none none\n");
    process_options cleared{.arguments = {"env"}, .clear_environment = true, .variables = {{"ONE", "1"}}};
    CHECK(co_await said_by(cleared) == "ONE=1\n");
  }());
  ::unsetenv("GYRE_TEST_INHERITED");
}

TEST_CASE("a child gets its streams as it is told: pipes, files, nothing, and errors where the output goes") {
  const temp_folder folder;
  run_now([&]() -> task<> {
    auto cat = co_await spawn(fed(writing(child_stream::piped(), command("cat"))));
    co_await cat.input->write_all(bytes_of("through a pipe"));
    cat.input.reset();
    CHECK(co_await all_of(*cat.output) == "through a pipe");
    CHECK(is_success(co_await cat.wait()));

    const auto path = folder.path() + "/file";
    {
      const unique_fd made{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
      auto echo = co_await spawn(writing(child_stream::from(made), command("echo", "to a file")));
      co_await echo.wait();
      ::lseek(made.get(), 0, SEEK_SET);
      CHECK(co_await said_by(reading(child_stream::from(made), command("cat"))) == "to a file\n");
    }
    CHECK(co_await said_by(reading(child_stream::null(), command("cat"))) == "");

    auto both = shell("echo one; echo two >&2; echo three");
    both.errors = child_stream::merged();
    CHECK(co_await said_by(both) == "one\ntwo\nthree\n");

    auto apart = shell("echo one; echo two >&2");
    apart.errors = child_stream::piped();
    auto child = co_await spawn(apart);
    CHECK(co_await all_of(*child.output) == "one\n");
    CHECK(co_await all_of(*child.errors) == "two\n");
    co_await child.wait();

    auto into_nothing = shell("echo one; echo two >&2");
    into_nothing.output = child_stream::null();
    into_nothing.errors = child_stream::merged();
    auto silent = co_await spawn(into_nothing);
    CHECK(!silent.output);
    CHECK(is_success(co_await silent.wait()));
  }());
}

TEST_CASE("a child has no descriptor but its streams and those that are named, in whatever order they are crossed") {
  const temp_folder folder;
  run_now([&]() -> task<> {
    const unique_fd leaky{::open("/dev/zero", O_RDONLY)};  // NOLINT(android-cloexec-open): that is what is tested
    const auto list = "ls -l /proc/self/fd | grep -c -- '->'";
    CHECK(co_await said_by(shell(list)) == "4\n");  // ls has the folder itself open

    // Each is there what the other is here.
    const auto path = folder.path() + "/named";
    std::ofstream{path} << "named";
    const unique_fd named{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    const unique_fd empty{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    auto swapped =
        shell("cat <&" + std::to_string(empty.get()) + "; cat <&" + std::to_string(named.get()) + " | wc -c");
    swapped.descriptors = {{.number = named.get(), .from = empty}, {.number = empty.get(), .from = named}};
    CHECK(co_await said_by(swapped) == "named0\n");

    auto same_number = shell("cat <&" + std::to_string(named.get()));
    ::lseek(named.get(), 0, SEEK_SET);
    same_number.descriptors = {{.number = named.get(), .from = named}};
    CHECK(co_await said_by(same_number) == "named");
    CHECK((::fcntl(named.get(), F_GETFD) & FD_CLOEXEC) != 0);
  }());
}

TEST_CASE("a stream that is closed here is closed there") {
  if (sanitizer_forbids_threads_in_child) return;
  child program{[] {
    ::close(STDIN_FILENO);
    executor loop;
    return loop.run([]() -> task<int> {
      auto options = shell("exec 3<&0 && echo open || echo closed");
      options.errors = child_stream::null();
      auto started = co_await spawn(std::move(options));
      const auto said = co_await all_of(*started.output);
      co_await started.wait();
      co_return said.starts_with("open") ? 1 : 0;
    }());
  }};
  CHECK(program.wait().exit_status == 0);
}

TEST_CASE("working directory, umask, niceness and limits are the child's own") {
  const temp_folder folder;
  run_now([&]() -> task<> {
    CHECK(co_await said_by(in_folder(folder.path(), command("pwd", "-P"))) ==
          std::filesystem::canonical(folder.path()).string() + "\n");
    auto masked = shell("umask");
    masked.umask = 0037;
    CHECK(co_await said_by(masked) == "0037\n");
    auto nicer = shell("nice");
    nicer.niceness = 7;
    CHECK(co_await said_by(nicer) == "7\n");
    auto limited = shell("ulimit -Sn; ulimit -Hn; ulimit -c");
    limited.limits = {{RLIMIT_NOFILE, 16, 32}, {RLIMIT_CORE, 0, 0}};
    CHECK(co_await said_by(limited) == "16\n32\n0\n");
  }());
}

TEST_CASE("a child has the group and the session of its parent, a group of its own, or a session") {
  run_now([]() -> task<> {
    const auto group_and_session = "ps -o pgid=,sid= -p $$ | tr -s ' ' | sed 's/^ //'";
    const auto text = [](::pid_t group, ::pid_t session) {
      return std::to_string(group) + ' ' + std::to_string(session) + '\n';
    };
    const auto expect = [&](child_group wanted, auto expected) -> task<> {
      auto options = shell(group_and_session);
      options.group = wanted;
      auto child = co_await spawn(options);
      const auto said = co_await all_of(*child.output);
      CHECK(said == expected(child.id()));
      co_await child.wait();
    };
    co_await expect(child_group::inherited, [&](::pid_t) { return text(::getpgrp(), ::getsid(0)); });
    co_await expect(child_group::own, [&](::pid_t child) { return text(child, ::getsid(0)); });
    co_await expect(child_group::session, [&](::pid_t child) { return text(child, child); });
  }());
}

TEST_CASE("a child has no signal blocked, none ignored but those it is told to, and the usual slack of timers") {
  struct ::sigaction before{};
  struct ::sigaction ignored{};
  ignored.sa_handler = SIG_IGN;
  ::sigaction(SIGUSR1, &ignored, &before);
  run_now([]() -> task<> {
    const auto masks =
        "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2 | tr '\\n' ' '; cat /proc/self/timerslack_ns";
    CHECK(co_await said_by(shell(masks)) == "0000000000000000 0000000000000000 50000\n");
    auto told = shell(masks);
    told.ignored_signals = {SIGHUP};
    CHECK(co_await said_by(told) == "0000000000000000 0000000000000001 50000\n");
  }());
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("what keeps a program from running is an error that names it and the step") {
  const temp_folder folder;
  const auto file = [&](const std::string& name, const std::string& contents, std::filesystem::perms permissions) {
    const auto path = folder.path() + '/' + name;
    std::ofstream{path} << contents;
    std::filesystem::permissions(path, permissions);
    return path;
  };
  const auto all = std::filesystem::perms::owner_all;

  const auto nowhere = failure_now({.arguments = {"there-is-no-such-program"}});
  CHECK(nowhere.why == std::errc::no_such_file_or_directory);
  CHECK(nowhere.step == spawn_step::program);
  CHECK(nowhere.what == "spawn there-is-no-such-program: the program: No such file or directory");
  CHECK(failure_now({.arguments = {folder.path() + "/none"}}).why == std::errc::no_such_file_or_directory);
  CHECK(failure_now({.arguments = {"/dev/null/none"}}).why == std::errc::not_a_directory);

  const auto forbidden = file("forbidden", "#!/bin/sh\n", std::filesystem::perms::owner_read);
  CHECK(failure_now({.arguments = {forbidden}}).why == std::errc::permission_denied);
  CHECK(failure_now({.arguments = {folder.path()}}).why == std::errc::permission_denied);
  CHECK(failure_now({.arguments = {file("no_format", "echo no first line\n", all)}}).why ==
        std::errc::executable_format_error);
  CHECK(failure_now({.arguments = {file("no_shell", "#!/no/such/shell\n", all)}}).why ==
        std::errc::no_such_file_or_directory);
  CHECK(failure_now({.arguments = {"true", std::string(std::size_t{4} << 20U, 'x')}}).why ==
        std::errc::argument_list_too_long);

  const auto no_directory = failure_now({.arguments = {"true"}, .working_directory = folder.path() + "/none"});
  CHECK(no_directory.why == std::errc::no_such_file_or_directory);
  CHECK(no_directory.step == spawn_step::working_directory);
  CHECK(no_directory.what == "spawn true: its working directory " + folder.path() + "/none: No such file or directory");

  const auto no_limit = failure_now({.arguments = {"true"}, .limits = {{RLIMIT_NOFILE, 32, 16}}});
  CHECK(no_limit.why == std::errc::invalid_argument);
  CHECK(no_limit.step == spawn_step::limits);
  const auto closed = failure_now({.arguments = {"true"}, .descriptors = {{.number = 3, .from = 999'999}}});
  CHECK(closed.why == std::errc::bad_file_descriptor);
  CHECK(closed.step == spawn_step::descriptors);
  CHECK(!has_children());
}

TEST_CASE("options that contradict each other are refused before anything is started") {
  const auto is_refused = [](process_options options) {
    const auto failed = failure_now(std::move(options));
    return failed.why == std::errc::invalid_argument && failed.step == spawn_step::none;
  };
  CHECK(is_refused({}));
  CHECK(is_refused({.arguments = {std::string{"a\0b", 3}}}));
  CHECK(is_refused({.arguments = {"true"}, .program = std::string{"a\0b", 3}}));
  CHECK(is_refused({.arguments = {"true"}, .working_directory = std::string{"a\0b", 3}}));
  CHECK(is_refused({.arguments = {"true"}, .variables = {{"", "x"}}}));
  CHECK(is_refused({.arguments = {"true"}, .variables = {{"A=B", "x"}}}));
  CHECK(is_refused({.arguments = {"true"}, .input = child_stream::merged()}));
  CHECK(is_refused({.arguments = {"true"}, .output = child_stream::merged()}));
  CHECK(is_refused({.arguments = {"true"}, .output = child_stream::from(-1)}));
  CHECK(is_refused({.arguments = {"true"}, .descriptors = {{.number = 2, .from = 0}}}));
  CHECK(is_refused({.arguments = {"true"}, .descriptors = {{.number = 3, .from = -1}}}));
  CHECK(is_refused({.arguments = {"true"}, .ignored_signals = {SIGKILL}}));
  CHECK(is_refused({.arguments = {"true"}, .ignored_signals = {65}}));
}

TEST_CASE("without a descriptor for its pipes, or for itself, no child is started") {
  run_now([]() -> task<> { co_await spawn(command("true")); }());  // the pool has its thread
  CHECK(has_soon_no_children());
  executor loop;
  const auto before = open_descriptors_count();
  {
    const no_descriptor_left scarce;
    const auto no_pipe = loop.run(failure_of(shell("true")));
    CHECK(no_pipe.why == std::errc::too_many_files_open);
    const auto no_handle = loop.run(failure_of({.arguments = {"true"}}));
    CHECK(no_handle.why == std::errc::too_many_files_open);
    CHECK(no_handle.step == spawn_step::clone);
  }
  CHECK(open_descriptors_count() == before);
  CHECK(!has_children());
}

TEST_CASE("a signal reaches the child, and nobody when the child has been waited for") {
  run_now([]() -> task<> {
    auto child = co_await spawn(sleeps);
    CHECK(child.try_signal(0).has_value());
    CHECK(child.try_signal(1000).error() == std::errc::invalid_argument);
    CHECK(child.try_signal_group(SIGTERM).error() == std::errc::invalid_argument);
    CHECK(child.try_signal(SIGINT).has_value());
    CHECK(signal_of(co_await child.wait()) == SIGINT);
    CHECK(child.try_signal(SIGTERM).error() == std::errc::no_such_process);
  }());
}

TEST_CASE("kill -9 from outside is an end like any other") {
  run_now([]() -> task<> {
    auto child = co_await spawn(sleeps);
    ::kill(child.id(), SIGKILL);
    CHECK(text_of_end(co_await child.wait()) == "killed by SIGKILL");
  }());
}

TEST_CASE("terminate() asks, and ends one who does not listen; and one who is stopped, or has ended") {
  run_now([]() -> task<> {
    auto listens = co_await spawn(sleeps);
    CHECK(signal_of(co_await listens.terminate()) == SIGTERM);
    CHECK(signal_of(co_await listens.terminate()) == SIGTERM);

    auto deaf = co_await spawn(shell(ignores_sigterm));
    co_await until_ready(deaf);
    CHECK(signal_of(co_await deaf.terminate(20ms)) == SIGKILL);

    auto at_once = co_await spawn(sleeps);
    CHECK(signal_of(co_await at_once.terminate(0s)) == SIGKILL);

    auto is_stopped = co_await spawn(sleeps);
    CHECK(is_stopped.try_signal(SIGSTOP).has_value());
    CHECK(signal_of(co_await is_stopped.terminate(1h)) == SIGTERM);

    auto has_ended = co_await spawn(command("true"));
    co_await detail::until_ended_by_poll(has_ended.handle().get());
    CHECK(is_success(co_await has_ended.terminate(1h)));
    CHECK(!has_children());
  }());
}

TEST_CASE("with a group of its own a child is terminated with all that it has started") {
  run_now([]() -> task<> {
    auto options = in_group(shell("trap 'exit 3' TERM; sh -c 'trap \"\" TERM; sleep 1000' & echo $!; wait"));
    auto child = co_await spawn(options);
    const auto grandchild = co_await number_said(*child.output);
    CHECK(is_there(grandchild));

    const auto status = co_await child.terminate(1h);

    CHECK(status.code() == 3);
    CHECK(is_soon_gone(grandchild));
    CHECK(child.try_signal_group(SIGTERM).error() == std::errc::no_such_process);
  }());
}

TEST_CASE("a wait that is stopped or timed out leaves the end to the next") {
  executor loop;
  auto child = loop.run(spawn(sleeps));
  outcome noted;

  auto root = loop.start(observe(child.wait(), noted));
  loop.run_ready();
  root.cancel();
  turn_until_done(loop, root);
  CHECK(noted.how == ended::stopped);

  auto crossed = loop.start(observe(child.wait(), noted));
  loop.run_ready();
  ::kill(child.id(), SIGKILL);
  crossed.cancel();
  turn_until_done(loop, crossed);
  loop.run([&]() -> task<> {
    CHECK(signal_of(co_await child.wait()) == SIGKILL);
    const auto late = co_await as_result(with_timeout(1h, child.wait()));
    CHECK(late.has_value());
  }());
}

TEST_CASE("several may wait for one child, and each is told") {
  run_now([]() -> task<> {
    auto child = co_await spawn(command("sh", "-c", "exit 3"));
    const auto wait = [](process& awaited) -> task<> { CHECK(code_of(co_await awaited.wait()) == 3); };
    co_await when_all(wait(child), wait(child), wait(child));
  }());
}

TEST_CASE("a terminate() that is stopped has asked, and can be called again") {
  executor loop;
  auto child = loop.run([]() -> task<process> {
    auto started = co_await spawn(shell(ignores_sigterm));
    co_await until_ready(started);
    co_return started;
  }());
  outcome noted;
  auto root = loop.start(observe(child.terminate(1h), noted));
  loop.run_ready();
  root.cancel();
  turn_until_done(loop, root);

  CHECK(noted.how == ended::stopped);
  CHECK(is_there(child.id()));
  CHECK(loop.run(child.terminate(0s)).signal() == SIGKILL);
}

TEST_CASE("a spawn that is stopped leaves nothing behind") {
  executor loop;
  outcome noted;
  auto before_it_begins = loop.start(observe(spawn(sleeps), noted));
  before_it_begins.cancel();
  turn_until_done(loop, before_it_begins);
  CHECK(noted.how != ended::with_error);

  auto on_its_thread = loop.start(observe(spawn(sleeps), noted));
  loop.run_ready();
  on_its_thread.cancel();
  turn_until_done(loop, on_its_thread);
  CHECK(noted.how != ended::with_error);
  CHECK(has_soon_no_children());
}

TEST_CASE("a process that is destroyed without a wait is killed and reaped, with its group, in a task and after it") {
  ::pid_t grandchild = -1;
  std::optional<process> outlives_its_executor;
  run_now([&]() -> task<> {
    {
      const auto dropped = co_await spawn(sleeps);
    }
    auto assigned = co_await spawn(sleeps);
    assigned = co_await spawn(command("true"));
    auto options = in_group(shell("sleep 1000 & echo $!; wait"));
    {
      const auto leads = co_await spawn(options);
      grandchild = co_await number_said(*leads.output);
    }
    auto outlives = co_await spawn(sleeps);
    outlives_its_executor.emplace(std::move(outlives));
  }());
  outlives_its_executor.reset();

  CHECK(has_soon_no_children());
  CHECK(is_soon_gone(grandchild));
}

TEST_CASE("an executor that goes with a child in a task it had not ended leaves no child") {
  {
    executor loop;
    auto root = loop.start([]() -> task<> {
      auto child = co_await spawn(sleeps);
      co_await child.wait();
    }());
    while (!has_children()) loop.turn(/*may_park=*/true);
    root.cancel();
    turn_until_done(loop, root);
  }
  CHECK(has_soon_no_children());
}

TEST_CASE("a child that is detached goes on, and is reaped when it ends") {
  const temp_folder folder;
  const auto path = folder.path() + "/fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  run_now([&]() -> task<> {
    auto child = co_await spawn(writing(child_stream::null(), command("cat", path)));
    const auto id = child.id();
    CHECK(child.try_detach().has_value());
    CHECK(child.try_detach().has_value());
    CHECK(child.try_signal(SIGTERM).error() == std::errc::no_such_process);
    {
      const process gone = std::move(child);
    }
    CHECK(is_there(id));
  }());
  {
    const std::ofstream lets_it_end{path};
  }
  CHECK(has_soon_no_children());
}

TEST_CASE("with_process() ends with the child: its input is closed, its output is not read any more") {
  run_now([]() -> task<> {
    const auto echoes = [](process& cat) -> task<> {
      co_await cat.input->write_all(bytes_of("abc"));
      std::array<std::byte, 3> back{};
      co_await cat.output->read_exactly(back);
      CHECK(text_of(back) == "abc");
    };
    const auto reads_nothing = [](process&) -> task<> { co_return; };
    const auto status = co_await with_process(fed(writing(child_stream::piped(), command("cat"))), echoes);
    CHECK(status.success());
    const auto unread = co_await with_process(writing(child_stream::piped(), command("yes")), reads_nothing);
    CHECK(unread.signal() == SIGPIPE);
  }());
}

TEST_CASE("with_process() terminates the child when its body throws, times out, or is stopped") {
  executor loop;
  const auto throws = [](process&) -> task<> {
    throw std::runtime_error{"no"};
    co_return;
  };
  const auto waits = [](process& child) -> task<> { co_await child.wait(); };
  loop.run([&]() -> task<> {
    bool has_thrown = false;
    try {
      co_await with_process(sleeps, throws);
    } catch (const std::runtime_error&) {
      has_thrown = true;
    }
    CHECK(has_thrown);
    CHECK(!has_children());

    const auto late = co_await as_result(with_timeout(20ms, with_process(sleeps, waits)));
    CHECK(late.error() == std::errc::timed_out);
    CHECK(!has_children());
  }());

  outcome noted;
  const auto becomes_ready = [](process& child) -> task<> {
    co_await until_ready(child);
    co_await child.wait();
  };
  auto root = loop.start(observe(with_process(shell(ignores_sigterm), becomes_ready, 20ms), noted));
  while (!has_children()) loop.turn(/*may_park=*/true);
  root.cancel();
  turn_until_done(loop, root);
  CHECK(noted.how == ended::stopped);
  CHECK(!has_children());
}

TEST_CASE("a child that closes its pipes and lives on is waited for, and one whose pipes somebody else holds is not") {
  run_now([]() -> task<> {
    auto lives_on = co_await spawn(shell("exec >&-; read line; exit 5 <&0"));
    CHECK(co_await all_of(*lives_on.output) == "");
    const auto early = co_await as_result(with_timeout(1ms, lives_on.wait()));
    CHECK((early.error() == std::errc::timed_out || early->exited()));
    co_await lives_on.terminate(0s);

    auto options = in_group(shell("sleep 1000 & echo $!"));
    auto leaves_one = co_await spawn(options);
    const auto grandchild = co_await number_said(*leaves_one.output);
    co_await detail::until_ended_by_poll(leaves_one.handle().get());
    std::array<std::byte, 1> byte{};
    const auto still_open = co_await as_result(with_timeout(1ms, leaves_one.output->read(byte)));
    CHECK(still_open.error() == std::errc::timed_out);
    co_await leaves_one.terminate();
    CHECK(co_await leaves_one.output->read(byte) == 0);
    CHECK(is_soon_gone(grandchild));
  }());
}

TEST_CASE("who writes to a child that has ended gets broken_pipe, and SIGPIPE kills nobody") {
  if (sanitizer_forbids_threads_in_child) return;
  child program{[] {
    executor loop;
    return loop.run([]() -> task<int> {
      auto gone = co_await spawn(fed(command("true")));
      co_await gone.wait();
      const auto at_once = co_await as_result(gone.input->write(bytes_of("x")));
      auto leaves = co_await spawn(fed(command("sh", "-c", "read line")));
      const std::string much(std::size_t{1} << 20U, '\n');
      std::error_code while_waiting;
      try {
        co_await leaves.input->write_all(bytes_of(much));
      } catch (const transfer_error& error) {
        while_waiting = error.code();
      }
      const bool is_right = at_once.error() == std::errc::broken_pipe && while_waiting == std::errc::broken_pipe;
      co_return is_right ? 0 : 1;
    }());
  }};
  const auto how = program.wait();
  CHECK(how.killed_by == 0);
  CHECK(how.exit_status == 0);
}

TEST_CASE("where somebody else has reaped a child, its wait says so, and nobody else is signalled") {
  run_now([]() -> task<> {
    auto child = co_await spawn(command("true"));
    CHECK(::waitpid(child.id(), nullptr, 0) == child.id());
    const auto waited = co_await as_result(child.wait());
    CHECK(waited.error() == std::errc::no_child_process);
    CHECK(child.try_signal(SIGTERM).error() == std::errc::no_such_process);
    const auto again = co_await as_result(child.terminate());
    CHECK(again.error() == std::errc::no_child_process);
  }());
}

TEST_CASE("in the child of a fork the parent's processes are left alone") {
  executor loop;
  auto running = loop.run(spawn(sleeps));
  child program{[&] {
    {
      const process copy = std::move(running);
    }
    return 0;
  }};
  CHECK(program.wait().exit_status == 0);
  CHECK(is_there(running.id()));
  CHECK(loop.run(running.terminate(1h)).signal() == SIGTERM);
}

TEST_CASE("as many children at once as one likes leave no zombie, and no descriptor") {
  const bool is_long = std::getenv("GYRE_STRESS_LONG") != nullptr;
  const int children_count = is_long ? 1000 : 100;
  executor loop;
  const auto all_at_once = [](int count) -> task<> {
    co_await with_task_group([count](task_group& group) -> task<> {
      for (int each = 0; each < count; ++each)
        group.start(
            [](int number) -> task<> {
              auto child = co_await spawn(fed(shell("read line; exit " + std::to_string(number % 100))));
              co_await child.input->write_all(bytes_of("\n"));
              const auto status = co_await child.wait();
              CHECK(status.code() == number % 100);
            },
            each);
      co_return;
    });
  };
  loop.run(all_at_once(5));
  const auto before = open_descriptors_count();

  loop.run(all_at_once(children_count));

  CHECK(open_descriptors_count() == before);
  CHECK(!has_children());
}

}  // namespace gyre::fs
