// SPDX-License-Identifier: MIT
// What reads and writes bytes, as code that works on any of it asks for it: connections, files, pipes, and what a
// program makes of them.
//
// Whatever reads says of each read how many bytes came, and 0 at its end; whatever writes says how many it took. One
// read and one write may be under way at a time. A stop leaves bytes in the stream, or delivers them: it loses none.
#pragma once

#include <gyre/runtime/task.hpp>

#include <concepts>
#include <cstddef>
#include <span>

namespace gyre {

/// `co_await from.read(buffer)` gives how many bytes came, at most buffer.size(); 0 at the end. The buffer stays until
/// then.
template <class T>
concept async_reader = requires(T& from, std::span<std::byte> buffer) {
  requires awaitable<decltype(from.read(buffer))>;
  requires std::same_as<detail::awaited_t<decltype(from.read(buffer))>, std::size_t>;
};

/// `co_await to.write(bytes)` gives how many bytes were taken, at least one unless there are none. The bytes stay until
/// then.
template <class T>
concept async_writer = requires(T& to, std::span<const std::byte> bytes) {
  requires awaitable<decltype(to.write(bytes))>;
  requires std::same_as<detail::awaited_t<decltype(to.write(bytes))>, std::size_t>;
};

/// Both, side by side.
template <class T>
concept async_stream = async_reader<T> && async_writer<T>;

}  // namespace gyre
