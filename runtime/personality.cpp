// SPDX-License-Identifier: MIT
// Registered rights: how many an executor has, and the registrations themselves.
#include <gyre/runtime/detail/live_executor.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/personality.hpp>

#include <cerrno>

namespace gyre {
namespace {

// What an executor has of them. Destroyed with it.
struct personalities {
  explicit personalities(executor& its_loop) noexcept : loop{its_loop} {}
  ~personalities() {
    GYRE_ASSERT(count == 0 || loop.ring().is_parents(),
                "an executor was destroyed while somebody owns a personality of it");
  }
  personalities(const personalities&) = delete;
  personalities& operator=(const personalities&) = delete;

  executor& loop;
  unsigned count = 0;
};

void check_thread(const executor& loop) noexcept {
  GYRE_ASSERT(loop.belongs_to_this_thread(), "a personality stays on the thread of its executor");
}

}  // namespace

personality::personality(executor& loop) {
  check_thread(loop);
  detail::refuse_child(loop.ring());
  auto& counted = loop.local<personalities>();
  const int number = loop.ring().register_personality();
  if (number == -EACCES)
    detail::throw_errno(EACCES, "personality: not on an executor with executor_options::only_opcodes");
  if (number < 0) detail::throw_errno(-number, "personality");
  ++counted.count;
  loop_ = &loop;
  number_ = static_cast<std::uint16_t>(number);
}

void personality::give_back() noexcept {
  if (loop_->ring().is_parents()) return;  // in the child of a fork: it is the parent's
  check_thread(*loop_);
  loop_->ring().unregister_personality(number_);
  --loop_->local_or_null<personalities>()->count;
}

}  // namespace gyre
