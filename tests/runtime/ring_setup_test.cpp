// SPDX-License-Identifier: MIT
// The ladder of ring set-up: every step of it as a function, then real rings on machines that forbid something.
#include <gyre/runtime/detail/kernel_ring.hpp>
#include <gyre/runtime/detail/ring_setup.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/timer.hpp>

#include "../support/forbidden.hpp"

#include <doctest/doctest.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace gyre::detail {
namespace {

using namespace std::chrono_literals;
using namespace gyre::test;

constexpr unsigned linux_5_18 = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
constexpr unsigned linux_5_19 = linux_5_18 | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
constexpr unsigned linux_6_0 = linux_5_19 | IORING_SETUP_SINGLE_ISSUER;
constexpr unsigned linux_6_1 =
    linux_5_18 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Ends the ring, so that tests do not.
class scoped_ring {
 public:
  explicit scoped_ring(const ring_request& request) : report_{set_up_ring(ring_, request)} {}
  ~scoped_ring() { io_uring_queue_exit(&ring_); }
  scoped_ring(const scoped_ring&) = delete;
  scoped_ring& operator=(const scoped_ring&) = delete;

  const ring_report& report() const noexcept { return report_; }
  ::io_uring* get() noexcept { return &ring_; }

  bool works() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return false;
    io_uring_prep_nop(sqe);
    return io_uring_submit_and_wait(&ring_, 1) == 1 && io_uring_cq_ready(&ring_) == 1;
  }

 private:
  ::io_uring ring_{};
  ring_report report_;
};

// The text of the error that setting up a ring ends with, or "" and a ring that works.
std::string what_goes_wrong(const ring_request& request = {}) {
  try {
    return scoped_ring{request}.works() ? "" : "the ring does not work";
  } catch (const setup_error& error) {
    return error.what();
  }
}

// The same of a ring with all that an executor needs beside it.
std::string what_stops_an_executor() {
  try {
    const kernel_ring works{{.sq_entries = 4, .cq_entries = 8}};
    return "";
  } catch (const setup_error& error) {
    return error.what();
  }
}

// Every attempt that follows when the kernel always answers `error`.
std::vector<ring_parameters> attempts_after(int error, ring_parameters tried) {
  std::vector<ring_parameters> all;
  while (const auto next = next_attempt(error, tried)) all.push_back(tried = *next);
  return all;
}

