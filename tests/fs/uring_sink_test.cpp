// SPDX-License-Identifier: MIT
// Lines of a log through the ring: every order of logging, writing, flushing and ending on the scripted ring; threads,
// rotation, full disks and sudden ends on the kernel.
#include <gyre/fs/uring_sink.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/event.hpp>

#include "../support/captured_log.hpp"
#include "../support/child.hpp"
#include "../support/outcome.hpp"
#include "../support/scripted.hpp"
#include "../support/small_disk.hpp"
#include "../support/temp_folder.hpp"
#include "../support/turning.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

using namespace std::chrono_literals;
using namespace test;

using sink_ptr = std::shared_ptr<uring_sink>;
using request = detail::scripted_ring::request;

std::shared_ptr<spdlog::logger> logger_of(const sink_ptr& sink) {
  auto made = std::make_shared<spdlog::logger>("test", sink);
  made->set_pattern("%v");
  return made;
}

// A sink whose file a test is: it opens at once, writes wait for the test, and what was written is kept.
struct scripted_sink : scripted_executor {
  explicit scripted_sink(uring_sink_options chosen = {}, std::string its_path = "log")
      : options{chosen}, path{std::move(its_path)}, root{loop.start(region(*this))} {
    script.answer = [this](const request& asked) { return answered(asked); };
    loop.run_ready();
    REQUIRE(sink != nullptr);
    logger = logger_of(sink);
    logger->set_error_handler([this](const std::string& what) { errors.push_back(what); });
  }

  ~scripted_sink() {
    may_end.set();
    loop.run_ready();
    while (write_all()) {
    }
    CHECK(root.done());
  }

  void log(const std::string& line) { logger->info(line); }

  // What is being written, if anything is.
  std::string in_flight() {
    const auto writes = script.in_flight(IORING_OP_WRITE);
    CHECK(writes.size() <= 1);
    return writes.empty() ? std::string{} : std::string{bytes_of_request(writes.front())};
  }

  bool write_all() { return write_some(SIZE_MAX); }
  bool write_some(std::size_t most) {
    const auto writes = script.in_flight(IORING_OP_WRITE);
    if (writes.empty()) return false;
    const auto bytes = bytes_of_request(writes.front()).substr(0, most);
    written += bytes;
    script.complete(writes.front(), static_cast<std::int32_t>(bytes.size()));
    loop.run_ready();
    return true;
  }
  void fail(int error) {
    script.complete(script.only(IORING_OP_WRITE), -error);
    loop.run_ready();
  }

  void end() {
    may_end.set();
    loop.run_ready();
  }

  uring_sink_options options;
  std::string path;  // "log" is no file
  sync::event may_end;
  sink_ptr sink;
  std::shared_ptr<spdlog::logger> logger;
  std::vector<std::string> errors;
  std::string written;
  root_task<void> root;

 private:
  static task<> region(scripted_sink& mine) {
    co_await with_uring_sink(mine.path, mine.options, [&mine](sink_ptr given) -> task<> {
      mine.sink = std::move(given);
      co_await mine.may_end.wait();
    });
  }

  static std::string_view bytes_of_request(const request& write) {
    return {reinterpret_cast<const char*>(write.addr), write.len};  // NOLINT(performance-no-int-to-ptr)
  }

  std::optional<std::int32_t> answered(const request& asked) const {
    switch (asked.opcode) {
      case IORING_OP_OPENAT:
        return ::open(path == "log" ? "/dev/null" : path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
      case IORING_OP_STATX:
        return 0;
      case IORING_OP_CLOSE:
        return ::close(asked.fd);
      default:
        return std::nullopt;
    }
  }
};

std::vector<std::string> lines_in(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) found.push_back(line);
  return found;
}

// Runs `body(sink)` on the kernel, with a sink to `path`.
template <class Fn>
void with_sink(const std::string& path, const uring_sink_options& options, Fn body) {
  executor loop;
  loop.run([&]() -> task<> { co_await with_uring_sink(path, options, body); });
}

// Four threads log so many lines each, "thread number", while the executor writes them.
constexpr int threads_count = 4;

task<> log_on_threads(sink_ptr sink, int lines_each) {
  co_await with_task_group([&](task_group& group) -> task<> {
    for (int thread = 0; thread < threads_count; ++thread)
      group.start(
          [](sink_ptr mine, int number, int count) -> task<> {
            co_await offload([&] {
              spdlog::logger out{"thread", mine};
              for (int line = 0; line < count; ++line) out.info("{} {}", number, line);
            });
          },
          sink, thread, lines_each);
    co_return;
  });
}

