// SPDX-License-Identifier: MIT
// Lines on their way from the threads that log them to the file: taken, written, told when they are missing.
#include <gyre/fs/detail/slow_close.hpp>
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/uring_sink.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/this_task.hpp>

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

namespace gyre::fs {
namespace {

std::string_view text_of(const spdlog::memory_buf_t& line) noexcept { return {line.data(), line.size()}; }

std::string lines(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " line" : " lines"); }

// Whether all of it was written. On the thread that logs, or dies: no ring.
bool write_all_directly(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const auto count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void pause_for_a_millisecond() noexcept {
  const ::timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
  ::nanosleep(&pause, nullptr);
}

}  // namespace

// --------------------------------------------------------------------------------------------------------- the region

task<uring_sink::opened_file> uring_sink::open_file(std::string path, uring_sink_options options) {
  const open_options how{.access = file_access::write,
                         .create = file_creation::if_missing,
                         .truncate = options.truncate,
                         .append = true,
                         .permissions = options.permissions};
  auto opened = co_await file::open(std::move(path), how);
  const auto about = co_await opened.metadata();
  co_return opened_file{std::move(opened), about.size_bytes, about.is_regular()};
}

task<std::shared_ptr<uring_sink>> uring_sink::open(std::string path, uring_sink_options options) {
  auto begun = co_await open_file(path, options);
  co_return std::shared_ptr<uring_sink>{new uring_sink{std::move(path), options, std::move(begun)}};
}

uring_sink::uring_sink(std::string path, uring_sink_options options, opened_file begun)
    : path_{std::move(path)},
      options_{options},
      home_{std::this_thread::get_id()},
      file_{std::move(begun.opened)},
      file_bytes_{begun.bytes},
      is_regular_{begun.is_regular},
      rotates_at_bytes_{options.rotate_bytes},
      at_the_end_{&speak, this} {
  for (auto& each : formatters_) each.formatter = std::make_unique<spdlog::pattern_formatter>();
  filling_.reserve(options_.buffer_bytes);
  batch_.reserve(options_.buffer_bytes);
}

uring_sink::~uring_sink() {
  if (late_file_ && executor::has_current()) detail::close_elsewhere(std::move(late_file_));
}

void uring_sink::close() noexcept {
  bool asleep = false;
  {
    const std::lock_guard lock{mutex_};
    if (state_ == state::open) state_ = state::closing;
    asleep = std::exchange(writer_sleeps_, false);
  }
  wake_writer(asleep);
}

void uring_sink::reopen() {
  bool asleep = false;
  {
    const std::lock_guard lock{mutex_};
    ++reopenings_asked_;
    asleep = std::exchange(writer_sleeps_, false);
  }
  wake_writer(asleep);
}

uring_sink_statistics uring_sink::statistics() const {
  const std::lock_guard lock{mutex_};
  auto now = statistics_;
  now.waiting_bytes = filling_.size();
  return now;
}

// ------------------------------------------------------------------------------------------- on the thread that logs

void uring_sink::set_pattern(const std::string& pattern) {
  set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
}

void uring_sink::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  for (auto& each : formatters_) {
    auto copy = formatter->clone();
    const std::lock_guard lock{each.guard};
    std::swap(each.formatter, copy);
  }
}

void uring_sink::format(const spdlog::details::log_msg& msg, spdlog::memory_buf_t& line) {
  auto& slot = formatters_[msg.thread_id % formatters_.size()];
  const std::lock_guard lock{slot.guard};
  slot.formatter->format(msg, line);
}

void uring_sink::log(const spdlog::details::log_msg& msg) {
  spdlog::memory_buf_t line;
  format(msg, line);
  if (take(text_of(line)) == fate::for_nobody) write_directly(text_of(line));
  throw_what_failed();
}