std::size_t open_descriptors_count() {
  const std::filesystem::directory_iterator all{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

machine_facts ordinary_machine() {
  machine_facts machine;
  machine.kernel_release = "6.1.0-18-amd64";
  machine.io_uring_disabled = 0;
  machine.io_uring_group = -1;
  machine.memlock_bytes = 8192 * 1024;
  machine.nofile_count = 1024;
  return machine;
}

std::string told(int error, const machine_facts& machine) {
  return setup_error{error, diagnose(error, {.sq_entries = 64, .cq_entries = 128, .flags = 0}, machine)}.what();
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- the decisions

TEST_CASE("the first attempt asks for every flag") {
  CHECK(first_attempt({}) == ring_parameters{.sq_entries = 256, .cq_entries = 4096, .flags = linux_6_1});
}

TEST_CASE("sizes are brought to what the kernel takes literally") {
  struct sizes {
    unsigned sq, cq, sq_attempted, cq_attempted;
  };
  for (const auto& [sq, cq, sq_attempted, cq_attempted] : {
           sizes{4, 8, 4, 8},
           sizes{1, 2, 1, 2},
           sizes{0, 0, 1, 2},
           sizes{100, 1000, 128, 1024},
           sizes{256, 8, 256, 512},
           sizes{32768, 65536, 32768, 65536},
           sizes{32769, 65537, 32768, 65536},
           sizes{~0U, ~0U, 32768, 65536},
           sizes{4, ~0U, 4, 65536},
       }) {
    const auto attempt = first_attempt({.sq_entries = sq, .cq_entries = cq});
    CHECK(attempt.sq_entries == sq_attempted);
    CHECK(attempt.cq_entries == cq_attempted);
  }
}

TEST_CASE("a kernel that does not know a flag is asked for fewer, release by release") {
  const auto first = first_attempt({.sq_entries = 4, .cq_entries = 8});

  const auto rungs = attempts_after(EINVAL, first);

  REQUIRE(rungs.size() == 2);
  CHECK(rungs[0].flags == linux_6_0);
  CHECK(rungs[1].flags == linux_5_19);
  CHECK(
      std::all_of(rungs.begin(), rungs.end(), [](auto& rung) { return rung.sq_entries == 4 && rung.cq_entries == 8; }));
}

TEST_CASE("a kernel that is short of memory is asked for half, down to two pages") {
  const auto smaller = attempts_after(ENOMEM, first_attempt({.sq_entries = 256, .cq_entries = 4096}));

  std::vector<unsigned> sq;
  std::vector<unsigned> cq;
  for (const auto& ring : smaller) {
    sq.push_back(ring.sq_entries);
    cq.push_back(ring.cq_entries);
    CHECK(ring.flags == linux_6_1);
  }
  CHECK(sq == std::vector<unsigned>{128, 64, 64, 64, 64});
  CHECK(cq == std::vector<unsigned>{2048, 1024, 512, 256, 128});
}

TEST_CASE("a ring of two pages is not made smaller") {
  CHECK(!next_attempt(ENOMEM, first_attempt({.sq_entries = 4, .cq_entries = 8})));
  CHECK(!next_attempt(ENOMEM, first_attempt({.sq_entries = 64, .cq_entries = 128})));
}

TEST_CASE("a ring with a submission thread has a ladder of its own, and keeps the thread and its CPU on each rung") {
  constexpr unsigned thread = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF;
  const auto first = first_attempt({.sq_entries = 4, .cq_entries = 8, .sqpoll = sqpoll_request{.cpu = 1}});

  const auto rungs = attempts_after(EINVAL, first);

  CHECK(first.flags == (linux_5_18 | IORING_SETUP_SINGLE_ISSUER | thread));
  REQUIRE(rungs.size() == 1);
  CHECK(rungs[0].flags == (linux_5_18 | thread));
}

TEST_CASE("a ring that polls devices does without the pause first, and polls on each rung") {
  constexpr unsigned pause = 1U << 17;  // IORING_SETUP_HYBRID_IOPOLL
  const auto first = first_attempt({.sq_entries = 4, .cq_entries = 8, .completions = completions_by::hybrid_polls});

  const auto rungs = attempts_after(EINVAL, first);

  CHECK(first.flags == (linux_6_1 | IORING_SETUP_IOPOLL | pause));
  REQUIRE(rungs.size() == 3);
  CHECK(rungs[0].flags == (linux_6_1 | IORING_SETUP_IOPOLL));
  CHECK(rungs[1].flags == (linux_6_0 | IORING_SETUP_IOPOLL));
  CHECK(rungs[2].flags == (linux_5_19 | IORING_SETUP_IOPOLL));
}

TEST_CASE("a ring with big entries has them on each rung, and is refused where there are none") {
  constexpr unsigned big = IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
  const auto first = first_attempt({.sq_entries = 4, .cq_entries = 8, .big_entries = true});

  const auto rungs = attempts_after(EINVAL, first);

  CHECK(first.flags == (linux_6_1 | big));
  REQUIRE(rungs.size() == 2);
  CHECK(rungs[0].flags == (linux_6_0 | big));
  CHECK(rungs[1].flags == (linux_5_19 | big));
  CHECK(diagnose(EINVAL, rungs[1], {}).cause.find("executor_options::big_entries") != std::string::npos);
}

TEST_CASE("any errno at any step ends, or leads to less of one thing and no more of the other") {
  for (unsigned rung : {linux_6_1, linux_6_0, linux_5_19}) {
    for (unsigned sq = 1; sq <= 32768; sq *= 2) {
      for (unsigned cq = 2 * sq; cq <= 65536; cq *= 2) {
        const ring_parameters tried{.sq_entries = sq, .cq_entries = cq, .flags = rung};
        for (int error = 1; error <= 133; ++error) {  // errno-base.h and errno.h
          const auto next = next_attempt(error, tried);
          if (error == EINVAL) {
            REQUIRE(next.has_value() == (rung != linux_5_19));
            if (next) REQUIRE((next->flags < rung && next->sq_entries == sq && next->cq_entries == cq));
          } else if (error == ENOMEM) {
            REQUIRE(next.has_value() == (sq > 64 || cq > 128));
            if (!next) continue;
            REQUIRE((next->flags == rung && next->sq_entries <= sq && next->cq_entries < cq));
            REQUIRE(next->cq_entries >= 2 * next->sq_entries);
          } else {
            REQUIRE(!next);
          }
        }
      }
    }
  }
}

TEST_CASE("a refused flag and refused memory are both walked around, in whichever order they come") {
  auto tried = first_attempt({.sq_entries = 128, .cq_entries = 512});

  for (const int error : {ENOMEM, EINVAL, ENOMEM, EINVAL}) tried = next_attempt(error, tried).value_or(tried);

  CHECK(tried == ring_parameters{.sq_entries = 64, .cq_entries = 128, .flags = linux_5_19});
}

// -------------------------------------------------------------------------------------------------------- the words

TEST_CASE("a refusal names its cause and its cure") {
  auto machine = ordinary_machine();

  SUBCASE("a seccomp filter that says EPERM") {
    machine.seccomp_filtered = true;
    CHECK(contains(told(EPERM, machine), "seccomp filter of this process forbids io_uring"));
    CHECK(contains(told(EPERM, machine), "docker run --security-opt seccomp="));
  }
  SUBCASE("a seccomp filter that says ENOSYS") {
    machine.seccomp_filtered = true;
    CHECK(contains(told(ENOSYS, machine), "hides io_uring"));
    CHECK(contains(told(ENOSYS, machine), "docker run --security-opt seccomp="));
  }
  SUBCASE("the sysctl that forbids it to all, whether or not there is a filter as well") {
    machine.io_uring_disabled = 2;
    machine.seccomp_filtered = true;
    CHECK(contains(told(EPERM, machine), "kernel.io_uring_disabled = 2"));
    CHECK(contains(told(EPERM, machine), "sysctl kernel.io_uring_disabled=0"));
  }
  SUBCASE("the sysctl that forbids it to the unprivileged") {
    machine.io_uring_disabled = 1;
    CHECK(contains(told(EPERM, machine), "no group is exempt"));
    CHECK(contains(told(EPERM, machine), "kernel.io_uring_group"));
  }
  SUBCASE("the same with a group that is exempt") {
    machine.io_uring_disabled = 1;
    machine.io_uring_group = 1005;
    CHECK(contains(told(EPERM, machine), "only the group 1005 is exempt"));
  }
  SUBCASE("a security module: neither filter nor sysctl") {
    CHECK(contains(told(EPERM, machine), "security module"));
    CHECK(contains(told(EACCES, machine), "security module"));
  }
  SUBCASE("a kernel from before io_uring, filter or not") {
    machine.kernel_release = "4.19.0-26-amd64";
    machine.seccomp_filtered = true;
    CHECK(contains(told(ENOSYS, machine), "Linux 4.19.0-26-amd64, has no io_uring"));
    CHECK(contains(told(ENOSYS, machine), "Run a newer kernel: Linux 6.1"));
  }
  SUBCASE("a kernel built without it") {
    CHECK(contains(told(ENOSYS, machine), "built without io_uring"));
    CHECK(contains(told(ENOSYS, machine), "CONFIG_IO_URING=y"));
  }
  SUBCASE("a kernel that refused the plainest ring, or lacks a feature") {
    machine.kernel_release = "5.4.0";
    CHECK(contains(told(EINVAL, machine), "Linux 5.4.0, is too old"));
    CHECK(contains(told(EOPNOTSUPP, machine), "Linux 5.4.0, is too old"));
  }
  SUBCASE("memlock, with its value") {
    CHECK(contains(told(ENOMEM, machine), "RLIMIT_MEMLOCK) is 8192 KiB"));
    CHECK(contains(told(ENOMEM, machine), "64 submission and 128 completion entries"));
    CHECK(contains(told(ENOMEM, machine), "ulimit -l"));
  }
  SUBCASE("a memlock limit that is no multiple of a KiB") {
    machine.memlock_bytes = 1000;
    CHECK(contains(told(ENOMEM, machine), "is 1000 bytes"));
  }
  SUBCASE("memory itself, where no memlock limit holds") {
    machine.may_lock_any_memory = true;
    CHECK(contains(told(ENOMEM, machine), "no memlock limit applies"));
    CHECK(contains(told(ENOMEM, machine), "memory.max"));
  }
  SUBCASE("descriptors of the process, with the limit, and of the system") {
    CHECK(contains(told(EMFILE, machine), "RLIMIT_NOFILE is 1024"));
    CHECK(contains(told(EMFILE, machine), "ulimit -n"));
    CHECK(contains(told(ENFILE, machine), "fs.file-max"));
  }
  SUBCASE("anything else by its errno's text") { CHECK(contains(told(EIO, machine), "Input/output error")); }
}

TEST_CASE("a refusal of the eventfd to sleep on names its cause and its cure") {
  auto machine = ordinary_machine();
  const auto told_of = [&](int error) {
    return std::string{setup_error{error, diagnose_eventfd(error, machine)}.what()};
  };

  CHECK(contains(told_of(EMFILE), "RLIMIT_NOFILE is 1024"));
  CHECK(contains(told_of(ENFILE), "fs.file-max"));
  CHECK(contains(told_of(ENOMEM), "memory.max"));
  CHECK(contains(told_of(ENODEV), "io_uring_register(2), ERRORS"));
  CHECK(contains(told_of(EPERM), "a security module"));
  machine.seccomp_filtered = true;
  for (const int error : {EPERM, EACCES, ENOSYS}) {
    CHECK(contains(told_of(error), "seccomp filter of this process forbids the eventfd"));
    CHECK(contains(told_of(error), "Allow eventfd2, io_uring_register, epoll_create1 and epoll_ctl"));
  }
}

TEST_CASE("an error keeps the errno as its code") {
  const setup_error error{EPERM, {.cause = "Because", .cure = "Change it"}};

  CHECK(error.code() == std::errc::operation_not_permitted);
  CHECK(std::string{error.what()} == "io_uring cannot be set up (Operation not permitted). Because. Change it.");
}

TEST_CASE("a ring that is all it should be has no notes") {
  CHECK(shortfall_notes({}, first_attempt({}), ordinary_machine()).empty());
}

TEST_CASE("each rung's notes name what is missing and which kernel has it") {
  const auto notes = [](unsigned flags) {
    return shortfall_notes({}, {.sq_entries = 256, .cq_entries = 4096, .flags = flags}, ordinary_machine());
  };
  CHECK(contains(notes(linux_6_0), "No IORING_SETUP_DEFER_TASKRUN"));
  CHECK(!contains(notes(linux_6_0), "SINGLE_ISSUER"));
  CHECK(contains(notes(linux_5_19), "No IORING_SETUP_SINGLE_ISSUER"));
}

// ------------------------------------------------------------------------------------------------- on this very kernel

TEST_CASE("where the kernel can wait without counting that as I/O wait, a ring asks for it with each enter") {
  constexpr unsigned feature_no_iowait = 1U << 17;  // IORING_FEAT_NO_IOWAIT, Linux 6.15
  constexpr unsigned enter_no_iowait = 1U << 7;     // IORING_ENTER_NO_IOWAIT
  scoped_ring ring{{.sq_entries = 4, .cq_entries = 8}};

  const bool can = (ring.report().features & feature_no_iowait) != 0;
  const bool asks = (ring.report().enter_flags & enter_no_iowait) != 0;

  CHECK(asks == can);
}

TEST_CASE("a tiny ring is as tiny as was asked for") {
  scoped_ring ring{{.sq_entries = 4, .cq_entries = 8}};

  CHECK(ring.report().sq_entries == 4);
  CHECK(ring.report().cq_entries == 8);
  CHECK(ring.works());
}

TEST_CASE("a ring that is too large is clamped, and says so") {
  const scoped_ring ring{{.sq_entries = 4, .cq_entries = 1'000'000}};

  CHECK(ring.report().cq_entries == 65536);
  CHECK(contains(ring.report().notes, "65536 completion entries"));
}

TEST_CASE("the kernel's worker threads are limited as asked") {
  scoped_ring ring{{.sq_entries = 4, .cq_entries = 8, .iowq_bounded_workers_max = 3, .iowq_unbounded_workers_max = 5}};
  std::array in_force{0U, 0U};  // 0 asks instead of setting

  REQUIRE(io_uring_register_iowq_max_workers(ring.get(), in_force.data()) == 0);

  CHECK(ring.report().workers_limited);
  CHECK(in_force == std::array{3U, 5U});
}

// ------------------------------------------------------------------------------------------ on machines that forbid it

TEST_CASE("a seccomp filter that answers EPERM is named, with its cure") {
  const auto text = where_calls_fail(EPERM, {io_uring_setup_call}, [] { return what_goes_wrong(); });

  CHECK(contains(text, "A seccomp filter of this process forbids io_uring"));
  CHECK(contains(text, "Allow io_uring_setup, io_uring_enter and io_uring_register"));
}

TEST_CASE("a seccomp filter that answers ENOSYS is named, with its cure") {
  const auto text = where_calls_fail(ENOSYS, {io_uring_setup_call}, [] { return what_goes_wrong(); });

  CHECK(contains(text, "A seccomp filter of this process hides io_uring"));
  CHECK(contains(text, "Allow io_uring_setup, io_uring_enter and io_uring_register"));
}

TEST_CASE("a filter that allows set-up and forbids entering is told at set-up, and leaves no descriptor behind") {
  const auto before = open_descriptors_count();

  const auto text = where_calls_fail(EPERM, {io_uring_enter_call}, [] { return what_goes_wrong(); });

  CHECK(contains(text, "A seccomp filter of this process forbids io_uring"));
  CHECK(open_descriptors_count() == before);
}

TEST_CASE("a filter that forbids registering leaves a ring that works, and notes") {
  const auto notes = where_calls_fail(EPERM, {io_uring_register_call}, [] {
    scoped_ring ring{{}};
    return ring.works() && !ring.report().ring_registered ? ring.report().notes : "the ring does not work";
  });

  CHECK(contains(notes, "descriptor could not be registered"));
  CHECK(contains(notes, "worker threads could not be limited"));
}

TEST_CASE(
    "a filter that forbids making an eventfd, registering it, or polling it, is named, with its cure, and leaves "
    "no descriptor") {
  for (const unsigned call :
       {unsigned{SYS_eventfd2}, io_uring_register_call, unsigned{SYS_epoll_create1}, unsigned{SYS_epoll_ctl}}) {
    const auto before = open_descriptors_count();

    const auto text = where_calls_fail(EPERM, {call}, [] { return what_stops_an_executor(); });

    CHECK(contains(text, "A seccomp filter of this process forbids the eventfd that an executor sleeps on"));
    CHECK(contains(text, "Allow eventfd2, io_uring_register, epoll_create1 and epoll_ctl in the filter"));
    CHECK(open_descriptors_count() == before);
  }
}

TEST_CASE("where epoll_pwait2(2) is refused, an executor sleeps with timers all the same") {
  for (const int error : {EPERM, ENOSYS}) {
    const auto text = where_calls_fail(error, {unsigned{SYS_epoll_pwait2}}, [] {
      executor loop;
      bool posted = false;
      auto root = loop.start([](const bool& ends) -> task<> {
        while (!ends) co_await sleep_for(5ms);
      }(posted));
      while (loop.statistics().parks < 3) loop.turn(/*may_park=*/true);
      std::thread poster{[&] { loop.post([&] { posted = true; }); }};
      while (!root.done()) loop.turn(/*may_park=*/true);
      poster.join();
      return std::string{"slept"};
    });

    CHECK(text == "slept");
  }
}

TEST_CASE("a process with one descriptor left, which the ring takes, is told the limit") {
  const auto text = in_a_child([] {
    const int lowest_free = ::dup(STDERR_FILENO);
    ::close(lowest_free);
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = static_cast<rlim_t>(lowest_free) + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    return what_stops_an_executor();
  });

  CHECK(contains(text, "so is the eventfd beside it"));
  CHECK(contains(text, "ulimit -n"));
}

TEST_CASE("older kernels grant the rung that they know, and the ring works") {
  for (const unsigned known : {linux_6_1, linux_6_0, linux_5_19}) {
    const auto flags = on_a_kernel_that(knows_only(known), [] {
      scoped_ring ring{{.sq_entries = 4, .cq_entries = 8}};
      return ring.works() ? ring.report().flags : 0;
    });
    CHECK(flags == known);
  }
}

TEST_CASE("a kernel without the flags of Linux 5.19 is called too old, and told what is new enough") {
  for (const unsigned known : {0U, linux_5_18}) {
    const auto text = on_a_kernel_that(knows_only(known), [] { return what_goes_wrong(); });

    CHECK(contains(text, "is too old: its io_uring is less than that of Linux 5.19"));
    CHECK(contains(text, "Run a newer kernel: Linux 6.1"));
  }
}

TEST_CASE("memory that closing rings are about to give back is waited for, and the ring is as large as asked for") {
  int refusals_left = 3;
  const auto refuses_at_first = [&](const io_uring_params&) { return refusals_left-- > 0 ? ENOMEM : 0; };

  const auto report = on_a_kernel_that(refuses_at_first, [] {
    scoped_ring ring{{.sq_entries = 256, .cq_entries = 4096}};
    return ring.works() ? ring.report() : ring_report{};
  });

  CHECK(report.sq_entries == 256);
  CHECK(report.cq_entries == 4096);
  CHECK(report.notes.empty());
}

TEST_CASE("where memory is refused the ring shrinks, and says so") {
  const auto larger_than_512 = [](const io_uring_params& params) { return params.cq_entries > 512 ? ENOMEM : 0; };

  const auto report = on_a_kernel_that(larger_than_512, [] {
    scoped_ring ring{{.sq_entries = 256, .cq_entries = 4096}};
    return ring.works() ? ring.report() : ring_report{};
  });

  CHECK(report.sq_entries == 64);
  CHECK(report.cq_entries == 512);
  CHECK(contains(report.notes, "64 submission and 512 completion entries instead of 256 submission and 4096"));
  CHECK(contains(report.notes, "RLIMIT_MEMLOCK"));
}

TEST_CASE("an unprivileged process with a small memlock limit gets smaller rings, then an error with the limit") {
  const bool was_privileged = geteuid() == 0;
  constexpr uid_t nobody_else = 64123;  // the limit is the user's: this one has no rings yet

  const auto told = in_a_child([was_privileged] {
    constexpr rlim_t limit_bytes = 120 * 1024UL;
    const rlimit small{.rlim_cur = limit_bytes, .rlim_max = limit_bytes};
    if (setrlimit(RLIMIT_MEMLOCK, &small) != 0 || (was_privileged && setuid(nobody_else) != 0))
      return std::string{"no such child"};

    std::string notes;
    std::vector<std::unique_ptr<scoped_ring>> rings;
    for (;;) {
      try {
        rings.push_back(std::make_unique<scoped_ring>(ring_request{.sq_entries = 256, .cq_entries = 4096}));
        notes += std::to_string(rings.back()->report().sq_entries) + ": " + rings.back()->report().notes + '\n';
      } catch (const setup_error& error) {
        return notes + error.what();
      }
    }
  });

  CHECK(contains(told, "the limit (RLIMIT_MEMLOCK) is 120 KiB"));
  CHECK(contains(told, "not even a ring of 64 submission and 128 completion entries fits"));
  if (!was_privileged) return;       // how many rings came before the error depends on this user's other programs
  CHECK(contains(told, "256: \n"));  // 84 KiB of the 120
  CHECK(contains(told, "64: The ring has 64 submission and"));
  CHECK(contains(told, "memory was refused (RLIMIT_MEMLOCK is 120 KiB"));
}

TEST_CASE("a process without a descriptor left is told the limit") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};

  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto text = what_goes_wrong();
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);

  CHECK(contains(text, "RLIMIT_NOFILE is 0"));
}

}  // namespace gyre::detail
