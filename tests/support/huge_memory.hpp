// SPDX-License-Identifier: MIT
// More memory than a machine has: address space that nothing lies behind until it is touched.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <stdexcept>

namespace gyre::test {

class huge_memory {
 public:
  explicit huge_memory(std::size_t bytes)
      : bytes_{static_cast<std::byte*>(
                   ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
               bytes} {
    if (bytes_.data() == MAP_FAILED) throw std::runtime_error{"mmap"};
  }
  huge_memory(const huge_memory&) = delete;
  huge_memory& operator=(const huge_memory&) = delete;
  ~huge_memory() { ::munmap(bytes_.data(), bytes_.size()); }

  std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace gyre::test
