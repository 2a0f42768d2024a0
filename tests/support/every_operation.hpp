// SPDX-License-Identifier: MIT
// One coroutine for each operation in ops/, for tests of what they all have in common. On a scripted ring only: their
// descriptors are numbers.
//
// Each keeps the memory that it lends to the kernel in its own frame or on the heap, so that it shows under
// AddressSanitizer when the frame goes before the kernel is done.
#pragma once

#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/futex.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/msg_ring.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include "outcome.hpp"

#include <liburing.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gyre::test {

struct some_operation {
  const char* name;
  unsigned opcode;
  task<> (*observed)(outcome& noted);
  int (*good_answer)();  // what the kernel says when it went well
  bool is_asked = true;  // whether a cancel asks the kernel to stop it
};

inline constexpr int some_number = 1'000'123;  // of a descriptor that is not open

/// What the executor has whose operations these are: some of them make direct descriptors, or register memory.
inline executor_options with_direct_descriptors() { return {.direct_descriptors = 4, .registered_buffers = 4}; }

inline int zero() { return 0; }
inline int one_byte() { return 1; }
inline int four_bytes() { return 4; }
inline int new_descriptor() { return ::dup(STDERR_FILENO); }
inline int time_has_come() { return -ETIME; }

inline std::vector<std::byte> four_on_the_heap() { return std::vector<std::byte>(4); }
inline std::vector<iovec> parts_of(std::vector<std::byte>& bytes) {
  return {{.iov_base = bytes.data(), .iov_len = 2}, {.iov_base = bytes.data() + 2, .iov_len = 2}};
}

