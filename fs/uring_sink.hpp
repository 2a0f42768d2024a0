// SPDX-License-Identifier: MIT
// uring_sink: an spdlog sink whose lines are written by an executor's ring, a batch at a time.
//
// Any thread logs: it formats its line, and appends it to a buffer under a short lock, which is never held over a
// system call. A task of the executor that opened the sink, the writer, takes the whole buffer and writes it, while the
// next lines go into a second one. So there is one write under way at most, and at most one a turn.
//
//   the sink is   a line                              left by
//   open          is put into the buffer              the end of the region: its body has ended, or was stopped
//   closing       the same; the writer goes on        the writer has written everything, and ends
//   closed        is written where it is logged       (never)
//
//   the writer    it has                              it goes on when
//   sleeps        written all that there was          a line comes, reopen(), the region ends: who finds it asleep
//                                                     wakes it
//   gathers       been woken                          the next turn: what this one logs is in the same batch
//   writes        a batch                             the batch is written, or is given up after an error
//
// What does not fit into the buffer, by uring_sink_options::when_full:
//
//   on               full_log::wait                                        full_log::drop
//   a plain thread   it waits until there is room                          dropped, and counted
//   an executor's    it may not wait, since the writer may need that       the same
//   own thread       thread: overdraws the buffer, by overdraft_bytes;
//                    beyond that: dropped, and counted
//
// Dropped lines, and those that a failed write lost, are told in the log itself, where they are missing.
#pragma once

#include <gyre/fs/file.hpp>
#include <gyre/runtime/last_words.hpp>
#include <gyre/runtime/scope.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>
#include <gyre/sync/auto_event.hpp>
#include <gyre/sync/watch.hpp>

#include <spdlog/common.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/sink.h>
#include <sys/types.h>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

namespace gyre::fs {

/// What becomes of a line that finds the buffer full: see the top of this file.
enum class full_log : std::uint8_t { wait, drop };

struct uring_sink_options {
  /// How many bytes of lines may wait while a batch is written. Memory for twice as many is taken, and used when it is
  /// needed. A line that is longer by itself goes into an empty buffer all the same.
  std::size_t buffer_bytes = std::size_t{1} << 20U;

  full_log when_full = full_log::wait;

  /// With full_log::wait: by how much more lines that are logged in an executor's turn may fill it.
  std::size_t overdraft_bytes = std::size_t{16} << 20U;

  /// Empties a file that is there.
  bool truncate = false;

  /// Permissions of a file that is made, less the umask.
  ::mode_t permissions = 0644;

  /// A file that would become larger gets another name, and a new one is begun, as by spdlog's rotating_file_sink:
  /// log.txt is log.1.txt then, that one log.2.txt, up to rotated_files_max. 0: never.
  std::uint64_t rotate_bytes = 0;
  std::size_t rotated_files_max = 5;
};

/// What a sink has counted since it was opened.
struct uring_sink_statistics {
  std::uint64_t lines = 0;          ///< That were taken, lost ones included.
  std::uint64_t bytes = 0;          ///< In the file, with what the sink has to say itself.
  std::uint64_t batches = 0;        ///< Written, or given up.
  std::uint64_t dropped_lines = 0;  ///< That found the buffer full.
  std::uint64_t lost_lines = 0;     ///< That a failed write took along.
  std::uint64_t rotations = 0;      ///< Files begun, by size or by reopen().
  std::size_t waiting_bytes = 0;    ///< In the buffer now, without the batch that is being written.
  std::size_t overdraft_peak = 0;   ///< The most bytes by which the buffer was overdrawn.
};

/// The sink. Give it to as many spdlog loggers as you like; levels and patterns are theirs, as with any sink.
///
/// A write that fails, ENOSPC or EIO, is told to spdlog: the next log() or flush() throws spdlog_ex when it has done
/// its work, which a logger hands to its error handler. The lines of that batch that are not in the file are lost,
/// counted, and told in the log as soon as a write succeeds. A failure that nobody was told of by the end of the region
/// goes to gyre's own logger (log.hpp).
///
/// The lines of one thread are in the file in the order in which it logged them.
///
/// When the program ends without unwinding, as by a failed assertion or std::terminate(), what is buffered is written
/// at once: last_words.hpp says when. Then it goes by the file's size how much of the batch under way is there already.
/// Where that is not all, the kernel is given a second for it. So lines may come twice where a disk holds a batch up
/// for longer; where others append to the same file they may be missing as well.
///
/// @threads  All of it is open to any thread. No signal handlers. Not in the child of a fork(2).
class uring_sink final : public spdlog::sinks::sink {
 public:
  /// Closes what was opened for lines that came after the region.
  ~uring_sink() override;