// How many lines of the threads there are in a log; each thread's in its order.
std::uint64_t count_in_order(const std::vector<std::string>& log) {
  std::array<int, threads_count> last{};
  last.fill(-1);
  std::uint64_t count = 0;
  for (const auto& line : log) {
    std::istringstream in{line};
    int thread = -1;
    int number = -1;
    if (!(in >> thread >> number) || thread < 0 || thread >= threads_count) continue;
    CHECK(number > last[static_cast<std::size_t>(thread)]);
    last[static_cast<std::size_t>(thread)] = number;
    ++count;
  }
  return count;
}

}  // namespace

// ------------------------------------------------------------------------------------------------------ on the kernel

TEST_CASE("lines are in the file when the region has ended, in the pattern and at the level of their logger") {
  const temp_folder folder;
  const auto path = folder.file("log", "before\n");

  with_sink(path, {}, [](sink_ptr sink) -> task<> {
    spdlog::logger out{"name", std::move(sink)};
    out.set_pattern("%n|%l|%v");
    out.set_level(spdlog::level::warn);
    out.info("not this one");
    out.warn("a {}", "line");
    co_await this_task::yield();
    out.error("another");
  });

  CHECK(content_of(path) == "before\nname|warning|a line\nname|error|another\n");
}

TEST_CASE("the region gives what its body gives, and throws what it throws, with the lines written") {
  const temp_folder folder;
  const auto path = folder.file("log");
  executor loop;
  const auto answer = [&](bool fails) {
    return loop.run([&]() -> task<int> {
      co_return co_await with_uring_sink(path, {.truncate = true}, [fails](sink_ptr sink) -> task<int> {
        logger_of(sink)->info("fails: {}", fails);
        if (fails) throw std::runtime_error{"on purpose"};
        co_return 42;
      });
    });
  };

  CHECK(answer(false) == 42);
  CHECK(content_of(path) == "fails: false\n");
  CHECK_THROWS_WITH(answer(true), "on purpose");
  CHECK(content_of(path) == "fails: true\n");
}

TEST_CASE("a file that cannot be opened is an error of the region, and its body does not run") {
  executor loop;
  bool ran = false;
  const auto failed = loop.run([&]() -> task<std::error_code> {
    const auto ended = co_await as_result(with_uring_sink("/nowhere/log", {}, [&ran](const sink_ptr&) -> task<> {
      ran = true;
      co_return;
    }));
    co_return ended.error();
  });

  CHECK(failed == std::errc::no_such_file_or_directory);
  CHECK(!ran);
}

TEST_CASE("a body that cancels its own region leaves no value: operation_canceled") {
  const temp_folder folder;
  executor loop;
  const auto failed = loop.run([&]() -> task<std::error_code> {
    const auto ended = co_await as_result(with_uring_sink(folder.file("log"), {}, [](sink_ptr sink) -> task<int> {
      logger_of(sink)->info("the last line");
      (co_await this_task::scope()).cancel();
      co_await sleep_for(24h);
      co_return 1;
    }));
    co_return ended.error();
  });

  CHECK(failed == std::errc::operation_canceled);
  CHECK(content_of(folder.file("log")) == "the last line\n");
}

TEST_CASE("what is logged after the region is written where it is logged") {
  const temp_folder folder;
  const auto path = folder.file("log");
  sink_ptr kept;
  with_sink(path, {}, [&](sink_ptr sink) -> task<> {
    kept = sink;
    logger_of(sink)->info("during");
    co_return;
  });

  const auto out = logger_of(kept);
  out->info("after");
  CHECK(content_of(path) == "during\nafter\n");
  out->flush();
  executor another;
  another.run([&]() -> task<> {
    co_await kept->flushed();
    co_await kept->room();
  });
}