uring_sink::fate uring_sink::take(std::string_view line) {
  bool asleep = false;
  {
    std::unique_lock lock{mutex_};
    if (options_.when_full == full_log::wait && !fits(line.size()) && !must_not_wait())
      changed_.wait(lock, [&] { return fits(line.size()) || state_ == state::closed; });
    if (state_ == state::closed) return fate::for_nobody;
    const std::size_t overdraft = options_.when_full == full_log::wait ? options_.overdraft_bytes : 0;
    const std::size_t bytes = filling_.size() + line.size();
    if (!fits(line.size()) && bytes > options_.buffer_bytes + overdraft) {
      ++statistics_.dropped_lines;
      ++dropped_untold_;
      return fate::dropped;
    }
    filling_.append(line);
    ++statistics_.lines;
    if (bytes > options_.buffer_bytes)
      statistics_.overdraft_peak = std::max(statistics_.overdraft_peak, bytes - options_.buffer_bytes);
    asleep = std::exchange(writer_sleeps_, false);
  }
  wake_writer(asleep);
  return fate::taken;
}

// With the lock. Into an empty buffer everything does.
bool uring_sink::fits(std::size_t bytes) const noexcept {
  return filling_.empty() || filling_.size() + bytes <= options_.buffer_bytes;
}

// The writer may need this thread; also where it drives its executor by hand, and is in no turn now.
bool uring_sink::must_not_wait() const noexcept {
  return executor::has_current() || std::this_thread::get_id() == home_;
}

// The writer has closed its file. Each write(2) goes to the end of this one, so that it takes no lock.
void uring_sink::write_directly(std::string_view line) {
  int fd = -1;
  {
    const std::lock_guard lock{late_mutex_};
    constexpr int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    if (!late_file_) late_file_.reset(::open(path_.c_str(), flags, options_.permissions));
    fd = late_file_.get();
  }
  if (!write_all_directly(fd, line)) spdlog::throw_spdlog_ex("cannot write to " + path_, errno);
}

void uring_sink::throw_what_failed() {
  std::string failure;
  {
    const std::lock_guard lock{mutex_};
    failure = std::exchange(failure_, {});
  }
  if (!failure.empty()) spdlog::throw_spdlog_ex(failure);
}

void uring_sink::flush() {
  {
    std::unique_lock lock{mutex_};
    const std::uint64_t wanted = statistics_.lines;
    if (!must_not_wait()) changed_.wait(lock, [&] { return settled_lines_ >= wanted || state_ == state::closed; });
  }
  throw_what_failed();
}

task<> uring_sink::flushed() {
  sync::observer<std::uint64_t> seen{progress_};
  std::uint64_t lines_wanted = 0;
  std::uint64_t reopenings_wanted = 0;
  {
    const std::lock_guard lock{mutex_};
    lines_wanted = statistics_.lines;
    reopenings_wanted = reopenings_asked_;
  }
  const auto is_done = [&] {
    const std::lock_guard lock{mutex_};
    return state_ == state::closed || (settled_lines_ >= lines_wanted && reopenings_done_ >= reopenings_wanted);
  };
  while (!is_done()) (void)co_await seen.changed();
}

task<> uring_sink::room() {
  sync::observer<std::uint64_t> seen{progress_};
  const auto is_there = [&] {
    const std::lock_guard lock{mutex_};
    return state_ == state::closed || filling_.size() < options_.buffer_bytes;
  };
  while (!is_there()) (void)co_await seen.changed();
}

// --------------------------------------------------------------------------------------------------------- the writer

task<> uring_sink::write_all_batches() {
  for (;;) {
    const auto next = take_batch();
    if (next == next_step::end) break;
    if (next == next_step::sleep) {
      co_await work_.wait();
      co_await this_task::yield();  // what else is logged in this turn comes along
      continue;
    }
    if (reopenings_taken_ > reopenings_done_) co_await take_new_file(/*emptied=*/false);
    co_await write_batch();
    settle_batch();
  }
  const auto closed = co_await as_result(file_.close());
  if (!closed) report("cannot close " + path_ + ": " + closed.error().message());
  tell_untold_failure();
}