  /// As spdlog calls it. Waits at full_log::wait only, and in no executor's turn.
  ///
  /// @errors  spdlog_ex after a failed write: this line is taken all the same. std::bad_alloc: it is not.
  void log(const spdlog::details::log_msg& msg) override;

  /// Waits until what was logged before is in the file: the kernel has it, the device perhaps not. In an executor's
  /// turn it waits for nothing, as the writer is under way already; there, co_await flushed().
  ///
  /// @errors  As log().
  void flush() override;

  void set_pattern(const std::string& pattern) override;
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

  /// The same as flush() for coroutines, of any executor. After a failed write it ends as well.
  ///
  /// @cancellation  Safe; at once. The lines are written all the same.
  [[nodiscard]] task<> flushed();

  /// Waits until the buffer is not full: for who logs much in one go, and would overdraw it, or have lines dropped.
  ///
  ///   for (const auto& each : many) {
  ///     co_await sink->room();
  ///     logger->info("{}", each);
  ///   }
  ///
  /// @cancellation  Safe; at once.
  [[nodiscard]] task<> room();

  /// Has the file opened by its name anew before the next batch: for logrotate, which has given the old one another
  /// name. What was logged before may be in either; flushed() waits until it is done. Where the name cannot be opened
  /// the sink stays with the file that it has, and reports that as a failed write.
  void reopen();

  [[nodiscard]] uring_sink_statistics statistics() const;

  /// As given to with_uring_sink().
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  template <class Fn>
  friend auto with_uring_sink(std::string path, uring_sink_options options, Fn body)
      -> std::invoke_result_t<Fn&, std::shared_ptr<uring_sink>>;

  enum class state : std::uint8_t { open, closing, closed };
  enum class fate : std::uint8_t { taken, dropped, for_nobody };
  enum class next_step : std::uint8_t { write, sleep, end };

  struct opened_file {
    file opened;
    std::uint64_t bytes;
    bool is_regular;
  };

  // Has the region's end told to the sink, however its body ends.
  class end_of_region {
   public:
    explicit end_of_region(std::shared_ptr<uring_sink> of) noexcept : of_{std::move(of)} {}
    end_of_region(end_of_region&&) noexcept = default;
    end_of_region& operator=(end_of_region&&) = delete;
    ~end_of_region() {
      if (of_) of_->close();
    }

   private:
    std::shared_ptr<uring_sink> of_;
  };

  // For each thread one of a few, so that threads seldom wait for each other's formatting.
  struct formatter_slot {
    std::mutex guard;
    std::unique_ptr<spdlog::formatter> formatter;
  };

  uring_sink(std::string path, uring_sink_options options, opened_file begun);

  static task<std::shared_ptr<uring_sink>> open(std::string path, uring_sink_options options);
  static task<opened_file> open_file(std::string path, uring_sink_options options);
  void close() noexcept;

