// SPDX-License-Identifier: MIT
// A stream to read in tests, and a reader of all that a stream has.
#pragma once

#include <gyre/runtime/stream.hpp>
#include <gyre/runtime/stream_ops.hpp>
#include <gyre/runtime/task.hpp>

#include <utility>
#include <vector>

namespace gyre::test {

inline stream<int> count_to(int last) {
  for (int i = 1; i <= last; ++i) co_yield i;
}

/// The items of a stream, or of what is read like one.
template <class Source>
task<std::vector<detail::item_of<Source>>> all_of(Source source) {
  std::vector<detail::item_of<Source>> items;
  while (auto item = co_await source.next()) items.push_back(std::move(*item));
  co_return items;
}

}  // namespace gyre::test
