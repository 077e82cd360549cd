"""Servers that do not answer: calls to NFS and other RPC servers that wait for a reply.

They stand in lists of the kernel module sunrpc, whose debug information must be at hand; else the
kernel log tells of NFS servers that did not respond and have not since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from drgn import Object
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.net import for_each_net

from cas.choices import Kind, Weight
from cas.detectors.blocked_io import waiting_in
from cas.detectors.case import Broken, Case
from cas.detectors.layout import looking_at
from cas.detectors.moment import Moment, long_s, moment_of
from cas.detectors.needs import Needs
from cas.frozen import dataclass
from cas.klog.servers import silent_servers
from cas.model.evidence import Evidence
from cas.units import human_span

NEEDS = Needs(kmods=("sunrpc",))
OLD_S = 10.0
"""From which on a call is told."""
STUCK_S = 30.0
MAX_NETS = 64
MAX_CLIENTS = 2000
MAX_CALLS = 5000
LISTED = 6
TIME_SHARE = 0.7
WAITING = frozenset(
    {"rpc_wait_bit_killable", "nfs_wait_bit_killable", "rpc_execute", "__rpc_execute"}
)
"""Functions in which a task waits for an answer."""
ADDRESS = 0
"""RPC_DISPLAY_ADDR, include/linux/sunrpc/xprt.h."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has no answer yet."""

    task: int
    """Address of its ``struct rpc_task``."""
    server: str
    address: str
    program: str
    procedure: str
    age_s: float


def detect(case: Case) -> Iterator[Evidence]:
    """The servers that owe answers for long."""
    has_types = False
    with suppress(LookupError):
        case.prog["sunrpc_net_id"]
        for name in ("rpc_clnt", "rpc_task", "sunrpc_net", "rpc_xprt"):
            case.prog.type(f"struct {name}")
        has_types = True
    if not has_types:
        case.remark("there is no debug information of sunrpc; the kernel log was looked at")
        for silent in silent_servers(case.log):
            since_s = silent.uptime_s
            stamp = "" if since_s is None else f" since {since_s:.1f} s after the boot"
            yield Evidence(
                f"the NFS server {silent.name} has not answered{stamp}",
                f"log: {silent.line}",
                "log",
            )
        return
    groups: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    with looking_at(case, "RPC clients"):
        for call in calls(case, moment_of(case)):
            if call.age_s >= long_s(case, OLD_S):
                groups[call.program, call.server, call.address].append(call)
    for waiting in sorted(groups.values(), key=lambda group: -max(each.age_s for each in group)):
        yield silent_server(case, waiting)


def silent_server(case: Case, waiting: list[Call]) -> Evidence:
    """A server that does not answer."""
    waiting.sort(key=lambda call: -call.age_s)
    first = waiting[0]
    server = first.server if first.server == first.address else f"{first.server} ({first.address})"
    count = "a call" if len(waiting) == 1 else f"{len(waiting):,} calls"
    have = "has" if len(waiting) == 1 else "have"
    span = human_span(first.age_s)
    oldest = f"for {span}" if len(waiting) == 1 else f"the oldest for {span}"
    is_cause = (
        case.kind == Kind.HUNG_TASK
        and first.age_s >= long_s(case, STUCK_S)
        and waiting_in(case, WAITING) is not None
    )
    return Evidence(
        f"{count} to the {first.program} server {server} {have} no answer, {oldest}:"
        f" {first.procedure}",
        f"rpc_task {first.task:#x}",
        f"struct rpc_task {first.task:x}",
        Weight.CAUSE if is_cause else Weight.CONTEXT,
        tuple(
            f"{call.procedure}, for {human_span(call.age_s)}: rpc_task {call.task:#x}"
            for call in waiting[: LISTED if len(waiting) > 1 else 0]
        ),
    )


def calls(case: Case, moment: Moment) -> Iterator[Call]:
    """The calls of all clients, as many as there is time for.

    :raises LookupError: sunrpc's lists have another layout
    :raises FaultError: they break off
    """
    number = 0
    for client in _rpc_clients(case):
        tasks = list_for_each_entry("struct rpc_task", client.cl_tasks.address_of_(), "tk_task")
        for task in tasks:
            if number >= MAX_CALLS or case.clock.is_used(TIME_SHARE):
                case.remark(f"looked at {number:,} RPC calls, of more")
                return
            number += 1
            age = moment.seconds_since(int(task.tk_start.value_()))
            if age is not None and age >= 0:
                yield _call_of_task(case, client, task, age)


def _rpc_clients(case: Case) -> Iterator[Object]:
    net_id = int(case.prog["sunrpc_net_id"].value_())
    for net in islice(for_each_net(case.prog), MAX_NETS):
        generic = net.gen.read_()
        if not 0 < net_id < int(generic.s.len.value_()):
            continue
        own = Object(case.prog, "struct sunrpc_net *", generic.ptr[net_id].value_())
        clients = list_for_each_entry(
            "struct rpc_clnt", own.all_clients.address_of_(), "cl_clients"
        )
        yield from islice(clients, MAX_CLIENTS)


def _call_of_task(case: Case, client: Object, task: Object, age_s: float) -> Call:
    server = address = procedure = "?"
    try:
        transport = client.cl_xprt
        server = case.text(transport.servername, 64) or "?"
        address = case.text(transport.address_strings[ADDRESS], 64) or "?"
    except (AttributeError, *Broken):
        pass
    try:
        call = task.tk_msg.rpc_proc.read_()
        if call and call.p_name:
            procedure = case.text(call.p_name, 32)
        elif call:
            number = int(call.p_proc.value_())
            procedure = f"procedure {number}" if number else "NULL, which asks whether it is there"
    except (AttributeError, *Broken):
        pass
    program = case.text(client.cl_program.name, 16)
    return Call(task.value_(), server, address, program, procedure, age_s)
