// SPDX-License-Identifier: MIT
// The structures in which the kernel is asked for a receive queue, and what its answers mean.
#include <gyre/runtime/detail/zero_copy_ring.hpp>

#include <liburing.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>
#include <span>

namespace gyre::detail {
namespace {

constexpr std::uint32_t region_of_user = 1;  // IORING_MEM_REGION_TYPE_USER

// struct io_uring_zcrx_area_reg, io_uring_region_desc and io_uring_zcrx_ifq_reg.
struct receive_area {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint64_t refill_token;
  std::uint32_t flags;
  std::uint32_t dmabuf_fd;
  std::uint64_t reserved[2];
};
struct shared_region {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint32_t flags;
  std::uint32_t id;
  std::uint64_t mmap_offset;
  std::uint64_t reserved[4];
};
struct receive_queue {
  std::uint32_t interface_index;
  std::uint32_t rx_queue;
  std::uint32_t refill_entries;
  std::uint32_t flags;
  std::uint64_t area;
  std::uint64_t region;
  std::uint32_t head_at;
  std::uint32_t tail_at;
  std::uint32_t refills_at;
  std::uint32_t reserved;
  std::uint64_t offsets_reserved[2];
  std::uint32_t id;
  std::uint32_t more_reserved;
  std::uint64_t most_reserved[3];
};
static_assert(sizeof(receive_area) == 48 && sizeof(shared_region) == 64 && sizeof(receive_queue) == 96);
static_assert(sizeof(zero_copy_refill) == 16);

std::uint64_t address_of(const void* memory) noexcept { return reinterpret_cast<std::uint64_t>(memory); }

}  // namespace

int register_receive_queue(::io_uring& ring, const zero_copy_request& asked, zero_copy_grant& granted) noexcept {
  const unsigned index = ::if_nametoindex(asked.interface);
  if (index == 0) return ENODEV;

  receive_area area{};
  area.address = address_of(asked.area.data());
  area.bytes = asked.area.size();
  shared_region region{};
  region.address = address_of(asked.refill_ring.data());
  region.bytes = asked.refill_ring.size();
  region.flags = region_of_user;
  receive_queue queue{};
  queue.interface_index = index;
  queue.rx_queue = asked.rx_queue;
  queue.refill_entries = asked.refill_entries;
  queue.area = address_of(&area);
  queue.region = address_of(&region);
  const int answer = io_uring_register(static_cast<unsigned>(ring.ring_fd), register_zcrx_ifq, &queue, 1);
  if (answer < 0) return -answer;

  std::byte* const shared = asked.refill_ring.data();
  granted = {.number = queue.id,
             .area_token = area.refill_token,
             .refill_entries = queue.refill_entries,
             .refills_read = reinterpret_cast<std::uint32_t*>(shared + queue.head_at),
             .refills_written = reinterpret_cast<std::uint32_t*>(shared + queue.tail_at),
             .refills_or_null = reinterpret_cast<zero_copy_refill*>(shared + queue.refills_at)};
  return 0;
}

setup_diagnosis diagnose_receive_queue(int error, const std::string& interface) {
  switch (error) {
    case ENODEV:
      return {"There is no network device called " + interface, "ip link lists those that there are"};
    case EPERM:
      return {"A queue of a network device is not this process's to take", "Run it as root, or with CAP_NET_ADMIN"};
    case EOPNOTSUPP:
      return {"The driver of " + interface + " has no queues that put packets into a program's memory",
              "It takes a device whose driver can: mlx5, bnxt, gve and fbnic do, loopback and virtio do not"};
    case ERANGE:
      return {interface + " has no receive queue of that number", "ethtool -l " + interface + " tells how many it has"};
    case EEXIST:
    case EBUSY:
      return {"That receive queue of " + interface + " is somebody else's", "Take another one"};
    case EINVAL:
      return {"The kernel has no zero-copy receive, which came with Linux 6.15; or " + interface +
                  " does not split headers from data",
              "uname -r tells the kernel; ethtool -G " + interface + " tcp-data-split on has it split"};
    case ENOMEM:
      return {
          "There is no memory for the packets of " + interface + ", or it may not be locked",
          "Ask for a smaller area, or raise the limit of locked memory: ulimit -l, LimitMEMLOCK= in a systemd unit"};
    default:
      return {"The kernel refuses a queue of " + interface + ": " + std::strerror(error), "Receive with a copy"};
  }
}

}  // namespace gyre::detail
