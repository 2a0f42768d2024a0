// SPDX-License-Identifier: MIT
// Owning a child: from its pipes to its last word.
//
// Its end is awaited with WNOWAIT, so that the status stays until it is reaped, in one step that no cancel comes
// between. Reaping is a system call that does not wait by then, and tells what the child has used, which io_uring's
// waitid does not.
#include <gyre/fs/detail/new_child.hpp>
#include <gyre/fs/detail/reaper.hpp>
#include <gyre/fs/detail/until_ended.hpp>
#include <gyre/fs/process.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/timer.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace gyre::fs {
namespace {

constexpr std::chrono::nanoseconds last_wait = std::chrono::seconds{5};  // for one whom SIGKILL does not end at once

std::error_code last_error() noexcept { return {errno, std::system_category()}; }

[[noreturn]] void refuse(const char* why) {
  throw std::system_error{std::make_error_code(std::errc::invalid_argument), why};
}

// The ends that the process keeps, and those that the child gets: open until it has them.
struct child_ends {
  std::optional<pipe_writer> input;
  std::optional<pipe_reader> output;
  std::optional<pipe_reader> errors;
  std::vector<unique_fd> of_child;
  std::vector<detail::child_plan::placement> placements;

  void place(const child_stream& stream, int number) {
    switch (stream.what()) {
      case child_stream::kind::unsaid:
      case child_stream::kind::inherited:
        if (is_inherited(number)) placements.push_back({.from = number, .to = number, .may_be_closed = true});
        break;
      case child_stream::kind::null:
        placements.push_back({.from = -1, .to = number, .may_be_closed = false});
        break;
      case child_stream::kind::descriptor:
        if (stream.descriptor() < 0) refuse("spawn: a stream from no plain descriptor");
        placements.push_back({.from = stream.descriptor(), .to = number, .may_be_closed = false});
        break;
      case child_stream::kind::merged:
        if (number != STDERR_FILENO) refuse("spawn: only errors go where the output goes");
        place_where_output_is();
        break;
      case child_stream::kind::piped:
        place_pipe(number);
        break;
    }
  }

