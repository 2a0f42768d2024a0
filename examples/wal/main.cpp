// SPDX-License-Identifier: MIT
// Keeps lines in a write-ahead log, each on the device before its number is printed.
//
//   wal append LOG [AT_A_TIME] < lines   a record for each line, AT_A_TIME (64) of them under way at once
//   wal dump LOG                         number and line of each record that is whole
//
// Kill it at any moment, or pull the plug: what has been printed is in the log. With many lines under way most of them
// share their sync with others: at the end it says how many there were.
#include "log.hpp"

#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

gyre::task<> append_line(wal::log& to, std::string line) {
  const auto number = co_await to.append(std::as_bytes(std::span{line}));
  std::printf("%" PRIu64 " %s\n", number, line.c_str());
  std::fflush(stdout);
}

gyre::task<> append_all(wal::log& to, std::size_t at_a_time) {
  const gyre::fs::file input{gyre::unique_fd{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)}};
  co_await gyre::with_task_group({.max_tasks = at_a_time}, [&](gyre::task_group& under_way) -> gyre::task<> {
    auto lines = gyre::fs::lines(input, /*line_bytes_max=*/1U << 20U);
    while (const auto line = co_await lines.next()) {
      co_await under_way.room();
      under_way.start(append_line(to, std::string{*line}));
    }
  });
}

gyre::task<> append_lines(std::string path, std::size_t at_a_time) {
  auto opened = co_await wal::log::open(std::move(path));
  if (const auto cut = opened.statistics().bytes_cut; cut > 0)
    std::fprintf(stderr, "%" PRIu64 " bytes of a torn end were cut off\n", cut);
  co_await append_all(opened, at_a_time);
  std::fprintf(stderr, "%" PRIu64 " records, %" PRIu64 " syncs\n", opened.statistics().records,
               opened.statistics().syncs);
}

gyre::task<> dump(std::string path) {
  const auto opened = co_await gyre::fs::file::open(std::move(path));
  auto all = wal::records(opened);
  while (const auto each = co_await all.next()) {
    const std::string line{reinterpret_cast<const char*>(each->bytes.data()), each->bytes.size()};
    std::printf("%" PRIu64 " %s\n", each->number, line.c_str());
  }
}

gyre::task<int> or_complain(gyre::task<> work) {
  try {
    co_await std::move(work);
    co_return EXIT_SUCCESS;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "wal: %s\n", error.what());
    co_return EXIT_FAILURE;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 2 ? argv[1] : "";
  const long at_a_time = argc == 4 ? std::strtol(argv[3], nullptr, 10) : 64;
  if (command == "append" && argc <= 4 && at_a_time > 0)
    return gyre::run(or_complain(append_lines(argv[2], static_cast<std::size_t>(at_a_time))));
  if (command == "dump" && argc == 3) return gyre::run(or_complain(dump(argv[2])));
  return std::fputs("usage: wal append LOG [AT_A_TIME] < lines\n       wal dump LOG\n", stderr), 2;
}
