// SPDX-License-Identifier: MIT
// A calculator for many clients at once, made of a parser that has never heard of clients.
//
//   calculator 7000        then, elsewhere: nc 127.0.0.1 7000
//   (1 + 2) * -3.5
//   -10.5
//
// The parser is as one writes it for a file: functions that call each other, and take one character after the other
// from a std::istream. Where the stream has none, it waits in the midst of all those calls; it runs on a fiber, so that
// the thread serves others meanwhile.
//
// Each line is answered by a line. A client that says nothing, or takes nothing, for half a minute is shown the door.
// Ctrl-C closes it all.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/fiber_streambuf.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <istream>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;

namespace {

// ---------------------------------------------------------------------------------- the parser: the standard library's

constexpr int depth_max = 100;             // of parentheses and signs: each takes some of the stack
constexpr std::size_t digits_max = 64;     // of a number
constexpr int line_characters_max = 4096;  // so that a line comes to an end

struct wrong_line : std::runtime_error {
  using runtime_error::runtime_error;
};

// A line of arithmetic:
//
//   sum      product, and any number of + or - and another
//   product  factor, and any number of * or / and another
//   factor   a number, - and a factor, or a sum in parentheses
class line_parser {
 public:
  explicit line_parser(std::istream& from) : from_{from} {}

  /// The value of the line. Its end is left where it is.
  double value() {
    const double found = sum();
    if (next() != '\n' && next() != end) fail("expected an operator, or the end of the line");
    return found;
  }

 private:
  static constexpr int end = std::istream::traits_type::eof();

  int look() { return from_.peek(); }
  char take() {
    if (++column_ > line_characters_max) fail("the line is too long");
    return static_cast<char>(from_.get());
  }

  // The next character that is no blank.
  int next() {
    while (look() == ' ' || look() == '\t' || look() == '\r') take();
    return look();
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw wrong_line{"column " + std::to_string(column_ + 1) + ": " + why};
  }

  double sum() {
    double left = product();
    for (;;) {
      if (next() == '+') take(), left += product();
      else if (next() == '-') take(), left -= product();
      else return left;
    }
  }

  double product() {
    double left = factor();
    for (;;) {
      if (next() == '*') {
        take();
        left *= factor();
      } else if (next() == '/') {
        take();
        const double divisor = factor();
        if (divisor == 0) fail("a division by zero");
        left /= divisor;
      } else {
        return left;
      }
    }
  }

  double factor() {
    if (++depth_ > depth_max) fail("too deep");
    const double found = factor_at_this_depth();
    --depth_;
    return found;
  }

  double factor_at_this_depth() {
    if (next() == '-') {
      take();
      return -factor();
    }
    if (next() != '(') return number();
    take();
    const double inside = sum();
    if (next() != ')') fail("expected ')'");
    take();
    return inside;
  }

  double number() {
    std::string digits;
    next();
    while ((look() >= '0' && look() <= '9') || look() == '.') {
      if (digits.size() == digits_max) fail("a number of too many digits");
      digits += take();
    }
    if (digits.empty()) fail("expected a number");
    char* stopped_at = nullptr;
    const double found = std::strtod(digits.c_str(), &stopped_at);
    if (*stopped_at != '\0') fail("a number with two points");
    return found;
  }

  std::istream& from_;
  int column_ = 0;
  int depth_ = 0;
};

std::string answer_to_line(std::istream& from) {
  try {
    std::string text(32, '\0');
    text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(), "%.12g", line_parser{from}.value())));
    return text;
  } catch (const wrong_line& wrong) {
    return std::string{"error: "} + wrong.what();
  }
}

// Answers each line at once: of the next there may be but a half.
void calculate(std::iostream& with) {
  while (with.peek() != std::iostream::traits_type::eof()) {
    const std::string answer = answer_to_line(with);
    if (with.eof()) with.clear();  // a client that says no more is answered all the same
    with << answer << std::endl;
    for (int left = line_characters_max; left > 0 && with && with.peek() != '\n'; --left) with.get();
    if (with.get() != '\n') return;  // it has gone, or its line has no end
  }
}

// ------------------------------------------------------------------------------------------------- the server: gyre's

constexpr auto patience = 30s;  // with a client that says nothing, or takes nothing

// A connection, each of whose waits comes to an end.
struct patient_stream {
  gyre::net::tcp_stream& client;

  auto read(std::span<std::byte> into) { return gyre::with_timeout(patience, client.read(into)); }
  auto write(std::span<const std::byte> bytes) { return gyre::with_timeout(patience, client.write(bytes)); }
};

gyre::task<> serve_one(gyre::net::tcp_stream client) {
  co_await gyre::on_fiber([&] {
    patient_stream waits{client};
    gyre::fiber_streambuf buffer{waits};
    std::iostream text{&buffer};
    calculate(text);
  });
}

gyre::task<> serve(gyre::net::tcp_listener listener) {
  std::printf("listening on %s\n", listener.local_address().to_string().c_str());
  std::fflush(stdout);
  auto incoming = listener.incoming();
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& clients) -> gyre::task<> {
    while (auto client = co_await incoming.next()) clients.start(serve_one(std::move(*client)));
  });
}

}  // namespace

int main(int argc, char** argv) {
  char* end = argc == 2 ? argv[1] : nullptr;
  const long port = argc == 2 ? std::strtol(argv[1], &end, 10) : -1;
  if (port < 0 || port > 65535 || end == argv[1] || *end != '\0')
    return std::fputs("usage: calculator PORT\n", stderr), 2;
  try {
    return gyre::run(serve(gyre::net::tcp_listener::bind({.port = static_cast<std::uint16_t>(port)})));
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "calculator: %s\n", error.what()), 1;
  }
}
