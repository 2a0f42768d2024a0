# SPDX-License-Identifier: MIT
"""The tree of tasks from outside: of a core file, or of a process that gdb has stopped.

    (gdb) source /usr/local/share/gyre/gyre-gdb.py
    (gdb) gyre tasks

It tells what gyre::dump_tasks() tells, in the same words, by the same walk (runtime/diagnosis.cpp): nothing is called
in the process, only memory is read. It needs gyre's debug information, and that of the program for the descriptors of
operations of its own. Times are as of the executor's last look at its clock; in a process that gdb runs or is attached
to, as of now.
"""
import bisect
import functools
import re
import struct
import time

import gdb

INDENTED_LEVELS_MAX = 40
OUTERMOST_SHOWN = 4
INNERMOST_SHOWN = 8
FOREVER = 2**63 - 1
POINTER = gdb.lookup_type('void').pointer().sizeof
PROMISE_OFFSET = 2 * POINTER  # in a coroutine's frame: behind the addresses of resume() and destroy()

# waiter::stage and waiter::flag, as far as they are needed.
WAITING = 3
FOREIGN = 0x400
STACKED = 0x800
EXPIRED = 0x1000
LINKED = 0x2000
HEARD = 0x8000

LOWEST = 1  # in a waiter's beneath_
FIRST_SLOT = -(2**31)  # fd_ref::first_slot

ROLE_BODY = 1
ROLE_BRANCH = 2


def address(value):
    """Of what a pointer points to, as a number."""
    return int(value)


@functools.lru_cache(None)
def pointer_to(type_name):
    return gdb.lookup_type(type_name).pointer()


def at(type_name, where):
    return gdb.Value(where).cast(pointer_to(type_name)).dereference()


def read_pointer(where):
    return struct.unpack('P', bytes(gdb.selected_inferior().read_memory(where, POINTER)))[0]


def read_text(where):
    return gdb.Value(where).cast(pointer_to('char')).string('utf-8', 'replace')


@functools.lru_cache(None)
def base_offset(type_name, base_name):
    """How far into an object its base lies."""
    for field in gdb.lookup_type(type_name).fields():
        if field.is_base_class:
            if field.name == base_name:
                return field.bitpos // 8
            deeper = base_offset(field.name, base_name)
            if deeper is not None:
                return field.bitpos // 8 + deeper
    return None


def elements(ring, type_name):
    """The elements of an intrusive_ring."""
    offset = base_offset(type_name, 'gyre::detail::ring_links')
    sentinel = address(ring['sentinel_'].address)
    links = address(ring['sentinel_']['next_'])
    while links != sentinel:
        yield at(type_name, links - offset)
        links = address(at('gyre::detail::ring_links', links)['next_'])


def array_of(array):
    """The elements of a std::array, of either standard library."""
    elements_of_it = array[array.type.strip_typedefs().fields()[0]]
    first, last = elements_of_it.type.strip_typedefs().range()
    return [elements_of_it[index] for index in range(first, last + 1)]


def optional_string(view):
    """A std::string_view, of either standard library."""
    names = [field.name for field in view.type.strip_typedefs().fields()]
    text, size = ('_M_str', '_M_len') if '_M_len' in names else ('__data_', '__size_')
    return view[text].string('utf-8', 'replace', length=int(view[size])) if int(view[size]) else ''


class Promise:
    """A coroutine of gyre's."""

    def __init__(self, frame):
        self.base = at('gyre::detail::promise_base', frame + PROMISE_OFFSET)
        # std::source_location is a pointer to what the compiler lays out: file, function, line, column.
        place = read_pointer(address(self.base['location'].address))
        self.line = 0
        if place:
            memory = bytes(gdb.selected_inferior().read_memory(place, 2 * POINTER + 4))
            file, function, self.line = struct.unpack('PPI', memory)
            if self.line:
                self.file, self.function = read_text(file), read_text(function)

    def continuation(self):
        return read_pointer(address(self.base['continuation'].address))

    def __str__(self):
        return f'{plain_function_name(self.function)} at {self.file}:{self.line}'


