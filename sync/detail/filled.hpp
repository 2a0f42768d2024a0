// SPDX-License-Identifier: MIT
// What a wait has received, as a result: put where it stays, since a move that throws on the way there would lose it.
#pragma once

#include <gyre/runtime/result.hpp>

#include <optional>

namespace gyre::sync::detail {

/// A result with an optional that `fill` may have put something into. What it throws passes.
template <class T, class Fill>
[[nodiscard]] result<std::optional<T>> filled(Fill fill) {
  result<std::optional<T>> told{std::nullopt};
  fill(*told);
  return told;
}

}  // namespace gyre::sync::detail
