// SPDX-License-Identifier: MIT
// What statx(2) fills in, as gyre tells it.
#include <gyre/fs/metadata.hpp>

#include <sys/sysmacros.h>

namespace gyre::fs {
namespace {

file_kind kind_of(std::uint16_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return file_kind::regular;
    case S_IFDIR:
      return file_kind::directory;
    case S_IFLNK:
      return file_kind::symbolic_link;
    case S_IFIFO:
      return file_kind::fifo;
    case S_IFSOCK:
      return file_kind::socket;
    case S_IFCHR:
      return file_kind::character_device;
    case S_IFBLK:
      return file_kind::block_device;
    default:
      return file_kind::other;
  }
}

// Beyond what nanoseconds can count it is the end of that: a file is no less there for having an odd time.
metadata::time_point time_of(const struct ::statx_timestamp& stamp) noexcept {
  constexpr auto first = std::chrono::ceil<std::chrono::seconds>(metadata::time_point::min());
  constexpr auto last = std::chrono::floor<std::chrono::seconds>(metadata::time_point::max());
  if (stamp.tv_sec < first.time_since_epoch().count()) return metadata::time_point::min();
  if (stamp.tv_sec >= last.time_since_epoch().count()) return metadata::time_point::max();
  return metadata::time_point{std::chrono::seconds{stamp.tv_sec} + std::chrono::nanoseconds{stamp.tv_nsec}};
}

}  // namespace

const unsigned metadata::mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID | STATX_DIOALIGN;

metadata metadata::from_kernel(const struct ::statx& found) noexcept {
  metadata told{.kind = kind_of(found.stx_mode),
                .permissions = found.stx_mode & 07777U,
                .owner = found.stx_uid,
                .group = found.stx_gid,
                .size_bytes = found.stx_size,
                .allocated_bytes = found.stx_blocks * 512,
                .best_block_bytes = found.stx_blksize,
                .inode = found.stx_ino,
                .device = makedev(found.stx_dev_major, found.stx_dev_minor),
                .links_count = found.stx_nlink,
                .modified = time_of(found.stx_mtime),
                .changed = time_of(found.stx_ctime),
                .accessed = time_of(found.stx_atime),
                .created = {},
                .mount_id = {},
                .direct_io = {}};
  if ((found.stx_mask & STATX_BTIME) != 0) told.created = time_of(found.stx_btime);
  if ((found.stx_mask & STATX_MNT_ID) != 0) told.mount_id = found.stx_mnt_id;
  if ((found.stx_mask & STATX_DIOALIGN) != 0 && found.stx_dio_offset_align != 0)
    told.direct_io = direct_alignment{found.stx_dio_mem_align, found.stx_dio_offset_align};
  return told;
}

}  // namespace gyre::fs
