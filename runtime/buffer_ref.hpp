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

/// A size, or a count, and above its 48 bits where the memory is: 0 where it is plain, else one more than its slot. So
/// one comparison tells what is nearly always the case, plain memory that one request can move, from all the rest; and
/// whoever gives plain memory pays for nothing.
class size_and_place {
 public:
  size_and_place() noexcept = default;

  /// Plain memory. No memory has more than the 48 bits hold; what says so is registered nowhere, and a bad address.
  size_and_place(std::size_t size) noexcept : word_{size} {}
  size_and_place(std::size_t size, int slot) noexcept : word_{place_of(slot) << size_bits | (size & size_mask)} {}

  [[nodiscard]] std::size_t size() const noexcept { return word_ & size_mask; }
  [[nodiscard]] bool is_registered() const noexcept { return word_ > size_mask; }
  [[nodiscard]] int slot() const noexcept { return static_cast<int>(word_ >> size_bits) - 1; }

  /// Whether it is plain, and no more than that.
  [[nodiscard]] bool is_plainly_within(std::size_t most) const noexcept { return word_ <= most; }

  /// What stands in an entry for that.
  [[nodiscard]] std::uint32_t plain_size() const noexcept { return static_cast<std::uint32_t>(word_); }

  /// And for all the rest: a size of `most` at most, and the opcode and the slot of registered memory. Returns whether
  /// it is.
  [[gnu::cold]] bool describe_unplain(io_uring_sqe& entry, unsigned fixed_opcode, std::size_t most) const noexcept;

 private:
  static constexpr unsigned size_bits = 48;
  static constexpr std::uint64_t size_mask = (std::uint64_t{1} << size_bits) - 1;
  static std::uint64_t place_of(int slot) noexcept { return static_cast<std::uint64_t>(slot + 1); }

  std::uint64_t word_ = 0;
};

/// Of a registered buffer, which is used in a turn of its executor: its slot, or -1 where it owns nothing; its memory.
[[nodiscard]] int slot_for_use(const registered_buffer& owner) noexcept;
[[nodiscard]] std::span<std::byte> memory_of(const registered_buffer& owner) noexcept;

}  // namespace detail

/// Refers to bytes for one operation. Made of whatever converts to a std::span of bytes, or of a registered_buffer.
template <class Byte>
class basic_buffer_ref {
 public:
  basic_buffer_ref() noexcept = default;

  basic_buffer_ref(Byte* data, std::size_t size) noexcept : data_{data}, told_{size} {}

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
  basic_buffer_ref(basic_buffer_ref<Other> other) noexcept : data_{other.data_}, told_{other.told_} {}

  [[nodiscard]] Byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return told_.size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// A part of it, which is registered if the whole is. What is not there is left out.
  [[nodiscard]] basic_buffer_ref first(std::size_t count) const noexcept { return subspan(0, count); }
  [[nodiscard]] basic_buffer_ref subspan(std::size_t offset, std::size_t count = SIZE_MAX) const noexcept {
    const std::size_t from = std::min(offset, size());
    return {std::span<Byte>{data_ + from, std::min(count, size() - from)}, slot()};
  }

  /// Whether the memory is registered; its slot, or -1.
  [[nodiscard]] bool is_registered() const noexcept { return told_.is_registered(); }
  [[nodiscard]] int slot() const noexcept { return told_.slot(); }

  /// The size for the `len` of an entry. Has mark() called afterwards.
  [[nodiscard]] std::uint32_t plain_size() const noexcept { return told_.plain_size(); }

  /// Completes an entry that was described for plain memory: where this is registered, it is given the slot, and the
  /// opcode that the same request has for that; where it is more than a request moves, the size that one does. Returns
  /// whether it is registered.
  bool mark(io_uring_sqe& entry, unsigned fixed_opcode) const noexcept {
    if (told_.is_plainly_within(ops::transfer_bytes_max)) [[likely]]
      return false;
    return told_.describe_unplain(entry, fixed_opcode, ops::transfer_bytes_max);
  }

 private:
  template <class Other>
  friend class basic_buffer_ref;

  basic_buffer_ref(std::span<Byte> bytes, int slot) noexcept : data_{bytes.data()}, told_{bytes.size(), slot} {}

  Byte* data_ = nullptr;
  detail::size_and_place told_;
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
  iovec_ref(std::span<const ::iovec> pieces) noexcept : pieces_{pieces.data()}, told_{pieces.size()} {}

  /// All of them lie in `whole`, which is used as for buffer_ref.
  iovec_ref(std::span<const ::iovec> pieces, const registered_buffer& whole) noexcept
      : pieces_{pieces.data()}, told_{pieces.size(), detail::slot_for_use(whole)} {}

  [[nodiscard]] const ::iovec* data() const noexcept { return pieces_; }
  [[nodiscard]] std::size_t count() const noexcept { return told_.size(); }
  [[nodiscard]] bool is_registered() const noexcept { return told_.is_registered(); }

  /// As buffer_ref's, but that the kernel refuses what is too much.
  [[nodiscard]] std::uint32_t plain_count() const noexcept { return told_.plain_size(); }
  bool mark(io_uring_sqe& entry, unsigned fixed_opcode) const noexcept {
    if (told_.is_plainly_within(INT32_MAX)) [[likely]]
      return false;
    return told_.describe_unplain(entry, fixed_opcode, INT32_MAX);
  }

 private:
  const ::iovec* pieces_ = nullptr;
  detail::size_and_place told_;
};
static_assert(sizeof(iovec_ref) == sizeof(std::span<const std::byte>), "an operation is no larger for it");

}  // namespace gyre
