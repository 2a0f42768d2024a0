// SPDX-License-Identifier: MIT
// How long does it take to copy a file of 1 GiB that is in the page cache, by the kernel and by the program?
//
// The floor is cp of coreutils, which is told to do the same: `--reflink=auto` asks for a reflink and then for
// copy_file_range(2), `--reflink=never` reads and writes. The copy is not waited for until it is on the device.
#include "support/die.hpp"
#include "support/size.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gyre/fs/copy.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

const std::size_t file_bytes = bench::size_of_run(std::size_t{1} << 30U, std::size_t{16} << 20U);

// A folder with the file, of bytes that no file system takes for a hole.
struct scene {
  scene() {
    const gyre::unique_fd made{::open(from.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    if (!made) bench::die("open", errno);
    const std::vector<std::byte> piece(std::size_t{1} << 20U, std::byte{1});
    for (std::size_t filled = 0; filled < file_bytes; filled += piece.size()) {
      if (::write(made.get(), piece.data(), piece.size()) != static_cast<::ssize_t>(piece.size()))
        bench::die("write", errno);
    }
    ::fsync(made.get());
  }
  scene(const scene&) = delete;
  scene& operator=(const scene&) = delete;
  ~scene() { std::filesystem::remove_all(folder); }

  // Between two copies, off the clock.
  void check_and_remove(benchmark::State& state) const {
    state.PauseTiming();
    if (std::filesystem::file_size(to) != file_bytes) state.SkipWithError("a copy of another size");
    std::filesystem::remove(to);
    state.ResumeTiming();
  }

  static std::string made_folder() {
    std::string name = "/var/tmp/gyre-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) bench::die("mkdtemp", errno);
    return name;
  }

  const std::string folder = made_folder();
  const std::string from = folder + "/from";
  const std::string to = folder + "/to";
};

void by_cp(benchmark::State& state, const char* reflink) {
  const scene set;
  for ([[maybe_unused]] auto _ : state) {
    std::array<const char*, 5> arguments{"cp", reflink, set.from.c_str(), set.to.c_str(), nullptr};
    ::pid_t child = -1;
    const int error =
        ::posix_spawnp(&child, "cp", nullptr, nullptr, const_cast<char* const*>(arguments.data()), environ);
    if (error != 0) bench::die("cp", error);
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) bench::die("cp", EIO);
    set.check_and_remove(state);
  }
  state.SetItemsProcessed(state.iterations());
}

void by_gyre(benchmark::State& state, bool reflink) {
  const scene set;
  gyre::executor loop;
  for ([[maybe_unused]] auto _ : state) {
    loop.run(gyre::fs::copy(set.from, set.to, {.reflink = reflink}));
    set.check_and_remove(state);
  }
  state.SetItemsProcessed(state.iterations());
}

void copy_floor(benchmark::State& state) { by_cp(state, "--reflink=auto"); }
void copy_gyre(benchmark::State& state) { by_gyre(state, /*reflink=*/true); }
void plain_copy_floor(benchmark::State& state) { by_cp(state, "--reflink=never"); }
void plain_copy_gyre(benchmark::State& state) { by_gyre(state, /*reflink=*/false); }

}  // namespace

BENCHMARK(copy_floor)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(copy_gyre)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(plain_copy_floor)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(plain_copy_gyre)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_MAIN();
