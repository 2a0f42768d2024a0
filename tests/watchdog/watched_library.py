#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Copies a static library so that it calls the watchdog where it calls the system; or checks that none is forgotten.

    watched_library.py LIBRARY WATCHED_CALLS COPY     LIBRARY with each X that is watched called gyre_watched_X
    watched_library.py LIBRARY WATCHED_CALLS --check  every function that LIBRARY does not define itself is watched, or
                                                      known not to wait: HARMLESS

WATCHED_CALLS is the static library of watched_calls.cpp: its symbols gyre_watched_X say what is watched. Where the
C library has two names for a function, X and X64, both are; pwritev2 is pwritev64v2 there.
"""
import fnmatch
import pathlib
import subprocess
import sys

PREFIX = 'gyre_watched_'

# What never waits for anybody, nor for a device. With a reason where that is not plain.
HARMLESS = {
    'memory, strings, numbers': 'bcmp calloc ceil free mem* mmap mprotect mremap munmap snprintf __isoc*_sscanf str* '
                                '__udivti3',
    'the language': '_Unwind_* __cxa_* __dso_handle __g*_personality_v0 __once_proxy __tls_get_addr abort _exit '
                    '__errno_location __libc_single_threaded __stack_chk_fail _GLOBAL_OFFSET_TABLE_ jump_fcontext '
                    'make_fcontext',
    'about the process': 'clock_gettime getenv getpid getrandom getrlimit gettid prctl sched_* sysconf __sysconf '
                         'uname',
    'a child that is made, on threads of the offload pool, which wait for its program: fs/detail/new_child.hpp':
        '__clone __environ environ',
    'signals of a thread': 'pthread_sigmask sigaction sigaddset sigdelset sigemptyset sigfillset sigismember '
                           'kill raise sigabbrev_np sigaltstack sigpending',
    'held for some instructions': 'pthread_mutex_lock pthread_mutex_trylock pthread_mutex_unlock pthread_once',
    'threads': 'pthread_atfork pthread_attr_* pthread_create pthread_self pthread_setname_np',
    'waits, on threads of pools and outside turns: those of sync and offload are tested there':
        'pthread_cond_clockwait pthread_join',
    'descriptors that are made': 'epoll_create1 epoll_ctl eventfd inotify_init1 inotify_rm_watch pipe2 socket '
                                 'socketpair',
    'takes what is there, by RWF_NOWAIT': 'preadv2',
    'sockets asked and told': 'freeaddrinfo getpeername getsockname getsockopt if_indextoname if_nametoindex listen '
                              'setsockopt shutdown',
    'terminals asked, which answer from memory': 'isatty',
    'log lines, which ARCHITECTURE names': 'fprintf fwrite stderr',
    'C++': '_Z*',
}
# Of C++'s own, what is to be watched. Waits for a future are those of run(), on a thread that has no turn.
OF_CPP = ('*_filebuf*', '*basic_*fstream*C1EPKc*', '*filesystem*', '*condition_variable*4wait*', '*thread4join*')


def names_in(library, *arguments):
    listed = subprocess.run(['nm', *arguments, library], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in listed.splitlines() if line and not line.endswith(':')}


def plainly(name):
    return name.replace('64v2', '2').removesuffix('64')


def main():
    library, watched_calls, copy = sys.argv[1:]
    defined = names_in(library, '--defined-only')
    outside = names_in(library, '--undefined-only') - defined
    watched = {name.removeprefix(PREFIX) for name in names_in(watched_calls, '--defined-only')
               if name.startswith(PREFIX)}
    is_watched = {name: name if name in watched else plainly(name) for name in outside
                  if name in watched or plainly(name) in watched}
    if copy != '--check':
        renaming = [argument for name, call in sorted(is_watched.items())
                    for argument in ('--redefine-sym', f'{name}={PREFIX}{call}')]
        # meson's are thin, names of object files, unless they are to be installed; objcopy wants the files themselves.
        pathlib.Path(copy).unlink(missing_ok=True)
        script = f'CREATE {copy}\nADDLIB {library}\nSAVE\nEND\n'
        subprocess.run(['ar', '-M'], input=script, check=True, text=True)
        subprocess.run(['objcopy', *renaming, copy], check=True)
        return

    patterns = ' '.join(HARMLESS.values()).split()
    unknown = []
    for name in sorted(outside - is_watched.keys()):
        plain = plainly(name)
        known = any(fnmatch.fnmatchcase(plain, pattern) for pattern in patterns)
        if not known or any(fnmatch.fnmatchcase(name, pattern) for pattern in OF_CPP):
            unknown.append(name)
    if unknown:
        sys.exit(f'the library calls {", ".join(unknown)}: what may wait belongs into watched_calls.cpp, all else into '
                 f'HARMLESS of {sys.argv[0]}')
    print(f'{len(is_watched)} functions are watched: {", ".join(sorted(is_watched))}')


main()
