// SPDX-License-Identifier: MIT
// Temporary files made, given a name that stays, and removed.
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/detail/replacement.hpp>
#include <gyre/fs/temp_file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/scope.hpp>

#include <fcntl.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

std::string directory_of(const temp_file_options& options) {
  return options.directory.empty() ? detail::default_temp_directory() : options.directory;
}

}  // namespace

task<file> open_unnamed(temp_file_options options) {
  const open_options nameless{.access = file_access::read_write, .temporary = true, .permissions = options.permissions};
  auto opened = co_await as_result(file::open(directory_of(options), nameless));
  if (opened) co_return std::move(*opened);
  if (opened.error() != std::errc::operation_not_supported) throw std::system_error{opened.error(), "open_unnamed"};
  co_return co_await detail::make_and_unlink(std::move(options));
}

task<> temp_file::persist(path_at to, persist_options options) {
  if (options.durability == durability::full) co_await opened.sync();
  co_await rename(path_, to, options.how);
  is_kept_ = options.how != rename_how::exchange;
  if (options.durability == durability::full) co_await detail::sync_parent(to);
}

namespace detail {

// In a shield: whether a file has been made by an open that is asked to stop is not told by everybody's file system.
task<temp_file> temp_file_access::make(temp_file_options options) {
  if (options.prefix.find('/') != std::string::npos)
    throw std::system_error{EINVAL, std::system_category(), "with_temp_file: there is a slash in the prefix"};
  const open_options new_one{
      .access = file_access::read_write, .create = file_creation::must_be_new, .permissions = options.permissions};
  for (;;) {
    std::string path = join(directory_of(options), unique_name(options.prefix));
    auto made = co_await as_result(shield(file::open(path, new_one)));
    if (made) co_return temp_file{std::move(*made), std::move(path)};
    if (made.error() != std::errc::file_exists) throw std::system_error{made.error(), "with_temp_file"};
  }
}

task<> temp_file_access::remove(const temp_file& made) {
  if (made.is_kept_) co_return;
  const auto removed = co_await as_result(unlink(made.path_));
  if (!removed && removed.error() != std::errc::no_such_file_or_directory)
    throw std::system_error{removed.error(), "with_temp_file"};
}

task<file> make_and_unlink(temp_file_options options) {
  auto made = co_await temp_file_access::make(std::move(options));
  co_await shield(temp_file_access::remove(made));
  co_return std::move(made.opened);
}

}  // namespace detail
}  // namespace gyre::fs
