// SPDX-License-Identifier: MIT
// The state behind a stream of connections, from its first arm to its last completion.
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/accept_stream.hpp>

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <deque>
#include <new>
#include <utility>

namespace gyre::ops {

class accept_stream::state final : public detail::completion_handler {
 public:
  explicit state(fd_ref listener) noexcept : completion_handler{&completed, &prepare}, listener_{listener} {}

  ~state() { close_stored(); }

  [[nodiscard]] fd_ref listener() const noexcept { return listener_; }
  [[nodiscard]] bool has_result() const noexcept { return !results_.empty() || lost_one_; }

  // Who waits hears of the next result.
  void wait(next_operation& reader) noexcept {
    GYRE_ASSERT(reader_ == nullptr, "one coroutine at a time waits for the next connection");
    reader_ = &reader;
    if (!std::exchange(armed_, true)) (loop_ = &executor::current())->submit(*this);
  }
  void leave() noexcept { reader_ = nullptr; }

  // A descriptor, or a negative errno.
  [[nodiscard]] int take() noexcept {
    GYRE_ASSERT(has_result(), "one coroutine at a time takes the next connection: another one was faster");
    if (results_.empty()) return std::exchange(lost_one_, false), -ENOMEM;
    const int res = results_.front();
    results_.pop_front();
    return res;
  }

  void orphan() noexcept {
    GYRE_ASSERT(reader_ == nullptr, "a stream was destroyed while a coroutine waits in it");
    if (!armed_) return delete this;
    close_stored();  // whoever is connected hears of it now, not when the kernel is done with the request
    orphaned_ = true;
    cancel();
  }

 private:
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_multishot_accept(3)
    io_uring_prep_multishot_accept(&sqe, static_cast<state&>(self).listener_.in(sqe), nullptr, nullptr, SOCK_CLOEXEC);
  }

  static void completed(completion_handler& self, std::int32_t res, std::uint32_t flags) noexcept {
    auto& mine = static_cast<state&>(self);
    mine.armed_ = (flags & IORING_CQE_F_MORE) != 0;
    if (mine.orphaned_) return mine.drop(res);
    const bool end_of_pause = res == -ECANCELED && mine.pausing_;
    if (!mine.armed_) mine.pausing_ = false;
    if (!end_of_pause) mine.store(res);
    else if (mine.reader_ != nullptr && !mine.has_result()) mine.resubmit();
  }

  void store(std::int32_t res) noexcept {
    keep_or_lose(res);
    if (next_operation* const reader = std::exchange(reader_, nullptr)) reader->settle(/*as_stopped=*/false);
    if (armed_ && (lost_one_ || results_.size() >= pause_at)) pause();
  }

  // How many come before a pause is in force is the kernel's business, so that no store is large enough for sure. What
  // finds no memory is lost, and the reader hears of it after what was kept.
  void keep_or_lose(std::int32_t res) noexcept {
    try {
      results_.push_back(res);
    } catch (const std::bad_alloc&) {
      if (res >= 0) unique_fd{res}.reset();
      lost_one_ = true;
    }
  }

  void pause() noexcept {
    if (std::exchange(pausing_, true)) return;
    cancel();
  }

  void resubmit() noexcept {
    armed_ = true;
    loop_->submit(*this);
  }

  void close_stored() noexcept {
    for (const int res : results_)
      if (res >= 0) unique_fd{res}.reset();
    results_.clear();
  }

  // Nobody takes what still comes.
  void drop(std::int32_t res) noexcept {
    if (res >= 0) unique_fd{res}.reset();
    if (!armed_) delete this;
  }

  void cancel() noexcept { loop_->submit_cancel(*this); }

  fd_ref listener_;
  executor* loop_ = nullptr;
  next_operation* reader_ = nullptr;
  std::deque<int> results_;
  bool armed_ = false;
  bool pausing_ = false;
  bool orphaned_ = false;
  bool lost_one_ = false;  // at least one, of which the reader has not heard
};

constinit const detail::waiter_kind accept_stream::next_operation::kind_of_next{
    {&next_operation::run_slowly}, &next_operation::cancel_waiting, "accept", &next_operation::describe};

accept_stream::accept_stream(fd_ref listener) : state_{new state{listener}} {}
accept_stream::accept_stream(accept_stream&&) noexcept = default;
accept_stream::~accept_stream() = default;

void accept_stream::hand_over::operator()(state* orphan) const noexcept { orphan->orphan(); }

bool accept_stream::next_operation::await_ready() const noexcept { return from_.has_result(); }

void accept_stream::next_operation::wait() noexcept { from_.wait(*this); }

void accept_stream::next_operation::cancel_waiting(detail::waiter& self) noexcept {
  auto& reader = static_cast<next_operation&>(self);
  reader.from_.leave();
  reader.settle(/*as_stopped=*/true);
}

void accept_stream::next_operation::describe(const detail::waiter& self, detail::wait_details& told) noexcept {
  told.tell(static_cast<const next_operation&>(self).from_.listener());
}

unique_fd accept_stream::next_operation::await_resume() {
  auto taken = await_result();
  if (!taken) throw std::system_error{taken.error(), "accept"};
  return std::move(*taken);
}

result<unique_fd> accept_stream::next_operation::await_result() {
  end_wait();
  if (was_stopped()) return detail::errno_code(ECANCELED);
  const int res = from_.take();
  if (res >= 0) return unique_fd{res};
  if (res == -EINVAL) return unique_fd{};  // it listens no more: shutdown(2)
  return detail::errno_code(-res);
}

}  // namespace gyre::ops
