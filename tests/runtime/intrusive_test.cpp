// SPDX-License-Identifier: MIT
// The lists whose links live in their elements.
#include <gyre/runtime/detail/inbox.hpp>
#include <gyre/runtime/detail/intrusive.hpp>
#include <gyre/runtime/detail/mpsc_stack.hpp>

#include <doctest/doctest.h>

#include <array>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::detail {
namespace {

struct element {
  element* next = nullptr;
  int name = 0;
};

std::vector<int> popped(intrusive_queue<element>& queue) {
  std::vector<int> names;
  while (element* const each = queue.pop_front()) names.push_back(each->name);
  return names;
}

std::array<element, 6> named_elements() {
  std::array<element, 6> made{};
  for (int i = 0; i < 6; ++i) made[static_cast<std::size_t>(i)].name = i;
  return made;
}

struct ringed : ring_links {
  int name = 0;
};

std::vector<int> names_in(intrusive_ring<ringed>& ring) {
  std::vector<int> names;
  ring.for_each([&](ringed& each) { names.push_back(each.name); });
  return names;
}

struct numbered final : runnable {
  numbered() noexcept : runnable{kind_of_numbered} {}
  static void nothing(runnable&) noexcept {}
  static constexpr runnable_kind kind_of_numbered{&numbered::nothing};
  int thread = 0;
  int number = 0;
};

}  // namespace

TEST_CASE("a queue gives back what came first, first") {
  auto elements = named_elements();
  intrusive_queue<element> queue;
  CHECK(queue.empty());
  CHECK(queue.pop_front() == nullptr);

  for (auto& each : elements) queue.push_back(each);
  CHECK(queue.front() == &elements[0]);
  CHECK(popped(queue) == std::vector{0, 1, 2, 3, 4, 5});

  queue.push_back(elements[3]);
  CHECK(popped(queue) == std::vector{3});
}

TEST_CASE("a queue whose links were cut is not sound, as far as one looks") {
  auto elements = named_elements();
  intrusive_queue<element> queue;
  CHECK(queue.is_sound(10));
  for (auto& each : elements) queue.push_back(each);
  CHECK(queue.is_sound(10));
  CHECK(queue.is_sound(2));

  element* const rest = std::exchange(elements[3].next, nullptr);
  CHECK(!queue.is_sound(10));
  CHECK(queue.is_sound(2));
  elements[3].next = rest;

  CHECK(popped(queue).size() == 6);
}

TEST_CASE("an element can be taken out of a queue from anywhere, and the queue goes on") {
  for (std::size_t taken = 0; taken < 6; ++taken) {
    auto elements = named_elements();
    intrusive_queue<element> queue;
    for (std::size_t i = 0; i < 5; ++i) queue.push_back(elements[i]);

    CHECK(queue.remove(elements[taken]) == (taken < 5));
    queue.push_back(elements[taken]);  // also finds out whether the queue's end is where it was

    const auto names = popped(queue);
    CHECK(names.size() == (taken < 5 ? 5 : 6));
    CHECK(names.back() == static_cast<int>(taken));
  }
}

TEST_CASE("a queue takes another's elements to its front") {
  for (std::size_t own_count = 0; own_count < 3; ++own_count) {
    for (std::size_t other_count = 0; other_count < 3; ++other_count) {
      auto elements = named_elements();
      intrusive_queue<element> own;
      intrusive_queue<element> other;
      std::vector<int> expected;
      for (std::size_t i = 0; i < other_count; ++i) other.push_back(elements[i]), expected.push_back(elements[i].name);
      for (std::size_t i = 3; i < 3 + own_count; ++i) own.push_back(elements[i]), expected.push_back(elements[i].name);

      own.take_front(other);
      CHECK(other.empty());
      own.push_back(elements[5]);
      expected.push_back(5);

      CHECK(popped(own) == expected);
    }
  }
}

TEST_CASE("an appender adds to the end, and lets the queue be used in between") {
  auto elements = named_elements();
  intrusive_queue<element> queue;
  queue.push_back(elements[0]);

  intrusive_queue<element>::appender more{queue};
  more.push_back(elements[1]);
  more.interrupt([&] {
    queue.push_back(elements[2]);
    CHECK(queue.remove(elements[0]));
  });
  more.push_back(elements[3]);
  more.end();

  CHECK(popped(queue) == std::vector{1, 2, 3});
}

TEST_CASE("all of a queue go behind those of another one, and both go on") {
  auto elements = named_elements();
  intrusive_queue<element> queue;
  intrusive_queue<element> other;
  queue.take_back(other);
  CHECK(queue.empty());
  for (auto& each : elements) other.push_back(each);
  queue.push_back(*other.pop_front());

  queue.take_back(other);
  CHECK(other.empty());
  element& moved = *queue.pop_front();
  other.push_back(moved);
  queue.take_back(other);

  CHECK(popped(queue) == std::vector{1, 2, 3, 4, 5, 0});
}

TEST_CASE("an element leaves a ring by itself, also while the ring is walked") {
  std::array<ringed, 5> elements;
  for (int i = 0; i < 5; ++i) elements[static_cast<std::size_t>(i)].name = i;
  intrusive_ring<ringed> ring;
  CHECK(ring.empty());
  for (auto& each : elements) ring.push_back(each);

  elements[2].unlink();
  elements[2].unlink();
  CHECK(!elements[2].linked());
  CHECK(names_in(ring) == std::vector{0, 1, 3, 4});

  ring.for_each([](ringed& each) { each.unlink(); });
  CHECK(ring.empty());
}

TEST_CASE("a ring tells who came first, and who came after whom") {
  std::array<ringed, 3> elements;
  intrusive_ring<ringed> ring;
  CHECK(ring.front() == nullptr);
  for (auto& each : elements) ring.push_back(each);

  CHECK(ring.front() == &elements[0]);
  CHECK(ring.after(elements[0]) == &elements[1]);
  CHECK(ring.after(elements[2]) == nullptr);
  for (auto& each : elements) each.unlink();
}

TEST_CASE("a stack gives what was pushed in the order of the pushes") {
  std::array<numbered, 3> elements;
  basic_mpsc_stack<runnable, real_memory> stack;
  CHECK(stack.empty());
  CHECK(stack.take_all() == nullptr);

  for (auto& each : elements) stack.push(each);
  CHECK(!stack.empty());

  runnable* taken = stack.take_all();
  for (auto& each : elements) {
    CHECK(taken == &each);
    taken = taken->next;
  }
  CHECK(taken == nullptr);
  CHECK(stack.empty());
}

TEST_CASE("of what several threads push at once nothing is lost, and each thread's order is kept") {
  constexpr int threads_count = 4;
  constexpr int pushes_count = 20'000;
  std::deque<numbered> elements(threads_count * pushes_count);
  basic_mpsc_stack<runnable, real_memory> stack;

  std::vector<std::thread> threads;
  for (int t = 0; t < threads_count; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < pushes_count; ++i) {
        auto& each = elements[static_cast<std::size_t>(t * pushes_count + i)];
        each.thread = t;
        each.number = i;
        stack.push(each);
      }
    });
  }
  std::array<int, threads_count> next{};
  int taken_count = 0;
  while (taken_count < threads_count * pushes_count) {
    for (runnable* each = stack.take_all(); each != nullptr; each = each->next) {
      const auto& taken = static_cast<numbered&>(*each);
      REQUIRE(taken.number == next[static_cast<std::size_t>(taken.thread)]++);
      ++taken_count;
    }
  }
  for (auto& each : threads) each.join();

  CHECK(stack.empty());
}

}  // namespace gyre::detail
