// SPDX-License-Identifier: MIT
// Masks of any length: a machine can have more CPUs than cpu_set_t has room for.
#include <gyre/runtime/detail/pin.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/pinning.hpp>

#include <sched.h>

#include <cerrno>
#include <climits>
#include <memory>
#include <utility>

namespace gyre {
namespace detail {
namespace {

constexpr std::size_t word_bits = sizeof(unsigned long) * CHAR_BIT;

cpu_set_t* as_set(std::vector<unsigned long>& mask) noexcept { return reinterpret_cast<cpu_set_t*>(mask.data()); }
const cpu_set_t* as_set(const std::vector<unsigned long>& mask) noexcept {
  return reinterpret_cast<const cpu_set_t*>(mask.data());
}
std::size_t bytes_of(const std::vector<unsigned long>& mask) noexcept { return mask.size() * sizeof(unsigned long); }

std::error_code pin_this_thread(unsigned cpu) {
  std::vector<unsigned long> mask(cpu / word_bits + 1);
  mask[cpu / word_bits] = 1ul << cpu % word_bits;
  if (::sched_setaffinity(0, bytes_of(mask), as_set(mask)) == 0) return {};
  return errno_code(errno);
}

}  // namespace

// The kernel refuses a mask that is shorter than its own, and does not say how long that is.
cpus_of_this_thread::cpus_of_this_thread() : mask_(CPU_SETSIZE / word_bits) {
  while (::sched_getaffinity(0, bytes_of(mask_), as_set(mask_)) != 0) {
    if (errno != EINVAL) throw_errno(errno, "sched_getaffinity");
    mask_.resize(mask_.size() * 2);
  }
}

std::vector<unsigned> cpus_of_this_thread::numbers() const {
  std::vector<unsigned> all;
  for (std::size_t cpu = 0; cpu < mask_.size() * word_bits; ++cpu)
    if ((mask_[cpu / word_bits] >> cpu % word_bits & 1) != 0) all.push_back(static_cast<unsigned>(cpu));
  return all;
}

// CPUs may have gone meanwhile; where all of them have, the thread stays where it is.
void cpus_of_this_thread::restore() const noexcept {
  static_cast<void>(::sched_setaffinity(0, bytes_of(mask_), as_set(mask_)));
}

// --------------------------------------------------------------------------------------------------- a pinned thread

constinit thread_local pinned_thread* pinned_thread::latest = nullptr;

pinned_thread::pinned_thread(unsigned cpu)
    : older_{latest}, before_{std::make_shared<const cpus_of_this_thread>()}, error_{pin_this_thread(cpu)} {
  if (!error_) latest = this;
}

// One that is not the latest leaves the thread where that has pinned it, which then gives back what was there before
// both of them.
pinned_thread::~pinned_thread() {
  if (error_) return;
  if (latest == this) {
    latest = older_;
    before_->restore();
    return;
  }
  pinned_thread* newer = latest;
  while (newer->older_ != this) newer = newer->older_;
  newer->older_ = older_;
  newer->before_ = std::move(before_);
}

std::shared_ptr<const cpus_of_this_thread> pinned_thread::before() noexcept {
  const pinned_thread* first = latest;
  while (first != nullptr && first->older_ != nullptr) first = first->older_;
  return first != nullptr ? first->before_ : nullptr;
}

}  // namespace detail

cpus_before_pinning::cpus_before_pinning() noexcept : cpus_{detail::pinned_thread::before()} {}

void cpus_before_pinning::restore() const noexcept {
  if (cpus_ != nullptr) cpus_->restore();
}

std::vector<unsigned> allowed_cpus() { return detail::cpus_of_this_thread{}.numbers(); }

}  // namespace gyre
