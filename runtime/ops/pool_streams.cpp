// SPDX-License-Identifier: MIT
// The states behind streams over a pool: what is in store, and what a completion means.
#include <gyre/runtime/detail/fifo.hpp>
#include <gyre/runtime/error.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/control.hpp>
#include <gyre/runtime/ops/pool_streams.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include <liburing.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace gyre::ops {
namespace {

using gyre::detail::buffer_group;
using gyre::detail::filled_buffers;
using gyre::detail::multishot_reader;
using gyre::detail::waiter_kind;

constinit const waiter_kind kind_of_recv = multishot_reader::kind_named("recv_stream");
constinit const waiter_kind kind_of_bundle = multishot_reader::kind_named("recv_bundle_stream");
constinit const waiter_kind kind_of_read = multishot_reader::kind_named("read_stream");
constinit const waiter_kind kind_of_recvmsg = multishot_reader::kind_named("recvmsg_stream");

std::size_t first_capacity(std::size_t pause_at) noexcept {
  constexpr std::size_t least = 8;
  constexpr std::size_t most = 1024;  // beyond, the store grows when it has to
  return std::bit_ceil(std::clamp(pause_at, least, most));
}

// What all of them share. T is what next() gives, made by Self::made_of().
template <class T, class Self>
class pooled : public gyre::detail::multishot_of<T>, private gyre::detail::buffer_waiter {
 public:
  pooled(const waiter_kind& its_reader_kind, gyre::detail::completion_handler::prepare_fn on_submission, fd_ref fd,
         const buffer_pool& pool, const pool_stream_options& options, bool takes_bundles = false)
      : gyre::detail::multishot_of<T>{its_reader_kind, on_submission},
        fd_{fd},
        flags_{options.flags},
        pause_at_{options.pause_at},
        takes_bundles_{takes_bundles},
        store_{first_capacity(options.pause_at)},
        group_{pool.group()} {
    group_.use();
  }
  ~pooled() override { group_.leave(); }

  bool has_result() const noexcept final { return !store_.empty() || lost_some_; }
  void describe(gyre::detail::wait_details& told) const noexcept final { told.tell(fd_); }

  result<T> take() noexcept final {
    this->may_take(has_result());
    if (store_.empty()) {
      lost_some_ = false;
      return gyre::detail::errno_code(ENOMEM);
    }
    const stored oldest = store_.pop_front();
    if (oldest.res < 0) return gyre::detail::errno_code(-oldest.res);
    return static_cast<Self&>(*this).made_of(oldest);
  }

 protected:
  struct stored {
    std::int32_t res;  // bytes, or -errno
    filled_buffers filled;
  };

  /// Nobody takes what lies in there.
  virtual void throw_away(const filled_buffers&) noexcept {}

  [[nodiscard]] buffer_group& group() const noexcept { return group_; }
  [[nodiscard]] int flags() const noexcept { return flags_; }
  [[nodiscard]] bool takes_bundles() const noexcept { return takes_bundles_; }

  // The last of a description, since it writes to the entry's flags.
  void select_in(io_uring_sqe& sqe) noexcept {
    sqe.fd = fd_.in(sqe);
    group_.select_in(sqe);
  }

 private:
  stored item_of(std::int32_t res, std::uint32_t flags) noexcept {
    stored item{.res = res, .filled = {}};
    if (res > 0) item.filled = takes_bundles_ ? group_.take_bundle(res, flags) : group_.take(res, flags);
    else group_.drop(res, flags);
    return item;
  }

  bool store(std::int32_t res, std::uint32_t flags) noexcept final {
    if (res == -ENOBUFS) {
      group_.count_shortage();
      found_none_ = true;
      return false;
    }
    const stored item = item_of(res, flags);
    if (!store_.push_back(item)) {
      give_back(item);
      lost_some_ = true;
    }
    return true;
  }

