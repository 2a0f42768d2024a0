// SPDX-License-Identifier: MIT
// What is left of a file that is replaced when its process is killed, at any moment; and in which order what is to last
// goes to the device.
//
// A kill shows that the steps are in an order in which none leaves a torn file. It does not show what a power failure
// would: what the kernel has in memory outlives the process. So the order of syncs and rename is looked at step by step
// on the scripted ring, and each step is made to fail there.
//
// In the ordinary suite a child is killed 40 times, in the suite `long` 1,000 times, each moment chosen by a seed that
// is printed before:
//
//   GYRE_STRESS_SEED=n    that seed alone: the same delays, as far as a kill can be timed
#include <gyre/fs/path_ops.hpp>
#include <gyre/fs/whole_file.hpp>
#include <gyre/runtime/as_result.hpp>
#include <gyre/runtime/executor.hpp>

#include "../support/bytes.hpp"
#include "../support/child.hpp"
#include "../support/scripted.hpp"
#include "../support/stress.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gyre::fs {
namespace {

namespace files = std::filesystem;
using namespace test;
using gyre::detail::scripted_ring;

constexpr std::size_t whole_bytes = 50'000;

// What a writer writes one after the other: each of one letter, and of a size of its own.
std::string content_number(unsigned number) {
  return std::string(whole_bytes + number % 7 * 4099, static_cast<char>('a' + number % 25));
}

// Replaces the file again and again, and says the letter of each that is done.
int replace_for_ever(const std::string& path, durability lasting) {
  executor loop;
  for (unsigned number = 0;; ++number) {
    const auto whole = content_number(number);
    loop.run(write_atomically(path, bytes_of(whole), {.durability = lasting}));
    say(whole.front());
  }
}

// The names beside the file: each the finished name of an unfinished file, ".NAME." and twelve letters.
std::size_t unfinished_count(const temp_folder& folder) {
  std::size_t count = 0;
  for (const auto& each : files::directory_iterator{folder.path()}) {
    const auto name = each.path().filename().string();
    if (name == "file") continue;
    CHECK(name.starts_with(".file."));
    CHECK(name.size() == std::string{".file."}.size() + 12);
    ++count;
  }
  return count;
}

unsigned kills_count() { return std::getenv("GYRE_STRESS_LONG") == nullptr ? 40 : 1000; }

// A writer that is killed after a while, and what it had reported by then: 0, if nothing.
char reported_until_kill(const std::string& path, random& chance) {
  const auto lasting = chance() % 2 == 0 ? durability::full : durability::none;
  child writer{[&] { return replace_for_ever(path, lasting); }};
  char reported = 0;
  for (auto heard = chance() % 6; heard > 0; --heard) reported = writer.hears();
  std::this_thread::sleep_for(std::chrono::microseconds{chance() % 4000});
  writer.signal(SIGKILL);
  while (const char more = writer.hears()) reported = more;
  (void)writer.wait();
  return reported;
}

// What a scripted kernel is asked while a file is replaced, step by step; one of them may be told to fail.
class scripted_disk {
 public:
  explicit scripted_disk(std::size_t fails_at = SIZE_MAX) : fails_at_{fails_at} {
    on_.script.answer = [this](const auto& request) { return answered(request); };
  }

  std::error_code replace(durability lasting) {
    return on_.loop.run(as_result(write_atomically("folder/file", bytes_of("new"), {.durability = lasting}))).error();
  }

  [[nodiscard]] const std::vector<std::string>& steps() const noexcept { return steps_; }

 private:
  static constexpr std::size_t letters_count = 3;

  std::optional<std::int32_t> answered(const scripted_ring::request& request) {
    const auto [step, result] = step_and_result(request);
    const bool fails = steps_.size() == fails_at_;
    steps_.push_back(step);
    return fails ? -EIO : result;
  }

