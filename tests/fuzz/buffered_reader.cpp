// SPDX-License-Identifier: MIT
// A buffered_reader beside a model of it, which has the whole text in a string: whatever is asked, in whatever pieces
// the text comes, and wherever the stream fails once, both give the same.
//
// An input is, one byte each: the buffer's capacity; how many pieces there are; these, of which a 0 is a failure; how
// many questions; for each of them what, and its number. The rest is the text.
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/task.hpp>

#include "fuzz.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace gyre {
namespace {

using test::require;

constexpr std::array<std::string_view, 4> delimiters{"\n", "\r\n", "aab", "abab"};

class fuzz_input {
 public:
  explicit fuzz_input(std::string_view bytes) : bytes_{bytes} {}

  std::size_t number() {
    if (bytes_.empty()) return 0;
    const auto first = static_cast<unsigned char>(bytes_.front());
    bytes_.remove_prefix(1);
    return first;
  }
  std::vector<std::size_t> numbers(std::size_t count) {
    std::vector<std::size_t> all(count);
    for (auto& each : all) each = number();
    return all;
  }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view bytes_;
};

// Gives its text in pieces, over and over the same sizes; fails where one is 0.
class piecemeal {
 public:
  piecemeal(std::string_view text, std::vector<std::size_t> pieces) : text_{text}, pieces_{std::move(pieces)} {}

  task<std::size_t> read(std::span<std::byte> into) {
    require(!into.empty());
    const std::size_t piece = pieces_.empty() ? SIZE_MAX : pieces_[next_++ % pieces_.size()];
    if (piece == 0 && !has_failed_) {
      has_failed_ = true;
      throw std::system_error{std::make_error_code(std::errc::io_error)};
    }
    const std::size_t count = std::min({std::max<std::size_t>(piece, 1), into.size(), text_.size()});
    std::memcpy(into.data(), text_.data(), count);
    text_.remove_prefix(count);
    co_return count;
  }

 private:
  std::string_view text_;
  std::vector<std::size_t> pieces_;
  std::size_t next_ = 0;
  bool has_failed_ = false;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The reader, and what it has not given yet.
class compared {
 public:
  compared(piecemeal& stream, std::size_t capacity, std::string_view text) : reader_{stream, capacity}, left_{text} {}

  task<> ask(std::size_t question, std::size_t number) {
    switch (question % 7) {
      case 0:
        co_await line(number);
        break;
      case 1:
        co_await until(delimiters[number % delimiters.size()], number / delimiters.size());
        break;
      case 2:
        co_await peek(number);
        break;
      case 3:
        co_await read(number);
        break;
      case 4:
        co_await read_exactly(number);
        break;
      case 5:
        co_await skip(number);
        break;
      case 6:
        consume(number);
        break;
    }
    require(left_.starts_with(text_of(reader_.buffered())));
  }

 private:
  // Up to which byte a delimiter goes; what no piece of text can be, where it is too long or missing.
  struct expected {
    std::optional<std::size_t> end;
    bool is_too_long = false;
  };
  expected find(std::string_view delimiter, std::size_t limit) const {
    const std::size_t most = std::min(limit, reader_.capacity());
    const std::size_t found = left_.find(delimiter);
    if (found == std::string_view::npos) return {.end = std::nullopt, .is_too_long = left_.size() >= most};
    return {.end = found + delimiter.size(), .is_too_long = found + delimiter.size() > most};
  }

  // What has failed took nothing: what the error was, and, but for the stream's own failure, that it had to be.
  static void failed(const std::system_error& error, bool had_to, std::error_code expected_error) {
    if (error.code() == std::errc::io_error) return;
    require(had_to && error.code() == expected_error);
  }
  static std::error_code too_long() { return std::make_error_code(std::errc::message_size); }

  task<> line(std::size_t limit) {
    const auto [end, is_too_long] = find("\n", limit);
    try {
      const auto got = co_await reader_.read_line(limit);
      require(!is_too_long && got.has_value() == !left_.empty());
      if (!got) co_return;
      std::string_view whole = left_.substr(0, end.value_or(left_.size()));
      left_.remove_prefix(whole.size());
      if (end) whole.remove_suffix(1);
      if (end && whole.ends_with('\r')) whole.remove_suffix(1);
      require(*got == whole);
    } catch (const std::system_error& error) {
      failed(error, is_too_long, too_long());
    }
  }

  task<> until(std::string_view delimiter, std::size_t limit) {
    const auto [end, is_too_long] = find(delimiter, limit);
    try {
      const auto got = co_await reader_.read_until(delimiter, limit);
      require(!is_too_long && end && text_of(got) == left_.substr(0, *end));
      left_.remove_prefix(*end);
    } catch (const std::system_error& error) {
      failed(error, is_too_long || !end, is_too_long ? too_long() : make_error_code(errc::end_of_stream));
    }
  }

  task<> peek(std::size_t count) {
    try {
      const auto got = co_await reader_.peek(count);
      require(count <= reader_.capacity() && got.size() >= std::min(count, left_.size()));
      require(left_.starts_with(text_of(got)));
    } catch (const std::system_error& error) {
      failed(error, count > reader_.capacity(), too_long());
    }
  }

  task<> read(std::size_t count) {
    std::vector<std::byte> into(count);
    try {
      const std::size_t got = co_await reader_.read(into);
      require(got <= count && (got > 0) == (count > 0 && !left_.empty()));
      require(left_.starts_with(text_of(std::span{into}.first(got))));
      left_.remove_prefix(got);
    } catch (const std::system_error& error) {
      failed(error, false, {});
    }
  }

  task<> read_exactly(std::size_t count) {
    std::vector<std::byte> into(count);
    std::size_t got = count;
    try {
      co_await reader_.read_exactly(into);
      require(count <= left_.size());
    } catch (const transfer_error& error) {
      got = error.bytes();
      moved_less(error, count);
    }
    require(got <= left_.size() && left_.starts_with(text_of(std::span{into}.first(got))));
    left_.remove_prefix(got);
  }

  task<> skip(std::size_t count) {
    std::size_t got = count;
    try {
      co_await reader_.skip(count);
      require(count <= left_.size());
    } catch (const transfer_error& error) {
      got = error.bytes();
      moved_less(error, count);
    }
    left_.remove_prefix(got);
  }

  void moved_less(const transfer_error& error, std::size_t count) const {
    require(error.bytes() < count && error.bytes() <= left_.size());
    if (error.code() == std::errc::io_error) return;
    require(error.code() == make_error_code(errc::end_of_stream) && error.bytes() == left_.size());
  }

  void consume(std::size_t count) {
    const std::size_t taken = std::min(count, reader_.buffered().size());
    reader_.consume(taken);
    left_.remove_prefix(taken);
  }

  buffered_reader<piecemeal> reader_;
  std::string_view left_;
};

task<> run_program(fuzz_input input) {
  const std::size_t capacity = 1 + input.number();
  const auto pieces = input.numbers(input.number() % 16);
  const auto questions = input.numbers(2 * (input.number() % 64));
  piecemeal stream{input.rest(), pieces};
  compared both{stream, capacity, input.rest()};
  for (std::size_t i = 0; i + 1 < questions.size(); i += 2) co_await both.ask(questions[i], questions[i + 1]);
}

}  // namespace
}  // namespace gyre

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static gyre::executor loop;  // nothing waits in it: one ring does for all inputs
  loop.run(gyre::run_program(gyre::fuzz_input{{reinterpret_cast<const char*>(data), size}}));
  return 0;
}
