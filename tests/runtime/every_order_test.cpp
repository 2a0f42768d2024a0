// SPDX-License-Identifier: MIT
// The explorer of orders itself: that it leaves none out and takes none twice.
#include "../support/every_order.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <set>
#include <sstream>
#include <string>

namespace gyre {
namespace {

TEST_CASE("every sequence of choices is taken once, of whatever length") {
  std::multiset<std::string> seen;

  const std::size_t count = test::for_every_order([&](test::choices& choose) {
    std::string sequence;
    for (std::size_t left = 1 + choose.pick(3); left > 0; --left) sequence += choose.flip() ? '1' : '0';
    seen.insert(sequence);
  });

  CHECK(count == 2 + 4 + 8);
  CHECK(std::set<std::string>{seen.begin(), seen.end()}.size() == count);
}

TEST_CASE("a program that asks nothing runs once") {
  CHECK(test::for_every_order([](test::choices& choose) { CHECK(choose.pick(1) == 0); }) == 1);
}

TEST_CASE("steps come in every order, and those that need not come at all also never") {
  std::multiset<std::string> seen;

  test::for_every_order([&](test::choices& choose) {
    std::string order;
    int left = 2;
    test::steps next;
    next.whenever("w", [&] { return left > 0; }, [&] { order += 'w', --left; });
    next.once("o", [&] { order += 'o'; });
    next.perhaps("p", [&] { order += 'p'; });
    next.take_all(choose);
    seen.insert(order);
  });

  // Two w and one o in three orders; a p before the first, the second, the third of them, or not at all.
  CHECK(seen.size() == 3 * 4);
  CHECK(std::set<std::string>{seen.begin(), seen.end()}.size() == seen.size());
  CHECK(seen.count("wow") == 1);
  CHECK(seen.count("wopw") == 1);
}

TEST_CASE("the steps that led to a check can be shown") {
  std::ostringstream last;

  test::for_every_order([&](test::choices& choose) {
    test::steps next;
    next.once("first", [] {});
    next.once("second", [] {});
    next.take_all(choose);
    last.str("");
    last << choose;
  });

  CHECK(last.str() == "second, first");
}

}  // namespace
}  // namespace gyre
