#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes docs/operations.md of what the sources in runtime/ops/ say of themselves.

    operations.py [ROOT]           writes the page
    operations.py --check [ROOT]   exits with 1 when the page is not what the sources say, and tells the cure

A row comes of a class's docstring (@source names the preparing function and the first kernel, @cancellation what a
cancel does), of its operation_kind (where it runs), and of the tests that name it. An operation that lacks one of these
is an error here. The check lets pass a new test that the page does not name yet, so that nobody has to touch the page
for it; one that is gone it finds.

Each opcode of Linux is on the page: with an operation, as one that gyre uses itself, or as one that is not there yet.
The check asks the running kernel which it has (IORING_REGISTER_PROBE), and finds one that the page does not know.
"""
import ctypes
import os
import pathlib
import re
import struct
import sys
from collections import namedtuple

PAGE = "docs/operations.md"

# The opcodes of preparing functions that are called otherwise: io_uring_prep_X is IORING_OP_X in nearly all cases.
OPCODE_OF = {"multishot_accept": "ACCEPT", "cancel_fd": "ASYNC_CANCEL", "msg_ring_cqe_flags": "MSG_RING",
             "msg_ring_fd_alloc": "MSG_RING", "accept_direct": "ACCEPT", "openat_direct": "OPENAT",
             "socket_direct_alloc": "SOCKET", "close_direct": "CLOSE", "recv_multishot": "RECV",
             "recvmsg_multishot": "RECVMSG", "sendto": "SEND", "cancel": "ASYNC_CANCEL", "cmd_sock": "URING_CMD",
             "poll_multishot": "POLL_ADD", "poll_update": "POLL_REMOVE", "timeout_update": "TIMEOUT_REMOVE",
             "openat2_direct": "OPENAT2", "pipe_direct": "PIPE", "readv2": "READV", "writev2": "WRITEV"}

# By number: include/uapi/linux/io_uring.h of Linux 6.18, enum io_uring_op.
OPCODES = """
    NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE SYNC_FILE_RANGE SENDMSG RECVMSG TIMEOUT
    TIMEOUT_REMOVE ACCEPT ASYNC_CANCEL LINK_TIMEOUT CONNECT FALLOCATE OPENAT CLOSE FILES_UPDATE STATX READ WRITE FADVISE
    MADVISE SEND RECV OPENAT2 EPOLL_CTL SPLICE PROVIDE_BUFFERS REMOVE_BUFFERS TEE SHUTDOWN RENAMEAT UNLINKAT MKDIRAT
    SYMLINKAT LINKAT MSG_RING FSETXATTR SETXATTR FGETXATTR GETXATTR SOCKET URING_CMD SEND_ZC SENDMSG_ZC READ_MULTISHOT
    WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV FIXED_FD_INSTALL FTRUNCATE BIND LISTEN RECV_ZC EPOLL_WAIT READV_FIXED
    WRITEV_FIXED PIPE
