// SPDX-License-Identifier: MIT
// What does an echo cost on libuv? Each read is answered by a try to write at once, as its own benchmarks do, and a
// write request for what did not fit. It leaves out --deadline, and sleeps as libuv does.
#include "raw_listener.hpp"

#include <uv.h>

#include <array>
#include <cstddef>
#include <cstdlib>

namespace {

struct server {
  unsigned to_accept = 0;  // clients still to come, if `is_counted`
  bool is_counted = false;
};

struct connection {
  uv_tcp_t handle;  // the first: its address is the connection's
  uv_write_t writing;
  std::array<char, bench::read_bytes_max> buffer;
};

void check(const char* step, int result) {
  if (result < 0) bench::die(step, -result);
}

connection& connection_of(void* handle) { return *static_cast<connection*>(handle); }

void end(uv_handle_t* handle) {
  uv_close(handle, [](uv_handle_t* closed) { std::free(closed); });
}

void give_buffer(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
  auto& client = connection_of(handle);
  *buffer = uv_buf_init(client.buffer.data(), static_cast<unsigned>(client.buffer.size()));
}

void start_reading(connection& client);

void written(uv_write_t* request, int status) {
  auto& client = connection_of(request->data);
  if (status < 0) return end(reinterpret_cast<uv_handle_t*>(&client.handle));
  start_reading(client);
}

void received(uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
  auto& client = connection_of(stream);
  if (count == 0) return;  // nothing was there after all
  if (count < 0) return end(reinterpret_cast<uv_handle_t*>(stream));
  uv_buf_t bytes = uv_buf_init(client.buffer.data(), static_cast<unsigned>(count));
  const int sent = uv_try_write(stream, &bytes, 1);
  if (sent == count) return;
  if (sent < 0 && sent != UV_EAGAIN) return end(reinterpret_cast<uv_handle_t*>(stream));
  const auto at = static_cast<std::size_t>(sent > 0 ? sent : 0);
  bytes = uv_buf_init(client.buffer.data() + at, static_cast<unsigned>(static_cast<std::size_t>(count) - at));
  uv_read_stop(stream);
  client.writing.data = &client;
  check("uv_write", uv_write(&client.writing, stream, &bytes, 1, written));
}

void start_reading(connection& client) {
  check("uv_read_start", uv_read_start(reinterpret_cast<uv_stream_t*>(&client.handle), give_buffer, received));
}

void has_connection(uv_stream_t* listener, int status) {
  check("uv_listen", status);
  auto& self = *static_cast<server*>(listener->data);
  auto* const client = static_cast<connection*>(std::malloc(sizeof(connection)));
  if (client == nullptr) bench::die("malloc", ENOMEM);
  check("uv_tcp_init", uv_tcp_init(listener->loop, &client->handle));
  check("uv_accept", uv_accept(listener, reinterpret_cast<uv_stream_t*>(&client->handle)));
  start_reading(*client);
  if (self.is_counted && --self.to_accept == 0) uv_close(reinterpret_cast<uv_handle_t*>(listener), nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_options options = bench::parse_server_options(argc, argv);
  server self{.to_accept = options.clients_count, .is_counted = options.clients_count > 0};
  uv_loop_t* const loop = uv_default_loop();
  uv_tcp_t listener;
  check("uv_tcp_init", uv_tcp_init(loop, &listener));
  check("uv_tcp_open", uv_tcp_open(&listener, bench::listen_on_loopback(options.port, SOCK_NONBLOCK)));
  listener.data = &self;
  check("uv_listen", uv_listen(reinterpret_cast<uv_stream_t*>(&listener), SOMAXCONN, has_connection));
  return uv_run(loop, UV_RUN_DEFAULT);
}
