// SPDX-License-Identifier: MIT
// Reading requests within limits of size and time, and sending answers in their order.
#include "connection.hpp"

#include "input_buffer.hpp"
#include "message.hpp"
#include "request_parser.hpp"

#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/deadline.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace http {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr std::size_t header_bytes_max = 16 * 1024;
constexpr std::uint64_t body_bytes_max = 64 * 1024;

// A socket that is closed with unread bytes resets the connection, and the client may lose the answer with it. So the
// last answer is followed by the end of the stream, and what still comes is read, for a while, and thrown away (RFC
// 9112, 9.6).
constexpr auto linger_timeout = 2s;
constexpr std::uint64_t linger_bytes_max = 1024 * 1024;

// What the kernel keeps unsent for a client. A write ends when the client has taken about as much; without the limit,
// not before a third of some megabytes is free, and the write's deadline could not tell who is slow from who is gone.
constexpr int unsent_bytes_max = 128 * 1024;

// A client that has gone already has no address any more.
std::string host_of(const gyre::net::tcp_stream& client) {
  try {
    return client.peer_address().host();
  } catch (const std::system_error&) {
    return "-";
  }
}

class connection {
 public:
  connection(server& shared, gyre::net::tcp_stream&& client)
      : shared_{shared}, stream_{std::move(client)}, input_{header_bytes_max} {
    if (shared.accesses.is_open()) host_ = host_of(stream_);
  }

  gyre::task<> serve() {
    stream_.set_no_delay(true);  // an answer is written in one go: nothing to wait for
    (void)::setsockopt(stream_.fd().get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes_max, sizeof unsent_bytes_max);
    bool open = true;
    while (open && !shared_.stop.requested()) {
      if (!co_await request_came()) break;
      open = co_await shared_.stop.finish(respond());
    }
  }

 private:
  // Waits for a request, or for a reason to refuse one. False: the client left, or had nothing to ask.
  gyre::task<bool> request_came();
  gyre::task<bool> body_skipped(clock::time_point due);

  // Answers it. Returns whether the connection stays open.
  gyre::task<bool> respond();
  gyre::task<> send(answer reply, bool keep_alive);
  gyre::task<> send_file(const answer& reply, std::string_view head);
  gyre::task<> linger();
  auto write(std::span<const std::byte> bytes) {
    return gyre::with_timeout(shared_.limits.idle_timeout, stream_.write_all(bytes));
  }
  [[nodiscard]] bool may_keep_alive() const;
  void log(const answer& reply) const;

  server& shared_;
  gyre::net::tcp_stream stream_;
  std::string host_;  // for the access log
  input_buffer input_;
  request asked_;
  std::optional<status> refused_;  // why asked_ is not to be answered; the connection then closes
};

gyre::task<bool> connection::request_came() {
  request_parser parser{asked_, header_bytes_max};
  bool begun = !input_.unread().empty();
  auto due = clock::now() + (begun ? shared_.limits.header_timeout : shared_.limits.idle_timeout);
  for (;;) {
    const auto progress = parser.put(input_.unread());
    input_.read(progress.bytes);
    refused_ = progress.refused;
    if (refused_) co_return true;
    if (progress.complete) co_return co_await body_skipped(due);

    const auto room = input_.room();
    if (room.empty()) {
      refused_ = status::header_too_large;
      co_return true;
    }
    const auto count = co_await gyre::as_result(gyre::with_timeout(due - clock::now(), stream_.read(room)));
    if (!count || *count == 0) {
      const bool too_slow = begun && count.error() == std::errc::timed_out;
      if (too_slow) refused_ = status::request_timeout;
      co_return too_slow;
    }
    if (!begun) due = clock::now() + shared_.limits.header_timeout;
    begun = true;
    input_.came(*count);
  }
}

// The body of a request is of no use here, but stands before the next request. One that is not worth reading stays
// unread: the connection closes after the answer.
gyre::task<bool> connection::body_skipped(clock::time_point due) {
  input_.forget_read();
  auto left = asked_.body_bytes;
  if (left > body_bytes_max) refused_ = status::content_too_large;
  if (left == 0 || refused_ || asked_.expects_continue) co_return true;
  for (;;) {
    left -= input_.skip(left);
    if (left == 0) co_return true;
    const auto count = co_await gyre::as_result(gyre::with_timeout(due - clock::now(), stream_.read(input_.room())));
    if (!count && count.error() == std::errc::timed_out) refused_ = status::request_timeout;
    if (refused_) co_return true;
    if (!count || *count == 0) co_return false;
    input_.came(*count);
  }
}

