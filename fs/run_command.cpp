// SPDX-License-Identifier: MIT
// Feeding, reading and awaiting commands side by side: a command by itself is a pipeline of one.
#include <gyre/fs/run_command.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/runtime/when_all.hpp>

#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

constexpr std::size_t piece_bytes = std::size_t{64} << 10U;

// What is read of one output.
struct kept_output {
  std::optional<pipe_reader> from;
  std::size_t bytes_max = 0;
  over_limit on_over_limit = over_limit::fail;
  std::string text = {};
  bool is_truncated = false;
};

void keep(kept_output& output, std::string_view piece) {
  const std::size_t room = output.bytes_max - output.text.size();
  output.text += piece.substr(0, room);
  if (piece.size() <= room) return;
  if (output.on_over_limit == over_limit::fail)
    throw std::system_error{std::make_error_code(std::errc::file_too_large),
                            "a command says more than " + std::to_string(output.bytes_max) + " bytes"};
  output.is_truncated = true;
}

task<> read_to_end(kept_output& output) {
  if (!output.from) co_return;
  const auto memory = std::make_unique_for_overwrite<std::byte[]>(piece_bytes);
  const std::span<std::byte> piece{memory.get(), piece_bytes};
  while (const std::size_t count = co_await output.from->read(piece))
    keep(output, {reinterpret_cast<const char*>(memory.get()), count});
  output.from.reset();
}

// Whoever does not want all of its input may leave.
task<> feed(std::optional<pipe_writer>& to, std::string_view input) {
  if (!to) co_return;
  try {
    co_await to->write_all(std::as_bytes(std::span{input}));
  } catch (const transfer_error& error) {
    if (error.code() != std::errc::broken_pipe) throw;
  }
  to.reset();
}

// The commands of a pipeline, and the ends of pipes that are not theirs.
struct running_pipeline {
  std::vector<process> commands;
  std::optional<pipe_writer> input;
  kept_output output;
  kept_output errors;
  bool left_open = false;
  std::vector<exit_status> statuses;
};

task<> wait_for_all(running_pipeline& running) {
  for (process& each : running.commands) {
    auto status = co_await each.wait();
    running.statuses.push_back(status);
  }
}

task<> serve_streams(running_pipeline& running, const command_options& options, cancel_scope& both) {
  co_await when_all(feed(running.input, options.input), read_to_end(running.output), read_to_end(running.errors));
  both.cancel("the outputs are closed");
}

task<> end_of_patience(running_pipeline& running, std::chrono::nanoseconds linger, cancel_scope& both) {
  for (process& each : running.commands) co_await each.wait();
  co_await sleep_for(linger);
  running.left_open = true;
  both.cancel("the outputs are left open");
}

task<> serve(running_pipeline& running, const command_options& options) {
  const auto streams = [&](cancel_scope& both) -> task<> {
    if (!options.linger) co_return co_await serve_streams(running, options, both);
    co_await when_all(serve_streams(running, options, both), end_of_patience(running, *options.linger, both));
  };
  (void)co_await with_cancel_scope(streams);
  running.input.reset();
  running.output.from.reset();
  running.errors.from.reset();
  co_await wait_for_all(running);
}

task<> end_all(running_pipeline& running, std::chrono::nanoseconds grace) {
  running.input.reset();
  running.output.from.reset();
  running.errors.from.reset();
  std::vector<task<>> ends;
  for (process& each : running.commands) ends.push_back(detail::end_of(each, grace));
  co_await when_all(std::move(ends));
}

[[noreturn]] void refuse(const char* why) {
  throw std::system_error{std::make_error_code(std::errc::invalid_argument), why};
}

bool is_unsaid(const child_stream& stream) noexcept { return stream.what() == child_stream::kind::unsaid; }