def plain_function_name(name):
    name = name.partition(' [')[0]
    for what, by in (('(anonymous namespace)::', ''), ('{anonymous}::', ''),
                     ('(anonymous class)::operator()', 'lambda'), ('<lambda(', 'lambda<(')):
        name = name.replace(what, by)
    plain, depth = '', 0
    for each in name:
        if each in '(<':
            depth += 1
        elif each in ')>':
            depth -= 1
        elif depth == 0:
            plain += each
    plain = plain.replace('lambda::operator', 'lambda')
    for suffix in (' noexcept', ' const'):
        plain = plain.removesuffix(suffix)
    return re.split(r'[ *&]', plain)[-1]


def seconds(nanoseconds):
    return f'{nanoseconds / 1e9:.1f} s'


def because_of(reason):
    return f': {reason}' if reason else ''


class Scope:
    def __init__(self, value):
        self.value = value
        self.where = address(value.address)

    def children(self):
        return [Scope(each) for each in elements(self.value['children_'], 'gyre::cancel_scope')]

    def boundaries(self):
        return list(elements(self.value['boundaries_'], 'gyre::detail::boundary'))

    def parent(self):
        parent = address(self.value['parent_'])
        return Scope(at('gyre::cancel_scope', parent)) if parent else None

    def stop_requested(self):
        return bool(self.value['stop_requested_'])

    def stop_reason(self):
        each = self
        while each is not None and each.stop_requested():
            if each.value['stop_began_here_']:
                return optional_string(each.value['reason_'])
            each = each.parent()
        return ''

    def opener(self):
        opener = address(self.value['opener_'])
        return Opener(opener) if opener else None


class Opener:
    """An awaiting_coroutine: who awaits a scope, or a boundary without one."""

    def __init__(self, where):
        self.value = at('gyre::detail::awaiting_coroutine', where)
        self.where = where
        self.bound = address(self.value['bound_'])
        self.coroutine = read_pointer(address(self.value['handle_'].address))
        self.foreign = bool(self.value['foreign_'])
        self.several = bool(self.value['several_'])

    def what(self):
        return self.value['what_'].string()

    def running_count(self):
        return int(at('gyre::detail::awaiting_several', self.where)['running_count'])


def address_of_function(name):
    try:
        return address(gdb.parse_and_eval(f'&{name}'))
    except gdb.error:
        return None  # a program without it


@functools.lru_cache(None)
def class_of_constant(where):
    symbol = gdb.execute(f'info symbol {where}', to_string=True)
    return symbol.partition(' in section')[0].strip().rpartition('::')[0]


class Waiter:
    def __init__(self, where):
        self.where = where
        self.value = at('gyre::detail::waiter', where)
        self.state = int(self.value['state_']) & 0xffff_ffff
        self.since_ms = int(self.value['state_']) >> 32
        self.coroutine = int(self.value['resumed_']) & ~1
        self.foreign = bool(self.state & FOREIGN)
        self.waits = self.state & 0xff >= WAITING

    def below(self):
        beneath = int(self.value['beneath_'])
        return beneath if self.state & STACKED and not beneath & LOWEST else 0

    def bound(self):
        if not self.foreign:
            return address(Promise(self.coroutine).base['bound'])
        beneath = int(self.value['beneath_'])
        while not beneath & LOWEST:
            beneath = int(at('gyre::detail::waiter', beneath)['beneath_'])
        return beneath & ~LOWEST

    def kind(self):
        return self.value['kind'].cast(pointer_to('gyre::detail::waiter_kind')).dereference()

    def name(self):
        return self.kind()['name'].string()

    def itself(self):
        """The object of its own class: the constant that is its kind is a member of that class. What reads a stream is
        about the stream's request, of which it knows."""
        try:
            if address(self.kind()['describe']) == address_of_function('gyre::detail::multishot_reader::describe'):
                request = at('gyre::detail::multishot_reader', self.where)['from_'].dereference()
                return request.cast(request.dynamic_type)
            itself = self.value.address.cast(pointer_to(class_of_constant(address(self.value['kind'])))).dereference()
            return itself if is_structure(itself) else None
        except gdb.error:
            return None

    def descriptor(self):
        itself = self.itself()
        found = descriptor_in(itself) if itself is not None else None
        return -1 if found is None else found

    def due(self):
        itself = self.itself()
        try:
            return steady(itself['due_']) if itself is not None else FOREVER
        except gdb.error:
            return FOREVER


