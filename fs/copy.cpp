// SPDX-License-Identifier: MIT
// A file copied under another name: beside its target, or into it at once.
#include <gyre/fs/copy.hpp>
#include <gyre/fs/detail/file_copy.hpp>
#include <gyre/fs/detail/replacement.hpp>
#include <gyre/fs/path_ops.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace gyre::fs {
namespace {

// Emptied when it is open, and known to be another file: a name may lead to the source a moment after it did not.
task<> copy_in_place(detail::file_copy& copying, const path_at& to) {
  const auto& options = copying.options;
  const open_options writing{.access = file_access::write,
                             .create = options.replace ? file_creation::if_missing : file_creation::must_be_new,
                             .permissions = detail::permissions_at_first(copying.about, options.metadata)};
  auto target = co_await file::open(to, writing);
  const auto there = co_await target.metadata();
  if (there.is_same_file(metadata::from_kernel(copying.about)))
    throw std::system_error{EINVAL, std::system_category(), "copy: both are one file"};
  if (there.is_regular() && there.size_bytes > 0) co_await target.truncate(0);
  co_await copying.fill_and_close(std::move(target));
  if (options.durability == durability::full) co_await detail::sync_parent(to);
}

task<> refuse_existing(const path_at& to) {
  if (co_await exists(to, links::keep)) throw std::system_error{EEXIST, std::system_category(), "copy"};
}

}  // namespace

task<copy_result> copy(path_at from, path_at to, copy_options options, copy_watcher progress) {
  const auto source = co_await file::open(std::move(from));
  const auto about = co_await detail::look_at(source.fd());
  if (S_ISDIR(about.stx_mode)) throw std::system_error{EISDIR, std::system_category(), "copy"};
  detail::file_copy copying{.from = source, .about = about, .options = options, .progress = progress};
  if (options.keep_partial) {
    co_await copy_in_place(copying, to);
    co_return copying.result;
  }
  if (!options.replace) co_await refuse_existing(to);  // before anything is copied; the rename decides
  const detail::replacement how{.durability = options.durability,
                                .how = options.replace ? rename_how::replace : rename_how::no_replace,
                                .permissions_at_first = detail::permissions_at_first(about, options.metadata),
                                .permissions_at_last = {}};
  co_await detail::replace_file(std::move(to), how,
                                [&copying](const file& unfinished) { return copying.fill(unfinished); });
  co_return copying.result;
}

}  // namespace gyre::fs
