// SPDX-License-Identifier: MIT
// The state behind a stream without copies: what is in store, and what a completion means.
#include <gyre/runtime/detail/fifo.hpp>
#include <gyre/runtime/detail/zero_copy_ring.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/recv_zc.hpp>

#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>

namespace gyre::ops {
namespace {

using gyre::detail::multishot_reader;
using gyre::detail::page_waiter;
using gyre::detail::waiter_kind;
using gyre::detail::zero_copy_area;

constinit const waiter_kind kind_of_recv_zc = multishot_reader::kind_named("recv_zc_stream");

class receiving_zc final : public gyre::detail::multishot_of<std::optional<zero_copy_lease>>, private page_waiter {
 public:
  receiving_zc(fd_ref socket, zero_copy_area& area, const recv_zc_options& options)
      : multishot_of{kind_of_recv_zc, &prepare}, socket_{socket}, pause_at_{options.pause_at}, area_{area} {
    area_.use();
  }
  ~receiving_zc() override { area_.leave(); }

  bool has_result() const noexcept override { return !store_.empty() || lost_some_; }
  void describe(gyre::detail::wait_details& told) const noexcept override { told.tell(socket_); }

  result<std::optional<zero_copy_lease>> take() noexcept override {
    may_take(has_result());
    if (store_.empty()) {
      lost_some_ = false;
      return gyre::detail::errno_code(ENOMEM);
    }
    const stored oldest = store_.pop_front();
    if (oldest.res < 0) return gyre::detail::errno_code(-oldest.res);
    if (oldest.res == 0) return std::optional<zero_copy_lease>{};
    return std::optional{zero_copy_lease{area_, oldest.bytes}};
  }

 private:
  struct stored {
    std::int32_t res;  // bytes, or -errno
    std::span<std::byte> bytes;
  };

  // As io_uring_prep_recv_zc() of later libraries: io_uring/net.c wants what is not set here to be zero.
  static void prepare(gyre::detail::completion_handler& self, io_uring_sqe& sqe) noexcept {
    auto& mine = static_cast<receiving_zc&>(self);
    sqe.opcode = gyre::detail::op_recv_zc;
    sqe.ioprio = IORING_RECV_MULTISHOT;
    sqe.file_index = mine.area_.number();  // zcrx_ifq_idx
    sqe.fd = mine.socket_.in(sqe);
    mine.read_when_asked_ = mine.area_.read_count();
  }

  // Whether the request has only to be made again, now or when there is a page.
  bool found_no_room(std::int32_t res) noexcept {
    if (res == -ENOSPC) area_.count_full_queue();
    if (res != -ENOMEM && res != -ENOBUFS) return res == -ENOSPC;
    area_.count_shortage();
    if (area_.read_count() != read_when_asked_) return true;  // some have come back since
    found_none_ = area_.awaits_pages();
    return found_none_;
  }

  bool store(std::int32_t res, std::uint32_t /*flags*/) noexcept override {
    if (found_no_room(res)) return false;
    stored item{.res = res == -ENOMEM ? -ENOBUFS : res, .bytes = {}};  // nothing is lost
    if (res > 0) item.bytes = area_.take(res);
    if (!store_.push_back(item)) {
      give_back(item);
      lost_some_ = true;
    }
    return true;
  }

  void discard(std::int32_t res, std::uint32_t /*flags*/) noexcept override {
    if (res > 0) area_.give_back(area_.take(res));
  }
  void clear() noexcept override {
    while (!store_.empty()) give_back(store_.pop_front());
  }
  void give_back(const stored& item) noexcept {
    if (item.res > 0) area_.give_back(item.bytes);
  }

  bool is_full() const noexcept override { return lost_some_ || store_.size() >= pause_at_; }

  // Where no page is free a request would only come back to say so.
  void wanted() noexcept override {
    GYRE_ASSERT(&loop() == &area_.loop(), "a zero_copy_queue serves the executor that it was made for");
    if (std::exchange(found_none_, false) && area_.awaits_pages()) area_.wait(*this);
    else arm();
  }
  void unwanted() noexcept override { unlink(); }
  void page_is_back() noexcept override { arm(); }

  static constexpr std::size_t first_capacity = 64;

  const fd_ref socket_;
  const std::size_t pause_at_;
  std::uint32_t read_when_asked_ = 0;  // refills, by the kernel
  bool found_none_ = false;
  bool lost_some_ = false;  // of which the reader has not heard
  gyre::detail::fifo<stored> store_{first_capacity};
  zero_copy_area& area_;
};

}  // namespace

recv_zc_stream::recv_zc_stream(fd_ref socket, const zero_copy_queue& queue, const recv_zc_options& options)
    : state_{new receiving_zc{socket, queue.area(), options}} {}

}  // namespace gyre::ops
