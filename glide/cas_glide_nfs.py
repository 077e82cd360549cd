# kmods: nfs nfsv4 sunrpc
"""What the NFS client knows: its servers, their state managers, the calls that wait for them."""

from drgn import Object
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.net import for_each_net

CONNECTION = (
    "locked",
    "connected",
    "connecting",
    "closing",
    "bound",
    "binding",
    "closing",
    "congested",
)
"""XPRT_LOCKED and what follows it, include/linux/sunrpc/xprt.h."""
ADDRESS = 0
"""RPC_DISPLAY_ADDR, the same file."""
CALLS = 20


def server(found):
    """A struct nfs_client in a few words."""
    version, minor = found.rpc_ops.version.value_(), found.cl_minorversion.value_()
    return f"NFS {version}.{minor} server {text(found.cl_hostname)}"


def call(found):
    """A struct rpc_task in a few words."""
    procedure = found.tk_msg.rpc_proc
    name = text(procedure.p_name) if procedure and procedure.p_name else "NULL"
    program = text(found.tk_client.cl_program.name) if found.tk_client else "RPC"
    return f"{program} {name}, status {found.tk_status.value_()}"


PRINTERS = {"struct nfs_client": server, "struct rpc_task": call}


def end(trace):
    """The servers of each network namespace, then the calls that have no answer."""
    for net in for_each_net(trace.prog):
        trace.attempt(servers, net)
        trace.attempt(calls, net)


def own(net, kind, number):
    """What a kernel module keeps for a network namespace."""
    generic = net.gen.read_()
    if not 0 < number.value_() < generic.s.len.value_():
        raise LookupError(f"the network namespace has no {kind}")
    return Object(net.prog_, f"{kind} *", generic.ptr[number.value_()])


def servers(trace, net):
    """The servers, and what is mounted of them."""
    kept = own(net, "struct nfs_net", trace.prog["nfs_net_id"])
    known = list(trace.entries("struct nfs_client", kept.nfs_client_list, "cl_share_link"))
    # one that has not answered yet is on no list; version 4.0 has given it a number already
    for _, pointer in idr_for_each(kept.cb_ident_idr.address_of_()):
        one = Object(trace.prog, "struct nfs_client *", pointer)
        known += [] if one in known else [one]
    for found in known:
        trace.say(f"{server(found)}; nfs_client {found.value_():#x}")
        trace.attempt(manager, found)
        for each in trace.entries("struct nfs_server", found.cl_superblocks, "client_link"):
            trace.attempt(mounted, each)


def manager(trace, found):
    """Whether it is known to the server, and what its state manager is to do."""
    ready = found.cl_cons_state.value_()
    said = "ready" if ready == 0 else ("being set up" if ready > 0 else f"failed, error {ready}")
    trace.say(f"  {said}; {found.cl_count.refs.counter.value_()} users")
    trace.say(f"  state manager: {trace.bits('enum nfs4_client_state', found.cl_state)}")


def mounted(trace, each):
    """What is mounted."""
    trace.say(
        f"  mount {trace.words(each.super[0]) if each.super else each.s_dev.value_()}:"
        f" read {each.rsize.value_():,}, write {each.wsize.value_():,} bytes at a time"
    )


def calls(trace, net):
    """The clients of RPC that have calls, with the connection of each."""
    kept = own(net, "struct sunrpc_net", trace.prog["sunrpc_net_id"])
    for client in trace.entries("struct rpc_clnt", kept.all_clients, "cl_clients"):
        waiting = list(trace.entries("struct rpc_task", client.cl_tasks, "tk_task"))
        if not waiting:
            continue
        transport = client.cl_xprt
        state = [word for bit, word in enumerate(CONNECTION) if transport.state.value_() >> bit & 1]
        trace.say(
            f"{text(client.cl_program.name)} at {text(transport.address_strings[ADDRESS])}:"
            f" {len(waiting):,} calls wait; the connection is {', '.join(state) or 'not there'}"
        )
        for each in waiting[:CALLS]:
            trace.say(
                f"  {call(each)}, in {trace.name(each.tk_action)}, begun"
                f" {trace.nanoseconds(each.tk_start)}: rpc_task {each.value_():#x}"
            )


def text(found):
    """A string of the kernel."""
    return found.string_().decode("utf-8", "replace") if found else "?"
