// SPDX-License-Identifier: MIT
// One coroutine for each operation in ops/, for tests of what they all have in common. On a scripted ring only: their
// descriptors are numbers.
//
// Each keeps the memory that it lends to the kernel in its own frame or on the heap, so that it shows under
// AddressSanitizer when the frame goes before the kernel is done.
#pragma once

#include <gyre/runtime/buffer_pool.hpp>
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/advise.hpp>
#include <gyre/runtime/ops/cancel.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/epoll.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/file_flags.hpp>
#include <gyre/runtime/ops/futex.hpp>
#include <gyre/runtime/ops/leased.hpp>
#include <gyre/runtime/ops/message.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/ops/msg_ring.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/pipe.hpp>
#include <gyre/runtime/ops/poll.hpp>
#include <gyre/runtime/ops/process.hpp>
#include <gyre/runtime/ops/provide.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/socket_option.hpp>
#include <gyre/runtime/ops/timeout.hpp>
#include <gyre/runtime/ops/xattr.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include "kernel_has.hpp"
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
inline std::unique_ptr<std::string> long_path() {
  return std::make_unique<std::string>("a path that is too long to be kept inside the string");
}
inline task<> of_read2(outcome& noted) {
  auto buffer = four_on_the_heap();
  co_await observe(ops::read2(some_number, buffer, 0, RWF_NOWAIT), noted);
}
inline task<> of_write2(outcome& noted) {
  auto bytes = four_on_the_heap();
  co_await observe(ops::write2(some_number, bytes, 0, RWF_DSYNC), noted);
}
inline task<> of_readv2(outcome& noted) {
  auto buffer = four_on_the_heap();
  auto parts = parts_of(buffer);
  co_await observe(ops::readv2(some_number, parts, 0, RWF_NOWAIT), noted);
}
inline task<> of_writev2(outcome& noted) {
  auto bytes = four_on_the_heap();
  auto parts = parts_of(bytes);
  co_await observe(ops::writev2(some_number, parts, 0, RWF_DSYNC), noted);
}
inline task<> of_sync_file_range(outcome& noted) {
  co_await observe(ops::sync_file_range(some_number, 0, 0, 0), noted);
}
inline task<> of_fallocate(outcome& noted) { co_await observe(ops::fallocate(some_number, 0, 0, 1), noted); }
inline task<> of_ftruncate(outcome& noted) { co_await observe(ops::ftruncate(some_number, 1), noted); }
inline task<> of_fadvise(outcome& noted) { co_await observe(ops::fadvise(some_number, 0, 0, 0), noted); }
inline task<> of_madvise(outcome& noted) {
  auto memory = four_on_the_heap();
  co_await observe(ops::madvise(memory, 0), noted);
}
inline task<> of_renameat(outcome& noted) {
  const auto from = long_path();
  const auto to = long_path();
  co_await observe(ops::renameat(AT_FDCWD, from->c_str(), AT_FDCWD, to->c_str()), noted);
}
inline task<> of_mkdirat(outcome& noted) {
  const auto path = long_path();
  co_await observe(ops::mkdirat(AT_FDCWD, path->c_str(), 0700), noted);
}
inline task<> of_symlinkat(outcome& noted) {
  const auto target = long_path();
  const auto path = long_path();
  co_await observe(ops::symlinkat(target->c_str(), AT_FDCWD, path->c_str()), noted);
}
inline task<> of_linkat(outcome& noted) {
  const auto from = long_path();
  const auto to = long_path();
  co_await observe(ops::linkat(AT_FDCWD, from->c_str(), AT_FDCWD, to->c_str()), noted);
}
inline task<> of_openat2_direct(outcome& noted) {
  const auto path = long_path();
  co_await observe(ops::openat2_direct(AT_FDCWD, path->c_str(), O_RDONLY, 0), noted);
}
inline task<> of_getxattr(outcome& noted) {
  const auto path = long_path();
  const auto name = long_path();
  auto buffer = four_on_the_heap();
  co_await observe(ops::getxattr(path->c_str(), name->c_str(), buffer), noted);
}
inline task<> of_fgetxattr(outcome& noted) {
  const auto name = long_path();
  auto buffer = four_on_the_heap();
  co_await observe(ops::fgetxattr(some_number, name->c_str(), buffer), noted);
}
inline task<> of_setxattr(outcome& noted) {
  const auto path = long_path();
  const auto name = long_path();
  const auto value = four_on_the_heap();
  co_await observe(ops::setxattr(path->c_str(), name->c_str(), value), noted);
}
inline task<> of_fsetxattr(outcome& noted) {
  const auto name = long_path();
  const auto value = four_on_the_heap();
  co_await observe(ops::fsetxattr(some_number, name->c_str(), value), noted);
}
inline task<> of_splice(outcome& noted) {
  co_await observe(ops::splice(some_number, ops::current_position, some_number, 0, 4), noted);
}
inline task<> of_tee(outcome& noted) { co_await observe(ops::tee(some_number, some_number, 4), noted); }
inline task<> of_pipe(outcome& noted) { co_await observe(ops::pipe(), noted); }
inline task<> of_pipe_direct(outcome& noted) { co_await observe(ops::pipe_direct(), noted); }
inline task<> of_waitid(outcome& noted) { co_await observe(ops::waitid(P_ALL, 0), noted); }
inline task<> of_epoll_ctl(outcome& noted) {
  co_await observe(ops::epoll_ctl(some_number, EPOLL_CTL_DEL, some_number), noted);
}
inline task<> of_epoll_wait(outcome& noted) {
  std::vector<epoll_event> events(4);
  co_await observe(ops::epoll_wait(some_number, events), noted);
}
inline task<> of_nop_with(outcome& noted) { co_await observe(ops::nop_with(ops::nop_options()), noted); }
inline task<> of_poll(outcome& noted) { co_await observe(ops::poll(some_number, POLLIN), noted); }
inline task<> of_poll_update(outcome& noted) {
  ops::poll_stream stream(some_number, POLLIN);
  co_await observe(ops::poll_update(stream, POLLOUT), noted);
}
inline task<> of_poll_remove(outcome& noted) {
  ops::poll_stream stream(some_number, POLLIN);
  co_await observe(ops::poll_remove(stream), noted);
}
inline task<> of_socket_bytes_readable(outcome& noted) {
  co_await observe(ops::socket_bytes_readable(some_number), noted);
}
inline task<> of_socket_bytes_unsent(outcome& noted) { co_await observe(ops::socket_bytes_unsent(some_number), noted); }
inline task<> of_getsockopt(outcome& noted) {
  auto value = four_on_the_heap();
  co_await observe(ops::getsockopt(some_number, SOL_SOCKET, SO_TYPE, std::span{value}), noted);
}
inline task<> of_setsockopt(outcome& noted) {
  const auto value = four_on_the_heap();
  co_await observe(ops::setsockopt(some_number, SOL_SOCKET, SO_KEEPALIVE, std::span{value}), noted);
}
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
inline task<> of_timeout_or_count(outcome& noted) {
  co_await observe(ops::timeout_or_count(1000, std::chrono::hours{1}), noted);
}
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
inline buffer_pool some_buffers() { return buffer_pool{executor::current(), {.buffers_count = 2, .buffer_bytes = 4}}; }
inline task<> of_recv_leased(outcome& noted) {
  const buffer_pool pool = some_buffers();
  co_await observe(ops::recv_leased(some_number, pool), noted);
}
inline task<> of_read_leased(outcome& noted) {
  const buffer_pool pool = some_buffers();
  co_await observe(ops::read_leased(some_number, pool, 0), noted);
}
inline task<> of_provide_buffers(outcome& noted) {
  auto memory = four_on_the_heap();
  co_await observe(ops::provide_buffers(memory, 2, 1), noted);
}
inline task<> of_remove_buffers(outcome& noted) { co_await observe(ops::remove_buffers(1, 2), noted); }
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
    some_operation{"poll_update", IORING_OP_POLL_REMOVE, &of_poll_update, &zero},
    some_operation{"poll_remove", IORING_OP_POLL_REMOVE, &of_poll_remove, &zero},
    some_operation{"socket_bytes_readable", IORING_OP_URING_CMD, &of_socket_bytes_readable, &four_bytes},
    some_operation{"socket_bytes_unsent", IORING_OP_URING_CMD, &of_socket_bytes_unsent, &four_bytes},
    some_operation{"getsockopt", IORING_OP_URING_CMD, &of_getsockopt, &four_bytes},
    some_operation{"setsockopt", IORING_OP_URING_CMD, &of_setsockopt, &zero},
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
    some_operation{"nop_with", IORING_OP_NOP, &of_nop_with, &zero},
    some_operation{"read2", IORING_OP_READ, &of_read2, &four_bytes},
    some_operation{"write2", IORING_OP_WRITE, &of_write2, &four_bytes},
    some_operation{"readv2", IORING_OP_READV, &of_readv2, &four_bytes},
    some_operation{"writev2", IORING_OP_WRITEV, &of_writev2, &four_bytes},
    some_operation{"sync_file_range", IORING_OP_SYNC_FILE_RANGE, &of_sync_file_range, &zero},
    some_operation{"fallocate", IORING_OP_FALLOCATE, &of_fallocate, &zero},
    some_operation{"ftruncate", IORING_OP_FTRUNCATE, &of_ftruncate, &zero},
    some_operation{"fadvise", IORING_OP_FADVISE, &of_fadvise, &zero},
    some_operation{"madvise", IORING_OP_MADVISE, &of_madvise, &zero},
    some_operation{"renameat", IORING_OP_RENAMEAT, &of_renameat, &zero},
    some_operation{"mkdirat", IORING_OP_MKDIRAT, &of_mkdirat, &zero},
    some_operation{"symlinkat", IORING_OP_SYMLINKAT, &of_symlinkat, &zero},
    some_operation{"linkat", IORING_OP_LINKAT, &of_linkat, &zero},
    some_operation{"openat2_direct", IORING_OP_OPENAT2, &of_openat2_direct, &zero},
    some_operation{"getxattr", IORING_OP_GETXATTR, &of_getxattr, &four_bytes},
    some_operation{"fgetxattr", IORING_OP_FGETXATTR, &of_fgetxattr, &four_bytes},
    some_operation{"setxattr", IORING_OP_SETXATTR, &of_setxattr, &zero},
    some_operation{"fsetxattr", IORING_OP_FSETXATTR, &of_fsetxattr, &zero},
    some_operation{"splice", IORING_OP_SPLICE, &of_splice, &four_bytes},
    some_operation{"tee", IORING_OP_TEE, &of_tee, &four_bytes},
    some_operation{"pipe", op_pipe, &of_pipe, &zero},
    some_operation{"pipe_direct", op_pipe, &of_pipe_direct, &zero},
    some_operation{"waitid", IORING_OP_WAITID, &of_waitid, &zero},
    some_operation{"epoll_ctl", IORING_OP_EPOLL_CTL, &of_epoll_ctl, &zero},
    some_operation{"epoll_wait", op_epoll_wait, &of_epoll_wait, &one_byte},
    some_operation{"timeout", IORING_OP_TIMEOUT, &of_timeout, &time_has_come},
    some_operation{"recv_leased", IORING_OP_RECV, &of_recv_leased, &zero},  // an end: a buffer would be the script's
    some_operation{"read_leased", IORING_OP_READ, &of_read_leased, &zero},
    some_operation{"provide_buffers", IORING_OP_PROVIDE_BUFFERS, &of_provide_buffers, &zero},
    some_operation{"remove_buffers", IORING_OP_REMOVE_BUFFERS, &of_remove_buffers, &one_byte},
    some_operation{"timeout_or_count", IORING_OP_TIMEOUT, &of_timeout_or_count, &time_has_come},
    some_operation{"futex_wait", IORING_OP_FUTEX_WAIT, &of_futex_wait, &zero},
    some_operation{"futex_wake", IORING_OP_FUTEX_WAKE, &of_futex_wake, &zero},
    some_operation{"futex_wait_any", IORING_OP_FUTEX_WAITV, &of_futex_wait_any, &zero},
};

}  // namespace gyre::test
