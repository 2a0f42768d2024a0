// SPDX-License-Identifier: MIT
// The walk through the scopes of an executor that makes a tree of its tasks.
//
// Nothing points from a coroutine to what it awaits: that would be a store for each co_await. So the tree is put
// together from below. Everything that is waited for knows its boundary, which is the top of one line of coroutines: a
// waiter, a scope with what has opened it, a boundary without a scope. Sorted by boundary they are the leaves of those
// lines, and a line is read upwards, from the coroutine that waits to the one that its boundary owns.
//
// gyre-gdb.py does the same with the memory of another process; both say the same (tests/debugger/gdb.py).
#include <gyre/runtime/detail/clocked_deadline.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/operation.hpp>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <ostream>
#include <string_view>
#include <utility>
#include <vector>

namespace gyre {
namespace {

constexpr unsigned indented_levels_max = 40;
constexpr std::size_t outermost_shown = 4;  // of a line of coroutines that is longer than both together
constexpr std::size_t innermost_shown = 8;

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

// What compilers call a function, without its return type, parameters and template arguments:
// "gyre::task<int> gyre::(anonymous namespace)::sum(std::span<int>)" is "gyre::sum".
std::string plain_function_name(std::string name) {
  name = name.substr(0, name.find(" ["));
  replace_all(name, "(anonymous namespace)::", "");
  replace_all(name, "{anonymous}::", "");
  replace_all(name, "(anonymous class)::operator()", "lambda");
  replace_all(name, "<lambda(", "lambda<(");  // as g++ writes it, with the parameters

  std::string plain;
  int depth = 0;
  for (const char each : name) {
    if (each == '(' || each == '<') ++depth;
    else if (each == ')' || each == '>') --depth;
    else if (depth == 0) plain += each;
  }
  replace_all(plain, "lambda::operator", "lambda");  // g++ 14 says so of a lambda that is a coroutine, and of no other
  for (const std::string_view suffix : {" noexcept", " const"})
    if (plain.ends_with(suffix)) plain.resize(plain.size() - suffix.size());
  plain.erase(0, plain.find_last_of(" *&") + 1);
  return plain;
}

std::string seconds(detail::clock_ns time) { return fmt::format("{:.1f} s", static_cast<double>(time) / 1e9); }

std::string because_of(std::string_view reason) { return reason.empty() ? "" : fmt::format(": {}", reason); }

}  // namespace

namespace detail {

class task_tree {
 public:
  explicit task_tree(executor& loop) : loop_{loop}, now_{loop.now()} {
    find_deadlines();
    for (cancel_scope* each = &loop.root_scope(); each != nullptr; each = loop.root_scope().following(*each, true))
      find_leaves(*each);
    find_ready();
    // Each after those of its line that were found before it.
    std::ranges::sort(leaves_, [](const leaf& a, const leaf& b) {
      return a.below != b.below ? std::less<>{}(a.below, b.below) : a.order < b.order;
    });
  }

  std::string told() && {
    for (cancel_scope* each = &loop_.root_scope(); each != nullptr; each = loop_.root_scope().following(*each, true))
      if (each->opener_ == nullptr) tell_root(*each);
    return std::move(out_);
  }

 private:
  // What the innermost coroutine of a line waits for. One of the three is set.
  struct leaf {
    const boundary* below;  // of the line
    const waiter* waiting = nullptr;
    cancel_scope* scope = nullptr;
    const boundary* inner = nullptr;  // a boundary that has no scope of its own
    bool is_ready = false;
    std::size_t order = 0;

    [[nodiscard]] const awaiting_coroutine* opener() const noexcept {
      return scope != nullptr ? scope->opener_ : inner->awaited_by;
    }
    [[nodiscard]] bool is_foreign() const noexcept {
      return waiting != nullptr ? waiting->has(waiter::foreign) : opener()->foreign_;
    }
    [[nodiscard]] std::coroutine_handle<> coroutine() const noexcept {
      return waiting != nullptr ? waiting->coroutine() : opener()->handle_;
    }
  };

  // Of a single operation: the memory that both lie in.
  struct deadline {
    std::uintptr_t begin;
    std::uintptr_t end;
    clock_ns due;
  };

  // A line of coroutines that is still to be told.
  struct line {
    const boundary* top;
    unsigned depth;
  };

  void add(leaf found) {
    found.order = leaves_.size();
    leaves_.push_back(found);
  }

  void find_leaves(cancel_scope& scope) {
    if (scope.opener_ != nullptr) add({.below = scope.opener_->bound_, .scope = &scope});
    scope.boundaries_.for_each([&](const boundary& each) {
      if (each.awaited_by != nullptr) add({.below = each.awaited_by->bound_, .inner = &each});
      for (const waiter* waiting = each.waiting; waiting != nullptr; waiting = waiting->below())
        add({.below = &each, .waiting = waiting});
    });
  }