  // Somebody else's file may have the number where the program has closed its own: that is close-on-exec.
  static bool is_inherited(int number) noexcept {
    const int flags = ::fcntl(number, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
  }

  void place_where_output_is() {
    if (placements.empty() || placements.back().to != STDOUT_FILENO) return;  // it is closed
    auto same = placements.back();
    same.to = STDERR_FILENO;
    placements.push_back(same);
  }

  void place_pipe(int number) {
    auto made = pipe::make();
    const bool is_input = number == STDIN_FILENO;
    of_child.push_back(is_input ? made.reader.release() : made.writer.release());
    placements.push_back({.from = of_child.back().get(), .to = number, .may_be_closed = false});
    if (is_input) input.emplace(std::move(made.writer));
    else if (number == STDOUT_FILENO) output.emplace(std::move(made.reader));
    else errors.emplace(std::move(made.reader));
  }
};

child_ends ends_of(const process_options& options) {
  child_ends made;
  made.place(options.input, STDIN_FILENO);
  made.place(options.output, STDOUT_FILENO);
  made.place(options.errors, STDERR_FILENO);
  for (const auto& [number, from] : options.descriptors) {
    if (number <= STDERR_FILENO) refuse("spawn: descriptors 0, 1 and 2 are streams");
    if (from.get() < 0) refuse("spawn: a descriptor from no plain descriptor");
    made.placements.push_back({.from = from.get(), .to = number, .may_be_closed = false});
  }
  return made;
}

// waitid(2) as the system has it: with what was used.
long waitid_of_system(int handle, ::siginfo_t& about, int options, ::rusage* used) noexcept {
  return ::syscall(SYS_waitid, P_PIDFD, handle, &about, options, used);
}

}  // namespace

std::string exit_status::text() const {
  if (event == ops::process_event::none) return "has not ended";
  if (exited()) return "exited with " + std::to_string(value);
  const char* const abbreviation = ::sigabbrev_np(value);
  std::string said = "killed by ";
  said += abbreviation != nullptr ? std::string{"SIG"} + abbreviation : "signal " + std::to_string(value);
  if (core_dumped()) said += ", core dumped";
  return said;
}

// ---------------------------------------------------------------------------------------------------------- the owner

process::process(::pid_t id, unique_fd handle, bool has_group) noexcept
    : id_{id}, parent_{::getpid()}, has_group_{has_group}, handle_{std::move(handle)} {}

process::process(process&& other) noexcept
    : input{std::move(other.input)},
      output{std::move(other.output)},
      errors{std::move(other.errors)},
      id_{other.id_},
      parent_{other.parent_},
      has_group_{other.has_group_},
      is_lost_{other.is_lost_},
      handle_{std::move(other.handle_)},
      end_{other.end_} {}

process& process::operator=(process&& other) noexcept {
  if (this == &other) return *this;
  let_go();
  input = std::move(other.input);
  output = std::move(other.output);
  errors = std::move(other.errors);
  id_ = other.id_;
  parent_ = other.parent_;
  has_group_ = other.has_group_;
  is_lost_ = other.is_lost_;
  handle_ = std::move(other.handle_);
  end_ = other.end_;
  return *this;
}

process::~process() { let_go(); }

bool process::is_ours() const noexcept {
  return static_cast<bool>(handle_) && !end_ && !is_lost_ && parent_ == ::getpid();
}

// Where there is no thread to be had it is waited for here: it was killed, and the kernel is about to end it.
void process::let_go() noexcept {
  if (!is_ours()) return;
  signal_all(SIGKILL);
  ::siginfo_t about{};
  if (waitid_of_system(handle_.get(), about, WEXITED | WNOHANG, nullptr) == 0 && about.si_pid != 0) return;
  if (detail::reap_elsewhere(handle_) != 0) waitid_of_system(handle_.get(), about, WEXITED, nullptr);
}

result<void> process::try_detach() noexcept {
  if (!is_ours()) return {};
  if (const int refusal = detail::reap_elsewhere(handle_); refusal != 0)
    return std::error_code{refusal, std::system_category()};
  return {};
}

result<void> process::try_signal(int number) const noexcept {
  if (!is_ours()) return std::make_error_code(std::errc::no_such_process);
  if (::syscall(SYS_pidfd_send_signal, handle_.get(), number, nullptr, 0) != 0) return last_error();
  return {};
}

// Its number is the group's, and nobody else's as long as it is not reaped.
result<void> process::try_signal_group(int number) const noexcept {
  if (!has_group_) return std::make_error_code(std::errc::invalid_argument);
  if (!is_ours()) return std::make_error_code(std::errc::no_such_process);
  if (::kill(-id_, number) != 0) return last_error();
  return {};
}

void process::signal_all(int number) const noexcept {
  (void)(has_group_ ? try_signal_group(number) : try_signal(number));
}

// -------------------------------------------------------------------------------------------------------- and its end

task<> detail::until_ended_by_poll(int handle) {
  constexpr std::chrono::milliseconds a_while{10};
  for (;;) {
    co_await ops::poll{handle, POLLIN};
    ::siginfo_t about{};
    if (waitid_of_system(handle, about, WEXITED | WNOHANG | WNOWAIT, nullptr) != 0)
      throw std::system_error{last_error(), "wait for a process"};
    if (about.si_pid != 0) co_return;
    co_await sleep_for(a_while);  // a debugger has it, and its end is not its parent's to see yet
  }
}

task<> process::until_ended() {
  if (!is_ours()) throw std::system_error{std::make_error_code(std::errc::no_child_process), "wait for a process"};
  const int handle = handle_.get();
  const auto change = co_await as_result(ops::waitid{P_PIDFD, static_cast<::id_t>(handle), WEXITED | WNOWAIT});
  if (change) co_return;
  if (change.error() == std::errc::operation_not_supported) co_return co_await detail::until_ended_by_poll(handle);
  if (change.error() == std::errc::no_child_process) is_lost_ = !end_;
  if (!end_) throw std::system_error{change.error(), "wait for a process"};
}

// Whether there is a status now: of two that wait the first has taken it.
bool process::reap() {
  if (end_) return true;
  ::siginfo_t about{};
  ::rusage used{};
  if (waitid_of_system(handle_.get(), about, WEXITED | WNOHANG, &used) != 0) {
    is_lost_ = errno == ECHILD;
    throw std::system_error{last_error(), "wait for a process"};
  }
  if (about.si_pid == 0) return false;
  end_ = exit_status{static_cast<ops::process_event>(about.si_code), about.si_status, used};
  return true;
}

task<exit_status> process::wait() {
  while (!end_) {
    co_await until_ended();
    if (reap()) break;
  }
  co_return *end_;
}

task<exit_status> process::terminate(std::chrono::nanoseconds grace) {
  if (end_) co_return *end_;
  bool has_ended = false;
  if (grace > std::chrono::nanoseconds::zero()) {
    signal_all(SIGTERM);
    signal_all(SIGCONT);
    has_ended = co_await move_on_after(grace, until_ended());
  }
  if (!has_ended) {
    signal_all(SIGKILL);
    co_await until_ended();
  }
  if (has_group_) signal_all(SIGKILL);
  co_return co_await wait();
}

// ---------------------------------------------------------------------------------------------------------- beginnings

task<process> spawn(process_options options) {
  auto ends = ends_of(options);
  const bool has_group = options.group != child_group::inherited;
  detail::child_plan plan{options, std::move(ends.placements)};
  ::pid_t id = -1;
  unique_fd handle = co_await offload([&] { return plan.start(id); });
  process started{id, std::move(handle), has_group};
  started.input = std::move(ends.input);
  started.output = std::move(ends.output);
  started.errors = std::move(ends.errors);
  co_return started;
}

task<exit_status> detail::serve(process& child, task<> body) {
  co_await std::move(body);
  child.input.reset();
  child.output.reset();
  child.errors.reset();
  co_return co_await child.wait();
}

// What lasts longer is left to the process's destructor.
task<> detail::end_of(process& child, std::chrono::nanoseconds grace) {
  const auto within = std::max(grace, std::chrono::nanoseconds::zero()) + last_wait;
  (void)co_await as_result(move_on_after(within, child.terminate(grace)));
}

}  // namespace gyre::fs
