// SPDX-License-Identifier: MIT
// Two foreign loops are to drive one executor: each would take the other's signals.
// must say: an executor is embedded once at a time
#include <gyre/runtime/embedded.hpp>

int main() {
  gyre::executor loop;
  const gyre::embedded inside{loop};
  const gyre::embedded once_more{loop};
}