void check(const std::vector<process_options>& commands, const command_options& options) {
  if (commands.empty()) refuse("pipeline: of no command");
  if (!is_unsaid(commands.front().input) && !options.input.empty())
    refuse("run_command: input for a stream that is said");
  for (std::size_t each = 0; each < commands.size(); ++each) {
    const bool is_piped_in = each == 0 && commands[each].input.what() == child_stream::kind::piped;
    const bool is_piped_out = commands[each].output.what() == child_stream::kind::piped ||
                              commands[each].errors.what() == child_stream::kind::piped;
    if (is_piped_in || is_piped_out) refuse("run_command: a pipe that nobody serves; leave the stream unsaid");
    if (each > 0 && !is_unsaid(commands[each].input)) refuse("pipeline: input of a command that is not the first");
    if (each + 1 < commands.size() && !is_unsaid(commands[each].output))
      refuse("pipeline: output of a command that is not the last");
  }
}

// The end of a pipe that a child is to have, until all have been started.
class ends_for_children {
 public:
  child_stream add(unique_fd end) {
    ends_.push_back(std::move(end));
    return child_stream::from(ends_.back());
  }

 private:
  std::vector<unique_fd> ends_;
};

task<> start_all(running_pipeline& running, std::vector<process_options>& commands, const command_options& options) {
  std::optional<ends_for_children> ends{std::in_place};
  if (is_unsaid(commands.front().input)) {
    if (options.input.empty()) {
      commands.front().input = child_stream::null();
    } else {
      auto made = pipe::make();
      commands.front().input = ends->add(made.reader.release());
      running.input.emplace(std::move(made.writer));
    }
  }
  for (std::size_t each = 0; each + 1 < commands.size(); ++each) {
    auto between = pipe::make();
    commands[each].output = ends->add(between.writer.release());
    commands[each + 1].input = ends->add(between.reader.release());
  }
  if (is_unsaid(commands.back().output)) {
    auto made = pipe::make();
    commands.back().output = ends->add(made.writer.release());
    running.output.from.emplace(std::move(made.reader));
  }
  if (std::ranges::any_of(commands, [](const process_options& each) { return is_unsaid(each.errors); })) {
    auto made = pipe::make();
    const auto shared = ends->add(made.writer.release());
    for (process_options& each : commands)
      if (is_unsaid(each.errors)) each.errors = shared;
    running.errors.from.emplace(std::move(made.reader));
  }
  for (process_options& each : commands) {
    auto started = co_await spawn(std::move(each));
    running.commands.push_back(std::move(started));
  }
}

task<> run_all(running_pipeline& running, std::vector<process_options>& commands, const command_options& options) {
  co_await start_all(running, commands, options);
  co_await serve(running, options);
}

task<> run_in_time(running_pipeline& running, std::vector<process_options>& commands, const command_options& options) {
  if (!options.timeout) co_return co_await run_all(running, commands, options);
  co_await with_timeout(*options.timeout, run_all(running, commands, options));
}

}  // namespace

task<pipeline_result> pipeline(std::vector<process_options> commands, command_options options) {
  check(commands, options);
  running_pipeline running;
  running.commands.reserve(commands.size());
  running.output.bytes_max = options.output_bytes_max;
  running.errors.bytes_max = options.errors_bytes_max;
  running.output.on_over_limit = running.errors.on_over_limit = options.on_over_limit;
  co_await detail::or_undo(run_in_time(running, commands, options), end_all(running, options.grace));
  co_return pipeline_result{.statuses = std::move(running.statuses),
                            .output = std::move(running.output.text),
                            .errors = std::move(running.errors.text),
                            .output_truncated = running.output.is_truncated,
                            .errors_truncated = running.errors.is_truncated,
                            .left_open = running.left_open};
}

task<command_result> run_command(process_options command, command_options options) {
  std::vector<process_options> alone;
  alone.push_back(std::move(command));
  auto ran = co_await pipeline(std::move(alone), std::move(options));
  co_return command_result{.status = ran.statuses.front(),
                           .output = std::move(ran.output),
                           .errors = std::move(ran.errors),
                           .output_truncated = ran.output_truncated,
                           .errors_truncated = ran.errors_truncated,
                           .left_open = ran.left_open};
}

}  // namespace gyre::fs
