// SPDX-License-Identifier: MIT
// A scope of somebody's own making goes away while a scope inside it is open.
// must say: a scope is left when
#include <gyre/runtime/cancel_scope.hpp>
#include <gyre/runtime/executor.hpp>

#include <optional>

int main() {
  gyre::executor loop;
  std::optional<gyre::cancel_scope> outer;
  outer.emplace(loop.root_scope(), gyre::cancel_scope::kind::plain);
  const gyre::cancel_scope inner{*outer, gyre::cancel_scope::kind::plain};
  outer.reset();  // must stop here
}
