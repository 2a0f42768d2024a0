// SPDX-License-Identifier: MIT
// Counts the lines, words and bytes of many files: one task names them, some read and count, one prints.
//
//   pipeline *.md                        pipeline --workers 2 /usr/include/*.h
//
// Two channels connect the three stages. Each holds a few items: a slow stage makes those before it wait, and nothing
// piles up. A stage that is done closes its channel, which ends the next one. Ctrl-C stops all of them.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/channel.hpp>

#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using gyre::sync::channel;

struct counted {
  std::string path;
  std::uint64_t lines = 0;
  std::uint64_t words = 0;
  std::uint64_t bytes = 0;
  std::error_code error{};
};

gyre::task<> count_into(counted& result) {
  const auto file = co_await gyre::fs::file::open(result.path.c_str());
  std::array<std::byte, 16384> buffer;
  bool in_word = false;
  while (const std::size_t n = co_await file.read_at(buffer, result.bytes)) {
    for (const std::byte each : std::span{buffer}.first(n)) {
      const bool is_space = std::isspace(std::to_integer<unsigned char>(each)) != 0;
      if (each == std::byte{'\n'}) ++result.lines;
      if (!is_space && !in_word) ++result.words;
      in_word = !is_space;
    }
    result.bytes += n;
  }
}

gyre::task<> name_files(std::vector<std::string> paths, channel<std::string>& to) {
  for (auto& each : paths)
    if (!co_await to.send(std::move(each))) co_return;
  to.close();
}

gyre::task<> count_files(channel<std::string>& from, channel<counted>& to) {
  while (auto path = co_await from.receive()) {
    counted result{.path = std::move(*path)};
    try {
      co_await count_into(result);
    } catch (const std::system_error& error) {
      result.error = error.code();
    }
    if (!co_await to.send(std::move(result))) co_return;
  }
}

gyre::task<> count_by_many(unsigned workers_count, channel<std::string>& from, channel<counted>& to) {
  co_await gyre::with_task_group([&](gyre::task_group& workers) -> gyre::task<> {
    for (unsigned each = 0; each < workers_count; ++each) workers.start(count_files(from, to));
    co_return;
  });
  to.close();  // when the last of them has ended
}

gyre::task<> print(channel<counted>& from) {
  while (const auto each = co_await from.receive()) {
    if (each->error) std::fprintf(stderr, "pipeline: %s: %s\n", each->path.c_str(), each->error.message().c_str());
    else
      std::printf("%7ju %7ju %9ju %s\n", std::uintmax_t{each->lines}, std::uintmax_t{each->words},
                  std::uintmax_t{each->bytes}, each->path.c_str());
  }
}

gyre::task<> run_pipeline(unsigned workers_count, std::vector<std::string> paths) {
  channel<std::string> named{16};
  channel<counted> results{16};
  co_await gyre::with_task_group([&](gyre::task_group& stages) -> gyre::task<> {
    stages.start(name_files(std::move(paths), named));
    stages.start(count_by_many(workers_count, named, results));
    stages.start(print(results));
    co_return;
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> paths{argv + 1, argv + argc};
  unsigned workers_count = 4;
  if (paths.size() >= 2 && paths[0] == "--workers") {
    workers_count = static_cast<unsigned>(std::strtoul(paths[1].c_str(), nullptr, 10));
    paths.erase(paths.begin(), paths.begin() + 2);
  }
  if (paths.empty() || workers_count == 0) return std::fputs("usage: pipeline [--workers N] FILE...\n", stderr), 2;
  return gyre::run(run_pipeline(workers_count, std::move(paths)));
}