bool connection::may_keep_alive() const {
  const bool body_is_unread = asked_.chunked || (asked_.expects_continue && asked_.body_bytes > 0);
  return asked_.keep_alive && !refused_ && !body_is_unread && !shared_.stop.requested();
}

gyre::task<bool> connection::respond() {
  auto reply = refused_ ? answer::of(*refused_) : co_await shared_.files.answer_to(asked_);
  const bool keep_alive = may_keep_alive();
  co_await send(std::move(reply), keep_alive);
  // A stop may have come meanwhile.
  if (keep_alive && !shared_.stop.requested()) co_return true;
  co_await linger();
  co_return false;
}

gyre::task<> connection::send(answer reply, bool keep_alive) {
  auto bytes =
      head_of(reply, {.date = shared_.date.now(), .keep_alive = keep_alive, .is_http_1_1 = asked_.is_http_1_1});
  log(reply);
  if (reply.file && asked_.verb != method::head) {
    co_await send_file(reply, bytes);
    ++shared_.counted.files;
  } else {
    if (asked_.verb != method::head) bytes += reply.text;
    co_await write(std::as_bytes(std::span{bytes}));
    shared_.counted.sent_bytes += bytes.size();
  }
  ++shared_.counted.requests;
}

// The head and the first bytes of the file go out together; a small file is one read and one write. A file that has
// become shorter meanwhile ends the connection by read_exactly_at()'s error: the client sees that it did not get all.
gyre::task<> connection::send_file(const answer& reply, std::string_view head) {
  const auto loan = shared_.buffers.borrow();
  const auto buffer = loan.bytes();
  std::memcpy(buffer.data(), head.data(), head.size());  // heads of files have a few hundred bytes

  auto filled_bytes = head.size();
  auto offset = reply.offset;
  auto left_bytes = reply.size_bytes;
  do {
    const auto chunk_bytes = std::min<std::uint64_t>(left_bytes, buffer.size() - filled_bytes);
    const auto chunk = buffer.subspan(filled_bytes, static_cast<std::size_t>(chunk_bytes));
    co_await reply.file->read_exactly_at(chunk, offset);
    const auto out = buffer.first(filled_bytes + chunk.size());
    co_await write(out);
    shared_.counted.sent_bytes += out.size();
    offset += chunk_bytes;
    left_bytes -= chunk_bytes;
    filled_bytes = 0;
  } while (left_bytes > 0);
}

gyre::task<> connection::linger() {
  stream_.shutdown_write();
  const auto due = clock::now() + linger_timeout;
  std::uint64_t dropped_bytes = 0;
  while (dropped_bytes < linger_bytes_max) {
    input_.skip(header_bytes_max);
    const auto count = co_await gyre::as_result(gyre::with_timeout(due - clock::now(), stream_.read(input_.room())));
    if (!count || *count == 0) co_return;
    input_.came(*count);
    dropped_bytes += *count;
  }
}

void connection::log(const answer& reply) const {
  if (shared_.accesses.is_open()) shared_.accesses.add(host_, asked_, reply);
  if (!spdlog::should_log(spdlog::level::debug)) return;
  const auto* dash = "-";  // for what did not come
  const std::string_view verb = asked_.verb_text.empty() ? dash : std::string_view{asked_.verb_text};
  const std::string_view target = asked_.target.empty() ? dash : std::string_view{asked_.target};
  spdlog::debug("{} {} {} {} {}", stream_.peer_address().to_string(), verb, target, static_cast<int>(reply.code),
                reply.size_bytes);
}

}  // namespace

gyre::task<> serve_connection(server& shared, gyre::net::tcp_stream client) {
  connection one{shared, std::move(client)};
  try {
    co_await one.serve();
  } catch (const std::system_error& gone) {
    spdlog::debug("a connection ended: {}", gone.what());
  }
}

}  // namespace http