  void discard(std::int32_t res, std::uint32_t flags) noexcept final { give_back(item_of(res, flags)); }
  void clear() noexcept final {
    while (!store_.empty()) give_back(store_.pop_front());
  }
  void give_back(const stored& item) noexcept {
    if (item.res <= 0) return;
    throw_away(item.filled);
    group_.give_back(item.filled);
  }

  bool is_full() const noexcept final { return lost_some_ || store_.size() >= pause_at_; }

  // Where there is no buffer a request would only come back to say so.
  void wanted() noexcept final {
    GYRE_ASSERT(&this->loop() == &group_.loop(), "a buffer_pool serves the executor that it was made for");
    if (!std::exchange(found_none_, false) && group_.may_try()) this->arm();
    else group_.wait(*this);
  }
  void unwanted() noexcept final { unlink(); }
  void buffer_is_back() noexcept final { this->arm(); }

  const fd_ref fd_;
  const int flags_;
  const std::size_t pause_at_;
  const bool takes_bundles_;
  bool found_none_ = false;
  bool lost_some_ = false;  // of which the reader has not heard
  gyre::detail::fifo<stored> store_;
  buffer_group& group_;
};

class receiving final : public pooled<std::optional<buffer_lease>, receiving> {
 public:
  receiving(fd_ref socket, const buffer_pool& pool, const pool_stream_options& options)
      : pooled{kind_of_recv, &prepare, socket, pool, options} {}

 private:
  friend pooled;
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv_multishot(3)
    auto& mine = static_cast<receiving&>(self);
    io_uring_prep_recv_multishot(&sqe, -1, nullptr, 0, mine.flags());
    mine.select_in(sqe);
  }
  std::optional<buffer_lease> made_of(const stored& item) noexcept {
    if (item.res == 0) return std::nullopt;
    return buffer_lease{group(), item.filled};
  }
};

class receiving_bundles final : public pooled<std::optional<buffer_chain>, receiving_bundles> {
 public:
  receiving_bundles(fd_ref socket, const buffer_pool& pool, const pool_stream_options& options)
      : pooled{kind_of_bundle, &prepare, socket, pool, options, may_bundle(pool.group())} {}

 private:
  friend pooled;

  // An incremental buffer is large enough for what comes at a time.
  static bool may_bundle(const buffer_group& group) noexcept {
    return !group.is_incremental() && group.loop().ring().is_trusted_with(gyre::detail::buffer_use::bundles);
  }

  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recv_multishot(3)
    auto& mine = static_cast<receiving_bundles&>(self);
    io_uring_prep_recv_multishot(&sqe, -1, nullptr, 0, mine.flags());
    if (mine.takes_bundles()) sqe.ioprio |= IORING_RECVSEND_BUNDLE;
    mine.select_in(sqe);
  }
  std::optional<buffer_chain> made_of(const stored& item) noexcept {
    if (item.res == 0) return std::nullopt;
    return buffer_chain{group(), item.filled};
  }
};

class reading final : public pooled<std::optional<buffer_lease>, reading> {
 public:
  reading(fd_ref fd, const buffer_pool& pool, const pool_stream_options& options)
      : pooled{kind_of_read, &prepare, fd, pool, options} {}

 private:
  friend pooled;
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_read_multishot(3)
    auto& mine = static_cast<reading&>(self);
    mine.loop().wait_in_ring_from_now_on();  // it may be an eventfd
    io_uring_prep_read_multishot(&sqe, -1, 0, current_position, mine.group().number());
    mine.select_in(sqe);
  }
  std::optional<buffer_lease> made_of(const stored& item) noexcept {
    if (item.res == 0) return std::nullopt;
    return buffer_lease{group(), item.filled};
  }

  static constexpr std::uint64_t current_position = ~std::uint64_t{0};
};

