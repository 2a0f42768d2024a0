// SPDX-License-Identifier: MIT
// What when_all() made is awaited a second time, when its tasks have ended.
// must say: what runs side by side is awaited once
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/when_all.hpp>

int main() {
  gyre::executor loop;
  loop.run([]() -> gyre::task<> {
    auto both = gyre::when_all(gyre::ops::nop(), gyre::ops::nop());
    co_await both;
    co_await both;
  });
}