  std::pair<std::string, std::int32_t> step_and_result(const scripted_ring::request& request) {
    switch (request.opcode) {
      case IORING_OP_STATX:
        return {"look for permissions", -ENOENT};
      case IORING_OP_OPENAT:
        return request.fd < 0 ? open("folder", folder_) : open("unfinished", unfinished_);
      case IORING_OP_WRITE:
        return {"write", static_cast<std::int32_t>(letters_count)};
      case IORING_OP_FSYNC:
        return {request.fd == folder_ ? "sync folder" : "sync unfinished", 0};
      case IORING_OP_CLOSE:
        return {"close", ::close(request.fd)};
      case IORING_OP_RENAMEAT:
        return {"rename", 0};
      case IORING_OP_UNLINKAT:
        return {"unlink", 0};
      default:
        return {"?", -ENOSYS};
    }
  }

  // A descriptor that is one, since it is going to be closed.
  static std::pair<std::string, std::int32_t> open(const char* what, int& opened) {
    opened = ::dup(STDERR_FILENO);
    return {std::string{"open "} + what, opened};
  }

  scripted_executor on_;
  std::size_t fails_at_;
  std::vector<std::string> steps_;
  int folder_ = -1;
  int unfinished_ = -1;
};

using steps = std::vector<std::string>;

const steps durable_steps{"look for permissions", "open folder", "open unfinished", "write",
                          "sync unfinished",      "close",       "rename",          "sync folder"};

}  // namespace

TEST_CASE("a process that is killed while it replaces a file leaves the old one or the new one, never a torn one") {
  const auto seed = number_from("GYRE_STRESS_SEED", std::random_device{}() % 1'000'000);
  MESSAGE("GYRE_STRESS_SEED=", seed);
  random chance{seed + 1};
  const temp_folder folder;
  const auto path = folder.file("file", content_number(25 * 7 - 1));
  char before = content_number(25 * 7 - 1).front();

  for (unsigned kill = 1; kill <= kills_count(); ++kill) {
    CAPTURE(kill);
    const char reported = reported_until_kill(path, chance);
    const auto found = content_of(path);

    REQUIRE(found.size() >= whole_bytes);
    CHECK(std::ranges::count(found, found.front()) == static_cast<std::ptrdiff_t>(found.size()));
    CHECK((found.size() - whole_bytes) % 4099 == 0);
    // What was reported is there, or the one after it; where nothing was, the one from before, or the first.
    const char next = reported == 0 || reported == 'y' ? 'a' : static_cast<char>(reported + 1);
    CHECK((found.front() == (reported == 0 ? before : reported) || found.front() == next));
    CHECK(unfinished_count(folder) <= kill);
    before = found.front();
  }
}

TEST_CASE("a file is on its device before it has the name, and the name before that is reported") {
  scripted_disk disk;

  CHECK(!disk.replace(durability::full));

  CHECK(disk.steps() == durable_steps);
}

TEST_CASE("without durability nothing is synced, and the name still comes last") {
  scripted_disk disk;

  CHECK(!disk.replace(durability::none));

  CHECK(disk.steps() == steps{"look for permissions", "open folder", "open unfinished", "write", "close", "rename"});
}

TEST_CASE("whichever step fails, the name stands for the old file, and the unfinished one is removed") {
  constexpr std::size_t first_that_matters = 1;  // without permissions to go by it is written with the usual ones
  const auto position_of = [](const char* step) {
    return static_cast<std::size_t>(std::ranges::find(durable_steps, step) - durable_steps.begin());
  };

  for (std::size_t step = first_that_matters; step < durable_steps.size(); ++step) {
    CAPTURE(durable_steps[step]);
    scripted_disk disk{/*fails_at=*/step};
    steps expected{durable_steps.begin(), durable_steps.begin() + static_cast<std::ptrdiff_t>(step) + 1};
    if (step >= position_of("open unfinished")) expected.emplace_back("unlink");

    CHECK(disk.replace(durability::full) == std::errc::io_error);

    CHECK(disk.steps() == expected);
  }
}

}  // namespace gyre::fs