inline task<> of_nop(outcome& noted) { co_await observe(ops::nop(), noted); }
inline task<> of_read(outcome& noted) {
  auto buffer = four_on_the_heap();
  co_await observe(ops::read(some_number, buffer, 0), noted);
}
inline task<> of_write(outcome& noted) {
  auto bytes = four_on_the_heap();
  co_await observe(ops::write(some_number, bytes, 0), noted);
}
inline task<> of_readv(outcome& noted) {
  auto buffer = four_on_the_heap();
  auto parts = parts_of(buffer);
  co_await observe(ops::readv(some_number, parts, 0), noted);
}
inline task<> of_writev(outcome& noted) {
  auto bytes = four_on_the_heap();
  auto parts = parts_of(bytes);
  co_await observe(ops::writev(some_number, parts, 0), noted);
}
inline task<> of_read_registered(outcome& noted) {
  auto buffer = four_on_the_heap();
  const registered_buffer registered{executor::current(), buffer};
  co_await observe(ops::read(some_number, registered, 0), noted);
}
inline task<> of_write_registered(outcome& noted) {
  auto bytes = four_on_the_heap();
  const registered_buffer registered{executor::current(), bytes};
  co_await observe(ops::write(some_number, registered, 0), noted);
}
inline task<> of_readv_registered(outcome& noted) {
  auto buffer = four_on_the_heap();
  const registered_buffer registered{executor::current(), buffer};
  auto parts = parts_of(buffer);
  co_await observe(ops::readv(some_number, iovec_ref(parts, registered), 0), noted);
}
inline task<> of_writev_registered(outcome& noted) {
  auto bytes = four_on_the_heap();
  const registered_buffer registered{executor::current(), bytes};
  auto parts = parts_of(bytes);
  co_await observe(ops::writev(some_number, iovec_ref(parts, registered), 0), noted);
}
inline task<> of_fsync(outcome& noted) { co_await observe(ops::fsync(some_number), noted); }
inline task<> of_close(outcome& noted) { co_await observe(ops::close(unique_fd(some_number)), noted); }
inline task<> of_openat(outcome& noted) {
  auto path = std::make_unique<std::string>("a path that is too long to be kept inside the string");
  co_await observe(ops::openat(AT_FDCWD, path->c_str(), O_RDONLY), noted);
}
inline task<> of_openat2(outcome& noted) {
  auto path = std::make_unique<std::string>("a path that is too long to be kept inside the string");
  co_await observe(ops::openat2(AT_FDCWD, path->c_str(), O_RDONLY, 0), noted);
}
inline task<> of_statx(outcome& noted) {
  auto path = std::make_unique<std::string>("a path that is too long to be kept inside the string");
  co_await observe(ops::statx(AT_FDCWD, path->c_str()), noted);
}
inline task<> of_unlinkat(outcome& noted) {
  auto path = std::make_unique<std::string>("a path that is too long to be kept inside the string");
  co_await observe(ops::unlinkat(AT_FDCWD, path->c_str()), noted);
}
inline task<> of_poll(outcome& noted) { co_await observe(ops::poll(some_number, POLLIN), noted); }
inline task<> of_socket(outcome& noted) { co_await observe(ops::socket(AF_INET, SOCK_STREAM), noted); }
inline task<> of_accept(outcome& noted) { co_await observe(ops::accept(some_number), noted); }
inline task<> of_connect(outcome& noted) {
  auto address = std::make_unique<sockaddr_in>();
  co_await observe(ops::connect(some_number, reinterpret_cast<sockaddr*>(address.get()), sizeof *address), noted);
}
inline task<> of_recv(outcome& noted) {
  auto buffer = four_on_the_heap();
  co_await observe(ops::recv(some_number, buffer), noted);
}
inline task<> of_send(outcome& noted) {
  auto bytes = four_on_the_heap();
  co_await observe(ops::send(some_number, bytes), noted);
}
inline task<> of_recv_poll_first(outcome& noted) {
  auto buffer = four_on_the_heap();
  co_await observe(ops::recv_poll_first(some_number, buffer), noted);
}
inline task<> of_send_poll_first(outcome& noted) {
  auto bytes = four_on_the_heap();
  co_await observe(ops::send_poll_first(some_number, bytes), noted);
}
inline task<> of_sendto(outcome& noted) {
  auto bytes = four_on_the_heap();
  auto address = std::make_unique<sockaddr_in>();
  co_await observe(ops::sendto(some_number, bytes, reinterpret_cast<sockaddr*>(address.get()), sizeof *address), noted);
}
inline task<> of_bind(outcome& noted) {
  auto address = std::make_unique<sockaddr_in>();
  co_await observe(ops::bind(some_number, reinterpret_cast<sockaddr*>(address.get()), sizeof *address), noted);
}
inline task<> of_listen(outcome& noted) { co_await observe(ops::listen(some_number), noted); }
inline task<> of_sendmsg(outcome& noted) {
  auto bytes = four_on_the_heap();
  auto parts = parts_of(bytes);
  const ops::outgoing_message message{.parts = parts};
  co_await observe(ops::sendmsg(some_number, message), noted);
}
inline task<> of_recvmsg(outcome& noted) {
  auto buffer = four_on_the_heap();
  auto parts = parts_of(buffer);
  auto from = std::make_unique<sockaddr_storage>();
  auto control = std::make_unique<ops::control_room<int>>();
  const ops::incoming_message message{.parts = parts, .from = from.get(), .control = control->bytes()};
  co_await observe(ops::recvmsg(some_number, message), noted);
}
inline task<> of_send_zc(outcome& noted) {
  auto bytes = four_on_the_heap();
  co_await observe(ops::send_zc(some_number, bytes), noted);
}
inline task<> of_sendmsg_zc(outcome& noted) {
  auto bytes = four_on_the_heap();
  auto parts = parts_of(bytes);
  const ops::outgoing_message message{.parts = parts};
  co_await observe(ops::sendmsg_zc(some_number, message), noted);
}
inline task<> of_recv_all(outcome& noted) {
  auto buffer = four_on_the_heap();
  co_await observe(ops::recv_all(some_number, buffer), noted);
}
inline task<> of_send_all(outcome& noted) {
  auto bytes = four_on_the_heap();
  co_await observe(ops::send_all(some_number, bytes), noted);
}
inline task<> of_shutdown(outcome& noted) { co_await observe(ops::shutdown(some_number, SHUT_WR), noted); }
inline task<> of_timeout(outcome& noted) { co_await observe(ops::timeout(std::chrono::hours{1}), noted); }
inline task<> of_msg_ring(outcome& noted) { co_await observe(ops::msg_ring(some_number, 1, 1), noted); }
inline task<> of_futex_wait(outcome& noted) {
  auto word = std::make_unique<std::atomic<std::uint32_t>>();
  co_await observe(ops::futex_wait(*word, 0), noted);
}
inline task<> of_futex_wake(outcome& noted) {
  auto word = std::make_unique<std::atomic<std::uint32_t>>();
  co_await observe(ops::futex_wake(*word, 1), noted);
}
inline task<> of_futex_wait_any(outcome& noted) {
  auto word = std::make_unique<std::atomic<std::uint32_t>>();
  const std::vector waited_on{ops::futex_expectation{*word, 0}};
  co_await observe(ops::futex_wait_any(waited_on), noted);
}
inline task<> of_accept_direct(outcome& noted) { co_await observe(ops::accept_direct(some_number), noted); }
inline task<> of_openat_direct(outcome& noted) {
  auto path = std::make_unique<std::string>("a path that is too long to be kept inside the string");
  co_await observe(ops::openat_direct(AT_FDCWD, path->c_str(), O_RDONLY), noted);
}
inline task<> of_socket_direct(outcome& noted) { co_await observe(ops::socket_direct(AF_INET, SOCK_STREAM), noted); }
inline task<> of_to_direct(outcome& noted) { co_await observe(ops::to_direct(STDERR_FILENO), noted); }  // a slot, too
inline task<> of_to_plain(outcome& noted) { co_await observe(ops::to_plain(direct_fd()), noted); }
inline task<> of_close_direct(outcome& noted) { co_await observe(ops::close_direct(direct_fd()), noted); }
inline task<> of_msg_ring_fd(outcome& noted) {
  co_await observe(ops::msg_ring_fd(executor::current(), direct_fd()), noted);
}
inline task<> of_cancel_fd(outcome& noted) { co_await observe(ops::cancel_fd(some_number), noted); }