TEST_CASE(
    "the region leaves no descriptor, and a late line that cannot be written goes to the logger's error handler") {
  const temp_folder folder;
  sink_ptr kept;
  executor loop;
  const auto before = open_descriptors_count();
  loop.run([&]() -> task<> {
    co_await with_uring_sink(folder.file("log"), {}, [&](sink_ptr sink) -> task<> {
      kept = std::move(sink);
      co_return;
    });
  });
  CHECK(open_descriptors_count() == before);

  std::filesystem::remove_all(folder.path());
  std::vector<std::string> errors;
  const auto out = logger_of(kept);
  out->set_error_handler([&](const std::string& what) { errors.push_back(what); });
  out->info("nowhere to go");
  REQUIRE(errors.size() == 1);
  CHECK(errors.front().find("cannot write to " + folder.file("log")) != std::string::npos);
  std::filesystem::create_directory(folder.path());
}

TEST_CASE("four threads log ten thousand lines each through a small buffer, and none is lost") {
  const temp_folder folder;
  const auto path = folder.file("log");
  constexpr int lines_each = 10'000;
  uring_sink_statistics counted;

  with_sink(path, {.buffer_bytes = 4096}, [&](sink_ptr sink) -> task<> {
    sink->set_pattern("%v");
    co_await log_on_threads(sink, lines_each);
    co_await sink->flushed();
    counted = sink->statistics();
  });

  CHECK(count_in_order(lines_in(content_of(path))) == threads_count * lines_each);
  CHECK(counted.lines == threads_count * lines_each);
  CHECK(counted.dropped_lines == 0);
  CHECK(counted.overdraft_peak == 0);
  CHECK(counted.bytes == std::filesystem::file_size(path));
  CHECK(counted.batches < counted.lines);
}

TEST_CASE("what four threads have dropped is counted to the line, and told in the log") {
  const temp_folder folder;
  const auto path = folder.file("log");
  constexpr int lines_each = 10'000;
  uring_sink_statistics counted;

  with_sink(path, {.buffer_bytes = 256, .when_full = full_log::drop}, [&](sink_ptr sink) -> task<> {
    sink->set_pattern("%v");
    co_await log_on_threads(sink, lines_each);
    co_await sink->flushed();
    counted = sink->statistics();
  });

  const auto log = lines_in(content_of(path));
  std::uint64_t told = 0;
  for (const auto& line : log)
    if (line.find("dropped: the buffer was full") != std::string::npos) told += std::stoull(line);
  CHECK(counted.dropped_lines > 0);
  CHECK(count_in_order(log) + counted.dropped_lines == threads_count * lines_each);
  CHECK(counted.lines + counted.dropped_lines == threads_count * lines_each);
  CHECK(told == counted.dropped_lines);
}

TEST_CASE("a plain thread's flush() returns when its lines are in the file") {
  const temp_folder folder;
  const auto path = folder.file("log");
  std::vector<std::string> seen;

  with_sink(path, {}, [&](sink_ptr sink) -> task<> {
    co_await offload([&] {
      const auto out = logger_of(sink);
      out->flush_on(spdlog::level::err);
      for (int each = 0; each < 100; ++each) {
        out->error("{}", each);
        seen.push_back(lines_in(content_of(path)).back());
      }
    });
  });

  REQUIRE(seen.size() == 100);
  for (int each = 0; each < 100; ++each) CHECK(seen[static_cast<std::size_t>(each)] == std::to_string(each));
}

TEST_CASE("coroutines of another executor wait for room and for their lines") {
  const temp_folder folder;
  const auto path = folder.file("log");
  constexpr int lines_count = 5000;
  std::uint64_t lines_seen = 0;

  with_sink(path, {.buffer_bytes = 512}, [&](sink_ptr sink) -> task<> {
    co_await offload([&] {
      executor another;
      another.run([&]() -> task<> {
        const auto out = logger_of(sink);
        for (int each = 0; each < lines_count; ++each) {
          co_await sink->room();
          out->info("{}", each);
        }
        co_await sink->flushed();
      });
      lines_seen = lines_in(content_of(path)).size();
    });
    CHECK(sink->statistics().overdraft_peak < 16);
  });

  CHECK(lines_seen == lines_count);
}

TEST_CASE("reopen() leaves the old file to who renamed it, and goes on in a new one") {
  const temp_folder folder;
  const auto path = folder.file("log");
  uring_sink_statistics counted;

  with_sink(path, {.truncate = true}, [&](sink_ptr sink) -> task<> {
    const auto out = logger_of(sink);
    out->info("old");
    co_await sink->flushed();
    std::filesystem::rename(path, path + ".old");
    sink->reopen();
    co_await sink->flushed();
    out->info("new");
    co_await sink->flushed();
    sink->reopen();  // the same file: it is not emptied
    out->info("newer");
    co_await sink->flushed();
    counted = sink->statistics();
  });

  CHECK(content_of(path + ".old") == "old\n");
  CHECK(content_of(path) == "new\nnewer\n");
  CHECK(counted.rotations == 2);
}

