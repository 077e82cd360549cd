"""Circles of locks, and what is said of owners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from drgn import Object, StackFrame, Type, TypeKind, TypeMember, sizeof

from cas.choices import Weight
from cas.detectors import locks, owners
from cas.detectors.case import Case
from cas.detectors.owners import RT_TYPES, Owner, lock_name, member_at, owner_of
from cas.detectors.waits import Lock, Locks, Wait
from cas.klog.lines import Log
from cas.model.code import Frame


class Tasks:
    """Tasks of the shipped dump by letters, as if they waited for one another."""

    def __init__(self, case: Case) -> None:
        case.begin(10)
        self.case = case
        self.seen = dict(zip("abcd", case.tasks(), strict=False))

    def wait(self, name: str, owner: str | None, *, is_firm: bool = True) -> Wait:
        had = self.seen[owner] if owner else None
        has = Owner(had) if is_firm else Owner(note="it was just handed to somebody")
        address = ord(owner or "-")
        lock = Lock("mutex", address, f"lock-of-{owner}", f"lock-of-{owner}+0x0", has)
        return Wait(self.seen[name], "mutex", (Frame("f", file="f.c", line=7),), lock, 65.0)

    def circles(self, *waits: Wait) -> list[str]:
        names = {each.pid: name for name, each in self.seen.items()}
        by_task = {wait.seen.task.value_(): wait for wait in waits}
        found = locks.circles(by_task)
        return ["".join(names[wait.seen.pid] for wait in circle) for circle in found]


@pytest.fixture
def tasks(case: Case) -> Tasks:
    return Tasks(case)


def test_a_circle_is_found_once_and_without_those_that_only_lead_to_it(tasks: Tasks) -> None:
    waits = [tasks.wait(*pair) for pair in ("db", "ab", "bc", "ca")]
    assert tasks.circles(*waits) == ["bca"]


def test_a_task_that_waits_for_its_own_lock_is_a_circle(tasks: Tasks) -> None:
    assert tasks.circles(tasks.wait("a", "a"), tasks.wait("b", "a")) == ["a"]


def test_two_circles_are_two(tasks: Tasks) -> None:
    waits = [tasks.wait(*pair) for pair in ("ab", "ba", "cd", "dc")]
    assert tasks.circles(*waits) == ["ab", "cd"]


def test_an_owner_that_is_not_sure_closes_no_circle(tasks: Tasks) -> None:
    assert tasks.circles(tasks.wait("a", "b"), tasks.wait("b", "a", is_firm=False)) == []


def test_a_chain_and_an_unknown_owner_are_no_circle(tasks: Tasks) -> None:
    assert tasks.circles(tasks.wait("a", "b"), tasks.wait("b", "c"), tasks.wait("d", None)) == []


def test_a_deadlock_is_told_in_a_line_and_explains_a_hang_only(
    case: Case, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle = (tasks.wait("a", "b"), tasks.wait("b", "a"))
    told = locks._evidence_of_deadlock(case, circle)
    a, b = tasks.seen["a"], tasks.seen["b"]
    assert told.sentence == (
        f"DEADLOCK: {a.comm} waits for lock-of-b → {b.comm} waits for lock-of-a"
    )
    assert told.details[0] == f"{a.name} waits for lock-of-b in f at f.c:7, for 1 min 5 s"
    assert told.weight is Weight.CONTEXT  # the dump's crash is an oops
    monkeypatch.setattr(case, "kind", "hung-task")
    assert locks._evidence_of_deadlock(case, circle).weight is Weight.CAUSE
    alone = locks._evidence_of_deadlock(case, (tasks.wait("a", "a"),)).sentence
    assert alone == f"DEADLOCK: {a.comm} waits for lock-of-a, which it has itself"


class Blocked(Locks):
    """Waits that are given, in place of those of the dump."""

    given: tuple[Wait, ...] = ()

    def blocked(self) -> Iterator[Wait]:
        yield from self.given


def test_a_circle_is_told_first_and_its_locks_only_where_others_wait_for_them(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(tasks.case)
    monkeypatch.setitem(tasks.case.kept, "locks", blocked)
    blocked.given = tuple(tasks.wait(*pair) for pair in ("ab", "ba", "ca"))
    told = [each.sentence for each in locks.detect(tasks.case)]
    a, b = tasks.seen["a"], tasks.seen["b"]
    assert told == [
        f"DEADLOCK: {a.comm} waits for lock-of-b → {b.comm} waits for lock-of-a",
        f"2 tasks wait for mutex lock-of-a, which {a.name} has; that one is blocked in f,"
        f" waiting for mutex lock-of-b of {b.name}",
    ]


@pytest.mark.parametrize(
    ("value", "name", "note"),
    [
        ("{task}", "init", ""),
        ("{task} | 1", "init", ""),
        ("{task} | 4", None, "it was just handed to init"),
        ("0", None, "nobody has it now"),
        ("0xdead0000", None, "owner unknown (0xdead0000 is no task)"),
        ("{task} + 64", None, "owner unknown"),
    ],
)
def test_the_owner_of_a_mutex_is_a_task_or_unknown(
    case: Case, value: str, name: str | None, note: str
) -> None:
    owner = number(case, value)
    found = owner_of(case, "mutex", planted(case, "struct mutex", owner=owner))
    assert (found.seen.comm if found.seen else None) == name
    assert found.note.startswith(note)


@pytest.mark.parametrize(
    ("owner", "count", "name", "note"),
    [
        ("{task}", 1, "init", ""),
        ("{task} | 1", 0x102, None, "1 reader has it, and init (pid 1) took it last"),
        ("0xdead0000 | 1", 0x300, None, "3 readers have it"),
        ("{task}", 0, None, "no writer has it now"),
    ],
)
def test_only_a_writer_has_an_rwsem_for_sure(
    case: Case, owner: str, count: int, name: str | None, note: str
) -> None:
    address = planted(case, "struct rw_semaphore", owner=number(case, owner), count=count)
    found = owner_of(case, "rwsem", address)
    assert (found.seen.comm if found.seen else None, found.note) == (name, note)


@pytest.mark.parametrize(("value", "name"), [("{task} | 1", "init"), ("0 | 1", None)])
def test_the_owner_of_a_lock_with_priority_inheritance_is_told_without_its_flag(
    case: Case, value: str, name: str | None
) -> None:
    kind = case.first_type(RT_TYPES).type_name()
    found = owner_of(case, "rt_mutex", planted(case, kind, owner=number(case, value)))
    assert (found.seen.comm if found.seen else None) == name


@pytest.mark.parametrize("kind", ["mutex", "rwsem"])
def test_the_owner_in_an_old_kernel_is_a_plain_pointer(case: Case, kind: str) -> None:
    prog = case.prog
    pointer = prog.pointer_type(prog.type("struct task_struct"))
    old = prog.struct_type(kind, 8, [TypeMember(pointer, "owner")])
    read = {"mutex": owners._mutex_owner, "rwsem": owners._rwsem_owner}[kind]
    case.begin(10)
    found = read(case, Object(prog, old, {"owner": number(case, "{task}")}))
    assert found.seen is not None
    assert found.seen.comm == "init"


def number(case: Case, expression: str) -> int:
    task = next(each.task for each in case.tasks() if each.comm == "init")
    words = expression.format(task=task.value_()).replace("|", "+").split("+")
    return sum(int(word, 0) for word in words)


PLACES = iter(range(0x7FFF00000000, 0x7FFFFFFF0000, 0x1000))


def planted(case: Case, kind: str, **words: int) -> int:
    """A structure of a kernel type with these words in it, at an address without memory."""
    begun = case.begin
    begun(10)
    size = case.prog.type(kind).size
    assert size is not None
    content = bytearray(size)
    for name, word in words.items():
        at = case.prog.type(kind).member(name).offset
        content[at : at + 8] = word.to_bytes(8, "little")
    address = next(PLACES)

    def read(_: int, count: int, offset: int, __: bool) -> bytes:
        return bytes(content[offset : offset + count])

    case.prog.add_memory_segment(address, size, read)
    return address


def test_members_are_named_by_their_offset(case: Case) -> None:
    inode = case.prog.type("struct inode")
    offset = inode.member("i_rwsem").offset
    assert member_at(inode, offset) == "i_rwsem"
    assert member_at(inode, offset + 1) is None


def test_nothing_of_the_shipped_dump_is_called_a_lock(case: Case) -> None:
    case.begin(10)
    assert list(locks.detect(case)) == []


@pytest.mark.parametrize(
    ("kind", "owner", "weight"),
    [
        ("hung-task", "b", Weight.CAUSE),
        ("hung-task", "b?", Weight.CONTEXT),  # not for sure
        ("hung-task", None, Weight.CONTEXT),
        ("hung-task", "c", Weight.CONTEXT),  # which waits for a lock itself
        ("null-dereference", "b", Weight.CONTEXT),
    ],
)
def test_the_owner_at_the_end_of_a_chain_explains_a_hung_task(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch, kind: str, owner: str | None, weight: Weight
) -> None:
    case = tasks.case
    monkeypatch.setattr(case, "kind", kind)
    name = owner.strip("?") if owner else None
    wait = tasks.wait("a", name, is_firm=name == owner)
    held = replace(wait, waited_s=float(case.number("sysctl_hung_task_timeout_secs") or 0))
    others = {tasks.seen["c"].task.value_(): tasks.wait("c", "d")}
    assert locks._evidence_of_queue(case, [held], others).weight is weight
    brief = replace(held, waited_s=0.1)
    assert locks._evidence_of_queue(case, [brief], others).weight is Weight.CONTEXT


def test_the_last_reader_explains_a_hung_task_too(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.case, "kind", "sysrq")
    reader = Lock("rwsem", 1, "map", "map+0x0", Owner(last=tasks.seen["b"]))
    wait = replace(tasks.wait("a", None), lock=reader)
    assert locks._evidence_of_queue(tasks.case, [wait], {}).weight is Weight.CAUSE
    others = {tasks.seen["b"].task.value_(): tasks.wait("b", "c")}
    assert locks._evidence_of_queue(tasks.case, [wait], others).weight is Weight.CONTEXT


def test_a_bit_field_is_no_lock(case: Case) -> None:
    prog = case.prog
    number = prog.int_type("int", 4, True)
    bit = TypeMember(Object(prog, number, bit_field_size=1), "is_open", 32)
    kind = prog.struct_type("account", 8, [TypeMember(number, "id"), bit])
    assert member_at(kind, 0) == "id"
    assert member_at(kind, 4) is None


def test_what_a_lock_is_in_is_told_by_a_variable_that_points_there(case: Case) -> None:
    case.begin(10)
    task = next(case.tasks("D")).task
    found = (variable_of(case, frame) for frame in case.stack(task)[:12])
    base, kind = next(filter(None, found))
    first = kind.members[0].name
    place = owners.containing(case, base, task)
    assert place is not None
    assert place.startswith(first)
    assert place.endswith(f" of {kind.type_name()} at {base:#x}")
    assert owners.containing(case, base + sizeof(kind), task) != place
    assert owners.containing(case, 0x1000, task) is None


def variable_of(case: Case, frame: StackFrame) -> tuple[int, Type] | None:
    """A structure that a variable of a frame points to: its address and type."""
    for name in frame.locals():
        value = frame[name]
        if not value.absent_ and value.type_.kind == TypeKind.POINTER:
            kind = value.type_.type
            if kind.kind == TypeKind.STRUCT and kind.is_complete() and value.value_():
                return value.value_(), kind
    return None


def test_a_member_of_a_variable_is_called_by_its_name(case: Case) -> None:
    offset = case.prog.type("struct workqueue_struct").member("mutex").offset
    assert member_at(case.prog.type("struct workqueue_struct"), offset) == "mutex"
    state = case.prog["rcu_state"]
    assert state.address_ is not None
    at = state.address_ + state.type_.member("barrier_mutex").offset
    task = next(case.tasks()).task
    assert lock_name(case, "mutex", at, task)[0] == "rcu_state.barrier_mutex"


@pytest.mark.parametrize(("seconds", "weight"), [(25.0, Weight.CAUSE), (15.0, Weight.CONTEXT)])
def test_a_long_wait_explains_a_crash_that_somebody_wanted(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch, seconds: float, weight: Weight
) -> None:
    monkeypatch.setattr(tasks.case, "kind", "sysrq")
    wait = replace(tasks.wait("a", "b"), waited_s=seconds)
    assert locks._evidence_of_queue(tasks.case, [wait], {}).weight is weight


def test_an_owner_that_is_blocked_itself_is_told_with_what_it_waits_for(tasks: Tasks) -> None:
    owner = replace(tasks.wait("b", None), lock=None, kind=None, does_io=True)
    told = locks._evidence_of_queue(
        tasks.case, [tasks.wait("a", "b")], {tasks.seen["b"].task.value_(): owner}
    )
    name = tasks.seen["b"].name
    assert told.sentence.endswith(
        f"which {name} has; that one is blocked in f, waiting for input or output"
    )


class Ownerless:
    """A completion that a task of the shipped dump waits for, as if that had crashed it."""

    def __init__(self, tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tasks, self.patch = tasks, monkeypatch
        self.limit_s = float(tasks.case.number("sysctl_hung_task_timeout_secs") or 0)

    def weight(self, done: int = 0, at: int = 1, *, reported: str = "a", **more: object) -> Weight:
        case = self.tasks.case
        self.patch.setattr(case, "kind", "hung-task")
        lines = (f"INFO: task x:{self.tasks.seen[n].pid} blocked for more than" for n in reported)
        self.patch.setattr(case, "log", Log("\n".join(lines)))
        lock = Lock("completion", at, "reply", "reply+0x0", Owner(left=done))
        wait = replace(self.tasks.wait("a", None), lock=lock, waited_s=self.limit_s)
        return locks._evidence_of_queue(case, [replace(wait, **more)], {}).weight  # type: ignore[arg-type]


def test_what_all_hung_tasks_wait_for_and_nobody_completes_explains_the_crash(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ownerless = Ownerless(tasks, monkeypatch)
    assert ownerless.weight() is Weight.CAUSE
    assert ownerless.weight(done=1) is Weight.CONTEXT  # it only has to wake up
    assert ownerless.weight(reported="ab") is Weight.CONTEXT  # another hangs for another reason
    assert ownerless.weight(reported="") is Weight.CONTEXT
    assert ownerless.weight(waited_s=0.1) is Weight.CONTEXT
    assert ownerless.weight(does_io=True) is Weight.CONTEXT  # the disk explains it
    stack = int(tasks.seen["a"].task.stack.value_())
    assert ownerless.weight(at=stack + 64) is Weight.CONTEXT  # as of flush_work()


@pytest.mark.parametrize(
    ("kind", "member", "value", "note"),
    [
        ("completion", "done", 0, "it is not completed (done 0)"),
        ("completion", "done", 2, "it is completed (done 2)"),
        ("semaphore", "count", 0, "its count is 0, and the kernel keeps no owner of a semaphore"),
    ],
)
def test_a_lock_without_an_owner_is_told_by_its_count(
    case: Case, kind: str, member: str, value: int, note: str
) -> None:
    owner = owner_of(case, kind, planted(case, f"struct {kind}", **{member: value}))
    assert (owner.seen, owner.note, owner.left) == (None, note, value)


def test_how_long_a_lock_without_an_owner_was_waited_for_is_told(tasks: Tasks) -> None:
    lock = Lock("completion", 1, "reply", "reply+0x0", Owner(note="it is not completed (done 0)"))
    wait = replace(tasks.wait("a", None), lock=lock, waited_s=3.6)
    told = locks._evidence_of_queue(tasks.case, [wait], {}).sentence
    name = wait.seen.name
    assert told == (f"{name} has waited 3.6 s for completion reply; it is not completed (done 0)")
    both = locks._evidence_of_queue(tasks.case, [wait, replace(wait, waited_s=9.0)], {}).sentence
    assert both.startswith("2 tasks have waited up to 9 s for completion reply")
