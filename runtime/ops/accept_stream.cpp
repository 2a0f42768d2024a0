// SPDX-License-Identifier: MIT
// The state behind a stream of connections: what is in store, and what a completion means.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <deque>
#include <new>
#include <utility>

namespace gyre::ops {
namespace {

constinit const detail::waiter_kind kind_of_reader = detail::multishot_reader::kind_named("accept");

class accepting final : public detail::multishot_of<unique_fd> {
 public:
  explicit accepting(fd_ref listener) noexcept : multishot_of{kind_of_reader, &prepare}, listener_{listener} {}

  bool has_result() const noexcept override { return !results_.empty() || lost_one_; }
  void describe(detail::wait_details& told) const noexcept override { told.tell(listener_); }

  result<unique_fd> take() noexcept override {
    may_take(has_result());
    if (results_.empty()) {
      lost_one_ = false;
      return detail::errno_code(ENOMEM);
    }
    const int res = results_.front();
    results_.pop_front();
    if (res >= 0) return unique_fd{res};
    if (res == -EINVAL) return unique_fd{};  // it listens no more: shutdown(2)
    return detail::errno_code(-res);
  }

 private:
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_multishot_accept(3)
    auto& mine = static_cast<accepting&>(self);
    io_uring_prep_multishot_accept(&sqe, mine.listener_.in(sqe), nullptr, nullptr, SOCK_CLOEXEC);
  }

  // How many come before a pause is in force is the kernel's business, so that no store is large enough for sure. What
  // finds no memory is lost, and the reader hears of it after what was kept.
  bool store(std::int32_t res, std::uint32_t flags) noexcept override {
    if (has_ended()) {
      discard(res, flags);
      return false;
    }
    try {
      results_.push_back(res);
    } catch (const std::bad_alloc&) {
      discard(res, 0);
      lost_one_ = true;
    }
    return true;
  }

  void discard(std::int32_t res, std::uint32_t) noexcept override {
    if (res >= 0) unique_fd{res}.reset();
  }

  void ended() noexcept override {
    clear();
    lost_one_ = false;
  }

  void clear() noexcept override {
    for (const int res : results_)
      if (res >= 0) unique_fd{res}.reset();
    results_.clear();
  }

  bool is_full() const noexcept override { return lost_one_ || results_.size() >= accept_stream::pause_at; }

  fd_ref listener_;
  std::deque<int> results_;
  bool lost_one_ = false;  // at least one, of which the reader has not heard
};

}  // namespace

accept_stream::accept_stream(fd_ref listener) : state_{new accepting{listener}} {}

}  // namespace gyre::ops
