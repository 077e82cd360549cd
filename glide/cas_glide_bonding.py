"""What bonding knows: its bonds, which device carries the traffic, and the links of all."""

from drgn import Object
from drgn.helpers.linux.net import for_each_net, for_each_netdev, netdev_priv

MODES = (
    "round-robin",
    "active-backup",
    "XOR",
    "broadcast",
    "802.3ad",
    "transmit load balancing",
    "adaptive load balancing",
)
"""BOND_MODE_ROUNDROBIN and what follows it, include/uapi/linux/if_bonding.h."""
LINKS = ("up", "going down", "down", "coming back")
"""BOND_LINK_UP and what follows it."""
AGGREGATION = 4


def link(found):
    """A struct slave in a few words."""
    number = found.link.value_()
    state = LINKS[number] if 0 <= number < len(LINKS) else f"link {number}"
    return f"{text(found.dev.name)}, link {state}"


def bond(found):
    """A struct bonding in a few words."""
    mode = found.params.mode.value_()
    kind = MODES[mode] if 0 <= mode < len(MODES) else f"mode {mode}"
    return f"{text(found.dev.name)}, {kind}"


PRINTERS = {"struct slave": link, "struct bonding": bond}


def end(trace):
    """Every bond of every network namespace."""
    operations = trace.prog["bond_netdev_ops"].address_
    for net in for_each_net(trace.prog):
        for device in for_each_netdev(net):
            if device.netdev_ops.value_() == operations:
                trace.attempt(told, netdev_priv(device, "struct bonding"))


def told(trace, found):
    """A bond and its devices."""
    active, primary = found.curr_active_slave, found.primary_slave
    trace.say(
        f"{bond(found)}: {found.slave_cnt.value_()} devices,"
        f" {'no device is active' if not active else text(active.dev.name) + ' is active'}"
        + (f", {text(primary.dev.name)} is preferred" if primary else "")
        + f"; looks each {found.params.miimon.value_()} ms; bonding {found.value_():#x}"
    )
    below = found.dev.adj_list.lower
    for each in trace.entries("struct netdev_adjacent", below, "list"):
        trace.attempt(member, Object(trace.prog, "struct slave *", each.private), found)


def member(trace, found, of):
    """A device of a bond."""
    failed = found.link_failure_count.value_()
    part = "backup" if found.backup else "active"
    trace.say(
        f"  {link(found)}, {part}, {speed(found)}; last up {trace.ticks(found.last_link_up)};"
        f" {failed} failures; slave {found.value_():#x}"
    )
    if of.params.mode == AGGREGATION:
        port = Object(trace.prog, "struct ad_slave_info *", found.member_("ad_info")).port
        trace.say(
            f"    aggregator {port.actor_port_aggregator_identifier.value_()},"
            f" partner's key {port.partner_oper.key.value_()}"
        )


def speed(found):
    """Its speed as ethtool says it."""
    number = found.speed.value_()
    return "speed unknown" if number in (0, 0xFFFFFFFF) else f"{number:,} Mbit/s"


def text(found):
    """A string of the kernel."""
    return found.string_().decode("utf-8", "replace")