TEST_CASE("where the name cannot be opened anew the sink stays with its file, and tells the logger's error handler") {
  const temp_folder folder;
  std::filesystem::create_directory(folder.file("there"));
  const auto path = folder.file("there/log");
  std::vector<std::string> errors;

  with_sink(path, {}, [&](sink_ptr sink) -> task<> {
    const auto out = logger_of(sink);
    out->set_error_handler([&](const std::string& what) { errors.push_back(what); });
    out->info("one");
    co_await sink->flushed();
    std::filesystem::rename(folder.file("there"), folder.file("elsewhere"));
    sink->reopen();
    co_await sink->flushed();
    out->info("two");
  });

  CHECK(content_of(folder.file("elsewhere/log")) == "one\ntwo\n");
  REQUIRE(errors.size() == 1);
  CHECK(errors.front().find("cannot open " + path) != std::string::npos);
}

TEST_CASE("files are rotated where spdlog's rotating_file_sink rotates, byte for byte") {
  const temp_folder folder;
  for (const std::size_t files_max : {0, 1, 3}) {
    const auto ours = folder.file("ours" + std::to_string(files_max) + ".txt");
    const auto theirs = folder.file("theirs" + std::to_string(files_max) + ".txt");
    constexpr std::size_t limit = 1000;
    const auto line = [](int number) { return std::string(static_cast<std::size_t>(1 + number * 37 % 300), 'x'); };
    {
      spdlog::logger out{"theirs", std::make_shared<spdlog::sinks::rotating_file_sink_st>(theirs, limit, files_max)};
      out.set_pattern("%v");
      for (int each = 0; each < 100; ++each) out.info("{} {}", each, line(each));
    }

    with_sink(ours, {.rotate_bytes = limit, .rotated_files_max = files_max}, [&](sink_ptr sink) -> task<> {
      const auto out = logger_of(sink);
      for (int each = 0; each < 100; ++each) {
        out->info("{} {}", each, line(each));
        if (each % 7 == 0) co_await sink->flushed();
      }
    });

    using spdlog::sinks::rotating_file_sink_st;
    for (std::size_t index = 0; index <= files_max + 1; ++index) {
      const auto mine = rotating_file_sink_st::calc_filename(ours, index);
      CHECK(std::filesystem::exists(mine) == (index <= files_max));
      CHECK(content_of(mine) == content_of(rotating_file_sink_st::calc_filename(theirs, index)));
    }
  }
}

TEST_CASE("a line that is longer than a file may be has one for itself, and the size of a file that is there counts") {
  const temp_folder folder;
  const auto path = folder.file("log", std::string(90, 'a') + "\n");

  with_sink(path, {.rotate_bytes = 100}, [&](sink_ptr sink) -> task<> {
    const auto out = logger_of(sink);
    out->info(std::string(20, 'b'));
    out->info(std::string(500, 'c'));
    out->info("d");
    co_return;
  });

  CHECK(content_of(path) == "d\n");
  CHECK(content_of(folder.file("log.1")) == std::string(500, 'c') + "\n");
  CHECK(content_of(folder.file("log.2")) == std::string(20, 'b') + "\n");
  CHECK(content_of(folder.file("log.3")) == std::string(90, 'a') + "\n");
}

TEST_CASE("a file that cannot be rotated becomes longer, and the logger's error handler hears of it") {
  const temp_folder folder;
  const auto path = folder.file("log");
  std::filesystem::create_directories(path + ".1/full");  // no file can have this name
  std::vector<std::string> errors;

  with_sink(path, {.rotate_bytes = 10, .rotated_files_max = 1}, [&](sink_ptr sink) -> task<> {
    const auto out = logger_of(sink);
    out->set_error_handler([&](const std::string& what) { errors.push_back(what); });
    for (const char* each : {"12345678", "abcdefgh", "ABCDEFGH"}) {
      out->info(each);
      co_await sink->flushed();
    }
    out->info("!");
  });

  CHECK(content_of(path) == "12345678\nabcdefgh\nABCDEFGH\n!\n");
  REQUIRE(!errors.empty());
  CHECK(errors.front().find("cannot rotate " + path) != std::string::npos);
}

