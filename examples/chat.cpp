// SPDX-License-Identifier: MIT
// A chat room: what one member writes, all others read.
//
//   chat 7000        then, elsewhere and more than once: nc 127.0.0.1 7000
//
// The first line of a member is its name. A member may be slow, and none waits for it: it falls behind by up to 256
// lines, and what it misses beyond that it is told the number of. One that has taken nothing for half a minute is shown
// the door. So the room takes the same memory however slow its members are.
//
// Ctrl-C closes the room.
#include <gyre/net/tcp_listener.hpp>
#include <gyre/runtime/buffered_reader.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/broadcast.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t behind_max = 256;       // lines
constexpr std::size_t line_bytes_max = 1024;  // of a name, or of what is said
constexpr auto patience = 30s;                // with a member that takes nothing

// One for all who read it.
struct message {
  const void* from;
  std::string text;
};
using room = gyre::sync::broadcast<std::shared_ptr<const message>>;

void say(room& in, const void* from, std::string text) {
  in.send(std::make_shared<const message>(message{from, std::move(text)}));
}

gyre::task<> write_line(gyre::net::tcp_stream& to, const std::string& text) {
  co_await gyre::with_timeout(patience, to.write_all(std::as_bytes(std::span{text})));
}

// What others say.
gyre::task<> hear(gyre::net::tcp_stream& member, gyre::sync::subscriber<std::shared_ptr<const message>>& of) {
  while (const auto item = co_await of.receive()) {
    if (item->missed_count > 0) {
      // A name of its own: no temporary lives in a co_await.
      const std::string notice = "* you have missed " + std::to_string(item->missed_count) + " lines\n";
      co_await write_line(member, notice);
    }
    if (item->value->from != &member) co_await write_line(member, item->value->text);
  }
}

// What the member says, until it has said all.
gyre::task<> speak(gyre::buffered_reader<gyre::net::tcp_stream>& lines, const std::string& name, room& in,
                   const void* member) {
  while (const auto line = co_await lines.read_line(line_bytes_max))
    say(in, member, name + ": " + std::string{*line} + "\n");
}

// Tells the others when the member is gone, however it went.
struct membership {
  membership(room& its_room, const std::string& its_name) : in{its_room}, name{its_name} {
    say(in, this, "* " + name + " comes in\n");
  }
  membership(const membership&) = delete;
  membership& operator=(const membership&) = delete;
  ~membership() { say(in, this, "* " + name + " has left\n"); }

  room& in;
  const std::string& name;
};

gyre::task<> attend(gyre::net::tcp_stream member, room& in) {
  gyre::buffered_reader lines{member, 2 * line_bytes_max};
  const auto first = co_await gyre::with_timeout(patience, lines.read_line(line_bytes_max));
  if (!first) co_return;
  const std::string name{*first};
  gyre::sync::subscriber<std::shared_ptr<const message>> others{in};
  const membership while_here{in, name};
  co_await gyre::with_task_group([&](gyre::task_group& both) -> gyre::task<> {
    both.start(hear(member, others));
    co_await speak(lines, name, in, &member);
    both.cancel("the member has said all");
  });
}

// Who breaks the rules, or is gone without a word, leaves like everybody.
gyre::task<> attend_somehow(gyre::net::tcp_stream member, room& in) {
  try {
    co_await attend(std::move(member), in);
  } catch (const std::system_error&) {
    co_return;
  }
}

gyre::task<> hold_open(gyre::net::tcp_listener listener) {
  std::printf("listening on %s\n", listener.local_address().to_string().c_str());
  std::fflush(stdout);
  room in{behind_max};
  auto incoming = listener.incoming();
  co_await gyre::with_task_group({.on_error = gyre::log_and_continue}, [&](gyre::task_group& members) -> gyre::task<> {
    while (auto member = co_await incoming.next()) members.start(attend_somehow(std::move(*member), in));
  });
}

}  // namespace

int main(int argc, char** argv) {
  char* end = argc == 2 ? argv[1] : nullptr;
  const long port = argc == 2 ? std::strtol(argv[1], &end, 10) : -1;
  if (port < 0 || port > 65535 || end == argv[1] || *end != '\0') return std::fputs("usage: chat PORT\n", stderr), 2;
  try {
    return gyre::run(hold_open(gyre::net::tcp_listener::bind({.port = static_cast<std::uint16_t>(port)})));
  } catch (const std::system_error& error) {
    return std::fprintf(stderr, "chat: %s\n", error.what()), 1;
  }
}
