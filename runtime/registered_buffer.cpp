// SPDX-License-Identifier: MIT
// The table of an executor's registered buffers, from its registration to the last one that goes.
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/detail/live_executor.hpp>
#include <gyre/runtime/detail/ring.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/registered_buffer.hpp>

#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

namespace gyre {
namespace detail {

bool size_and_place::describe_unplain(io_uring_sqe& entry, unsigned fixed_opcode, std::size_t most) const noexcept {
  entry.len = static_cast<std::uint32_t>(std::min(size(), most));
  if (!is_registered()) return false;
  entry.opcode = static_cast<std::uint8_t>(fixed_opcode);
  entry.buf_index = static_cast<std::uint16_t>(slot());
  return true;
}

// What owns nothing is empty memory that is not registered.
int slot_for_use(const registered_buffer& owner) noexcept {
  GYRE_ASSERT(!owner || current_executor == &owner.owner(),
              "a registered buffer is used in a turn of the executor whose it is: register the memory with the other "
              "one, too");
  return owner ? owner.slot() : -1;
}

std::span<std::byte> memory_of(const registered_buffer& owner) noexcept { return owner.memory(); }

constinit const runnable_kind buffer_table::message::kind_of_message{&message::arrived};

std::unique_ptr<buffer_table> buffer_table::make(executor& loop, ring& its_ring, unsigned count) {
  if (count == 0) return nullptr;
  if (const int error = its_ring.register_buffer_table(count); error != 0)
    throw setup_error{error, diagnose_buffer_table(error, count, read_machine_facts())};
  return std::make_unique<buffer_table>(loop, count);
}

buffer_table::buffer_table(executor& loop, unsigned count)
    : loop_{loop}, messages_{std::make_unique<message[]>(count)}, free_(count) {
  for (unsigned slot = 0; slot < count; ++slot) {
    messages_[slot].table = this;
    free_[slot] = static_cast<std::uint16_t>(count - 1 - slot);  // so that the first is taken first
  }
}

buffer_table::~buffer_table() {
  GYRE_ASSERT(owned_count_ == 0 || loop_.ring().is_parents(),
              "an executor was destroyed while somebody owns a registered buffer of it");
}

template <class Fill>
int buffer_table::take_by(Fill fill) noexcept {
  if (free_.empty()) return -ENOBUFS;
  const int slot = free_.back();
  if (const int error = fill(static_cast<unsigned>(slot)); error != 0) return -error;
  free_.pop_back();
  ++owned_count_;
  return slot;
}

int buffer_table::take(std::span<std::byte> memory) noexcept {
  return take_by([&](unsigned slot) { return loop_.ring().set_buffer(slot, memory); });
}

int buffer_table::take_clone(const buffer_table& of_table, int of_slot) noexcept {
  return take_by([&](unsigned slot) {
    return loop_.ring().clone_buffer(slot, of_table.loop().ring().descriptor(), static_cast<unsigned>(of_slot));
  });
}

int buffer_table::reassign(int slot, std::span<std::byte> memory) noexcept {
  return loop_.ring().set_buffer(static_cast<unsigned>(slot), memory);
}

void buffer_table::give_up(int slot) noexcept {
  if (loop_.ring().is_parents()) return;  // in the child of a fork: it is the parent's
  if (loop_.belongs_to_this_thread()) empty(slot);
  else loop_.post(messages_[static_cast<std::size_t>(slot)]);
}

void buffer_table::message::arrived(runnable& self) noexcept {
  auto& mine = static_cast<message&>(self);
  mine.table->empty(static_cast<int>(&mine - mine.table->messages_.get()));
}

// A slot that the kernel did not empty is not given to anybody else.
void buffer_table::empty(int slot) noexcept {
  --owned_count_;
  if (loop_.ring().set_buffer(static_cast<unsigned>(slot), {}) == 0) free_.push_back(static_cast<std::uint16_t>(slot));
}

namespace {

constexpr const char* cure_by_memlock =
    "raise it (ulimit -l, a memlock line in /etc/security/limits.conf, LimitMEMLOCK= in a systemd unit, docker run "
    "--ulimit memlock=-1), or register less";

std::string why_no_memory(std::size_t bytes) {
  const machine_facts machine = read_machine_facts();
  const std::string asked = std::to_string((bytes + 1023) / 1024) + " KiB cannot be pinned: ";
  if (!machine.memlock_bytes || machine.may_lock_any_memory) return asked + "the kernel has no memory";
  return asked + "RLIMIT_MEMLOCK is " + std::to_string(*machine.memlock_bytes / 1024) +
         " KiB for rings and registered buffers of all processes of this user together; " + cure_by_memlock;
}

std::string why(int error, std::size_t bytes) {
  switch (error) {
    case ENOBUFS:
      return "no slot is free: raise executor_options::registered_buffers";
    case ENOMEM:
      return why_no_memory(bytes);
    case EINVAL:
      return "it is empty, or more than 1 GiB";
    case EFAULT:
      return "not all of it is there and may be written, or it is a shared mapping of a file";
    case EEXIST:
      return "its executor belongs to another thread";
    default:
      return "the kernel refuses it";
  }
}

[[noreturn]] void refuse(int error, std::size_t bytes) {
  throw std::system_error{errno_code(error), "registered_buffer: " + why(error, bytes)};
}

bool can_be_registered(std::span<std::byte> memory) noexcept {
  return !memory.empty() && memory.size() <= buffer_table::bytes_max;
}

buffer_table& table_of(executor& loop) {
  GYRE_ASSERT(loop.belongs_to_this_thread(), "memory is registered on the thread of its executor");
  refuse_child(loop.ring());
  buffer_table* const table = loop.buffer_table_or_null();
  if (table == nullptr) refuse(ENOBUFS, 0);
  return *table;
}

}  // namespace
}  // namespace detail

registered_buffer::registered_buffer(executor& loop, std::span<std::byte> memory) : memory_{memory} {
  detail::buffer_table& table = detail::table_of(loop);
  if (!detail::can_be_registered(memory)) detail::refuse(EINVAL, memory.size());
  const int slot = table.take(memory);
  if (slot < 0) detail::refuse(-slot, memory.size());
  slot_ = slot;
  table_ = &table;
}

registered_buffer::registered_buffer(executor& loop, const registered_buffer& source) : memory_{source.memory()} {
  detail::buffer_table& table = detail::table_of(loop);
  if (!source) detail::refuse(EINVAL, 0);
  int slot = table.take_clone(*source.table_, source.slot_);
  if (slot < 0 && slot != -ENOBUFS) slot = table.take(memory_);
  if (slot < 0) detail::refuse(-slot, memory_.size());
  slot_ = slot;
  table_ = &table;
}

void registered_buffer::reassign(std::span<std::byte> memory) {
  if (table_ == nullptr || !detail::can_be_registered(memory)) detail::refuse(EINVAL, memory.size());
  static_cast<void>(detail::table_of(owner()));
  if (const int error = table_->reassign(slot_, memory); error != 0) detail::refuse(error, memory.size());
  memory_ = memory;
}

}  // namespace gyre
