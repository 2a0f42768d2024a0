// SPDX-License-Identifier: MIT
// Takes a small program through every order in which its steps can happen.
//
// A program is run again and again from its beginning. Wherever something could happen in more than one order it asks
// which of the possible comes next; for_every_order() answers differently each time, depth first, until each sequence
// of answers was given once. Nothing is modelled: what runs is the code itself, on executors that stand on one thread,
// each on a scripted ring of its own, and take their turns one by one.
//
//   const std::size_t count = test::for_every_order([](test::choices& choose) {
//     CAPTURE(choose);                                          // a check that fails shows the steps that led there
//     test::left_and_right on;
//     …                                                         // starts tasks on both
//     test::steps next;
//     on.add_turns(next);
//     next.perhaps("cancel", [&] { root.cancel(); });
//     next.take_all(choose);
//     CHECK(…);                                                 // what holds in the end, whatever came first
//   });
#pragma once

#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>

#include "scripted.hpp"

#include <cstddef>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace gyre::test {

/// One sequence of answers, as far as it was asked for.
class choices {
 public:
  /// One of 0 to count - 1.
  std::size_t pick(std::size_t count) {
    GYRE_ASSERT(count > 0, "one of none cannot be chosen");
    if (count == 1) return 0;
    if (asked_ == taken_.size()) taken_.push_back({.index = 0, .count = count});
    const answer& given = taken_[asked_++];
    GYRE_ASSERT(given.count == count, "a program that is to be taken through every order does the same each time");
    return given.index;
  }

  bool flip() { return pick(2) == 1; }

  /// Notes what was chosen, for who reads of a check that failed.
  void note(const std::string& step) { told_ += (told_.empty() ? "" : ", ") + step; }

  friend std::ostream& operator<<(std::ostream& out, const choices& shown) { return out << shown.told_; }

 private:
  template <class Program>
  friend std::size_t for_every_order(Program program);

  struct answer {
    std::size_t index;
    std::size_t count;
  };

  // The next sequence: the last answer that has a next one gets it, and what came after that is asked anew.
  bool advance() {
    asked_ = 0;
    told_.clear();
    while (!taken_.empty() && taken_.back().index + 1 == taken_.back().count) taken_.pop_back();
    if (taken_.empty()) return false;
    ++taken_.back().index;
    return true;
  }

  std::vector<answer> taken_;
  std::size_t asked_ = 0;
  std::string told_;
};

/// Runs `program(choices&)` once for every sequence of answers. Returns how many there were.
template <class Program>
std::size_t for_every_order(Program program) {
  choices choose;
  std::size_t count = 0;
  do {
    program(choose);
    ++count;
  } while (choose.advance());
  return count;
}

/// What can happen next in a program.
class steps {
 public:
  /// A turn of `loop`, whenever it has something to do.
  void turns(std::string name, executor& loop) {
    all_.push_back({std::move(name), [&loop] { return loop.has_work(); }, [&loop] { loop.turn(/*may_park=*/false); }});
  }

  /// `act()`, whenever `can()` says so.
  void whenever(std::string name, std::function<bool()> can, std::function<void()> act) {
    all_.push_back({std::move(name), std::move(can), std::move(act)});
  }

  /// `act()` once, at some time.
  void once(std::string name, std::function<void()> act) { all_.push_back({std::move(name), {}, std::move(act)}); }

  /// `act()` at some time before the end, or not at all.
  void perhaps(std::string name, std::function<void()> act) {
    all_.push_back({std::move(name), {}, std::move(act), /*is_needed=*/false});
  }

  /// Takes steps until none is left that is needed, in the order that `choose` says. Calls `check()` after each.
  void take_all(choices& choose) {
    take_all(choose, [] {});
  }
  template <class Check>
  void take_all(choices& choose, Check check) {
    for (;;) {
      std::vector<step*> possible;
      bool is_over = true;
      for (step& each : all_) {
        if (each.is_done || (each.can && !each.can())) continue;
        possible.push_back(&each);
        if (each.is_needed) is_over = false;
      }
      if (is_over) return;
      step& next = *possible[choose.pick(possible.size())];
      choose.note(next.name);
      if (!next.can) next.is_done = true;
      next.act();
      check();
    }
  }

 private:
  struct step {
    std::string name;
    std::function<bool()> can;  // without it: once
    std::function<void()> act;
    bool is_needed = true;
    bool is_done = false;
  };

  std::vector<step> all_;
};

/// Two executors of one thread whose tasks wait for each other. A turn resumes one.
struct left_and_right {
  void add_turns(steps& next) {
    next.turns("left", left.loop);
    next.turns("right", right.loop);
  }
  void run_ready() {
    left.loop.run_ready();
    right.loop.run_ready();
  }

  scripted_executor left{{}, one_at_a_time};
  scripted_executor right{{}, one_at_a_time};
};

}  // namespace gyre::test