// Swaps the buffers. Notices are formatted without the lock, as that takes time, and a formatter may be anybody's.
uring_sink::next_step uring_sink::take_batch() {
  std::string dropped;
  std::uint64_t dropped_count = 0;
  {
    const std::lock_guard lock{mutex_};
    dropped_count = std::exchange(dropped_untold_, 0);
  }
  dropped_in_batch_ = dropped_count;
  if (dropped_count > 0) dropped = notice(lines(dropped_count) + " dropped: the buffer was full");
  std::string lost;
  if (lost_untold_ > 0) lost = (is_within_line_ ? "\n" : "") + notice(lines(lost_untold_) + " lost: " + lost_why_);

  next_step next = next_step::write;
  {
    const std::lock_guard lock{mutex_};
    const bool nothing =
        filling_.empty() && dropped.empty() && dropped_untold_ == 0 && reopenings_asked_ == reopenings_done_;
    if (!nothing) {
      batch_.swap(filling_);
      if (!lost.empty()) batch_.insert(0, lost);
      lost_notice_bytes_ = lost.size();
      lost_in_batch_ = lost_untold_;
      batch_ += dropped;
      batch_written_ = 0;
      batch_lines_end_ = statistics_.lines;
      reopenings_taken_ = reopenings_asked_;
    } else if (state_ == state::open) {
      writer_sleeps_ = true;
      next = next_step::sleep;
    } else {
      state_ = state::closed;
      next = next_step::end;
    }
  }
  settled();
  return next;
}

task<> uring_sink::write_batch() {
  while (batch_written_ < batch_.size()) {
    const std::string_view part = next_part();
    if (part.empty()) {
      co_await begin_new_file();
      continue;
    }
    const auto count = co_await as_result(file_.write(std::as_bytes(std::span{part})));
    if (!count && count.error() == std::errc::interrupted) continue;
    if (!count || *count == 0)
      co_return give_up_rest(count ? std::make_error_code(std::errc::io_error) : count.error());
    note_written(*count);
  }
}

// What of the batch goes into this file: whole lines, as many as it has room for. Nothing: it is full.
std::string_view uring_sink::next_part() const noexcept {
  const std::string_view rest = std::string_view{batch_}.substr(batch_written_);
  if (options_.rotate_bytes == 0 || !is_regular_ || file_bytes_ + rest.size() <= rotates_at_bytes_) return rest;
  const auto first_line = rest.substr(0, rest.find('\n') + 1);  // all of it, where it has no end
  if (is_within_line_) return first_line.empty() ? rest : first_line;
  const auto room = rotates_at_bytes_ - std::min(rotates_at_bytes_, file_bytes_);
  const auto fitting = rest.substr(0, rest.substr(0, room).rfind('\n') + 1);
  if (!fitting.empty() || file_bytes_ > 0) return fitting;
  return first_line.empty() ? rest : first_line;
}

void uring_sink::note_written(std::size_t bytes) noexcept {
  const std::lock_guard lock{mutex_};
  batch_written_ += bytes;
  file_bytes_ += bytes;
  statistics_.bytes += bytes;
  is_within_line_ = batch_[batch_written_ - 1] != '\n';
  if (batch_written_ >= lost_notice_bytes_) lost_untold_ -= std::exchange(lost_in_batch_, 0);
}

// Of a batch of which a part is written it is the line ends that tell how many lines are not. Notices that are not in
// the file are for the next batch.
void uring_sink::give_up_rest(std::error_code why) {
  const std::string_view rest = std::string_view{batch_}.substr(batch_written_);
  std::uint64_t count = batch_lines_end_ - settled_lines_;
  if (batch_written_ > lost_notice_bytes_) {
    const auto line_ends = static_cast<std::uint64_t>(std::ranges::count(rest, '\n'));
    count = std::min(count, line_ends - (dropped_in_batch_ > 0 && line_ends > 0 ? 1 : 0));
  }
  lost_untold_ += count;
  lost_why_ = why.message();
  {
    const std::lock_guard lock{mutex_};
    statistics_.lost_lines += count;
    dropped_untold_ += dropped_in_batch_;
    batch_written_ = batch_.size();
  }
  report("cannot write to " + path_ + ": " + why.message() + "; " + lines(count) + " lost");
}

void uring_sink::settle_batch() {
  std::string spare;
  {
    const std::lock_guard lock{mutex_};
    if (!batch_.empty()) ++statistics_.batches;
    settled_lines_ = batch_lines_end_;
    reopenings_done_ = reopenings_taken_;
    batch_.clear();
    batch_written_ = 0;
    if (batch_.capacity() > 2 * options_.buffer_bytes) batch_.swap(spare);  // it was overdrawn: given back below
  }
  settled();
}

