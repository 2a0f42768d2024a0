// SPDX-License-Identifier: MIT
// What the parent prepares, and what the child does with it.
#include <gyre/fs/detail/new_child.hpp>

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

// The child never returns from its functions, which sanitizers would count on.
#ifdef __clang__
#define GYRE_DETAIL_NEVER_RETURNS __attribute__((disable_sanitizer_instrumentation))
#else
#define GYRE_DETAIL_NEVER_RETURNS
#endif

namespace gyre::fs::detail {
namespace {

// clone(3), by the name that sanitizers do not make a fork of.
extern "C" int clone_plainly(int (*begin)(void*), void* stack, int flags, void* argument, int* handle) asm("__clone");

constexpr std::size_t stack_bytes = std::size_t{64} << 10U;
constexpr int exit_of_no_program = 127;
constexpr int last_signal = 64;
constexpr unsigned long usual_timer_slack_ns = 50'000;

// As the kernel has them, and not the C library, which keeps two of the signals to itself.
struct kernel_action {
  void (*handler)(int) = SIG_DFL;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  unsigned long mask = 0;
};
using kernel_signals = std::uint64_t;
constexpr kernel_signals all_signals = ~kernel_signals{0};

// The stack of a child, until it has one of its own.
class child_stack {
 public:
  child_stack()
      : bottom_{::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)} {}
  child_stack(const child_stack&) = delete;
  child_stack& operator=(const child_stack&) = delete;
  ~child_stack() {
    if (is_there()) ::munmap(bottom_, stack_bytes);
  }

  [[nodiscard]] bool is_there() const noexcept { return bottom_ != MAP_FAILED; }
  [[nodiscard]] void* top() const noexcept { return static_cast<char*>(bottom_) + stack_bytes; }

 private:
  void* bottom_;
};

// No handler runs on this thread while it lives, nor in a child that it makes.
class no_signals {
 public:
  no_signals() noexcept { ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &before_, sizeof before_); }
  no_signals(const no_signals&) = delete;
  no_signals& operator=(const no_signals&) = delete;
  ~no_signals() { ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_); }

 private:
  kernel_signals before_ = 0;
};

void refuse_zero_bytes(const std::string& text) {
  if (text.find('\0') != std::string::npos)
    throw std::system_error{std::make_error_code(std::errc::invalid_argument), "spawn: a zero byte in " + text};
}

[[noreturn]] void refuse(const std::string& why) {
  throw std::system_error{std::make_error_code(std::errc::invalid_argument), "spawn: " + why};
}

// In the order in which they are tried.
std::vector<std::string> paths_of(const process_options& options) {
  const std::string& name = options.program.empty() ? options.arguments.front() : options.program;
  refuse_zero_bytes(name);
  if (!options.search_path || name.find('/') != std::string::npos) return {name};
  const char* const said = std::getenv("PATH");
  std::string_view folders = said == nullptr ? "/bin:/usr/bin" : said;
  std::vector<std::string> paths;
  for (bool is_last = false; !is_last;) {
    const auto end = folders.find(':');
    is_last = end == std::string_view::npos;
    const auto folder = folders.substr(0, end);
    paths.push_back(folder.empty() ? name : std::string{folder} + '/' + name);
    if (!is_last) folders.remove_prefix(end + 1);
  }
  return paths;
}

std::string_view name_of_variable(std::string_view variable) { return variable.substr(0, variable.find('=', 1)); }

std::vector<std::string> environment_of(const process_options& options) {
  std::vector<std::string> made;
  const auto remove = [&made](std::string_view name) {
    std::erase_if(made, [&](const std::string& each) { return name_of_variable(each) == name; });
  };
  if (!options.clear_environment)
    for (char** each = environ; each != nullptr && *each != nullptr; ++each) made.emplace_back(*each);
  for (const std::string& each : options.unset_variables) remove(each);
  for (const auto& [name, value] : options.variables) {
    refuse_zero_bytes(name + value);
    if (name.empty() || name.find('=') != std::string::npos) refuse("a variable's name is not empty and has no '='");
    remove(name);
    made.push_back(name + '=' + value);
  }
  return made;
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& each : texts) pointers.push_back(const_cast<char*>(each.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

const char* name_of(spawn_step step) noexcept {
  switch (step) {
    case spawn_step::none:
    case spawn_step::program:
      break;
    case spawn_step::descriptors:
      return "its descriptors";
    case spawn_step::clone:
      return "a process";
    case spawn_step::session:
      return "its session";
    case spawn_step::group:
      return "its group";
    case spawn_step::umask:
      return "its umask";
    case spawn_step::niceness:
      return "its niceness";
    case spawn_step::working_directory:
      return "its working directory";
    case spawn_step::limits:
      return "its limits";
  }
  return "the program";
}

}  // namespace

child_plan::child_plan(const process_options& options, std::vector<placement> placements)
    : options_{options}, placements_{std::move(placements)} {
  if (options_.arguments.empty()) refuse("without a program's name");
  for (const std::string& each : options_.arguments) refuse_zero_bytes(each);
  refuse_zero_bytes(options_.working_directory);
  for (const int number : options_.ignored_signals)
    if (number < 1 || number > last_signal || number == SIGKILL || number == SIGSTOP)
      refuse("a signal that cannot be ignored");
  paths_ = paths_of(options_);
  variables_ = environment_of(options_);
  argv_ = pointers_to(options_.arguments);
  envp_ = pointers_to(variables_);
  for (const auto& [from, to, may_be_closed] : placements_) first_above_ = std::max(first_above_, to + 1);
  on_the_way_.resize(placements_.size(), -1);
}

unique_fd child_plan::start(::pid_t& pid) {
  open_null();
  const child_stack stack;
  int handle = -1;
  int cloned = -1;
  int refusal = ENOMEM;
  if (stack.is_there()) {
    const no_signals until_it_runs;
    cloned = clone_plainly(&run, stack.top(), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, this, &handle);
    refusal = errno;
  }
  if (cloned < 0) {
    failed_ = spawn_step::clone;
    error_ = refusal;
  }
  unique_fd owned{handle};
  if (failed_ == spawn_step::none) {
    pid = cloned;
    return owned;
  }
  ::siginfo_t unused{};
  if (owned) ::waitid(P_PIDFD, static_cast<::id_t>(owned.get()), &unused, WEXITED);  // it has ended already
  std::string what = "spawn " + options_.arguments.front() + ": " + name_of(failed_);
  if (failed_ == spawn_step::working_directory) what += ' ' + options_.working_directory;
  if (failed_ == spawn_step::program && !options_.program.empty()) what += ' ' + options_.program;
  throw spawn_error{failed_, std::error_code{error_, std::system_category()}, what};
}

void child_plan::open_null() {
  for (placement& each : placements_) {
    if (each.from != -1) continue;
    if (!null_) null_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null_)
      throw spawn_error{spawn_step::descriptors, std::error_code{errno, std::system_category()}, "spawn: /dev/null"};
    each.from = null_.get();
  }
}