  // In the ready queue, who stands for a coroutine is a waiter. One that another thread has posted still waits, and was
  // found by that.
  void find_ready() {
    find_in_queue(loop_.ready_);
    find_in_queue(loop_.next_turn_);
  }
  void find_in_queue(const intrusive_queue<runnable>& queue) {
    for (const runnable* each = queue.front(); each != nullptr; each = each->next) {
      if (!each->coroutine()) continue;
      const auto& settled = static_cast<const waiter&>(*each);
      if (settled.is_waiting()) continue;
      add({.below = &settled.bound(), .waiting = &settled, .is_ready = true});
    }
  }

  // Those that the executor keeps. An operation lies in the memory that belongs to its deadline, and in no other's.
  void find_deadlines() {
    for (const clock_id clock : {clock_id::steady, clock_id::boot, clock_id::system}) {
      loop_.timers_on(clock).for_each([&](const timer& each) {
        const std::size_t bytes = each.its_kind().bytes_with_operation;
        const auto begin = reinterpret_cast<std::uintptr_t>(&each);
        const clock_ns due = loop_.on_steady_clock({clock, each.due()});
        if (bytes > 0) deadlines_.push_back({.begin = begin, .end = begin + bytes, .due = due});
      });
    }
    std::ranges::sort(deadlines_, {}, &deadline::begin);
  }

  void tell_root(cancel_scope& scope) {
    if (scope.boundaries_.empty()) return;
    const bool is_task = scope.parent_ == &loop_.root_scope();
    out_ += is_task ? "root task" : "scope";
    tell_state(scope, /*tells_inherited_stop=*/true);
    out_ += '\n';
    queue_lines(scope, 1);
    while (!lines_.empty()) {
      const line next = lines_.back();
      lines_.pop_back();
      tell(next);
    }
  }

  void queue_lines(cancel_scope& scope, unsigned depth) {
    const auto first = static_cast<std::ptrdiff_t>(lines_.size());
    scope.boundaries_.for_each([&](const boundary& each) {
      if (each.awaited_by == nullptr) lines_.push_back({&each, depth});
    });
    std::reverse(lines_.begin() + first, lines_.end());
  }

  void tell(const line& told) {
    const auto leaves = std::ranges::equal_range(leaves_, told.top, std::less<>{}, &leaf::below);
    if (leaves.empty() || leaves.front().is_foreign()) return tell_outermost(told, {leaves.begin(), leaves.end()});
    tell_line(told, leaves.front());
  }

  // All that is known of a line whose innermost coroutine is not. A stop that takes it down, and runs a destructor that
  // asks for this, has no frame left but those further out.
  void tell_outermost(const line& told, const std::vector<leaf>& foreign) {
    begin_line(told.depth);
    tell_role(*told.top);
    const bool has_frame = told.top->frame != nullptr;
    const bool has_place = has_frame && promise_of(told.top->frame).location.line() != 0;
    if (has_place) tell_place(promise_of(told.top->frame));
    else if (!foreign.empty()) out_ += "a task";
    if (foreign.empty() && has_place) out_ += ": ";
    if (foreign.empty()) out_ += has_frame ? "runs, or is about to" : "is being taken down";
    out_ += '\n';
    for (const leaf& each : foreign) {
      begin_line(told.depth + 1);
      out_ += "a coroutine of another library: ";
      tell_leaf(each, told.depth + 2);
    }
  }

  // From the outermost coroutine to the one that waits.
  void tell_line(const line& told, const leaf& ends_in) {
    std::vector<const promise_base*> shown;
    for (std::coroutine_handle<> each = ends_in.coroutine(); each;) {
      const promise_base& promise = promise_of(each);
      if (promise.location.line() != 0) shown.push_back(&promise);
      each = promise.continuation;
    }
    std::reverse(shown.begin(), shown.end());

    unsigned depth = told.depth;
    begin_line(depth);
    tell_role(*told.top);
    const bool is_long = shown.size() > outermost_shown + innermost_shown + 1;
    for (std::size_t index = 0; index < shown.size(); ++index) {
      if (index > 0) end_and_begin_line(++depth);
      if (is_long && index == outermost_shown) {
        const std::size_t left_out = shown.size() - outermost_shown - innermost_shown;
        fmt::format_to(std::back_inserter(out_), "... {} more, each awaiting the next", left_out);
        end_and_begin_line(++depth);
        index += left_out;
      }
      tell_place(*shown[index]);
    }
    if (!shown.empty()) out_ += ": ";
    tell_leaf(ends_in, depth + 1);
  }

  // Ends the line.
  void tell_leaf(const leaf& told, unsigned depth_of_inner) {
    if (told.is_ready) out_ += "runs, or is about to\n";
    else if (told.waiting != nullptr) tell_wait(*told.waiting);
    else tell_region(told, depth_of_inner);
  }

