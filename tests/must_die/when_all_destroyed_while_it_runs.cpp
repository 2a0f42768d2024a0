// SPDX-License-Identifier: MIT
// A coroutine of another type dies while it awaits tasks side by side: they would go on without an owner.
// must say: what runs side by side was destroyed while it runs
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/when_all.hpp>

#include "../support/destroyed_below.hpp"

namespace {

gyre::test::foreign_task await_both() {
  co_await gyre::when_all(gyre::ops::nop(), gyre::ops::nop());
  co_return 1;
}

}  // namespace

int main() { gyre::test::destroy_while_it_runs(&await_both); }
