// SPDX-License-Identifier: MIT
// A program's own operation of several requests, which does not say so in its type, is awaited in a chain.
// must say: a composed operation is several requests, and no member of a chain
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/link.hpp>
#include <gyre/runtime/ops/misc.hpp>

namespace {

class twice final : public gyre::operation_of<twice, void> {
 public:
  twice() noexcept : operation_of{opcode} {}

 private:
  friend operation_of;
  static void prepare(gyre::operation&, io_uring_sqe&) noexcept {}
  static bool advance(gyre::operation&) noexcept { return true; }
  static constexpr gyre::operation_kind opcode{"twice", &prepare, gyre::runs_in::ring, nullptr, &advance};
};

gyre::task<> link_it() { static_cast<void>(co_await gyre::ops::link(gyre::ops::nop(), twice())); }

}  // namespace

int main() {
  gyre::executor loop;
  loop.run(link_it());
}