TEST_CASE("a disk that is full loses lines with a count, and the log goes on when there is room again") {
  const temp_folder folder;
  CHECK(holds_on_small_disk(folder.path(), [&] {
    const auto path = folder.file("log");
    const auto hog = folder.file("hog", std::string(200 * 1024, 'x'));
    std::vector<std::string> errors;
    uring_sink_statistics counted;
    with_sink(path, {}, [&](sink_ptr sink) -> task<> {
      const auto out = logger_of(sink);
      out->set_error_handler([&](const std::string& what) { errors.push_back(what); });
      for (int each = 0; each < 100; ++each) {
        out->info(std::string(1023, 'a'));
        co_await sink->flushed();
      }
      std::filesystem::remove(hog);
      out->info("there is room");
      co_await sink->flushed();
      counted = sink->statistics();
    });
    const auto log = lines_in(content_of(path));
    const auto whole = static_cast<std::uint64_t>(std::ranges::count(log, std::string(1023, 'a')));
    const auto told = std::to_string(counted.lost_lines) + " lines lost: No space left on device";
    return counted.lost_lines > 0 && whole + counted.lost_lines == 100 && !errors.empty() &&
           errors.front().find("No space left on device") != std::string::npos && log.back() == "there is room" &&
           std::ranges::count(log, told) == 1;
  }));
}

// ------------------------------------------------------------------------------------------------------- sudden ends

namespace {

// What is in the log of a process that logs three lines, the first of them some time before the others, and then ends
// by `how`. The kernel may have the first batch, or not.
std::string log_of_end(const std::function<void()>& how, child_end& end, const run_options& options = {}) {
  const temp_folder folder;
  const auto path = folder.file("log");
  end = child{[&] {
          return run(
              [](std::string to, std::function<void()> ends) -> task<> {
                co_await with_uring_sink(to, {}, [&ends](sink_ptr sink) -> task<> {
                  const auto out = logger_of(sink);
                  out->info("first");
                  co_await this_task::yield();
                  out->info("second");
                  co_await this_task::yield();
                  out->info("third");
                  ends();
                  co_await shield(sleep_for(24h));
                });
              }(path, how),
              options);
        }}.wait();
  return content_of(path);
}

constexpr const char* all_three = "first\nsecond\nthird\n";

}  // namespace

TEST_CASE("lines are in the file, once, when an assertion fails, or nobody catches an exception") {
  child_end end;
  CHECK(log_of_end([] { GYRE_ASSERT(false, "on purpose"); }, end) == all_three);
  CHECK(end.killed_by == SIGABRT);

  CHECK(log_of_end([] { std::terminate(); }, end) == all_three);
  CHECK(end.killed_by == SIGABRT);
}

TEST_CASE("lines are in the file when run() does not wait any longer") {
  child_end end;
  CHECK(log_of_end([] { std::raise(SIGTERM); }, end, {.grace_period = 1ms}) == all_three);
  CHECK(end.exit_status == EXIT_FAILURE);
}

TEST_CASE("lines are in the file when the program's own crash handler has last words said") {
  child_end end;
  const auto log = log_of_end(
      [] {
        std::signal(SIGABRT, [](int) { last_words::say_all(); });
        std::abort();
      },
      end);
  CHECK(log == all_three);
  CHECK(end.killed_by == SIGABRT);
}

TEST_CASE("a program that goes on after its last words logs on, without a batch") {
  const temp_folder folder;
  scripted_sink on{{}, folder.file("log", "")};
  on.log("one");

  last_words::say_all();
  CHECK(content_of(folder.file("log")) == "one\n");
  on.log("two");
  CHECK(content_of(folder.file("log")) == "one\ntwo\n");
  on.end();
  CHECK(on.root.done());
}

// ------------------------------------------------------------------------------------------------ on the scripted ring

TEST_CASE("what one turn logs is one batch, and what comes while it is written is the next") {
  scripted_sink on;
  CHECK(on.in_flight().empty());

  on.log("a");
  on.log("b");
  on.loop.run_ready();
  CHECK(on.in_flight() == "a\nb\n");

  on.log("c");
  on.log("d");
  on.loop.run_ready();
  CHECK(on.in_flight() == "a\nb\n");

  CHECK(on.write_all());
  CHECK(on.in_flight() == "c\nd\n");
  CHECK(on.write_all());
  CHECK(on.in_flight().empty());
  CHECK(on.sink->statistics().batches == 2);
}