  void tell_wait(const waiter& waiting) {
    const wait_details details = waiting.details();
    const auto now_ms = static_cast<std::uint32_t>(now_ / 1'000'000);
    out_ += waiting.name();
    if (details.fd >= 0)
      fmt::format_to(std::back_inserter(out_), " on {}fd {}", details.is_direct ? "direct " : "", details.fd);
    out_ += " for " + seconds((now_ms - waiting.since_ms()) * clock_ns{1'000'000});
    const clock_ns due = std::min(details.due_ns, deadline_of(waiting));
    tell_time_left(due);
    if (due == INT64_MAX && waiting.has(waiter::expired)) out_ += ", its deadline has passed";
    out_ += '\n';
  }

  void tell_region(const leaf& told, unsigned depth_of_inner) {
    out_ += told.opener()->what();
    if (told.scope == nullptr) {
      out_ += '\n';
      lines_.push_back({told.inner, depth_of_inner});
      return;
    }
    if (told.opener()->several_) tell_count(*told.scope);
    tell_state(*told.scope, /*tells_inherited_stop=*/false);
    out_ += '\n';
    queue_lines(*told.scope, depth_of_inner);
  }

  void tell_count(cancel_scope& scope) {
    const std::size_t count = static_cast<const awaiting_several&>(*scope.opener_).running_count;
    std::size_t begun_count = 0;
    scope.boundaries_.for_each([&](const boundary& each) {
      if (each.awaited_by == nullptr && each.role != boundary_role::body) ++begun_count;
    });
    fmt::format_to(std::back_inserter(out_), ", {} task{}", count, count == 1 ? "" : "s");
    if (count > begun_count) fmt::format_to(std::back_inserter(out_), ", {} not begun", count - begun_count);
  }

  // The deadline of a scope, and what it has heard of a stop: of its own, or of one around it that a shield keeps away.
  void tell_state(const cancel_scope& scope, bool tells_inherited_stop) {
    if (const auto due = scope.deadline()) tell_time_left(clock_of(*due));
    const cancel_scope* stopped = &scope;
    while (stopped != nullptr && !stopped->stop_requested()) stopped = stopped->parent();
    if (stopped == nullptr) return;
    if (stopped != &scope) {
      if (scope.shielded_) out_ += "; shielded from a stop" + because_of(stopped->stop_reason());
    } else if (scope.stop_began_here_ || tells_inherited_stop) {
      out_ += "; asked to stop" + because_of(scope.stop_reason());
    }
  }

  void tell_time_left(clock_ns due) {
    if (due == INT64_MAX) return;
    const bool is_left = due >= now_;
    out_ += ", " + seconds(is_left ? due - now_ : now_ - due) + (is_left ? " left" : " overdue");
  }

  [[nodiscard]] clock_ns deadline_of(const waiter& waiting) const {
    if (waiting.has(waiter::linked)) {
      const timer& linked = *static_cast<const operation&>(waiting).deadline_;
      if (!waiting.has(waiter::heard)) return linked.due();
      return loop_.on_steady_clock(static_cast<const clocked_deadline&>(linked).when());
    }
    const auto where = reinterpret_cast<std::uintptr_t>(&waiting);
    const auto behind = std::ranges::upper_bound(deadlines_, where, {}, &deadline::begin);
    if (behind == deadlines_.begin()) return INT64_MAX;
    const deadline& before = *std::prev(behind);
    return where < before.end ? before.due : INT64_MAX;
  }

  void tell_role(const boundary& top) {
    if (top.role == boundary_role::body) out_ += "body: ";
    else if (top.role == boundary_role::branch) fmt::format_to(std::back_inserter(out_), "branch {}: ", top.index);
  }

  void tell_place(const promise_base& promise) {
    const std::source_location& where = promise.location;
    fmt::format_to(std::back_inserter(out_), "{} at {}:{}", plain_function_name(where.function_name()),
                   where.file_name(), where.line());
  }

  void begin_line(unsigned depth) { out_.append(2ul * std::min(depth, indented_levels_max), ' '); }
  void end_and_begin_line(unsigned depth) {
    out_ += '\n';
    begin_line(depth);
  }

  executor& loop_;
  clock_ns now_;
  std::vector<leaf> leaves_;
  std::vector<deadline> deadlines_;  // in the order of where they are
  std::vector<line> lines_;          // the next is the last
  std::string out_;
};

}  // namespace detail

std::string dump_tasks(executor& loop) {
  GYRE_ASSERT(loop.belongs_to_this_thread(),
              "the tasks of an executor are told on its thread: post() what asks for it");
  return detail::task_tree{loop}.told();
}

void dump_tasks(std::ostream& out, executor& loop) { out << dump_tasks(loop); }

}  // namespace gyre
