// SPDX-License-Identifier: MIT
// How the operations that make, close and move direct descriptors are described to the kernel.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>

#include <liburing.h>

#include <cerrno>
#include <string>

namespace gyre {
namespace detail {

direct_fd own_direct(executor& loop, std::int32_t slot) noexcept {
  direct_table* const table = loop.direct_table_or_null();
  GYRE_ASSERT(table != nullptr, "a ring without a table gives no direct descriptor");
  return table->adopt(slot);
}

void throw_if_no_slot(std::error_code why, const char* operation) {
  if (why != std::errc::too_many_files_open_in_system) return;
  const std::string cure{": no slot is free for a direct descriptor: raise executor_options::direct_descriptors"};
  throw std::system_error{why, operation + cure};
}

}  // namespace detail

namespace ops {

void accept_direct::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_accept_direct(3)
  auto& op = static_cast<accept_direct&>(self);
  io_uring_prep_accept_direct(&sqe, op.listener_.in(sqe), op.peer_, op.peer_size_, 0, IORING_FILE_INDEX_ALLOC);
}
void accept_direct::fail() const {
  gyre::detail::throw_if_no_slot(error(), name());
  throw_error();
}
constinit const operation_kind accept_direct::opcode{"accept_direct", &accept_direct::prepare, runs_in::ring,
                                                     &describe_fd<&accept_direct::listener_>};

void openat_direct::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_openat_direct(3)
  auto& op = static_cast<openat_direct&>(self);
  io_uring_prep_openat_direct(&sqe, op.directory_.get(), op.path_, op.flags_ & ~O_CLOEXEC, op.mode_,
                              IORING_FILE_INDEX_ALLOC);
}
std::error_code openat_direct::failure() const noexcept { return gyre::detail::failure_at(directory_, error()); }
void openat_direct::fail() const {
  gyre::detail::throw_if_no_slot(error(), name());
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind openat_direct::opcode{"openat_direct", &openat_direct::prepare, runs_in::worker,
                                                     &describe_fd<&openat_direct::directory_>};

void socket_direct::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_socket_direct_alloc(3)
  auto& op = static_cast<socket_direct&>(self);
  io_uring_prep_socket_direct_alloc(&sqe, op.domain_, op.type_ & ~SOCK_CLOEXEC, op.protocol_, 0);
}
void socket_direct::fail() const {
  gyre::detail::throw_if_no_slot(error(), name());
  throw_error();
}
constinit const operation_kind socket_direct::opcode{"socket_direct", &socket_direct::prepare, runs_in::ring};

// The kernel answers ENXIO where there is no table at all.
void to_direct::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_files_update(3)
  auto& op = static_cast<to_direct&>(self);
  op.number_ = op.fd_.get();
  io_uring_prep_files_update(&sqe, &op.number_, 1, static_cast<int>(IORING_FILE_INDEX_ALLOC));
}
std::error_code to_direct::failure() const noexcept {
  return res() == -ENXIO ? gyre::detail::errno_code(ENFILE) : error();
}
void to_direct::fail() const {
  gyre::detail::throw_if_no_slot(failure(), name());
  throw_error();
}
constinit const operation_kind to_direct::opcode{"to_direct", &to_direct::prepare, runs_in::worker,
                                                 &describe_fd<&to_direct::fd_>};

void to_plain::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_fixed_fd_install(3)
  auto& op = static_cast<to_plain&>(self);
  io_uring_prep_fixed_fd_install(&sqe, op.fd_.in(sqe), 0);
  op.require_opcode(sqe);
}
constinit const operation_kind to_plain::opcode{
    "to_plain", &to_plain::prepare, runs_in::ring, &describe_fd<&to_plain::fd_>, nullptr, "6.8"};

void close_direct::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_close_direct(3)
  auto& op = static_cast<close_direct&>(self);
  if (!op.fd_) return io_uring_prep_close(&sqe, -1);
  GYRE_ASSERT(&op.loop() == &op.fd_.owner(), "a direct descriptor is closed in a turn of the executor whose it is");
  io_uring_prep_close_direct(&sqe, static_cast<unsigned>(op.fd_.release()));
}
constinit const operation_kind close_direct::opcode{"close_direct", &close_direct::prepare, runs_in::worker_unasked};

void msg_ring_fd::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_msg_ring_fd_alloc(3)
  auto& op = static_cast<msg_ring_fd&>(self);
  const int sent = op.fd_.is_direct() ? op.fd_.slot() : -1;
  io_uring_prep_msg_ring_fd_alloc(&sqe, op.there_->ring().descriptor(), sent, 0, IORING_MSG_RING_CQE_SKIP);
}
void msg_ring_fd::fail() const {
  gyre::detail::throw_if_no_slot(error(), "msg_ring_fd, on the other executor");
  throw_error();
}
constinit const operation_kind msg_ring_fd::opcode{"msg_ring_fd", &msg_ring_fd::prepare, runs_in::worker_unasked,
                                                   &describe_fd<&msg_ring_fd::fd_>};

}  // namespace ops
}  // namespace gyre