def steady(point_in_time):
    """When that is. How far the other clocks are from it no debugger knows: of a time on them nothing is told."""
    return FOREVER if int(point_in_time['clock_']) else int(point_in_time['at_'])


def told(descriptor):
    """As fd_ref numbers them: direct ones count from the least int on."""
    return f'fd {descriptor}' if descriptor >= 0 else f'direct fd {descriptor - FIRST_SLOT}'


def descriptor_in(value, may_follow=True):
    """The first member that is a descriptor, or one in what a member refers to."""
    for field in value.type.strip_typedefs().fields():
        if field.is_base_class or not hasattr(field, 'bitpos'):
            continue
        if str(field.type.strip_typedefs()) == 'gyre::fd_ref':
            return int(value[field]['number_'])
        if may_follow and field.type.strip_typedefs().code == gdb.TYPE_CODE_REF:
            target = value[field].referenced_value()
            found = descriptor_in(target, may_follow=False) if is_structure(target) else None
            if found is not None:
                return found
    return None


def is_structure(value):
    return value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT


class Leaf:
    """What the innermost coroutine of a line waits for."""

    def __init__(self, below, waiter=None, scope=None, inner=None, ready=False):
        self.below, self.waiter, self.scope, self.inner, self.ready = below, waiter, scope, inner, ready
        self.opener = None
        if scope is not None:
            self.opener = scope.opener()
        elif inner is not None:
            self.opener = Opener(address(inner['awaited_by']))
        stands_for = waiter or self.opener
        self.foreign, self.coroutine = stands_for.foreign, stands_for.coroutine


