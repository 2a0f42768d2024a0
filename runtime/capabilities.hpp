// SPDX-License-Identifier: MIT
// What gyre can do on this machine, what it cannot, and why: for programs that ask, and for gyre-doctor.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace gyre {

/// What this kernel, and what has been forbidden on it, means for a program on gyre.
struct capabilities {
  /// Why gyre cannot run here, and what a person can do about it. Each is one or two sentences without a full stop.
  struct refusal {
    std::string cause;
    std::string cure;
  };

  /// Something that io_uring offers.
  struct facility {
    std::string name;
    std::string since;        ///< The first Linux release that has it, such as "5.19".
    bool available = false;   ///< This kernel has it, and this process may use it.
    bool used = false;        ///< This version of gyre makes use of it.
    std::string consequence;  ///< What follows for a program, given the two above.
  };

  /// A limit of the process or the machine that a program with many connections meets.
  struct limit {
    std::string name;
    std::string value;  ///< As a person writes it: "8192 KiB", "1024", "unlimited".
    std::string meaning;
    std::string raise;  ///< How to raise it.
  };

  std::string kernel_release;
  std::optional<refusal> refused;  ///< Empty when gyre can run.
  unsigned opcodes_count = 0;      ///< How many sorts of requests the kernel takes: IORING_REGISTER_PROBE.
  std::optional<unsigned> registrations_count = {};  ///< The same of io_uring_register(2): Linux 6.18, _REGISTER_QUERY.
  std::string ring_notes;            ///< Where an executor's ring falls short of the defaults; empty when it does not.
  std::vector<facility> facilities;  ///< Empty when gyre cannot run: nobody could ask.
  std::vector<limit> limits;

  [[nodiscard]] bool can_run() const noexcept { return !refused.has_value(); }

  /// Asks the kernel.
  ///
  /// Sets up a few rings and tries things on them that have no effect outside; they are gone when it returns. Takes
  /// some milliseconds, so ask once and keep the answer.
  ///
  /// @return     What holds now, for the calling thread: a seccomp filter that is installed later changes it.
  /// @errors     std::bad_alloc. That io_uring is forbidden is an answer, not an error.
  /// @threads    From any thread, on an executor or not. Blocks for as long as it takes.
  /// @limits     Rings count towards RLIMIT_MEMLOCK, also those of this question, and a little longer than it takes.
  /// @source     io_uring_register(2), IORING_REGISTER_PROBE; io_uring_setup(2).
  [[nodiscard]] static capabilities query();

  /// Why packets that a network device receives cannot be put into a program's memory without a copy, which is
  /// IORING_OP_RECV_ZC: by trying to set that up on one of the device's queues. It is undone when this returns.
  ///
  /// @param interface  The device's name, such as "eth0".
  /// @param rx_queue   Which of its receive queues, from 0.
  /// @return     Empty when it can be set up: a zero_copy_queue is then granted, and says the same where it is not.
  /// @errors     std::bad_alloc. That it is refused is an answer, not an error.
  /// @threads    From any thread. Blocks for as long as it takes; where it is granted, the queue is reset for a moment.
  /// @source     io_uring_register(2), IORING_REGISTER_ZCRX_IFQ; Documentation/networking/iou-zcrx.rst. Linux 6.15.
  [[nodiscard]] static std::optional<refusal> zero_copy_receive_refusal(const std::string& interface,
                                                                        unsigned rx_queue = 0);
};

}  // namespace gyre