TEST_CASE("a batch of which a part was written is written to its end before the next") {
  scripted_sink on;
  on.log("0123456789");
  on.loop.run_ready();
  on.log("next");

  on.write_some(4);
  CHECK(on.in_flight() == "456789\n");
  on.fail(EINTR);
  CHECK(on.in_flight() == "456789\n");
  on.write_all();
  CHECK(on.in_flight() == "next\n");
}

TEST_CASE("in every order of logging, writing, flushing and ending each line is written once, in its order") {
  enum class step : std::uint8_t { log, write, write_a_part, flush };
  constexpr std::size_t steps_count = 5;
  std::size_t orders_count = 1;
  for (std::size_t each = 0; each < steps_count; ++each) orders_count *= 4;

  for (std::size_t order = 0; order < 2 * orders_count; ++order) {
    scripted_sink on;
    std::string logged;
    struct flush {
      flush(scripted_sink& in, std::size_t so_far) : waits{in.loop.start(in.sink->flushed())}, bytes{so_far} {}
      root_task<void> waits;
      std::size_t bytes;
    };
    std::vector<std::unique_ptr<flush>> flushes;
    const auto flushes_are_in_time = [&] {  // with the batch that their last line is in
      const bool all_written = on.in_flight().empty();
      return std::ranges::all_of(flushes, [&](const auto& each) {
        return each->waits.done() ? each->bytes <= on.written.size() : !all_written;
      });
    };

    for (std::size_t number = 0, rest = order / 2; number < steps_count; ++number, rest /= 4) {
      const auto next = static_cast<step>(rest % 4);
      if (next == step::log) {
        const auto line = std::to_string(number);
        on.log(line);
        logged += line + "\n";
      }
      if (next == step::write) on.write_all();
      if (next == step::write_a_part) on.write_some(1);
      if (next == step::flush) {
        flushes.push_back(std::make_unique<flush>(on, logged.size()));
      }
      if (number % 2 == 1) on.loop.run_ready();  // several steps may fall into one turn
    }
    on.loop.run_ready();
    CHECK(flushes_are_in_time());

    if (order % 2 == 0) on.end();
    else on.root.cancel();
    on.loop.run_ready();
    CHECK(on.root.done() == (on.written.size() == logged.size()));
    while (!on.root.done()) REQUIRE(on.write_all());
    CHECK(on.written == logged);
    CHECK(on.root.stopped() == (order % 2 == 1));
    CHECK(flushes_are_in_time());
  }
}

TEST_CASE("a wait for flushed() that is stopped leaves the lines on their way") {
  scripted_sink on;
  on.log("line");
  auto flushing = on.loop.start(on.sink->flushed());
  on.loop.run_ready();
  CHECK(!flushing.done());

  on.stop(flushing);
  CHECK(flushing.stopped());
  CHECK(on.in_flight() == "line\n");
}

TEST_CASE("with full_log::drop, lines beyond the buffer are dropped, and told after those that were kept") {
  scripted_sink on{{.buffer_bytes = 4, .when_full = full_log::drop}};
  on.log("in flight, and longer than the buffer");
  on.loop.run_ready();
  for (const char* each : {"a", "b", "c", "d", "e"}) on.log(each);

  on.write_all();
  CHECK(on.in_flight() == "a\nb\n3 lines dropped: the buffer was full\n");
  CHECK(on.sink->statistics().dropped_lines == 3);
  on.write_all();
  CHECK(on.in_flight().empty());
}

TEST_CASE("with full_log::wait, an executor's thread overdraws the buffer, up to a limit") {
  scripted_sink on{{.buffer_bytes = 4, .overdraft_bytes = 4}};
  on.log("first");
  on.loop.run_ready();
  for (const char* each : {"a", "b", "c", "d", "e"}) on.log(each);
  CHECK(on.sink->statistics().waiting_bytes == 8);
  CHECK(on.sink->statistics().overdraft_peak == 4);

  on.write_all();
  CHECK(on.in_flight() == "a\nb\nc\nd\n1 line dropped: the buffer was full\n");
}