  template <class Fn, class Keep>
  static task<> run_body(end_of_region, std::shared_ptr<uring_sink> mine, Fn& body, Keep keep) {
    co_await keep(body, std::move(mine));
  }
  template <class Fn, class Keep>
  static task<> run_region(std::shared_ptr<uring_sink> mine, Fn& body, Keep keep) {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(run_body(end_of_region{mine}, mine, body, keep));
      co_await shield(mine->write_all_batches());
    });
  }

  // On the thread that logs.
  void format(const spdlog::details::log_msg& msg, spdlog::memory_buf_t& line);
  fate take(std::string_view line);
  bool fits(std::size_t bytes) const noexcept;
  [[nodiscard]] bool must_not_wait() const noexcept;
  void write_directly(std::string_view line);
  void throw_what_failed();

  // The writer, on its executor's thread.
  task<> write_all_batches();
  next_step take_batch();
  task<> write_batch();
  [[nodiscard]] std::string_view next_part() const noexcept;
  void note_written(std::size_t bytes) noexcept;
  void give_up_rest(std::error_code why);
  void settle_batch();
  task<> begin_new_file();
  task<> move_files_up();
  task<> take_new_file(bool emptied);
  void report(std::string what) noexcept;
  void tell_untold_failure();
  [[nodiscard]] std::string notice(const std::string& text);
  void wake_writer(bool asleep) noexcept {
    if (asleep) work_.set();
  }
  void settled();

  // On the thread that dies.
  static void speak(void* self) noexcept { static_cast<uring_sink*>(self)->write_rest(); }
  void write_rest() noexcept;
  [[nodiscard]] std::string_view rest_of_batch(int fd) const noexcept;

  // Constant.
  const std::string path_;
  const uring_sink_options options_;
  const std::thread::id home_;  // the thread of the writer's executor

  std::array<formatter_slot, 8> formatters_;

  // Guarded by mutex_.
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // plain threads wait for room, and for lines to be settled
  state state_ = state::open;
  bool writer_sleeps_ = false;
  bool reopen_asked_ = false;
  std::string filling_;               // lines that wait for the writer
  std::uint64_t settled_lines_ = 0;   // written or lost, of statistics_.lines
  std::uint64_t dropped_untold_ = 0;  // not told in the log yet
  std::uint64_t reopenings_asked_ = 0;
  std::uint64_t reopenings_done_ = 0;
  uring_sink_statistics statistics_;
  std::string failure_;  // not told to spdlog yet

  // Changed by the writer under mutex_, and read by it without: who else looks has the lock.
  std::string batch_;
  std::size_t batch_written_ = 0;
  file file_;
  std::uint64_t file_bytes_;  // its size, as far as it is ours
  bool is_regular_;

  // The writer's.
  std::uint64_t batch_lines_end_ = 0;  // settled_lines_ when the batch is
  std::uint64_t reopenings_taken_ = 0;
  std::uint64_t rotates_at_bytes_;
  std::uint64_t lost_untold_ = 0;       // not told in the log yet
  std::uint64_t lost_in_batch_ = 0;     // of them, told at the beginning of the batch, which is not written so far
  std::size_t lost_notice_bytes_ = 0;   // by so many bytes
  std::uint64_t dropped_in_batch_ = 0;  // told at its end
  std::string lost_why_;
  bool is_within_line_ = false;  // the file ends with a part of one

  // When the sink is closed.
  std::mutex late_mutex_;
  unique_fd late_file_;  // guarded by late_mutex_; constant from the first late line on

  // Any thread.
  sync::auto_event work_;
  sync::watch<std::uint64_t> progress_{0};  // changes when lines are settled, or there is room: for coroutines

  const last_words at_the_end_;
};

/// Opens a log file to append to, and runs `body(sink)` with the sink that writes it. When the body has ended, by an
/// exception or a stop as well, what was logged is written before this ends.
///
///   co_await fs::with_uring_sink("server.log", {}, [](std::shared_ptr<fs::uring_sink> sink) -> task<> {
///     spdlog::set_default_logger(std::make_shared<spdlog::logger>("server", std::move(sink)));
///     co_await serve();
///   });
///
/// The sink may be kept by loggers for longer: the file is closed, and opened anew by the first line that comes after;
/// each is written where it is logged.
///
/// @param path    A relative one counts from the directory that is current whenever it is opened.
/// @param body    Returns a task.
/// @return        What the task gives.
/// @errors        What it throws; as file::open(). No failed write: see uring_sink.
/// @cancellation  Stops the body; the writer ends when everything is written. A disk that hangs holds it up.
/// @limits        Twice buffer_bytes of memory. A file system that is slow slows down plain threads that log at
///                full_log::wait, and nobody's turn.
template <class Fn>
[[nodiscard]] auto with_uring_sink(std::string path, uring_sink_options options, Fn body)
    -> std::invoke_result_t<Fn&, std::shared_ptr<uring_sink>> {
  using value = gyre::detail::awaited_t<std::invoke_result_t<Fn&, std::shared_ptr<uring_sink>>>;
  using sink_ptr = std::shared_ptr<uring_sink>;
  const sink_ptr mine = co_await uring_sink::open(std::move(path), options);
  if constexpr (std::is_void_v<value>) {
    co_await uring_sink::run_region(mine, body, [](Fn& fn, sink_ptr given) { return fn(std::move(given)); });
  } else {
    std::optional<value> result;
    co_await uring_sink::run_region(mine, body, [&result](Fn& fn, sink_ptr given) -> task<> {
      auto got = co_await fn(std::move(given));
      result.emplace(std::move(got));
    });
    if (!result) throw std::system_error{std::make_error_code(std::errc::operation_canceled), "with_uring_sink"};
    co_return std::move(*result);
  }
}

}  // namespace gyre::fs