""".split()

# Opcodes that came after Linux 5.19, which gyre needs. Whose they are says in its operation_kind which Linux has them,
# and asks for them in prepare(): who lacks them is told so.
LATER = {"SEND_ZC", "SENDMSG_ZC", "READ_MULTISHOT", "WAITID", "FUTEX_WAIT", "FUTEX_WAKE", "FUTEX_WAITV",
         "FIXED_FD_INSTALL", "FTRUNCATE", "BIND", "LISTEN", "RECV_ZC", "EPOLL_WAIT", "READV_FIXED", "WRITEV_FIXED",
         "PIPE"}

# What gyre submits by itself, and for what.
USED_BY_GYRE = {
    "ASYNC_CANCEL": "ends what a scope or a deadline stops",
    "CLOSE": "closes a direct descriptor whose owner goes",
    "LINK_TIMEOUT": "keeps the deadline of one operation",
    "POLL_ADD": "wakes an executor that sleeps in its ring",
    "TIMEOUT": "keeps the earliest timer on the boot clock and on the system clock",
    "TIMEOUT_REMOVE": "moves and takes out these two, and a linked timeout that is moved",
}

# Opcodes that have no operation yet. One that has one is taken out here: running this script says which.
NOT_YET = """
""".split()

# What is no operation of one opcode: what stands in its place, and the first kernel.
OF_ANY_OPCODE = {"link": ("any, IOSQE_IO_LINK", "5.3"), "hard_link": ("any, IOSQE_IO_HARDLINK", "5.5"),
                 "drain": ("any", "5.2"), "raw": ("any", "5.1"), "raw_command": ("URING_CMD", "5.19")}

# What is no class with an operation_kind has no place of its own to say where it runs.
RUNS_IN = {"accept_stream": "ring", "drain": "any", "hard_link": "any", "link": "any", "link_timeout": "ring",
           "poll_stream": "ring", "read_stream": "ring", "recv_bundle_stream": "ring", "recv_stream": "ring",
           "recv_zc_stream": "ring", "recvmsg_stream": "ring", "timeout_stream": "ring"}
PLACE = {"ring": "ring", "worker": "worker", "worker_unasked": "worker, not cancelled", "any": "as its operations"}

HEAD = """\
# Operations

<!-- Made by tests/docs/operations.py of the docstrings in runtime/ops/: change those, and run it again. -->

Every operation that gyre has, in namespace `gyre::ops`. `co_await` one to run it; its docstring says what it
takes, which errors it ends with and what a cancel leaves behind. How to add one:
[writing-an-operation.md](writing-an-operation.md).

- **opcode** stands for IORING_OP_ and this name; the number is the kernel's.
- **gives** is what the `co_await` returns. A descriptor is a `unique_fd`, or a `direct_fd`: if the coroutine ends
  before it takes it, it is closed.
- **Linux** is the first kernel that has the opcode, or this use of it. gyre itself needs 5.19: [doctor.md](doctor.md).
- **runs in** says whether the kernel may give it to one of its worker threads. An operation that a worker has begun may
  run to its end whatever is asked: a cancel or a deadline then waits for it, and `with_timeout()` never links a timeout
  to it. One that is "not cancelled" is not even asked once the kernel has it.