TEST_CASE("a turn of another executor overdraws the buffer as well, and never waits") {
  scripted_sink on{{.buffer_bytes = 4}};
  on.log("first");
  on.loop.run_ready();

  std::thread{[&] {
    executor another;
    another.run([&]() -> task<> {
      for (int each = 0; each < 100; ++each) on.log("x");
      on.logger->flush();
      co_return;
    });
  }}.join();

  CHECK(on.sink->statistics().waiting_bytes == 200);
  CHECK(on.sink->statistics().dropped_lines == 0);
}

TEST_CASE("room() waits while the buffer is full, and a stop ends the wait") {
  scripted_sink on{{.buffer_bytes = 4}};
  auto at_first = on.loop.start(on.sink->room());
  on.loop.run_ready();
  CHECK(at_first.done());

  on.log("first");
  on.loop.run_ready();
  on.log("full");
  auto waiting = on.loop.start(on.sink->room());
  auto stopped = on.loop.start(on.sink->room());
  on.loop.run_ready();
  CHECK(!waiting.done());
  on.stop(stopped);
  CHECK(stopped.stopped());

  on.write_all();
  CHECK(waiting.done());
  CHECK(on.in_flight() == "full\n");
}

TEST_CASE("a write that fails is told to the error handler and in the log, and loses its batch alone") {
  scripted_sink on;
  on.log("one");
  on.log("two");
  on.loop.run_ready();
  on.log("three");
  on.fail(EIO);

  CHECK(on.in_flight() == "2 lines lost: Input/output error\nthree\n");
  CHECK(on.sink->statistics().lost_lines == 2);
  on.log("four");
  CHECK(on.errors == std::vector<std::string>{"cannot write to log: Input/output error; 2 lines lost"});
  on.write_all();
  CHECK(on.in_flight() == "four\n");
  on.write_all();
  on.log("five");
  CHECK(on.errors.size() == 1);
}

TEST_CASE("a write that fails within a line loses the rest, and the next begins on a line of its own") {
  scripted_sink on;
  on.log("one");
  on.log("two");
  on.log("three");
  on.loop.run_ready();
  on.write_some(6);
  on.fail(ENOSPC);
  on.log("four");
  on.loop.run_ready();

  CHECK(on.in_flight() == "\n2 lines lost: No space left on device\nfour\n");
  on.write_all();
  CHECK(on.written == "one\ntw\n2 lines lost: No space left on device\nfour\n");
}

TEST_CASE("what is lost in several batches is told once, and drops in them are not forgotten") {
  scripted_sink on{{.buffer_bytes = 4, .when_full = full_log::drop}};
  on.log("one");
  on.loop.run_ready();
  for (const char* each : {"a", "b", "c"}) on.log(each);
  on.fail(EIO);
  CHECK(on.in_flight() == "1 line lost: Input/output error\na\nb\n1 line dropped: the buffer was full\n");

  on.fail(EIO);
  CHECK(on.in_flight() == "3 lines lost: Input/output error\n1 line dropped: the buffer was full\n");
  on.write_all();
  CHECK(on.in_flight().empty());
  CHECK(on.sink->statistics().lost_lines == 3);
}

TEST_CASE("flushed() ends after a failed write, and a flush() tells of it") {
  scripted_sink on;
  on.log("one");
  auto flushing = on.loop.start(on.sink->flushed());
  on.loop.run_ready();
  on.fail(EIO);
  CHECK(flushing.done());

  on.logger->flush();
  CHECK(on.errors.size() == 1);
}

TEST_CASE("a failure that nobody was told of goes to the library's own logger at the end") {
  const captured_log said;
  {
    scripted_sink on;
    on.log("one");
    on.loop.run_ready();
    on.end();
    on.fail(EIO);
    CHECK(on.root.done());
  }
  CHECK(said.text().find("cannot write to log: Input/output error; 1 line lost") != std::string::npos);
}

TEST_CASE("a plain thread waits for room, and is let go when the batch has been taken") {
  scripted_sink on{{.buffer_bytes = 4}};
  on.log("first");
  on.loop.run_ready();
  on.log("full");
  std::thread waiting{[&] { on.log("from the thread"); }};

  while (on.sink->statistics().lines < 3 || on.in_flight() != "from the thread\n") {
    on.write_all();
    on.loop.run_ready();
  }
  waiting.join();
  CHECK(on.sink->statistics().overdraft_peak < 16);
}

}  // namespace gyre::fs