class Tree:
    def __init__(self, executor):
        self.root = Scope(executor['root_scope_'])
        self.executor = executor
        self.now = time_of(executor)
        self.leaves, self.deadlines, self.lines, self.out = {}, [], [], []
        self.scopes = list(self.all_scopes())
        for scope in self.scopes:
            self.find_leaves(scope)
        self.find_ready()
        self.find_deadlines()

    def all_scopes(self):
        """Parents first."""
        left = [self.root]
        while left:
            scope = left.pop()
            yield scope
            left.extend(reversed(scope.children()))

    def add(self, leaf):
        self.leaves.setdefault(leaf.below, []).append(leaf)

    def find_leaves(self, scope):
        opener = scope.opener()
        if opener is not None:
            self.add(Leaf(opener.bound, scope=scope))
        for boundary in scope.boundaries():
            if address(boundary['awaited_by']):
                self.add(Leaf(Opener(address(boundary['awaited_by'])).bound, inner=boundary))
            waiting = address(boundary['waiting'])
            while waiting:
                waiter = Waiter(waiting)
                self.add(Leaf(address(boundary.address), waiter=waiter))
                waiting = waiter.below()

    def find_ready(self):
        for queue in 'ready_', 'next_turn_':
            ready = address(self.executor[queue]['head_'])
            while ready:
                runnable = at('gyre::detail::runnable', ready)
                waiter = Waiter(ready) if int(runnable['resumed_']) & ~1 else None
                if waiter is not None and not waiter.waits:
                    self.add(Leaf(waiter.bound(), waiter=waiter, ready=True))
                ready = address(runnable['next'])

    def find_deadlines(self):
        """Of single operations, those that the executor keeps: where both lie, and when it is due."""
        for timer in self.timers():
            size = int(timer['kind_']['bytes_with_operation'])
            begin = address(timer.address)
            if size:
                self.deadlines.append((begin, begin + size, int(timer['due'])))
        self.deadlines.sort()

    def timers(self):
        heap = self.executor['timers_']
        for lane in array_of(heap['lanes_']):
            links = address(lane['next'])
            while links != address(lane.address):
                yield at('gyre::detail::timer', links)
                links = address(at('gyre::detail::timer_links', links)['next'])
        vector = heap['table_']['_M_impl']
        word = vector['_M_start']
        while address(word) != address(vector['_M_finish']):
            who = int(word.dereference())
            if who and who % 2 == 0:
                yield at('gyre::detail::timer', who)
            word += 1

    # ----------------------------------------------------------------------------------------------------- telling it

    def told(self):
        for scope in self.scopes:
            if scope.opener() is None and scope.boundaries():
                self.tell_root(scope)
        return ''.join(self.out)

    def say(self, text):
        self.out.append(text)

    def indent(self, depth):
        self.say('  ' * min(depth, INDENTED_LEVELS_MAX))

    def tell_root(self, scope):
        parent = scope.parent()
        self.say('root task' if parent is not None and parent.where == self.root.where else 'scope')
        self.tell_state(scope, tells_inherited_stop=True)
        self.say('\n')
        self.queue_lines(scope, 1)
        while self.lines:
            self.tell_line(*self.lines.pop())

    def queue_lines(self, scope, depth):
        tops = [each for each in scope.boundaries() if not address(each['awaited_by'])]
        self.lines.extend((top, depth) for top in reversed(tops))

    def tell_line(self, top, depth):
        leaves = self.leaves.get(address(top.address), [])
        if not leaves or leaves[0].foreign:
            return self.tell_outermost(top, depth, leaves)
        shown, frame = [], leaves[0].coroutine
        while frame:
            promise = Promise(frame)
            if promise.line:
                shown.append(promise)
            frame = promise.continuation()
        shown.reverse()
        self.indent(depth)
        self.tell_role(top)
        is_long = len(shown) > OUTERMOST_SHOWN + INNERMOST_SHOWN + 1
        left_out = len(shown) - OUTERMOST_SHOWN - INNERMOST_SHOWN
        texts = [str(each) for each in shown] if not is_long else [
            *(str(each) for each in shown[:OUTERMOST_SHOWN]), f'... {left_out} more, each awaiting the next',
            *(str(each) for each in shown[-INNERMOST_SHOWN:])]
        for index, text in enumerate(texts):
            if index:
                depth += 1
                self.say('\n')
                self.indent(depth)
            self.say(text)
        if shown:
            self.say(': ')
        self.tell_leaf(leaves[0], depth + 1)

    def tell_outermost(self, top, depth, foreign):
        frame = read_pointer(address(top['frame'].address))
        outermost = Promise(frame) if frame else None
        has_place = outermost is not None and outermost.line != 0
        self.indent(depth)
        self.tell_role(top)
        if has_place:
            self.say(str(outermost))
        elif foreign:
            self.say('a task')
        if not foreign and has_place:
            self.say(': ')
        if not foreign:
            self.say('runs, or is about to' if frame else 'is being taken down')
        self.say('\n')
        for each in foreign:
            self.indent(depth + 1)
            self.say('a coroutine of another library: ')
            self.tell_leaf(each, depth + 2)

    def tell_leaf(self, leaf, depth_of_inner):
        if leaf.ready:
            self.say('runs, or is about to\n')
        elif leaf.waiter is not None:
            self.tell_wait(leaf.waiter)
        else:
            self.tell_region(leaf, depth_of_inner)

    def tell_wait(self, waiter):
        self.say(waiter.name())
        descriptor = waiter.descriptor()
        if descriptor != -1:
            self.say(f' on {told(descriptor)}')
        waited_ms = (self.now // 1_000_000 - waiter.since_ms) & 0xffff_ffff
        self.say(f' for {seconds(waited_ms * 1_000_000)}')
        due = min(waiter.due(), self.deadline_of(waiter))
        self.tell_time_left(due)
        if due == FOREVER and waiter.state & EXPIRED:
            self.say(', its deadline has passed')
        self.say('\n')

    def tell_region(self, leaf, depth_of_inner):
        self.say(leaf.opener.what())
        if leaf.scope is None:
            self.say('\n')
            self.lines.append((leaf.inner, depth_of_inner))
            return
        if leaf.opener.several:
            self.tell_count(leaf)
        self.tell_state(leaf.scope, tells_inherited_stop=False)
        self.say('\n')
        self.queue_lines(leaf.scope, depth_of_inner)

    def tell_count(self, leaf):
        count = leaf.opener.running_count()
        begun = sum(not address(each['awaited_by']) and int(each['role']) != ROLE_BODY
                    for each in leaf.scope.boundaries())
        self.say(f", {count} task{'' if count == 1 else 's'}")
        if count > begun:
            self.say(f', {count - begun} not begun')

    def tell_state(self, scope, tells_inherited_stop):
        if scope.value['has_deadline_'] and not int(scope.value['deadline_clock_']):
            self.tell_time_left(int(scope.value['deadline_']['due']))
        stopped = scope
        while stopped is not None and not stopped.stop_requested():
            stopped = stopped.parent()
        if stopped is None:
            return
        if stopped.where != scope.where:
            if scope.value['shielded_']:
                self.say(f'; shielded from a stop{because_of(stopped.stop_reason())}')
        elif scope.value['stop_began_here_'] or tells_inherited_stop:
            self.say(f'; asked to stop{because_of(scope.stop_reason())}')

    def tell_time_left(self, due):
        if due == FOREVER:
            return
        self.say(f', {seconds(due - self.now)} left' if due >= self.now else f', {seconds(self.now - due)} overdue')

    def deadline_of(self, waiter):
        if waiter.state & HEARD:
            return FOREVER
        if waiter.state & LINKED:
            return int(at('gyre::operation', waiter.where)['deadline_']['due'])
        before = bisect.bisect_right(self.deadlines, (waiter.where, FOREVER)) - 1
        if before < 0:
            return FOREVER
        _, end, due = self.deadlines[before]
        return due if waiter.where < end else FOREVER

    def tell_role(self, top):
        role = int(top['role'])
        if role == ROLE_BODY:
            self.say('body: ')
        elif role == ROLE_BRANCH:
            self.say(f"branch {int(top['index'])}: ")


def time_of(executor):
    """The executor's clock is the machine's, and goes on where the process is on this machine and has not ended."""
    last_look = int(executor['clock_']['last_look_'])
    connection = getattr(gdb.selected_inferior(), 'connection', None)
    is_live = connection is not None and connection.type == 'native'
    return max(last_look, time.monotonic_ns()) if is_live else last_look


def executors():
    """The oldest first."""
    found, entry = [], gdb.parse_and_eval('gyre::detail::live_executor::newest')
    while address(entry):
        found.append(entry['executor_'].dereference())
        entry = entry['older_']
    return found[::-1]


class GyreCommand(gdb.Command):
    """What gyre's executors do: `gyre tasks`."""

    def __init__(self):
        super().__init__('gyre', gdb.COMMAND_STATUS, prefix=True)


class TasksCommand(gdb.Command):
    """gyre tasks: the tree of the tasks of every executor, and of each what it waits for."""

    def __init__(self):
        super().__init__('gyre tasks', gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        before = gdb.parameter('language')
        gdb.execute('set language c++', to_string=True)  # the process may stand in a function of C
        try:
            self.tell()
        finally:
            gdb.execute(f'set language {before}', to_string=True)

    @staticmethod
    def tell():
        for remembered in (pointer_to, base_offset, class_of_constant):
            remembered.cache_clear()  # of a program that may be another one by now
        try:
            found = executors()
        except gdb.error as error:
            raise gdb.GdbError(f'No executors are found: {error}. The program uses no gyre, or gyre was built without '
                               'debug information: meson setup -Ddebug=true gives it some.')
        print(f"{len(found)} executor{'' if len(found) == 1 else 's'}")
        for executor in found:
            print(f'executor at {address(executor.address):#x}')
            print(Tree(executor).told(), end='')


GyreCommand()
TasksCommand()