inline constexpr std::array every_operation{
    some_operation{"nop", IORING_OP_NOP, &of_nop, &zero},
    some_operation{"read", IORING_OP_READ, &of_read, &four_bytes},
    some_operation{"write", IORING_OP_WRITE, &of_write, &four_bytes},
    some_operation{"readv", IORING_OP_READV, &of_readv, &four_bytes},
    some_operation{"writev", IORING_OP_WRITEV, &of_writev, &four_bytes},
    some_operation{"read of registered memory", IORING_OP_READ_FIXED, &of_read_registered, &four_bytes},
    some_operation{"write of registered memory", IORING_OP_WRITE_FIXED, &of_write_registered, &four_bytes},
    some_operation{"readv of registered memory", detail::op_readv_fixed, &of_readv_registered, &four_bytes},
    some_operation{"writev of registered memory", detail::op_writev_fixed, &of_writev_registered, &four_bytes},
    some_operation{"fsync", IORING_OP_FSYNC, &of_fsync, &zero},
    some_operation{"close", IORING_OP_CLOSE, &of_close, &zero, /*is_asked=*/false},
    some_operation{"openat", IORING_OP_OPENAT, &of_openat, &new_descriptor},
    some_operation{"openat2", IORING_OP_OPENAT2, &of_openat2, &new_descriptor},
    some_operation{"statx", IORING_OP_STATX, &of_statx, &zero},
    some_operation{"unlinkat", IORING_OP_UNLINKAT, &of_unlinkat, &zero},
    some_operation{"poll", IORING_OP_POLL_ADD, &of_poll, &one_byte},
    some_operation{"socket", IORING_OP_SOCKET, &of_socket, &new_descriptor},
    some_operation{"accept", IORING_OP_ACCEPT, &of_accept, &new_descriptor},
    some_operation{"connect", IORING_OP_CONNECT, &of_connect, &zero},
    some_operation{"recv", IORING_OP_RECV, &of_recv, &four_bytes},
    some_operation{"send", IORING_OP_SEND, &of_send, &four_bytes},
    some_operation{"recv_poll_first", IORING_OP_RECV, &of_recv_poll_first, &four_bytes},
    some_operation{"send_poll_first", IORING_OP_SEND, &of_send_poll_first, &four_bytes},
    some_operation{"sendto", IORING_OP_SEND, &of_sendto, &four_bytes},
    some_operation{"bind", IORING_OP_BIND, &of_bind, &zero},
    some_operation{"listen", IORING_OP_LISTEN, &of_listen, &zero},
    some_operation{"sendmsg", IORING_OP_SENDMSG, &of_sendmsg, &four_bytes},
    some_operation{"recvmsg", IORING_OP_RECVMSG, &of_recvmsg, &four_bytes},
    some_operation{"send_zc", IORING_OP_SEND_ZC, &of_send_zc, &four_bytes},
    some_operation{"sendmsg_zc", IORING_OP_SENDMSG_ZC, &of_sendmsg_zc, &four_bytes},
    some_operation{"recv_all", IORING_OP_RECV, &of_recv_all, &four_bytes},
    some_operation{"send_all", IORING_OP_SEND, &of_send_all, &four_bytes},
    some_operation{"shutdown", IORING_OP_SHUTDOWN, &of_shutdown, &zero},
    some_operation{"msg_ring", IORING_OP_MSG_RING, &of_msg_ring, &zero},
    some_operation{"accept_direct", IORING_OP_ACCEPT, &of_accept_direct, &zero},
    some_operation{"openat_direct", IORING_OP_OPENAT, &of_openat_direct, &zero},
    some_operation{"socket_direct", IORING_OP_SOCKET, &of_socket_direct, &zero},
    some_operation{"to_direct", IORING_OP_FILES_UPDATE, &of_to_direct, &one_byte},
    some_operation{"to_plain", IORING_OP_FIXED_FD_INSTALL, &of_to_plain, &new_descriptor},
    some_operation{"close_direct", IORING_OP_CLOSE, &of_close_direct, &zero, /*is_asked=*/false},
    some_operation{"msg_ring_fd", IORING_OP_MSG_RING, &of_msg_ring_fd, &zero, /*is_asked=*/false},
    some_operation{"timeout", IORING_OP_TIMEOUT, &of_timeout, &time_has_come},
    some_operation{"futex_wait", IORING_OP_FUTEX_WAIT, &of_futex_wait, &zero},
    some_operation{"futex_wake", IORING_OP_FUTEX_WAKE, &of_futex_wake, &zero},
    some_operation{"futex_wait_any", IORING_OP_FUTEX_WAITV, &of_futex_wait_any, &zero},
};

}  // namespace gyre::test
