// SPDX-License-Identifier: MIT
// Prints the lines of files that hold a text, as grep -aF does.
//
//   grep_files [-c] [-l] [-n] [-r] TEXT FILE...
//
//   -c  how many lines of each file hold it     -n  with the number of each line
//   -l  the names of the files that do          -r  directories too, with all that is below, sorted by name
//
// Up to 32 files are searched at a time, each with its next chunk being read; what they give is printed in the order of
// the files. Exits with 0 when there was such a line, with 1 when there was none, with 2 when a file could not be read.
#include <gyre/fs/file.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/read_ahead.hpp>
#include <gyre/fs/walk.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t side_by_side = 32;
constexpr gyre::fs::read_ahead_options chunks_of_64_kib{.chunk_bytes = std::size_t{64} << 10U};

struct question {
  std::string text;
  bool counts = false;
  bool names_only = false;
  bool numbers = false;
  bool recursive = false;
  bool tells_file = false;  // in front of each line, as there are several
};

// What is to be printed of a file.
struct answer {
  std::string lines;
  std::string error;
  bool found = false;
};

// Looks at a file piece by piece, and keeps what is behind its last complete line.
class search {
 public:
  search(const question& asked, const std::string& path) : asked_{asked}, path_{path} {}

  void take(std::span<const std::byte> piece) {
    rest_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    std::size_t begin = 0;
    for (auto end = rest_.find('\n', looked_at_); end != std::string::npos; end = rest_.find('\n', begin)) {
      look_at(std::string_view{rest_}.substr(begin, end - begin));
      begin = end + 1;
    }
    rest_.erase(0, begin);
    looked_at_ = rest_.size();
  }

  [[nodiscard]] bool has_seen_enough() const noexcept { return asked_.names_only && count_ > 0; }

  answer finish() {
    if (!rest_.empty()) look_at(rest_);
    if (asked_.names_only) lines_ = count_ > 0 ? path_ + "\n" : "";
    else if (asked_.counts) lines_ = (asked_.tells_file ? path_ + ":" : "") + std::to_string(count_) + "\n";
    return {.lines = std::move(lines_), .error = {}, .found = count_ > 0};
  }

 private:
  void look_at(std::string_view line) {
    ++number_;
    if (line.find(asked_.text) == std::string_view::npos) return;
    ++count_;
    if (asked_.counts || asked_.names_only) return;
    if (asked_.tells_file) lines_ += path_ + ":";
    if (asked_.numbers) lines_ += std::to_string(number_) + ":";
    (lines_ += line) += '\n';
  }

  const question& asked_;
  const std::string& path_;
  std::string rest_;
  std::size_t looked_at_ = 0;  // of the rest, in which there is no end of a line
  std::string lines_;
  std::uint64_t number_ = 0;
  std::uint64_t count_ = 0;
};

gyre::task<answer> search_file(const question& asked, const std::string& path) {
  try {
    const auto opened = co_await gyre::fs::file::open(path);
    search one{asked, path};
    co_await gyre::fs::with_read_ahead(opened, chunks_of_64_kib, [&](gyre::fs::chunks_ahead& chunks) -> gyre::task<> {
      while (!one.has_seen_enough()) {
        const auto chunk = co_await chunks.next();
        if (!chunk) break;
        one.take(*chunk);
      }
    });
    co_return one.finish();
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::operation_canceled) throw;
    co_return answer{.lines = {}, .error = "grep_files: " + path + ": " + error.code().message(), .found = false};
  }
}

// The files below a directory, sorted; or what was named.
gyre::task<> add_files(const question& asked, std::string path, std::vector<std::string>& to) {
  if (!asked.recursive || !(co_await gyre::fs::exists(path))) co_return to.push_back(std::move(path));
  const auto about = co_await gyre::fs::metadata_of(path);
  if (!about.is_directory()) co_return to.push_back(std::move(path));
  const auto begin = static_cast<std::ptrdiff_t>(to.size());
  auto all = gyre::fs::walk(path);
  while (auto entry = co_await all.next()) {
    if (entry->kind == gyre::fs::file_kind::regular)
      to.push_back(path + (path.ends_with('/') ? "" : "/") + entry->path);
  }
  std::sort(to.begin() + begin, to.end());
}

class grep {
 public:
  explicit grep(question asked) : asked_{std::move(asked)} {}

  gyre::task<int> all_of(std::vector<std::string> named) {
    std::vector<std::string> paths;
    for (auto& each : named) co_await add_files(asked_, std::move(each), paths);
    asked_.tells_file = named.size() > 1 || asked_.recursive;
    co_await gyre::with_task_group([&](gyre::task_group& group) -> gyre::task<> {
      std::deque<gyre::task_handle<answer>> ahead;
      for (const auto& path : paths) {
        if (ahead.size() == side_by_side) co_await print_first(ahead);
        ahead.push_back(group.start_with_result(search_file(asked_, path)));
      }
      while (!ahead.empty()) co_await print_first(ahead);
    });
    co_return has_failed_ ? 2 : has_found_ ? 0 : 1;
  }

 private:
  gyre::task<> print_first(std::deque<gyre::task_handle<answer>>& ahead) {
    const answer first = co_await std::move(ahead.front());
    ahead.pop_front();
    if (!first.error.empty()) std::fprintf(stderr, "%s\n", first.error.c_str());
    has_failed_ = has_failed_ || !first.error.empty();
    has_found_ = has_found_ || first.found;
    co_await out_.write_all(std::as_bytes(std::span{first.lines}));
  }

  question asked_;
  const gyre::fs::file out_{gyre::unique_fd{::dup(STDOUT_FILENO)}};
  bool has_found_ = false;
  bool has_failed_ = false;
};

gyre::task<int> print_all(question asked, std::vector<std::string> named) {
  try {
    grep all{std::move(asked)};
    co_return co_await all.all_of(std::move(named));
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "grep_files: %s\n", error.what());
    co_return 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  question asked;
  for (int letter = 0; (letter = ::getopt(argc, argv, "+clnr")) != -1;) {
    asked.counts = asked.counts || letter == 'c';
    asked.names_only = asked.names_only || letter == 'l';
    asked.numbers = asked.numbers || letter == 'n';
    asked.recursive = asked.recursive || letter == 'r';
    if (letter == '?') return 2;
  }
  if (argc - optind < 2) return std::fputs("usage: grep_files [-c] [-l] [-n] [-r] TEXT FILE...\n", stderr), 2;
  asked.text = argv[optind];
  return gyre::run(print_all(std::move(asked), {argv + optind + 1, argv + argc}));
}
