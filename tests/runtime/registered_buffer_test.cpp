// SPDX-License-Identifier: MIT
// Registered buffers: used by reads and writes, given up in every order against them, shared by executors, refused.
#include <gyre/fs/file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/capabilities.hpp>
#include <gyre/runtime/deadline.hpp>
#include <gyre/runtime/detail/fixed_opcodes.hpp>
#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/ops/direct.hpp>
#include <gyre/runtime/ops/file.hpp>
#include <gyre/runtime/ops/path.hpp>
#include <gyre/runtime/ops/socket.hpp>
#include <gyre/runtime/ops/zero_copy.hpp>
#include <gyre/runtime/registered_buffer.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/unique_fd.hpp>

#include "../support/executor_thread.hpp"
#include "../support/forbidden.hpp"
#include "../support/modes.hpp"
#include "../support/outcome.hpp"
#include "../support/pinned.hpp"
#include "../support/scripted.hpp"
#include "../support/skip.hpp"
#include "../support/tcp_pair.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using bytes = std::span<std::byte>;

static_assert(std::is_nothrow_move_constructible_v<registered_buffer> &&
              !std::is_copy_constructible_v<registered_buffer>);

executor_options with_slots(unsigned count = 4) { return {.direct_descriptors = 4, .registered_buffers = count}; }

// Whole pages, as a look at what is pinned wants them.
class pages {
 public:
  explicit pages(std::size_t size, int protection = PROT_READ | PROT_WRITE)
      : memory_{static_cast<std::byte*>(::mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), size} {}
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;
  ~pages() { ::munmap(memory_.data(), memory_.size()); }

  [[nodiscard]] bytes all() const noexcept { return memory_; }
  [[nodiscard]] std::string_view text(std::size_t from, std::size_t count) const noexcept {
    return {reinterpret_cast<const char*>(memory_.data()) + from, count};
  }
  void put(std::string_view text, std::size_t at = 0) noexcept {
    std::memcpy(memory_.data() + at, text.data(), text.size());
  }

 private:
  bytes memory_;
};

