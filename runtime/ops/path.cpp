// SPDX-License-Identifier: MIT
// How the operations on names are described to the kernel.
#include <gyre/runtime/ops/path.hpp>

#include <liburing.h>
#include <linux/openat2.h>

#include <string>

namespace gyre {
namespace detail {
namespace {

bool is_refused(fd_ref directory, std::error_code error) noexcept {
  return directory.is_direct() && error == std::errc::bad_file_descriptor;
}

}  // namespace

std::error_code failure_at(fd_ref directory, std::error_code error) noexcept {
  return is_refused(directory, error) ? std::make_error_code(std::errc::operation_not_supported) : error;
}

void throw_if_direct(fd_ref directory, std::error_code error, const char* operation) {
  if (!is_refused(directory, error)) return;
  const std::string cure{": the kernel takes no direct descriptor here: make a plain one of it by ops::to_plain"};
  throw std::system_error{failure_at(directory, error), operation + cure};
}

}  // namespace detail

namespace ops {

void openat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_openat(3)
  auto& op = static_cast<openat&>(self);
  io_uring_prep_openat(&sqe, op.directory_.get(), op.path_, op.flags_ | O_CLOEXEC, op.mode_);
}
void openat::fail() const {
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind openat::opcode{"openat", &openat::prepare, runs_in::worker,
                                              &describe_fd<&openat::directory_>};

openat2::openat2(fd_ref directory, const char* path, int flags, std::uint64_t resolve, ::mode_t mode) noexcept
    : operation_of{opcode},
      directory_{directory},
      path_{path},
      how_{.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC), .mode = mode, .resolve = resolve} {}

void openat2::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_openat2(3)
  auto& op = static_cast<openat2&>(self);
  static_assert(sizeof(op.how_) == sizeof(open_how));
  io_uring_prep_openat2(&sqe, op.directory_.get(), op.path_, reinterpret_cast<open_how*>(&op.how_));
}
void openat2::fail() const {
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind openat2::opcode{"openat2", &openat2::prepare, runs_in::worker,
                                               &describe_fd<&openat2::directory_>};

void statx::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_statx(3)
  auto& op = static_cast<statx&>(self);
  io_uring_prep_statx(&sqe, op.directory_.get(), op.path_, op.flags_, op.mask_, &op.found_);
}
void statx::fail() const {
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind statx::opcode{"statx", &statx::prepare, runs_in::worker,
                                             &describe_fd<&statx::directory_>};

void unlinkat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_unlinkat(3)
  auto& op = static_cast<unlinkat&>(self);
  io_uring_prep_unlinkat(&sqe, op.directory_.get(), op.path_, op.flags_);
}
void unlinkat::fail() const {
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind unlinkat::opcode{"unlinkat", &unlinkat::prepare, runs_in::worker,
                                                &describe_fd<&unlinkat::directory_>};

void renameat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_renameat(3)
  auto& op = static_cast<renameat&>(self);
  io_uring_prep_renameat(&sqe, op.from_directory_.get(), op.from_, op.to_directory_.get(), op.to_, op.flags_);
}
std::error_code renameat::failure() const noexcept {
  return gyre::detail::failure_at(from_directory_.is_direct() ? from_directory_ : to_directory_, error());
}
void renameat::fail() const {
  gyre::detail::throw_if_direct(from_directory_, error(), name());
  gyre::detail::throw_if_direct(to_directory_, error(), name());
  throw_error();
}
constinit const operation_kind renameat::opcode{"renameat", &renameat::prepare, runs_in::worker,
                                                &describe_fd<&renameat::from_directory_>};

void mkdirat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_mkdirat(3)
  auto& op = static_cast<mkdirat&>(self);
  io_uring_prep_mkdirat(&sqe, op.directory_.get(), op.path_, op.mode_);
}
void mkdirat::fail() const {
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind mkdirat::opcode{"mkdirat", &mkdirat::prepare, runs_in::worker,
                                               &describe_fd<&mkdirat::directory_>};

void symlinkat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_symlinkat(3)
  auto& op = static_cast<symlinkat&>(self);
  io_uring_prep_symlinkat(&sqe, op.target_, op.directory_.get(), op.path_);
}
void symlinkat::fail() const {
  gyre::detail::throw_if_direct(directory_, error(), name());
  throw_error();
}
constinit const operation_kind symlinkat::opcode{"symlinkat", &symlinkat::prepare, runs_in::worker,
                                                 &describe_fd<&symlinkat::directory_>};

void linkat::prepare(operation& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_linkat(3)
  auto& op = static_cast<linkat&>(self);
  io_uring_prep_linkat(&sqe, op.from_directory_.get(), op.from_, op.to_directory_.get(), op.to_, op.flags_);
}
std::error_code linkat::failure() const noexcept {
  return gyre::detail::failure_at(from_directory_.is_direct() ? from_directory_ : to_directory_, error());
}
void linkat::fail() const {
  gyre::detail::throw_if_direct(from_directory_, error(), name());
  gyre::detail::throw_if_direct(to_directory_, error(), name());
  throw_error();
}
constinit const operation_kind linkat::opcode{"linkat", &linkat::prepare, runs_in::worker,
                                              &describe_fd<&linkat::from_directory_>};

}  // namespace ops
}  // namespace gyre
