// SPDX-License-Identifier: MIT
// Memory that somebody else owns: how operations are told where bytes go to, or come from.
//
// Plain memory and registered memory (registered_buffer.hpp) are one type, so that an operation is written once: what
// it is given chooses the opcode. A reference is two words and says nothing of who owns the memory: lifetime rule 2.
#pragma once

#include <gyre/runtime/ops/transfer.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

struct iovec;
struct io_uring_sqe;

namespace gyre {

class registered_buffer;

template <class Byte>
class basic_buffer_ref;

/// Memory that an operation writes into; memory that it reads.
using buffer_ref = basic_buffer_ref<std::byte>;
using const_buffer_ref = basic_buffer_ref<const std::byte>;

namespace detail {

template <class T>
inline constexpr bool is_buffer_ref = false;
template <class Byte>
inline constexpr bool is_buffer_ref<basic_buffer_ref<Byte>> = true;

/// Where the memory is not registered. The kernel's slots are counted from 0.
inline constexpr std::int32_t no_buffer_slot = -1;

/// Makes an entry one that is about registered memory.
[[gnu::cold]] void describe_registered(io_uring_sqe& entry, unsigned fixed_opcode, std::int32_t slot) noexcept;

/// The slot of a registered buffer, which is used in a turn of its executor.
[[nodiscard]] std::int32_t slot_for_use(const registered_buffer& owner) noexcept;
[[nodiscard]] std::span<std::byte> memory_of(const registered_buffer& owner) noexcept;

}  // namespace detail

/// Refers to bytes for one operation. Made of whatever converts to a std::span of bytes, or of a registered_buffer.
///
/// @limits  At most ops::transfer_bytes_max bytes of what it is made of, the first: no request moves more.
template <class Byte>
class basic_buffer_ref {
 public:
  basic_buffer_ref() noexcept = default;

  basic_buffer_ref(Byte* data, std::size_t size) noexcept : data_{data}, size_{one_transfer(size)} {}

  template <class Bytes>
    requires(std::convertible_to<Bytes &&, std::span<Byte>> && !detail::is_buffer_ref<std::remove_cvref_t<Bytes>>)
  basic_buffer_ref(Bytes&& bytes) noexcept : basic_buffer_ref{std::span<Byte>(bytes)} {}
  basic_buffer_ref(std::span<Byte> bytes) noexcept : basic_buffer_ref{bytes.data(), bytes.size()} {}

  /// All of it. To be used on the executor whose it is: made in a turn of another one, it stops the program.
  basic_buffer_ref(const registered_buffer& owner) noexcept
      : basic_buffer_ref{detail::memory_of(owner), detail::slot_for_use(owner)} {}

  /// What may be written may be read.
  template <class Other>
    requires(std::is_const_v<Byte> && std::same_as<Other, std::byte>)
  basic_buffer_ref(basic_buffer_ref<Other> other) noexcept
      : data_{other.data()}, size_{static_cast<std::uint32_t>(other.size())}, slot_{other.slot()} {}

  [[nodiscard]] Byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// A part of it, which is registered if the whole is. What is not there is left out.
  [[nodiscard]] basic_buffer_ref first(std::size_t count) const noexcept { return subspan(0, count); }
  [[nodiscard]] basic_buffer_ref subspan(std::size_t offset, std::size_t count = SIZE_MAX) const noexcept {
    const std::size_t from = std::min(offset, size());
    return {std::span<Byte>{data_ + from, std::min(count, size() - from)}, slot_};
  }

  /// Whether the memory is registered; its slot, if it is.
  [[nodiscard]] bool is_registered() const noexcept { return slot_ != detail::no_buffer_slot; }
  [[nodiscard]] std::int32_t slot() const noexcept { return slot_; }

  /// Has an entry, which is described for plain memory, say that this is registered: with the opcode that the same
  /// request has for that. Plain memory leaves it as it is.
  void mark(io_uring_sqe& entry, unsigned fixed_opcode) const noexcept {
    if (is_registered()) [[unlikely]]
      detail::describe_registered(entry, fixed_opcode, slot_);
  }

 private:
  basic_buffer_ref(std::span<Byte> bytes, std::int32_t slot) noexcept
      : data_{bytes.data()}, size_{one_transfer(bytes.size())}, slot_{slot} {}

  static std::uint32_t one_transfer(std::size_t size) noexcept {
    return static_cast<std::uint32_t>(std::min(size, ops::transfer_bytes_max));
  }

  Byte* data_ = nullptr;
  std::uint32_t size_ = 0;
  std::int32_t slot_ = detail::no_buffer_slot;
};
static_assert(sizeof(buffer_ref) == sizeof(std::span<std::byte>), "an operation is no larger for it");

/// Refers to several pieces of memory for one operation: readv(2)'s array, which stays as they do.
class iovec_ref {
 public:
  iovec_ref() noexcept = default;

  template <class Pieces>
    requires(std::convertible_to<Pieces &&, std::span<const ::iovec>> &&
             !std::same_as<std::remove_cvref_t<Pieces>, iovec_ref>)
  iovec_ref(Pieces&& pieces) noexcept : iovec_ref{std::span<const ::iovec>(pieces)} {}
  iovec_ref(std::span<const ::iovec> pieces) noexcept : pieces_{pieces.data()}, count_{count_of(pieces)} {}

  /// All of them lie in `whole`, which is used as for buffer_ref.
  iovec_ref(std::span<const ::iovec> pieces, const registered_buffer& whole) noexcept
      : pieces_{pieces.data()}, count_{count_of(pieces)}, slot_{detail::slot_for_use(whole)} {}

  [[nodiscard]] const ::iovec* data() const noexcept { return pieces_; }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] bool is_registered() const noexcept { return slot_ != detail::no_buffer_slot; }

  /// As buffer_ref's.
  void mark(io_uring_sqe& entry, unsigned fixed_opcode) const noexcept {
    if (is_registered()) [[unlikely]]
      detail::describe_registered(entry, fixed_opcode, slot_);
  }

 private:
  // Any number above IOV_MAX is refused by the kernel.
  static std::uint32_t count_of(std::span<const ::iovec> pieces) noexcept {
    return static_cast<std::uint32_t>(std::min<std::size_t>(pieces.size(), INT32_MAX));
  }

  const ::iovec* pieces_ = nullptr;
  std::uint32_t count_ = 0;
  std::int32_t slot_ = detail::no_buffer_slot;
};
static_assert(sizeof(iovec_ref) == sizeof(std::span<const std::byte>), "an operation is no larger for it");

}  // namespace gyre
