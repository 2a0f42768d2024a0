// SPDX-License-Identifier: MIT
// Opening directories, and reading what is in them.
#include <gyre/fs/detail/entry_batch.hpp>
#include <gyre/fs/detail/names.hpp>
#include <gyre/fs/directory.hpp>
#include <gyre/runtime/ops/path.hpp>

#include <fcntl.h>
#include <linux/openat2.h>

namespace gyre::fs {
namespace {

constexpr int flags_to_read = O_RDONLY | O_DIRECTORY;

}  // namespace

task<directory> directory::open(path_at path, open_directory_options options) {
  detail::refuse_nul(path, "open");
  const int flags = options.no_follow ? flags_to_read | O_NOFOLLOW : flags_to_read;
  if (!options.resolve_beneath) co_return directory{co_await ops::openat{path.directory(), path.c_str(), flags}};
  co_return directory{
      co_await ops::openat2{path.directory(), path.c_str(), flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS}};
}

stream<directory_entry> directory::entries() const {
  const unique_fd mine{co_await ops::openat{fd_, ".", flags_to_read}};  // with a position of its own
  detail::entry_batch batch;
  while (auto entry = co_await batch.next(mine.get())) co_yield std::move(*entry);
}

task<metadata> directory::metadata() const {
  co_return fs::metadata::from_kernel(co_await ops::statx{fd_, "", AT_EMPTY_PATH, fs::metadata::mask});
}

}  // namespace gyre::fs
