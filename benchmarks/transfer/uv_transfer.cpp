// SPDX-License-Identifier: MIT
// The same large transfer on libuv: a write at a time, or reads into one buffer.
#include "transfer.hpp"

#include <uv.h>

#include <optional>
#include <vector>

namespace {

void check(const char* step, int result) {
  if (result < 0) bench::die(step, -result);
}

struct transfer {
  bench::transfer_options options;
  uv_tcp_t listener{};
  uv_tcp_t peer{};
  uv_write_t writing{};
  std::vector<char> piece = std::vector<char>(bench::piece_bytes);
  std::uint64_t left_bytes = 0;
  std::optional<bench::cost> measured;

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&peer); }
};

transfer& transfer_of(void* data) { return *static_cast<transfer*>(data); }

void end(transfer& self) {
  self.measured->report(self.options.bytes);
  uv_close(reinterpret_cast<uv_handle_t*>(&self.peer), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&self.listener), nullptr);
}

void write_next(transfer& self) {
  uv_buf_t bytes = uv_buf_init(self.piece.data(), static_cast<unsigned>(self.piece.size()));
  check("uv_write", uv_write(&self.writing, self.stream(), &bytes, 1, [](uv_write_t* request, int status) {
          check("write", status);
          auto& own = transfer_of(request->data);
          own.left_bytes -= own.piece.size();
          if (own.left_bytes > 0) write_next(own);
          else end(own);
        }));
}

void give_buffer(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
  auto& self = transfer_of(handle->data);
  *buffer = uv_buf_init(self.piece.data(), static_cast<unsigned>(self.piece.size()));
}

void received(uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
  check("read", static_cast<int>(count));
  auto& self = transfer_of(stream->data);
  self.left_bytes -= static_cast<std::uint64_t>(count);
  if (self.left_bytes == 0) end(self);
}

void has_connection(uv_stream_t* listener, int status) {
  check("uv_listen", status);
  auto& self = transfer_of(listener->data);
  check("uv_tcp_init", uv_tcp_init(listener->loop, &self.peer));
  check("uv_accept", uv_accept(listener, self.stream()));
  self.peer.data = self.writing.data = &self;
  self.measured.emplace();
  if (self.options.sends) write_next(self);
  else check("uv_read_start", uv_read_start(self.stream(), give_buffer, received));
}

}  // namespace

int main(int argc, char** argv) {
  transfer self;
  self.options = bench::parse_transfer_options(argc, argv);
  self.left_bytes = self.options.bytes;
  uv_loop_t* const loop = uv_default_loop();
  check("uv_tcp_init", uv_tcp_init(loop, &self.listener));
  check("uv_tcp_open", uv_tcp_open(&self.listener, bench::listen_and_say(SOCK_NONBLOCK)));
  self.listener.data = &self;
  check("uv_listen", uv_listen(reinterpret_cast<uv_stream_t*>(&self.listener), 1, has_connection));
  return uv_run(loop, UV_RUN_DEFAULT);
}