class receiving_messages final : public pooled<std::optional<leased_message>, receiving_messages> {
 public:
  receiving_messages(fd_ref socket, const buffer_pool& pool, const recvmsg_stream_options& options)
      : pooled{kind_of_recvmsg, &prepare, socket, pool, {.pause_at = options.pause_at, .flags = options.flags}},
        room_{.name_bytes = options.name_bytes, .control_bytes = options.control_bytes},
        empty_is_end_{options.empty_is_end} {
    shape_.msg_namelen = options.name_bytes;
    shape_.msg_controllen = options.control_bytes;
  }

 private:
  friend pooled;
  static void prepare(completion_handler& self, io_uring_sqe& sqe) noexcept {  // io_uring_prep_recvmsg_multishot(3)
    auto& mine = static_cast<receiving_messages&>(self);
    io_uring_prep_recvmsg_multishot(&sqe, -1, &mine.shape_, static_cast<unsigned>(mine.flags() | MSG_CMSG_CLOEXEC));
    mine.select_in(sqe);
  }
  std::optional<leased_message> made_of(const stored& item) noexcept {
    if (item.res == 0) return std::nullopt;
    leased_message message{buffer_lease{group(), item.filled}, room_};
    if (empty_is_end_ && message.payload().empty()) return std::nullopt;
    return message;
  }

  // Descriptors that were sent along are open already.
  void throw_away(const filled_buffers& filled) noexcept override {
    const std::span<std::byte> bytes{filled.data, filled.bytes};
    const leased_message::parts_of_it parts = leased_message::parts_in(bytes, room_);
    for_each_descriptor(bytes.subspan(parts.control_at, parts.control_bytes), [](int fd) { unique_fd{fd}.reset(); });
  }

  const leased_message::layout room_;
  const bool empty_is_end_;
  ::msghdr shape_{};  // the kernel takes two numbers from it, when the request is submitted
};

}  // namespace

recv_stream::recv_stream(fd_ref socket, const buffer_pool& pool, const pool_stream_options& options)
    : state_{new receiving{socket, pool, options}} {}

recv_bundle_stream::recv_bundle_stream(fd_ref socket, const buffer_pool& pool, const pool_stream_options& options)
    : state_{new receiving_bundles{socket, pool, options}} {}

read_stream::read_stream(fd_ref fd, const buffer_pool& pool, const pool_stream_options& options)
    : state_{new reading{fd, pool, options}} {}

namespace {

const buffer_pool& fit_for_messages(const buffer_pool& pool, const recvmsg_stream_options& options) {
  const std::size_t needed =
      sizeof(io_uring_recvmsg_out) + std::size_t{options.name_bytes} + std::size_t{options.control_bytes} + 1;
  if (pool.is_incremental()) gyre::detail::throw_errno(EINVAL, "recvmsg_stream: an incremental pool");
  if (pool.buffer_bytes() < needed) gyre::detail::throw_errno(EMSGSIZE, "recvmsg_stream: the pool's buffers");
  return pool;
}

}  // namespace

recvmsg_stream::recvmsg_stream(fd_ref socket, const buffer_pool& pool, const recvmsg_stream_options& options)
    : state_{new receiving_messages{socket, fit_for_messages(pool, options), options}} {}

// What was there may be longer than its room: that much was asked for, and no more lies in the buffer.
leased_message::parts_of_it leased_message::parts_in(std::span<const std::byte> bytes, const layout& room) noexcept {
  io_uring_recvmsg_out head{};
  const std::size_t control_at = sizeof head + room.name_bytes;
  const std::size_t payload_at = control_at + room.control_bytes;
  GYRE_ASSERT(bytes.size() >= payload_at, "a message begins with its head and the room for address and control");
  std::memcpy(&head, bytes.data(), sizeof head);
  static_assert(name_at == sizeof head);
  return {.name_bytes = std::min(head.namelen, room.name_bytes),
          .control_at = static_cast<std::uint32_t>(control_at),
          .control_bytes = std::min(head.controllen, room.control_bytes),
          .payload_at = static_cast<std::uint32_t>(payload_at),
          .flags = static_cast<int>(head.flags)};
}

}  // namespace gyre::ops
