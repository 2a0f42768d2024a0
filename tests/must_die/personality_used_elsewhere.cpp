// SPDX-License-Identifier: MIT
// A personality is a number that one ring knows: on another it would be somebody else's rights.
// must say: a personality is used in a turn of the executor whose it is
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/misc.hpp>
#include <gyre/runtime/personality.hpp>

gyre::task<> use(const gyre::personality& made) {
  co_await with_personality(made, gyre::ops::nop());  // must stop here
}

int main() {
  gyre::executor here;
  gyre::executor there;
  const gyre::personality made{here};
  there.run(use(made));
}
