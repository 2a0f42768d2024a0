// SPDX-License-Identifier: MIT
// A control group of CPUs for a child process: of cgroup v2, or of v1 where that has the controller.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace gyre::test {

/// Made with some CPUs, and removed when it goes: by then nobody is in it.
class cpuset {
 public:
  /// None where this machine, or who runs the test, may not: why() says so.
  static std::optional<std::string> why_not() {
    if (::geteuid() != 0) return "a control group of CPUs takes root";
    if (!hierarchy()) return "no hierarchy of control groups here has the controller cpuset";
    const cpuset tried{{0}};
    if (!tried.is_made_) return "a control group of CPUs could not be made below " + hierarchy()->string();
    return std::nullopt;
  }

  explicit cpuset(const std::vector<unsigned>& cpus)
      : folder_{*hierarchy() / ("gyre-test-" + std::to_string(::getpid()))} {
    std::error_code ignored;
    std::filesystem::create_directory(folder_, ignored);
    is_made_ = allow(cpus) && write("cpuset.mems", "0");
  }
  cpuset(const cpuset&) = delete;
  cpuset& operator=(const cpuset&) = delete;
  ~cpuset() {
    std::error_code ignored;
    std::filesystem::remove(folder_, ignored);  // the files in it go with it
  }

  /// Gives it other CPUs: the kernel moves who is in it.
  bool allow(const std::vector<unsigned>& cpus) const {
    std::string list;
    for (const unsigned each : cpus) list += (list.empty() ? "" : ",") + std::to_string(each);
    return write("cpuset.cpus", list);
  }

  /// Takes the calling process, which has one thread, in.
  [[nodiscard]] bool enter() const { return write("cgroup.procs", std::to_string(::getpid())); }

 private:
  static std::optional<std::filesystem::path> hierarchy() {
    const std::filesystem::path v1 = "/sys/fs/cgroup/cpuset";
    if (std::filesystem::exists(v1 / "cpuset.cpus")) return v1;
    const std::filesystem::path v2 = "/sys/fs/cgroup";
    std::ifstream controllers{v2 / "cgroup.controllers"};
    for (std::string each; controllers >> each;) {
      if (each != "cpuset") continue;
      std::ofstream{v2 / "cgroup.subtree_control"} << "+cpuset" << std::flush;  // most likely it is on already
      return v2;
    }
    return std::nullopt;
  }

  [[nodiscard]] bool write(const std::string& file, const std::string& text) const {
    std::ofstream into{folder_ / file};
    into << text << std::flush;
    return into.good();
  }

  std::filesystem::path folder_;
  bool is_made_ = false;
};

}  // namespace gyre::test
