// SPDX-License-Identifier: MIT
// Maps stacks, and keeps those that were given back.
#include <gyre/runtime/detail/fiber_stack.hpp>
#include <gyre/runtime/detail/lent_memory.hpp>
#include <gyre/runtime/error.hpp>

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <utility>

namespace gyre::detail {
namespace {

// Lies at the top of a stack that nobody uses.
struct kept_stack {
  kept_stack* next;
  std::size_t bytes;
};

kept_stack& place_in(std::byte* bottom, std::size_t bytes) noexcept {
  return *reinterpret_cast<kept_stack*>(bottom + bytes - sizeof(kept_stack));
}

// The frames of a fiber that has ended were never left: what AddressSanitizer has laid around their locals is there.
void unmap(std::byte* bottom, std::size_t bytes) noexcept {
  take_from_kernel(bottom, bytes);
  ::munmap(bottom - fiber_stack::guard_bytes, bytes + fiber_stack::guard_bytes);
}

// Trivially destructible and constant-initialised, as frame_pool's: a use is a plain access.
class kept_stacks {
 public:
  /// Null where there is none of that size. They are few, and nearly always of one size.
  std::byte* take(std::size_t bytes) noexcept {
    for (kept_stack** link = &first_; *link != nullptr; link = &(*link)->next) {
      if ((*link)->bytes != bytes) continue;
      kept_stack* const taken = std::exchange(*link, (*link)->next);
      kept_bytes_ -= bytes;
      return reinterpret_cast<std::byte*>(taken) + sizeof(kept_stack) - bytes;
    }
    return nullptr;
  }

  /// Whether it is kept.
  bool keep(std::byte* bottom, std::size_t bytes) noexcept {
    if (kept_bytes_ + bytes > fiber_stack::kept_bytes_max) return false;
    first_ = ::new (&place_in(bottom, bytes)) kept_stack{first_, bytes};
    kept_bytes_ += bytes;
    return true;
  }

  void unmap_all() noexcept {
    while (kept_stack* const first = first_) {
      const std::size_t bytes = first->bytes;
      first_ = first->next;
      unmap(reinterpret_cast<std::byte*>(first) + sizeof(kept_stack) - bytes, bytes);
    }
    kept_bytes_ = 0;
  }

 private:
  kept_stack* first_ = nullptr;
  std::size_t kept_bytes_ = 0;
};

thread_local constinit kept_stacks kept_here;

struct unmap_at_thread_end {
  bool armed = false;
  ~unmap_at_thread_end() { kept_here.unmap_all(); }
};
thread_local unmap_at_thread_end unmapper;

std::byte* map(std::size_t bytes) {
  constexpr int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE;
  const std::size_t all_bytes = bytes + fiber_stack::guard_bytes;
  void* const mapped = ::mmap(nullptr, all_bytes, PROT_NONE, kind, -1, 0);
  if (mapped == MAP_FAILED) throw_errno(errno, "on_fiber: no memory for a stack, or too many maps: vm.max_map_count");
  std::byte* const bottom = static_cast<std::byte*>(mapped) + fiber_stack::guard_bytes;
  if (::mprotect(bottom, bytes, PROT_READ | PROT_WRITE) == 0) return bottom;
  const int error = errno;
  ::munmap(mapped, all_bytes);
  throw_errno(error, "on_fiber: no memory for a stack, or too many maps: vm.max_map_count");
}

}  // namespace

fiber_stack::fiber_stack(std::size_t bytes) : bytes_{whole_pages(bytes)}, bottom_{kept_here.take(bytes_)} {
  if (bottom_ == nullptr) bottom_ = map(bytes_);
}

fiber_stack::~fiber_stack() {
  unmapper.armed = true;  // its first use on this thread registers its destructor
  if (!kept_here.keep(bottom_, bytes_)) unmap(bottom_, bytes_);
}

}  // namespace gyre::detail
