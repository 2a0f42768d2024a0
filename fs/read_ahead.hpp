// SPDX-License-Identifier: MIT
// A file from one end to the other, with what comes next being read while a piece is worked on.
//
// Reads that go on while nobody awaits them need somebody who waits for them: so this is no stream but a region, like
// with_merged(). Each of its chunks has memory of its own and a task that fills it:
//
//   free -> reading    the task of the chunk reads the next part of the file that nobody reads yet
//   reading -> full    it has come, whole, or up to the end of the file
//   full -> given      by next(), in the order of the file
//   given -> free      at the next() after that
//
// So memory is bounded, and what next() gives cannot be overwritten before the next next().
#pragma once

#include <gyre/fs/aligned_buffer.hpp>
#include <gyre/fs/detail/full_read.hpp>
#include <gyre/fs/file.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/sync/auto_event.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre::fs {

struct read_ahead_options {
  /// Where it begins, in bytes; and how many at most.
  std::uint64_t offset = 0;
  std::uint64_t length = UINT64_MAX;

  /// How much is read at a time; rounded up to a multiple of 4096.
  std::size_t chunk_bytes = std::size_t{256} << 10U;

  /// Memory for so many chunks: one is worked on, the others are read. 2 and more; 1 reads nothing ahead.
  std::size_t chunks_count = 2;
};

/// The chunks of a file, in order: what with_read_ahead() gives to its body.
class chunks_ahead {
 public:
  chunks_ahead(const chunks_ahead&) = delete;
  chunks_ahead& operator=(const chunks_ahead&) = delete;

  /// Waits until the next chunk is there. One coroutine at a time.
  ///
  /// @return        The bytes: chunk_bytes of them, fewer only in the last chunk. They stay until the next next(), and
  ///                until the body has ended. Nothing at the end of the file.
  /// @errors        transfer_error, whose bytes() were given before: io_error, …: read(2). Again by each later next().
  /// @cancellation  Safe: the chunk stays for the next next(). What the last one gave is gone.
  [[nodiscard]] task<std::optional<std::span<const std::byte>>> next();

 private:
  template <class Fn>
  friend auto with_read_ahead(const file& from, read_ahead_options options, Fn body)
      -> std::invoke_result_t<Fn&, chunks_ahead&>;

  struct chunk {
    explicit chunk(std::size_t size) : memory{size} {}
    aligned_buffer memory;
    std::size_t bytes_count = 0;
    std::error_code error;
    bool is_last = false;
    sync::auto_event full;
    sync::auto_event freed{sync::auto_event::state::set};
  };

  chunks_ahead(const file& from, const read_ahead_options& options);
  ~chunks_ahead() = default;

  void start_in(task_group& group);
  task<> fill_again_and_again(std::size_t first_index);
  task<> fill(chunk& filled, std::uint64_t distance);
  void free_given() noexcept;

  const file& from_;
  const read_ahead_options options_;
  const detail::ends_of_reads ends_;
  std::deque<chunk> chunks_;
  std::size_t next_index_ = 0;       // of the chunk that next() gives, counted from the first of the file
  chunk* given_ = nullptr;           // what it gave last
  std::uint64_t given_bytes_ = 0;    // in all
  const chunk* ended_by_ = nullptr;  // the last chunk, or that with the error
};

/// Runs `body(chunks)`, which takes a file chunk by chunk while the next ones are read.
///
///   co_await fs::with_read_ahead(opened, {}, [&](fs::chunks_ahead& chunks) -> task<> {
///     while (const auto chunk = co_await chunks.next()) checksum.add(*chunk);
///   });
///
/// @param from    Stays open until the task has ended. With open_options::direct as well: then the offset is a multiple
///                of 4096.
/// @param body    Returns a task. It may end before the file does: reads in flight are stopped, and waited for.
/// @return        What the task gives.
/// @errors        What it throws; std::bad_alloc: memory for the chunks.
/// @cancellation  Stops the body and the reads, and waits for them.
/// @limits        chunks_count times chunk_bytes of memory, whatever the size of the file.
template <class Fn>
[[nodiscard]] auto with_read_ahead(const file& from, read_ahead_options options, Fn body)
    -> std::invoke_result_t<Fn&, chunks_ahead&> {
  using value = gyre::detail::awaited_t<std::invoke_result_t<Fn&, chunks_ahead&>>;
  chunks_ahead chunks{from, options};
  if constexpr (std::is_void_v<value>) {
    co_await with_task_group([&](task_group& group) -> task<> {
      chunks.start_in(group);
      co_await body(chunks);
      group.cancel();
    });
  } else {
    std::optional<value> given;
    co_await with_task_group([&](task_group& group) -> task<> {
      chunks.start_in(group);
      auto got = co_await body(chunks);
      given.emplace(std::move(got));
      group.cancel();
    });
    co_return std::move(*given);
  }
}

}  // namespace gyre::fs
