// SPDX-License-Identifier: MIT
// A checker for protocols between threads: it runs them in every order of their steps, on a memory like that of x86.
//
// An actor is a function that touches shared memory through the types below. Each such touch is a step. What an actor
// has done is what its steps have answered, so that a state is the memory and these answers: to let an actor do its
// next step, its function is called again from the beginning, is given the answers that it has had, does one step more,
// and is left by an exception at the one after. States can be copied, and one that was there before is not looked at
// again.
//
// The memory is x86-TSO (Sewell et al., 2010): a store lies in a buffer of its actor's until it is flushed, at any
// later time, in order; a load sees the actor's own buffer first; a read-modify-write or a fence waits until the buffer
// is empty.
//
// A run has failed when actors are left and none of them can do a step, when one says so by fail(), or when one touches
// memory that is gone.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gyre::test::model {

using value = std::uint64_t;

struct store {
  std::size_t cell;
  value stored;
};

struct actor_state {
  value begins_with = 0;       // what it has remembered by begin_again()
  std::vector<value> answers;  // since then
  std::vector<store> buffer;   // oldest first
  bool ended = false;
};

struct state {
  std::vector<value> memory;
  std::vector<actor_state> actors;
  bool gone = false;  // the memory
};

/// The world of one check: what its cells are at first, and who is at a step just now.
class world {
 public:
  world() noexcept { current = this; }
  ~world() { current = nullptr; }
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  struct outcome {
    std::size_t states_count = 0;
    std::string failure;  // empty: none in any order
  };

  /// Runs the actors in every order.
  outcome check(const std::vector<std::function<void()>>& actors) {
    outcome found;
    std::vector<state> to_do;
    std::unordered_set<std::string> seen;
    to_do.push_back({.memory = initial_, .actors = std::vector<actor_state>(actors.size())});
    while (!to_do.empty()) {
      state next = std::move(to_do.back());
      to_do.pop_back();
      if (!seen.insert(key_of(next)).second) continue;
      follow_all(next, actors, to_do);
      if (!failure_.empty()) break;
    }
    found.states_count = seen.size();
    found.failure = failure_;
    return found;
  }

  /// In an actor: something that must not be.
  void fail(std::string what) { failure_ = std::move(what); }

  /// In an actor that goes in a circle, at its beginning: what it gave to begin_again(); 0 the first time.
  value remembered() const { return at_->actors[actor_].begins_with; }

  /// At the end of the circle, before the next: all that the actor still knows of what was.
  void begin_again(value knows) {
    actor_state& me = at_->actors[actor_];
    me.begins_with = knows;
    me.answers.clear();
    position_ = 0;
  }

  /// Has the memory end: who touches it later has a bug.
  void end_memory() {
    step([](state& at, actor_state&) {
      at.gone = true;
      return std::optional<value>{0};
    });
  }

  // ------------------------------------------------------------------------------------------------------- steps

  std::size_t new_cell(value first) {
    initial_.push_back(first);
    return initial_.size() - 1;
  }

  value load(std::size_t cell) {
    return step([cell](state& at, actor_state& me) { return std::optional{seen_by(me, at, cell)}; });
  }
  /// What nobody else sees needs no step of its own: a store until it is flushed, a fence with nothing to flush. With
  /// fence_everywhere() a store does: the fence may come just before it.
  void plain_store(std::size_t cell, value stored, bool is_step = false) {
    step_or_go_on(!is_step, [=](state&, actor_state& me) {
      me.buffer.push_back({cell, stored});
      return std::optional<value>{0};
    });
  }
  void own_store(std::size_t cell, value stored) {
    step_or_go_on(true, [=](state& at, actor_state&) {
      at.memory[cell] = stored;
      return std::optional<value>{0};
    });
  }
  value own_load(std::size_t cell) {
    return step_or_go_on(true, [cell](state& at, actor_state&) { return std::optional{at.memory[cell]}; });
  }
  void fence() {
    step_or_go_on(true,
                  [](state&, actor_state& me) { return me.buffer.empty() ? std::optional<value>{0} : std::nullopt; });
  }
  /// A fence on every actor at once: membarrier(2).
  void fence_everywhere() {
    step([](state& at, actor_state&) {
      const bool all_flushed =
          std::all_of(at.actors.begin(), at.actors.end(), [](const actor_state& each) { return each.buffer.empty(); });
      return all_flushed ? std::optional<value>{0} : std::nullopt;
    });
  }
  /// Puts change(before) there, and answers what was there. While `change` gives nothing, the actor waits.
  template <class Change>
  value modify(std::size_t cell, Change change, bool answers = true) {
    return step([=](state& at, actor_state& me) {
      if (!me.buffer.empty()) return std::optional<value>{};
      const value before = at.memory[cell];
      const std::optional<value> after = change(before);
      if (!after) return std::optional<value>{};
      at.memory[cell] = *after;
      return std::optional{answers ? before : 0};
    });
  }
  /// Waits until done(what is there).
  template <class Done>
  void wait_until(std::size_t cell, Done done) {
    step([=](state& at, actor_state& me) {
      return done(seen_by(me, at, cell)) ? std::optional<value>{0} : std::nullopt;
    });
  }

  /// The same, and answers what is there then.
  template <class Done>
  value load_when(std::size_t cell, Done done) {
    return step([=](state& at, actor_state& me) {
      const value seen = seen_by(me, at, cell);
      return done(seen) ? std::optional{seen} : std::nullopt;
    });
  }

  static inline world* current = nullptr;

 private:
  struct not_its_turn {};

