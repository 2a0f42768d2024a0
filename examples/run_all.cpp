// SPDX-License-Identifier: MIT
// Runs a command once for each line of its input, several at a time: xargs -P whose output is in order.
//
//   ls *.png | run_all 4 optipng -quiet {}
//
// {} is replaced by the line; a command without one gets it as its last argument. What a command says is kept until its
// turn comes, so that lines of two never mix. Ctrl-C terminates those that run. Exits with 1 when one has failed.
#include <gyre/fs/pipe.hpp>
#include <gyre/fs/run_command.hpp>
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using arguments = std::vector<std::string>;

struct outcome {
  std::string output;
  std::string errors;
  bool success = false;
};

// Prints outcomes in the order of their lines, each as soon as those before it are there.
struct printer {
  std::map<std::size_t, outcome> waiting;
  std::size_t next = 0;
  bool all_succeeded = true;

  void add(std::size_t number, outcome ended) {
    waiting.emplace(number, std::move(ended));
    for (auto first = waiting.find(next); first != waiting.end(); first = waiting.find(++next)) {
      std::fwrite(first->second.output.data(), 1, first->second.output.size(), stdout);
      std::fwrite(first->second.errors.data(), 1, first->second.errors.size(), stderr);
      all_succeeded = all_succeeded && first->second.success;
      waiting.erase(first);
    }
    std::fflush(stdout);
  }
};

arguments with_line(const arguments& command, const std::string& line) {
  arguments made = command;
  bool is_named = false;
  for (auto& each : made) {
    if (each != "{}") continue;
    each = line;
    is_named = true;
  }
  if (!is_named) made.push_back(line);
  return made;
}

gyre::task<> run_one(const arguments& command, std::string line, std::size_t number, printer& to) {
  outcome ended;
  try {
    const gyre::fs::process_options options{.arguments = with_line(command, line)};
    auto ran = co_await gyre::fs::run_command(options);
    ended = {std::move(ran.output), std::move(ran.errors), ran.status.success()};
    if (!ended.success) ended.errors += line + ": " + command.front() + ' ' + ran.status.text() + '\n';
  } catch (const std::system_error& error) {
    ended.errors = line + ": " + error.what() + '\n';
  }
  to.add(number, std::move(ended));
}

gyre::task<int> run_all(std::size_t at_a_time, arguments command) {
  // Own descriptors of the same files: the program's standard input stays open whatever happens here.
  const gyre::fs::pipe_reader input{gyre::unique_fd{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)}};
  printer to;
  co_await gyre::with_task_group({.max_tasks = at_a_time}, [&](gyre::task_group& group) -> gyre::task<> {
    gyre::buffered_reader<const gyre::fs::pipe_reader> lines{input};
    std::size_t number = 0;
    while (const auto line = co_await lines.read_line()) {
      std::string text{*line};  // until the next wait only
      co_await group.room();
      group.start(run_one(command, std::move(text), number++, to));
    }
  });
  co_return to.all_succeeded ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int count, char** given) {
  const std::size_t at_a_time = count > 2 ? std::strtoul(given[1], nullptr, 10) : 0;
  if (at_a_time == 0) {
    std::fprintf(stderr, "usage: %s AT_A_TIME COMMAND [ARGUMENT | {}]...\n", given[0]);
    return 2;
  }
  return gyre::run(run_all(at_a_time, arguments(given + 2, given + count)));
}