- **cancel** is what one leaves behind, in the first words of the docstring.
- **tested by** names the programs in `tests/` that await it; more may do so.
"""

Operation = namedtuple("Operation", "name opcode since gives where cancel tests")


class Untold(Exception):
    """A source does not say what a row needs."""


def declarations(text):
    """Yields name, docstring and result type of each operation in a header: classes, streams, and functions."""
    doc, stream, item = [], None, None
    for line in text.splitlines():
        stripped = line.strip()
        stream = (re.match(r"class (\w+_stream) {", stripped) or (None, stream))[1]
        item = (re.match(r"using next_operation = detail::next_of_multishot<(.+)>;", stripped) or (None, item))[1]
        if stripped.startswith("///"):
            doc.append(stripped[3:].strip())
            continue
        found = re.match(r"class \[\[nodiscard\]\] (\w+) final : public operation_of<\w+, ([\w:<> ]+)>", stripped)
        if found:
            yield found[1], doc, f"`{found[2]}`"
        elif "next_operation next()" in stripped:
            yield stream, doc, f"`{item}`"
        elif found := re.match(r"class \[\[nodiscard\]\] (\w+) final : public gyre::detail::raw_request", stripped):
            yield found[1], doc, f"`{found[1]}_answer`"
        elif stripped.startswith("[[nodiscard]] auto link_timeout(Op op, std::chrono::nanoseconds"):  # of three
            yield "link_timeout", doc, "what it is given"
        elif found := re.match(r"\[\[nodiscard\]\] auto (link|hard_link)\(Ops\.\.\. operations\)", stripped):
            yield found[1], doc, "`std::tuple<result<T>...>`"
        elif stripped.startswith("[[nodiscard]] auto drain(Op op)"):  # of two
            yield "drain", doc, "what it is given"
        elif stripped.startswith(("template", "requires")):
            continue  # between a docstring and what it is for
        doc = []


def source_of(name, doc):
    """The opcodes of the preparing functions that @source names, or names itself, and the kernel."""
    if name in OF_ANY_OPCODE:
        return OF_ANY_OPCODE[name]
    text = " ".join(doc)
    found = re.search(r"@source\s.*?io_uring_prep_\w+\(3\).*?Linux (\d+\.\d+)\.", text)
    if not found:
        raise Untold(f"ops::{name} has no line '@source io_uring_prep_…(3). Linux X.Y.' in its docstring")
    named = re.findall(r"(?:io_uring_prep_|IORING_OP_)(\w+)", found[0])
    return ", ".join(dict.fromkeys(OPCODE_OF.get(each, each.upper()) for each in named)), found[1]


def cancel_of(doc, where):
    """What a cancel leaves behind, as far as it is told: the first clause of @cancellation."""
    found = re.search(r"@cancellation\s+(.*?)(?: @\w+\s|$)", " ".join(doc))
    if not found:
        return "ends it" if where == PLACE["ring"] else "ends it, unless a worker runs it"
    return re.split(r"(?<=[^.\d])[.:;](?= |$)", found[1])[0]


def place_of(name, code):
    found = re.search(rf"operation_kind {name}::opcode{{[^}}]*runs_in::(\w+)", code)
    if not found and name not in RUNS_IN:
        raise Untold(f"ops::{name} has no operation_kind that says where it runs")
    return PLACE[found[1] if found else RUNS_IN[name]]


def check_release(name, opcode, since, code):
    """What the docstring says of the first kernel is what a program is told where it is missing. Streams tell it."""
    if opcode not in LATER or name in RUNS_IN:
        return
    kind = re.search(rf"operation_kind {name}::opcode{{[^}}]*}};", code)
    told = re.search(r'"(\d+\.\d+)"', kind[0]) if kind else None
    if not told or told[1] != since:
        raise Untold(f'the operation_kind of ops::{name} does not say "{since}", the first Linux that has its opcode')
    prepare = re.search(rf"^void {name}::prepare\(.*?^}}", code, re.MULTILINE | re.DOTALL)
    if not prepare or "require_opcode(" not in prepare[0]:
        raise Untold(f"{name}::prepare() does not end with require_opcode(sqe), which tells who lacks its opcode")


def tests_of(name, tests):
    naming = [path for path, text in tests.items() if re.search(rf"\bops::{name}\b", text)]
    if not naming:
        raise Untold(f"no test awaits ops::{name}: write one")
    return naming


def read_tests(root):
    """The text of each test program, with that of the helpers that it includes."""
    helpers = {path.name: path.read_text() for path in (root / "tests/support").glob("*.hpp")}

    def with_helpers(text):
        return text + "".join(helpers.get(name, "") for name in re.findall(r'#include "\.\./support/([\w.]+)"', text))

    programs = sorted((root / "tests").rglob("*_test.cpp"))
    return {path.relative_to(root).as_posix(): with_helpers(path.read_text()) for path in programs}


def families(root):
    """Yields the name of each header in runtime/ops/, what it is for, and its operations."""
    tests = read_tests(root)
    for header in sorted((root / "runtime/ops").glob("*.hpp")):
        text = header.read_text()
        code = header.with_suffix(".cpp").read_text() if header.with_suffix(".cpp").exists() else ""
        found = []
        for name, doc, gives in declarations(text):
            opcode, since = source_of(name, doc)
            check_release(name, opcode, since, code)
            found.append(Operation(name, opcode, since, gives, place_of(name, code),
                                   cancel_of(doc, place_of(name, code)), tests_of(name, tests)))
        if found:
            yield header.relative_to(root).as_posix(), text.splitlines()[1].removeprefix("// "), found


def number_of(opcode):
    if opcode.startswith("any"):
        return "any"
    return ", ".join(str(OPCODES.index(each)) for each in opcode.split(", "))


def rest_of_opcodes(done):
    """The sections about opcodes that no operation is of. Each opcode that Linux has is somewhere."""
    unknown = sorted(set(OPCODES) - done - set(NOT_YET) - set(USED_BY_GYRE))
    if unknown:
        raise Untold(f"no operation is of {', '.join(unknown)}: write one, or name it in NOT_YET")
    yield "\n## Opcodes that gyre uses itself\n\n| opcode | number | for what |\n|---|---|---|\n"
    for opcode, purpose in USED_BY_GYRE.items():
        yield f"| {opcode} | {OPCODES.index(opcode)} | {purpose} |\n"
    missing = [opcode for opcode in OPCODES if opcode in NOT_YET and opcode not in done]
    if missing:
        yield ("\n## Opcodes without an operation\n\nThere is none yet; `ops::raw` submits those that answer once.\n\n"
               "| opcode | number |\n|---|---|\n")
        yield from (f"| {opcode} | {OPCODES.index(opcode)} |\n" for opcode in missing)


def page(root):
    parts = [HEAD]
    done = set()
    for path, purpose, operations in families(root):
        parts.append(f"\n## [{path}](../{path})\n\n{purpose}\n\n"
                     "| operation | opcode | number | gives | Linux | runs in | cancel | tested by |\n"
                     "|---|---|---|---|---|---|---|---|\n")
        for each in operations:
            programs = ", ".join(f"[{pathlib.PurePath(test).stem.removesuffix('_test')}](../{test})"
                                 for test in each.tests)
            done.update(each.opcode.split(", "))
            cells = [f"`{each.name}`", each.opcode, number_of(each.opcode), each.gives, each.since, each.where,
                     each.cancel, programs]
            parts.append(f"| {' | '.join(cells)} |\n")
    return "".join([*parts, *rest_of_opcodes(done)]), done


def opcodes_of_kernel():
    """The numbers of the opcodes that the running kernel has; empty where it lets nobody ask."""
    io_uring_setup, io_uring_register, register_probe, is_supported = 425, 427, 8, 1
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(io_uring_setup, 1, ctypes.create_string_buffer(120))
    if ring < 0:
        return []
    answer = ctypes.create_string_buffer(16 + 256 * 8)
    failed = libc.syscall(io_uring_register, ring, register_probe, answer, 256)
    os.close(ring)
    if failed:
        return []
    each = struct.iter_unpack("<BBHI", answer.raw[16:16 + 8 * answer.raw[1]])
    return [number for number, _, flags, _ in each if flags & is_supported]


TEST_LINK = r"\[\w+\]\(\.\./tests/[\w/]+\.cpp\)"


def differs(written, made):
    """Whether a row says something else, or names a test that is not there or no longer awaits the operation."""
    def without_tests(text):
        return re.sub(rf"{TEST_LINK}(, {TEST_LINK})* \|", "|", text)

    def tests_by_line(text):
        return [set(re.findall(TEST_LINK, line)) for line in text.splitlines()]

    return without_tests(written) != without_tests(made) or any(
        named - naming for named, naming in zip(tests_by_line(written), tests_by_line(made)))


def main():
    arguments = sys.argv[1:]
    checks = "--check" in arguments
    roots = [each for each in arguments if each != "--check"]
    root = pathlib.Path(roots[0] if roots else ".")
    try:
        made, done = page(root)
    except Untold as untold:
        sys.exit(str(untold))
    written = root / PAGE
    unnamed = [number for number in opcodes_of_kernel() if number >= len(OPCODES)]
    if not checks:
        written.write_text(made)
        for opcode in sorted(done & set(NOT_YET)):
            print(f"{opcode} has an operation by now: take it out of NOT_YET")
    elif unnamed:
        sys.exit(f"this kernel has opcodes that OPCODES does not name: {unnamed}. Add them there, and an operation")
    elif not written.exists() or differs(written.read_text(), made):
        sys.exit(f"{PAGE} is not what the sources say. Run tests/docs/operations.py in the project's root.")


main()
