// SPDX-License-Identifier: MIT
// The floor of the echo benchmarks: what does an echo cost when somebody writes it on liburing by hand?
//
// One recv, then one send, single-shot, as gyre's obvious echo does. No coroutine, no allocation per message, nothing
// that can be cancelled. It sleeps in the ring, or with --park eventfd as gyre does. With --deadline each read has 30
// seconds, kept in the cheapest way there is: as all of them are equally long, a list in the order of arming is a timer
// queue.
#include "raw_listener.hpp"
#include "support/raw_ring.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

namespace {

constexpr long deadline_seconds = 30;

enum class step : unsigned char { reading, writing };

struct connection {
  int fd;
  step now;
  unsigned received_bytes;
  unsigned sent_bytes;
  // Place among the reads that wait, oldest first. Used with --deadline only.
  connection* earlier;
  connection* later;
  long deadline;  // seconds of CLOCK_MONOTONIC
  std::byte buffer[bench::read_bytes_max];
};

struct server {
  bench::raw_ring ring;
  int listener = -1;
  bool has_deadline = false;
  bool accept_stream = false;
  int event_fd = -1;       // to sleep on; none: it sleeps in the ring
  unsigned to_accept = 0;  // clients still to come, if `is_counted`
  bool is_counted = false;
  unsigned live_count = 0;
  long now = 0;         // read once a turn
  connection oldest{};  // both ends of the list of reads
};

// The accept's tag; every other tag is a connection's address.
constexpr __u64 accept_tag = 0;

long monotonic_seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec;
}

void start_accept(server& self) {
  if (self.is_counted && self.to_accept == 0) return;
  io_uring_sqe* sqe = self.ring.next_sqe();
  if (self.accept_stream) io_uring_prep_multishot_accept(sqe, self.listener, nullptr, nullptr, SOCK_CLOEXEC);
  else io_uring_prep_accept(sqe, self.listener, nullptr, nullptr, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(sqe, accept_tag);
}

void arm_deadline(server& self, connection& client) {
  client.deadline = self.now + deadline_seconds;
  client.earlier = self.oldest.earlier;
  client.later = &self.oldest;
  client.earlier->later = &client;
  client.later->earlier = &client;
}

void disarm_deadline(connection& client) {
  client.earlier->later = client.later;
  client.later->earlier = client.earlier;
}

void start_read(server& self, connection& client) {
  client.now = step::reading;
  if (self.has_deadline) arm_deadline(self, client);
  io_uring_sqe* sqe = self.ring.next_sqe();
  io_uring_prep_recv(sqe, client.fd, client.buffer, sizeof client.buffer, 0);
  io_uring_sqe_set_data(sqe, &client);
}

void start_write(server& self, connection& client) {
  client.now = step::writing;
  io_uring_sqe* sqe = self.ring.next_sqe();
  io_uring_prep_send(sqe, client.fd, client.buffer + client.sent_bytes, client.received_bytes - client.sent_bytes, 0);
  io_uring_sqe_set_data(sqe, &client);
}

void end(server& self, connection& client) {
  close(client.fd);
  std::free(&client);
  --self.live_count;
}

void accepted(server& self, int fd, bool more_will_come) {
  if (fd < 0) bench::die("accept", -fd);
  auto* client = static_cast<connection*>(std::malloc(sizeof(connection)));
  if (client == nullptr) bench::die("malloc", ENOMEM);
  client->fd = fd;
  ++self.live_count;
  if (self.is_counted) --self.to_accept;
  start_read(self, *client);
  if (!more_will_come) start_accept(self);
}

void completed(server& self, connection& client, int result) {
  if (client.now == step::reading) {
    if (self.has_deadline) disarm_deadline(client);
    if (result <= 0) return end(self, client);
    client.received_bytes = static_cast<unsigned>(result);
    client.sent_bytes = 0;
    start_write(self, client);
  } else {
    if (result <= 0) return end(self, client);
    client.sent_bytes += static_cast<unsigned>(result);
    if (client.sent_bytes < client.received_bytes) return start_write(self, client);
    start_read(self, client);
  }
}

// Ends the reads whose time is over: shutdown(2) makes them complete with 0, so nothing is freed under the kernel.
void expire(server& self) {
  for (connection* client = self.oldest.later; client != &self.oldest && client->deadline <= self.now;
       client = client->later)
    shutdown(client->fd, SHUT_RDWR);
}

// The sleep of who has to be woken by others, too: completions signal the eventfd only while it is slept on, and what
// came before they do is looked for after.
void wait_on_eventfd(server& self) {
  io_uring* const ring = self.ring.get();
  io_uring_submit_and_get_events(ring);
  while (io_uring_cq_ready(ring) == 0) {
    io_uring_cq_eventfd_toggle(ring, true);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const unsigned flags = IO_URING_READ_ONCE(*ring->sq.kflags);
    if (io_uring_cq_ready(ring) == 0 && (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0) {
      std::uint64_t signals = 0;
      if (read(self.event_fd, &signals, sizeof signals) < 0 && errno != EINTR) bench::die("read", errno);
    }
    io_uring_cq_eventfd_toggle(ring, false);
    io_uring_get_events(ring);
  }
}

void wait(server& self) {
  if (self.event_fd >= 0) return wait_on_eventfd(self);
  if (!self.has_deadline || self.oldest.later == &self.oldest) return self.ring.submit_and_wait(1);
  // One second is as fine as a deadline of 30 has to be, and spares a look at the list's head.
  __kernel_timespec a_second{1, 0};
  io_uring_cqe* cqe = nullptr;
  const int rc = io_uring_submit_and_wait_timeout(self.ring.get(), &cqe, 1, &a_second, nullptr);
  if (rc < 0 && rc != -ETIME && rc != -EINTR) bench::die("io_uring_submit_and_wait_timeout", -rc);
  self.now = monotonic_seconds();
  expire(self);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_options options = bench::parse_server_options(argc, argv);
  server self;
  self.is_counted = options.clients_count > 0;
  self.to_accept = options.clients_count;
  self.has_deadline = options.deadline;
  self.accept_stream = options.accept_stream;
  self.oldest.earlier = self.oldest.later = &self.oldest;
  self.now = monotonic_seconds();
  self.listener = bench::listen_on_loopback(options.port, 0);

  if (options.park_on_eventfd) {
    self.event_fd = eventfd(0, EFD_CLOEXEC);
    if (self.event_fd < 0) bench::die("eventfd", errno);
    if (const int rc = io_uring_register_eventfd(self.ring.get(), self.event_fd); rc < 0)
      bench::die("io_uring_register_eventfd", -rc);
    io_uring_cq_eventfd_toggle(self.ring.get(), false);
  }
  start_accept(self);
  while (!self.is_counted || self.to_accept > 0 || self.live_count > 0) {
    wait(self);
    io_uring_cqe* cqe = nullptr;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_for_each_cqe(self.ring.get(), head, cqe) {
      ++count;
      if (cqe->user_data == accept_tag) accepted(self, cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0);
      else completed(self, *static_cast<connection*>(io_uring_cqe_get_data(cqe)), cqe->res);
    }
    io_uring_cq_advance(self.ring.get(), count);
  }
  close(self.listener);
}
