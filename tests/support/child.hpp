// SPDX-License-Identifier: MIT
// A function in a process of its own, for what ends processes: exit statuses, signals, and what is said on the way.
#pragma once

#include <gyre/runtime/detail/sanitizers.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>

namespace gyre::test {

/// ThreadSanitizer starts no thread in the child of a process that has several.
inline constexpr bool sanitizer_forbids_threads_in_child = GYRE_DETAIL_THREAD_SANITIZER;

/// How a child process ended.
struct child_end {
  int exit_status = -1;  // -1 when a signal killed it
  int killed_by = 0;
  std::string errors;  // what it wrote to its standard error
};

/// Says one letter to the parent of a child process: see child::hears().
inline void say(char letter) { static_cast<void>(::write(STDOUT_FILENO, &letter, 1)); }

/// A process that runs `fn(): int` and exits with what that returns. Its standard output is for say().
class child {
 public:
  template <class Fn>
  explicit child(Fn fn) {
    std::array<int, 2> said{};
    std::array<int, 2> errors{};
    if (::pipe2(said.data(), O_CLOEXEC) != 0 || ::pipe2(errors.data(), O_CLOEXEC) != 0)
      throw std::runtime_error{"pipe"};
    std::fflush(nullptr);  // else the child may print the same once more
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(said[1], STDOUT_FILENO);
      ::dup2(errors[1], STDERR_FILENO);
      for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV}) std::signal(number, SIG_DFL);
      const int status = fn();
      std::fflush(nullptr);
      ::_exit(status);
    }
    ::close(said[1]);
    ::close(errors[1]);
    said_.reset(said[0]);
    errors_.reset(errors[0]);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  /// Waits for the next letter that the child says; 0 when it has ended.
  char hears() {
    char letter = 0;
    return ::read(said_.get(), &letter, 1) == 1 ? letter : '\0';
  }

  void signal(int number) { ::kill(pid_, number); }

  child_end wait() {
    child_end ended;
    std::array<char, 512> piece{};
    for (ssize_t count = 0; (count = ::read(errors_.get(), piece.data(), piece.size())) > 0;)
      ended.errors.append(piece.data(), static_cast<std::size_t>(count));
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    if (WIFEXITED(status)) ended.exit_status = WEXITSTATUS(status);
    else ended.killed_by = WTERMSIG(status);
    return ended;
  }

 private:
  pid_t pid_ = -1;
  unique_fd said_;
  unique_fd errors_;
};

}  // namespace gyre::test