struct pipe_pair {
  pipe_pair() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  void write(std::string_view text) const {
    REQUIRE(::write(in.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  unique_fd out;
  unique_fd in;
};

bool says(const std::string& text, const char* words) { return text.find(words) != std::string::npos; }

// What an exception says, and its code.
struct failure {
  std::string text{"no failure"};
  std::error_code code;
};

template <class Fn>
failure failure_of(Fn fn) {
  try {
    fn();
  } catch (const std::system_error& error) {
    return {error.what(), error.code()};
  }
  return {};
}

// How one read went.
struct noted_read {
  outcome ended;
  std::size_t count = 0;
};

task<> read_into(fd_ref from, buffer_ref into, noted_read& noted) {
  const stop_watch watch{noted.ended};
  const auto got = co_await as_result(ops::read{from, into});
  noted.ended.how = got ? ended::with_value : ended::with_error;
  noted.ended.error = got.error();
  if (got) noted.count = *got;
}

bool kernel_has(const char* facility, without_it otherwise = without_it::skipped) {
  static const capabilities found = capabilities::query();
  const auto named = [&](const capabilities::facility& each) { return each.name == facility; };
  const auto it = std::ranges::find_if(found.facilities, named);
  REQUIRE(it != found.facilities.end());
  if (!it->available)
    say_missing(otherwise, std::string{"this kernel lacks "} + facility + ", which is in Linux " + it->since);
  return it->available;
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------- used

TEST_CASE("a file is written and read through registered memory, whole and in parts, by plain and direct descriptors") {
  const temp_folder folder;
  const auto path = folder.file("made");
  pages memory{8192};
  memory.put("some text");
  executor loop{options_under_test(with_slots())};

  loop.run([&]() -> task<> {
    const registered_buffer buffer{loop, memory.all()};
    const unique_fd plain = co_await ops::openat{AT_FDCWD, path.c_str(), O_RDWR | O_CREAT, 0600};
    CHECK(co_await ops::write{plain, buffer.first(9), 0} == 9);
    CHECK(co_await ops::read{plain, buffer.subspan(5000, 4), 5} == 4);
    CHECK(memory.text(5000, 4) == "text");
    CHECK(co_await ops::read{plain, buffer, 5} == 4);
    CHECK(memory.text(0, 9) == "text text");
    CHECK(co_await ops::read{plain, buffer, 9} == 0);
    CHECK(co_await ops::read{plain, buffer.first(0), 0} == 0);

    const direct_fd direct = co_await ops::to_direct{plain};
    CHECK(co_await ops::write{direct, buffer.first(4), 0} == 4);
    CHECK(co_await ops::read{direct, buffer.subspan(100), 0} == 9);
    CHECK(memory.text(100, 9) == "text text");

    const fs::file file = co_await fs::file::open(path, {.access = fs::file_access::read_write});
    CHECK(co_await file.read_at(buffer.subspan(200, 4), 5) == 4);
    CHECK(co_await file.write_at(buffer.subspan(200, 4), 9) == 4);
    co_await file.write_all_at(buffer.subspan(200, 4), 13);
    co_await file.read_exactly_at(buffer.subspan(300, 4), 13);
    CHECK(memory.text(300, 4) == "text");
  });

  CHECK(content_of(path) == "text texttexttext");
}

TEST_CASE("several pieces of one registered buffer are read and written by one request") {
  if (!kernel_has("readv and writev of registered buffers")) return;
  const temp_folder folder;
  const auto path = folder.file("made", "one two");
  pages memory{8192};
  pages elsewhere{4096};
  executor loop{options_under_test(with_slots())};

  loop.run([&]() -> task<> {
    const registered_buffer buffer{loop, memory.all()};
    const unique_fd file = co_await ops::openat{AT_FDCWD, path.c_str(), O_RDWR};
    std::array<::iovec, 2> pieces{
        {{.iov_base = memory.all().data() + 4000, .iov_len = 4}, {.iov_base = memory.all().data() + 10, .iov_len = 3}}};
    CHECK(co_await ops::readv{file, iovec_ref(pieces, buffer), 0} == 7);
    CHECK(memory.text(4000, 4) == "one ");
    CHECK(memory.text(10, 3) == "two");
    CHECK(co_await ops::writev{file, iovec_ref(pieces, buffer), 7} == 7);
    CHECK(co_await ops::readv{file, iovec_ref({}, buffer), 0} == 0);

    pieces[1].iov_base = elsewhere.all().data();
    CHECK((co_await as_result(ops::readv{file, iovec_ref(pieces, buffer), 0})).error() == std::errc::bad_address);
    CHECK(co_await ops::readv{file, pieces, 0} == 7);
    const std::vector<::iovec> too_many(1025, pieces[0]);
    CHECK((co_await as_result(ops::readv{file, iovec_ref(too_many, buffer), 0})).error() ==
          std::errc::invalid_argument);
  });

  CHECK(content_of(path) == "one twoone two");
}

TEST_CASE("pieces of registered memory are refused by the release that has them, where the kernel does not") {
  pages memory{4096};
  executor loop{options_under_test(with_slots())};
  loop.ring().mask(detail::op_readv_fixed);
  loop.ring().mask(detail::op_writev_fixed);

  loop.run([&]() -> task<> {
    const registered_buffer buffer{loop, memory.all()};
    const std::array<::iovec, 1> piece{{{.iov_base = memory.all().data(), .iov_len = 4}}};
    const pipe_pair pipe;
    pipe.write("text");
    const auto read = co_await as_result(ops::readv{pipe.out, iovec_ref(piece, buffer)});
    CHECK(read.error() == std::errc::operation_not_supported);
    CHECK_THROWS_WITH_AS(co_await ops::writev(pipe.in, iovec_ref(piece, buffer)), doctest::Contains("Linux 6.15"),
                         std::system_error);
    CHECK(co_await ops::readv{pipe.out, piece} == 4);
  });
}

TEST_CASE("registered memory is sent without a copy") {
  pages memory{8192};
  memory.put("some text", 100);
  executor loop{options_under_test(with_slots())};
  const tcp_pair pair;

  loop.run([&]() -> task<> {
    const registered_buffer buffer{loop, memory.all()};
    const auto sent = co_await ops::send_zc(pair.here, buffer.subspan(105, 4));
    CHECK(sent.bytes == 4);
    std::array<std::byte, 8> received{};
    CHECK(co_await ops::recv(pair.there, received) == 4);
    CHECK(received[0] == std::byte{'t'});
    const auto other = const_buffer_ref{received}.first(2);
    CHECK((co_await ops::send_zc(pair.here, other)).bytes == 2);
  });
}

TEST_CASE("an operation on registered memory fails as on plain memory, and is stopped as there") {
  pages memory{4096};
  executor loop{options_under_test(with_slots())};
  const pipe_pair silent;
  registered_buffer buffer{loop, memory.all()};
  noted_read cancelled;
  noted_read timed_out;

  loop.run([&]() -> task<> {
    CHECK((co_await as_result(ops::read{1'000'000, buffer, 0})).error() == std::errc::bad_file_descriptor);
    CHECK((co_await as_result(ops::write{silent.out, buffer})).error() == std::errc::bad_file_descriptor);
    const auto late = co_await as_result(with_timeout(1ms, ops::read{silent.out, buffer}));
    CHECK(late.error() == std::errc::timed_out);
  });
  auto reading = loop.start([](const pipe_pair& pipe, registered_buffer& into, noted_read& noted) -> task<> {
    co_await read_into(pipe.out, into, noted);
  }(silent, buffer, cancelled));
  loop.run_ready();
  CHECK(loop.in_kernel_count() > 0);
  reading.cancel();
  while (!reading.done()) loop.turn(/*may_park=*/true);

  CHECK(cancelled.ended.how == ended::stopped);
  buffer = {};
  CHECK(used_buffers_count(loop) == 0);
}

TEST_CASE("the entry names slot and address, and one of plain memory is as ever, on the scripted ring") {
  pages memory{4096};
  scripted_executor on{by_hand, with_slots()};
  const registered_buffer first{on.loop, memory.all().first(100)};
  const registered_buffer second{on.loop, memory.all()};
  std::array<noted_read, 2> noted;
  std::array<std::byte, 4> plain;

  auto registered = on.loop.start([](const registered_buffer& into, noted_read& how) -> task<> {
    co_await read_into(5, into.subspan(10, 20), how);
  }(second, noted[0]));
  auto other = on.loop.start(read_into(5, plain, noted[1]));
  on.loop.run_ready();

  const auto asked = on.script.only(IORING_OP_READ_FIXED);
  CHECK(asked.buffer_slot == second.slot());
  CHECK(asked.addr == reinterpret_cast<std::uint64_t>(memory.all().data() + 10));
  CHECK(asked.len == 20);
  CHECK(asked.fd == 5);
  CHECK(on.script.only(IORING_OP_READ).buffer_slot == 0);
  on.script.deliver(asked, "abc");
  on.script.complete(on.script.only(IORING_OP_READ), 1);
  on.loop.run_ready();
  CHECK(noted[0].count == 3);
  CHECK(memory.text(10, 3) == "abc");
}

// ------------------------------------------------------------------------------------------------------ given up

TEST_CASE("a slot is taken, and free again at once, and the memory is pinned for as long") {
  pages memory{1 << 20};
  executor loop{options_under_test(with_slots(2))};
  const long before = pinned_kib();

  {
    const registered_buffer whole{loop, memory.all()};
    CHECK(pinned_kib() - before == 1024);
    registered_buffer part{loop, memory.all().subspan(1, 3)};
    CHECK(used_buffers_count(loop) == 2);
    CHECK(loop.statistics().registered_buffers == 2);
    CHECK(&part.owner() == &loop);
    CHECK(part.memory().size() == 3);

    const registered_buffer moved = std::move(part);
    CHECK(!part);
    CHECK(part.memory().empty());
    CHECK(static_cast<bool>(moved));
    CHECK(used_buffers_count(loop) == 2);
  }

  CHECK(used_buffers_count(loop) == 0);
  CHECK(loop.statistics().registered_buffers == 0);
  CHECK(pinned_kib() == before);
  for (int i = 0; i < 100; ++i) CHECK(registered_buffer{loop, memory.all()}.slot() == 0);
}

TEST_CASE("a buffer that is moved over another gives that one's slot back") {
  pages memory{8192};
  executor loop{options_under_test(with_slots(2))};
  registered_buffer kept{loop, memory.all().first(4096)};

  kept = registered_buffer{loop, memory.all().last(4096)};

  CHECK(used_buffers_count(loop) == 1);
  CHECK(kept.memory().data() == memory.all().data() + 4096);
}

TEST_CASE("what the kernel has begun goes on in its memory when the buffer goes, or is reassigned") {
  pages memory{4096};
  pages elsewhere{4096};
  for (const bool reassigns : {false, true}) {
    CAPTURE(reassigns);
    executor loop{options_under_test(with_slots())};
    const pipe_pair pipe;
    noted_read noted;
    registered_buffer buffer{loop, memory.all()};
    auto reading = loop.start([](const pipe_pair& from, const registered_buffer& into, noted_read& how) -> task<> {
      co_await read_into(from.out, into, how);
    }(pipe, buffer, noted));
    loop.run_ready();
    while (loop.ring().free_sqes() < loop.ring().sq_entries()) std::this_thread::yield();  // some submit by themselves

    if (reassigns) buffer.reassign(elsewhere.all());
    else buffer = {};
    memory.put("-----");
    pipe.write("hello");
    while (!reading.done()) loop.turn(/*may_park=*/true);

    CHECK(noted.count == 5);
    CHECK(memory.text(0, 5) == "hello");
    CHECK(elsewhere.text(0, 1)[0] == '\0');
  }
}

TEST_CASE("what is described, and not in the kernel, is a bad address when the buffer goes, or is reassigned") {
  pages memory{4096};
  pages elsewhere{4096};
  for (const unsigned sq_entries : {64U, 2U}) {  // with two, some wait for a place
    for (const bool reassigns : {false, true}) {
      CAPTURE(reassigns);
      executor_options options = with_slots();
      options.sq_entries = sq_entries;
      executor loop{options_under_test(options)};
      const temp_folder folder;
      const unique_fd file{::open(folder.file("there", "text").c_str(), O_RDONLY | O_CLOEXEC)};
      std::array<noted_read, 6> noted;
      registered_buffer buffer{loop, memory.all()};
      registered_buffer other;

      loop.run([&]() -> task<> {
        co_await with_task_group([&](task_group& group) -> task<> {
          for (noted_read& each : noted) group.start(read_into(file, buffer.first(4), each));
          group.start([](registered_buffer& going, registered_buffer& next, bytes others, bool again) -> task<> {
            if (again) {
              going.reassign(others);
            } else {
              executor& its_loop = going.owner();
              going = {};
              next = registered_buffer{its_loop, others};  // the same slot
            }
            co_return;
          }(buffer, other, elsewhere.all(), reassigns));
          co_return;
        });
      });

      // Those for which there was no place are described later, and hear of it all the same.
      for (const noted_read& each : noted) {
        CHECK(each.ended.how != ended::not_yet);
        CHECK((each.ended.error == std::errc::bad_address || each.count == 4));
      }
      if (!submits_by_itself()) CHECK(noted.back().ended.error == std::errc::bad_address);
      CHECK(elsewhere.text(0, 1)[0] == '\0');
    }
  }
}

TEST_CASE("each order of an operation and the end of its buffer, on the scripted ring") {
  pages memory{4096};
  const auto reading = [](const registered_buffer& into, noted_read& how) -> task<> {
    co_await read_into(5, into.first(4), how);
  };

  SUBCASE("the operation is stopped before the kernel has it: nobody looks for its memory") {
    scripted_executor on{by_hand, with_slots()};
    registered_buffer buffer{on.loop, memory.all()};
    noted_read noted;
    auto root = on.loop.start(reading(buffer, noted));
    root.cancel();
    buffer = {};
    on.loop.run_ready();
    CHECK(noted.ended.how != ended::with_error);
    CHECK(on.script.taken_count(IORING_OP_READ_FIXED) == 0);
  }
  SUBCASE("refused by the kernel for want of room, and submitted when the buffer has gone") {
    scripted_executor on{by_hand, with_slots()};
    registered_buffer buffer{on.loop, memory.all()};
    noted_read noted;
    auto root = on.loop.start(reading(buffer, noted));
    on.script.refuse(EAGAIN);
    on.loop.turn(/*may_park=*/false);
    CHECK(on.script.in_flight().empty());
    buffer = {};
    on.loop.run_ready();
    CHECK(noted.ended.error == std::errc::bad_address);
  }
  SUBCASE("in the kernel: it ends by its own completion, as what it was given") {
    scripted_executor on{by_hand, with_slots()};
    registered_buffer buffer{on.loop, memory.all()};
    noted_read noted;
    auto root = on.loop.start(reading(buffer, noted));
    on.loop.run_ready();
    buffer = {};
    CHECK(on.script.buffers()[0].empty());
    on.script.deliver(on.script.only(IORING_OP_READ_FIXED), "abcd");
    on.loop.run_ready();
    CHECK(noted.count == 4);
    CHECK(memory.text(0, 4) == "abcd");
  }
  SUBCASE("completed, and not taken") {
    scripted_executor on{by_hand, with_slots()};
    registered_buffer buffer{on.loop, memory.all()};
    noted_read noted;
    auto root = on.loop.start(reading(buffer, noted));
    on.loop.run_ready();
    on.script.deliver(on.script.only(IORING_OP_READ_FIXED), "abcd");
    buffer = {};
    on.loop.run_ready();
    CHECK(noted.count == 4);
  }
}

TEST_CASE("a buffer that goes on another thread leaves its slot when its executor hears of it") {
  pages memory{4096};
  executor loop{options_under_test(with_slots(1))};
  {
    registered_buffer buffer{loop, memory.all()};
    std::thread{[taken = std::move(buffer)]() mutable { taken = {}; }}.join();
  }
  CHECK(used_buffers_count(loop) == 1);
  CHECK(failure_of([&] { static_cast<void>(registered_buffer{loop, memory.all()}); }).code ==
        std::errc::no_buffer_space);

  loop.run_ready();

  CHECK(used_buffers_count(loop) == 0);
  CHECK(registered_buffer{loop, memory.all()}.slot() == 0);
}

TEST_CASE("an executor that ends takes back what was given up on another thread just before") {
  pages memory{4096};
  const long before = pinned_kib();
  {
    executor loop{options_under_test(with_slots(1))};
    registered_buffer buffer{loop, memory.all()};
    std::thread{[taken = std::move(buffer)]() mutable { taken = {}; }}.join();
  }
  CHECK(pinned_kib() == before);
}

TEST_CASE("a slot that the kernel would not empty is not given to anybody else, on the scripted ring") {
  pages memory{4096};
  scripted_executor on{by_hand, with_slots(2)};
  {
    const registered_buffer first{on.loop, memory.all()};
    CHECK(first.slot() == 0);
    on.script.buffer_error = ENOMEM;
  }
  CHECK(registered_buffer{on.loop, memory.all()}.slot() == 1);
  CHECK(on.loop.statistics().registered_buffers == 0);
}

// ------------------------------------------------------------------------------------------- other memory, again

TEST_CASE("a registration can be for other memory, and is for the same where that fails") {
  const temp_folder folder;
  const auto path = folder.file("there", "text");
  pages first{4096};
  pages second{4096};
  const pages read_only{4096, PROT_READ};
  executor loop{options_under_test(with_slots(1))};
  registered_buffer buffer{loop, first.all()};

  buffer.reassign(second.all());
  CHECK(failure_of([&] { buffer.reassign(read_only.all()); }).code == std::errc::bad_address);
  CHECK(failure_of([&] { buffer.reassign({}); }).code == std::errc::invalid_argument);
  loop.run([&]() -> task<> {
    const unique_fd file = co_await ops::openat{AT_FDCWD, path.c_str(), O_RDONLY};
    CHECK(co_await ops::read{file, buffer, 0} == 4);
  });

  CHECK(second.text(0, 4) == "text");
  CHECK(used_buffers_count(loop) == 1);
  registered_buffer nothing;
  CHECK(failure_of([&] { nothing.reassign(first.all()); }).code == std::errc::invalid_argument);
}

TEST_CASE("executors of one thread share memory that is pinned once, and neither needs the other's registration") {
  const temp_folder folder;
  const auto path = folder.file("there", "text");
  pages memory{1 << 20};
  executor here{options_under_test(with_slots(1))};
  executor there{options_under_test(with_slots(2))};
  const long before = pinned_kib();
  registered_buffer buffer{here, memory.all()};

  const registered_buffer shared{there, buffer};
  const registered_buffer again{there, shared};
  CHECK(shared.memory().data() == memory.all().data());
  if (kernel_has("registered buffers of another ring", without_it::goes_on)) CHECK(pinned_kib() - before == 1024);
  buffer = {};
  CHECK(used_buffers_count(here) == 0);
  CHECK(used_buffers_count(there) == 2);

  there.run([&]() -> task<> {
    const unique_fd file = co_await ops::openat{AT_FDCWD, path.c_str(), O_RDONLY};
    CHECK(co_await ops::read{file, shared.subspan(8), 0} == 4);
    CHECK(co_await ops::read{file, again.subspan(80), 0} == 4);
  });
  CHECK(memory.text(8, 4) == "text");
  CHECK(memory.text(80, 4) == "text");
}

TEST_CASE("an executor on another thread registers the same memory for itself") {
  pages memory{4096};
  executor_thread other{with_slots(1)};
  executor loop{options_under_test(with_slots(1))};
  std::promise<void> made;
  std::unique_ptr<registered_buffer> theirs;
  other.loop().post([&] {
    theirs = std::make_unique<registered_buffer>(other.loop(), memory.all());
    made.set_value();
  });
  made.get_future().wait();

  {
    const registered_buffer ours{loop, *theirs};
    CHECK(used_buffers_count(loop) == 1);
  }
  theirs.reset();
}

// ---------------------------------------------------------------------------------------------------------- refused

TEST_CASE("where no slot is free the error says which option to raise, and nothing is taken") {
  pages memory{4096};
  for (const unsigned slots : {0U, 1U}) {
    executor loop{options_under_test(with_slots(slots))};
    std::optional<registered_buffer> held;
    if (slots == 1) held.emplace(loop, memory.all());
    const auto told = failure_of([&] { static_cast<void>(registered_buffer{loop, memory.all()}); });
    CHECK(told.code == std::errc::no_buffer_space);
    CHECK_MESSAGE(says(told.text, "raise executor_options::registered_buffers"), told.text);
    if (held)
      CHECK(failure_of([&] { static_cast<void>(registered_buffer{loop, *held}); }).code == std::errc::no_buffer_space);
    CHECK(loop.statistics().registered_buffers == slots);
  }
}

TEST_CASE("memory that cannot be registered is refused with the reason, and leaves the slot free") {
  pages memory{4096};
  const pages read_only{4096, PROT_READ};
  executor loop{options_under_test(with_slots(1))};
  const auto text_of = [&](bytes asked) {
    return failure_of([&] { static_cast<void>(registered_buffer{loop, asked}); });
  };

  CHECK(text_of({}).code == std::errc::invalid_argument);
  CHECK(text_of({memory.all().data(), (std::size_t{1} << 30) + 1}).code == std::errc::invalid_argument);
  CHECK(says(text_of({}).text, "empty, or more than 1 GiB"));
  CHECK(text_of(read_only.all()).code == std::errc::bad_address);
  CHECK(text_of({memory.all().data(), std::size_t{1} << 30}).code == std::errc::bad_address);
  CHECK(failure_of([&] { static_cast<void>(registered_buffer{loop, registered_buffer{}}); }).code ==
        std::errc::invalid_argument);
  CHECK(used_buffers_count(loop) == 0);
  CHECK(registered_buffer{loop, memory.all()}.slot() == 0);
}

TEST_CASE("a memlock limit that is too small is named, with its size and the cure") {
  const bool was_privileged = ::geteuid() == 0;
  constexpr uid_t nobody_else = 64124;  // the limit is for all that a user locks: this one has nothing else

  const auto told = in_a_child([was_privileged]() -> std::string {
    constexpr rlim_t limit_bytes = 1024 * 1024UL;
    const rlimit small{.rlim_cur = limit_bytes, .rlim_max = limit_bytes};
    if (was_privileged && ::setuid(nobody_else) != 0) return "no such child";
    pages memory{4 << 20};
    executor loop{options_under_test(with_slots(1))};
    if (::setrlimit(RLIMIT_MEMLOCK, &small) != 0) return "no such limit";
    const auto refused = failure_of([&] { static_cast<void>(registered_buffer{loop, memory.all()}); });
    if (was_privileged) static_cast<void>(registered_buffer{loop, memory.all().first(4096)});
    return (refused.code == std::errc::not_enough_memory ? "ENOMEM " : "? ") + refused.text;
  });

  CHECK_MESSAGE(says(told, "ENOMEM registered_buffer: 4096 KiB cannot be pinned: RLIMIT_MEMLOCK is 1024 KiB"), told);
  CHECK(says(told, "ulimit -l"));
}

TEST_CASE("a table that cannot be had is refused with cause and cure") {
  const auto on_script = [&](int error) {
    return failure_of([error] { scripted_executor{{.buffer_table_error = error}, with_slots(16)}; }).text;
  };

  CHECK(says(failure_of([] { executor{with_slots(20'000)}; }).text, "Ask for fewer"));
  CHECK(says(on_script(ENOMEM), "memory"));
  CHECK(says(on_script(EINVAL), "Leave out executor_options::registered_buffers"));
}

}  // namespace gyre