  static value seen_by(const actor_state& me, const state& at, std::size_t cell) {
    for (auto each = me.buffer.rbegin(); each != me.buffer.rend(); ++each)
      if (each->cell == cell) return each->stored;
    return at.memory[cell];
  }

  template <class Does>
  value step(Does does) {
    return step_or_go_on(false, does);
  }
  template <class Does>
  value step_or_go_on(bool is_private, Does does) {
    actor_state& me = at_->actors[actor_];
    if (position_ < me.answers.size()) return me.answers[position_++];
    if (stepped_ && !is_private) throw not_its_turn{};
    if (at_->gone) fail("an actor touches what is gone");
    const std::optional<value> answer = does(*at_, me);
    if (!answer) throw not_its_turn{};
    stepped_ = true;
    me.answers.push_back(*answer);
    ++position_;
    return *answer;
  }

  void follow_all(const state& from, const std::vector<std::function<void()>>& actors, std::vector<state>& to_do) {
    bool somebody_can = false;
    bool all_ended = true;
    for (std::size_t each = 0; each < actors.size(); ++each) {
      const actor_state& actor = from.actors[each];
      all_ended = all_ended && actor.ended;
      if (!actor.buffer.empty()) {
        state flushed = from;
        actor_state& its = flushed.actors[each];
        flushed.memory[its.buffer.front().cell] = its.buffer.front().stored;
        its.buffer.erase(its.buffer.begin());
        to_do.push_back(std::move(flushed));
        somebody_can = true;
      }
      if (actor.ended) continue;
      if (std::optional<state> stepped = stepped_by(each, from, actors[each])) {
        to_do.push_back(*std::move(stepped));
        somebody_can = true;
      }
    }
    if (!somebody_can && !all_ended) fail("actors are left, and none can do a step");
  }

  std::optional<state> stepped_by(std::size_t actor, const state& from, const std::function<void()>& function) {
    std::optional<state> next{from};
    at_ = &*next;
    actor_ = actor;
    position_ = 0;
    stepped_ = false;
    try {
      function();
      next->actors[actor].ended = true;
      next->actors[actor].answers.clear();
    } catch (const not_its_turn&) {
      if (!stepped_) next.reset();
    }
    return next;
  }

  static std::string key_of(const state& at) {
    std::string key;
    const auto add = [&key](value added) { key.append(reinterpret_cast<const char*>(&added), sizeof added); };
    for (const value each : at.memory) add(each);
    for (const actor_state& actor : at.actors) {
      add(actor.begins_with);
      add(actor.answers.size());
      for (const value each : actor.answers) add(each);
      add(actor.buffer.size() * 2 + (actor.ended ? 1 : 0));
      for (const store& each : actor.buffer) add(each.cell), add(each.stored);
    }
    add(at.gone ? 1 : 0);
    return key;
  }

  std::vector<value> initial_;
  std::string failure_;

  // Of the step that is being done.
  state* at_ = nullptr;
  std::size_t actor_ = 0;
  std::size_t position_ = 0;
  bool stepped_ = false;
};

template <class T>
value value_of(T from) {
  if constexpr (std::is_pointer_v<T>) return reinterpret_cast<value>(from);
  else return static_cast<value>(from);
}
template <class T>
T from_value(value from) {
  if constexpr (std::is_pointer_v<T>) return reinterpret_cast<T>(from);
  else return static_cast<T>(from);
}

/// Memory that belongs to one actor at a time, and is handed over by the atomics: a link of a list. Nobody else looks,
/// so that an access is no step of its own.
template <class T>
class plain {
 public:
  plain& operator=(T stored) {
    world::current->own_store(cell_, value_of(stored));
    return *this;
  }
  operator T() const { return from_value<T>(world::current->own_load(cell_)); }

 private:
  std::size_t cell_ = world::current->new_cell(0);
};

/// What std::atomic is, as far as the code under test uses it. All orders are those of x86: loads and stores take
/// theirs from the memory, and what modifies is in order with everything.
template <class T>
class atomic {
 public:
  explicit atomic(T first) : cell_{world::current->new_cell(value_of(first))} {}

  T load(std::memory_order) const { return from_value<T>(world::current->load(cell_)); }
  void store(T stored, std::memory_order) { world::current->plain_store(cell_, value_of(stored)); }

  T exchange(T stored, std::memory_order) {
    return modify([=](value) { return std::optional{value_of(stored)}; });
  }
  // These answer nothing, as nobody asks: what an actor does not know makes no difference between two states.
  void fetch_add(T added, std::memory_order) {
    change([=](value before) { return std::optional{before + added}; });
  }
  void fetch_sub(T taken, std::memory_order) {
    change([=](value before) { return std::optional{before - taken}; });
  }
  void fetch_and(T mask, std::memory_order) {
    change([=](value before) { return std::optional{before & mask}; });
  }
  void fetch_or(T bits, std::memory_order) {
    change([=](value before) { return std::optional{before | bits}; });
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order, std::memory_order) {
    const value wanted = value_of(expected);
    const T before = modify([=](value found) { return std::optional{found == wanted ? value_of(desired) : found}; });
    expected = before;
    return value_of(before) == wanted;
  }

  bool compare_exchange_strong(T& expected, T desired, std::memory_order success, std::memory_order failure) {
    return compare_exchange_weak(expected, desired, success, failure);
  }

  [[nodiscard]] std::size_t cell() const noexcept { return cell_; }

 private:
  template <class Change>
  T modify(Change change) {
    return from_value<T>(world::current->modify(cell_, change));
  }
  template <class Change>
  void change(Change change) {
    world::current->modify(cell_, change, /*answers=*/false);
  }

  std::size_t cell_;
};

}  // namespace gyre::test::model