// ----------------------------------------------------------------------------------------------------------- the child

GYRE_DETAIL_NEVER_RETURNS int child_plan::run(void* plan) noexcept {
  auto& mine = *static_cast<child_plan*>(plan);
  const spawn_step failed = mine.prepare();
  mine.error_ = failed == spawn_step::none ? mine.exec() : errno;
  mine.failed_ = failed == spawn_step::none ? spawn_step::program : failed;
  ::syscall(SYS_exit_group, exit_of_no_program);
  return exit_of_no_program;
}

// Each path in turn, as execvp(3) does, but for the shell where the kernel knows no such format. Returns an errno.
GYRE_DETAIL_NEVER_RETURNS int child_plan::exec() noexcept {
  int refusal = ENOENT;
  for (std::size_t each = 0; each < paths_.size(); ++each) {
    ::syscall(SYS_execve, paths_[each].c_str(), argv_.data(), envp_.data());
    const int error = errno;
    if (error != ENOENT && error != ENOTDIR && error != EACCES) return error;
    if (error == EACCES || paths_.size() == 1) refusal = error;
  }
  return refusal;
}

// Where it returns a step, errno says why.
spawn_step child_plan::prepare() noexcept {
  reset_signals();
  if (options_.group == child_group::session && ::syscall(SYS_setsid) < 0) return spawn_step::session;
  if (options_.group == child_group::own && ::syscall(SYS_setpgid, 0, 0) != 0) return spawn_step::group;
  if (options_.umask) ::syscall(SYS_umask, *options_.umask);
  if (options_.niceness && ::syscall(SYS_setpriority, PRIO_PROCESS, 0, *options_.niceness) != 0)
    return spawn_step::niceness;
  if (!options_.working_directory.empty() && ::syscall(SYS_chdir, options_.working_directory.c_str()) != 0)
    return spawn_step::working_directory;
  if (!place_descriptors()) return spawn_step::descriptors;
  if (!set_limits()) return spawn_step::limits;
  // Threads that an executor's thread has started have its timer slack, the smallest there is.
  if (::syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0) == 1)
    ::syscall(SYS_prctl, PR_SET_TIMERSLACK, usual_timer_slack_ns, 0, 0, 0);
  constexpr kernel_signals none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
  return spawn_step::none;
}

void child_plan::reset_signals() noexcept {
  kernel_action action;
  for (int number = 1; number <= last_signal; ++number)
    ::syscall(SYS_rt_sigaction, number, &action, nullptr, sizeof(kernel_signals));
  action.handler = SIG_IGN;
  for (std::size_t each = 0; each < options_.ignored_signals.size(); ++each)
    ::syscall(SYS_rt_sigaction, options_.ignored_signals[each], &action, nullptr, sizeof(kernel_signals));
}

bool child_plan::place_descriptors() noexcept {
  if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return false;
  for (std::size_t each = 0; each < placements_.size(); ++each) {
    on_the_way_[each] = static_cast<int>(::syscall(SYS_fcntl, placements_[each].from, F_DUPFD_CLOEXEC, first_above_));
    if (on_the_way_[each] < 0 && !placements_[each].may_be_closed) return false;
  }
  for (std::size_t each = 0; each < placements_.size(); ++each) {
    if (on_the_way_[each] < 0) continue;
    if (::syscall(SYS_dup3, on_the_way_[each], placements_[each].to, 0) < 0) return false;
  }
  return true;
}

bool child_plan::set_limits() noexcept {
  for (std::size_t each = 0; each < options_.limits.size(); ++each) {
    const auto& [resource, soft, hard] = options_.limits[each];
    const std::array<std::uint64_t, 2> limit{soft, hard};  // as the kernel has it on every machine
    if (::syscall(SYS_prlimit64, 0, resource, limit.data(), nullptr) != 0) return false;
  }
  return true;
}

}  // namespace gyre::fs::detail