void uring_sink::settled() {
  changed_.notify_all();
  progress_.update([](std::uint64_t& count) { ++count; });
}

std::string uring_sink::notice(const std::string& text) {
  spdlog::memory_buf_t line;
  format(spdlog::details::log_msg{spdlog::source_loc{}, "uring_sink", spdlog::level::warn, text}, line);
  return std::string{text_of(line)};
}

// The logger may be one of this sink: it is told without the lock.
void uring_sink::tell_untold_failure() {
  std::string untold;
  {
    const std::lock_guard lock{mutex_};
    untold = std::exchange(failure_, {});
  }
  if (!untold.empty()) log::error(untold);
}

void uring_sink::report(std::string what) noexcept {
  const std::lock_guard lock{mutex_};
  failure_ = std::move(what);
}

// ------------------------------------------------------------------------------------------------------ another file

// The names move up by one, as by spdlog's rotating_file_sink, and the first is free for a new file. Where that fails
// the old one becomes longer, by as much as a file has, before it is tried again.
task<> uring_sink::begin_new_file() {
  const auto moved = co_await as_result(move_files_up());
  if (!moved) {
    report("cannot rotate " + path_ + ": " + moved.error().message());
    rotates_at_bytes_ = file_bytes_ + options_.rotate_bytes;
    co_return;
  }
  co_await take_new_file(/*emptied=*/options_.rotated_files_max == 0);
}

task<> uring_sink::move_files_up() {
  using spdlog::sinks::rotating_file_sink_st;
  for (std::size_t index = options_.rotated_files_max; index > 0; --index) {
    const auto from = rotating_file_sink_st::calc_filename(path_, index - 1);
    const auto moved = co_await as_result(rename(from, rotating_file_sink_st::calc_filename(path_, index)));
    if (!moved && moved.error() != std::errc::no_such_file_or_directory)
      throw std::system_error{moved.error(), "rename"};
  }
}

task<> uring_sink::take_new_file(bool emptied) {
  auto how = options_;
  how.truncate = emptied;
  auto begun = co_await as_result(open_file(path_, how));
  if (!begun) {
    report("cannot open " + path_ + ": " + begun.error().message());
    rotates_at_bytes_ = file_bytes_ + options_.rotate_bytes;
    co_return;
  }
  {
    const std::lock_guard lock{mutex_};
    std::swap(file_, begun->opened);
    file_bytes_ = begun->bytes;
    is_regular_ = begun->is_regular;
    ++statistics_.rotations;
  }
  is_within_line_ = false;
  rotates_at_bytes_ = options_.rotate_bytes;
  const auto closed = co_await as_result(begun->opened.close());
  if (!closed) report("cannot close " + path_ + ": " + closed.error().message());
}

// ------------------------------------------------------------------------------------------- on the thread that dies

// What is not in the file of the batch under way, as its size tells. A worker of the kernel's may be at it just now,
// and goes on with that while the program dies: it is given a second.
std::string_view uring_sink::rest_of_batch(int fd) const noexcept {
  const std::string_view rest = std::string_view{batch_}.substr(batch_written_);
  struct ::stat about{};
  for (int left_ms = 1000; is_regular_ && !rest.empty() && ::fstat(fd, &about) == 0; --left_ms) {
    const auto size = static_cast<std::uint64_t>(about.st_size);
    const auto written = std::min<std::uint64_t>(rest.size(), size - std::min(size, file_bytes_));
    if (written == rest.size() || left_ms == 0) return rest.substr(written);
    pause_for_a_millisecond();
  }
  return rest;
}

// Only what a signal handler may do. The lock is free, or held for a moment by a thread that runs, or, in a handler, by
// this one: then it is done without.
void uring_sink::write_rest() noexcept {
  bool locked = false;
  for (int attempt = 0; attempt < 100 && !locked; ++attempt) {
    locked = mutex_.try_lock();
    if (!locked) pause_for_a_millisecond();
  }
  const int fd = file_.fd().get();  // -1 at the end of the region: nothing is buffered any more then
  if (write_all_directly(fd, rest_of_batch(fd))) write_all_directly(fd, filling_);
  filling_.clear();
  state_ = state::closed;
  if (locked) mutex_.unlock();
}

}  // namespace gyre::fs
