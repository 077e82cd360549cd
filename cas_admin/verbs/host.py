"""``cas-admin host`` and ``cas-admin -s``: register, check and remove hosts."""

from __future__ import annotations

import argparse

from cas.commands import Output, World, verb_options

PLACE = 11
HELP = "register, check and remove hosts that analyse dumps or are swept for them"
EXAMPLE = "cas-admin host list"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions with their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    add = actions.add_parser("add", help="register a host on which cas can log in")
    add.add_argument("name", metavar="HOST")
    text = "to be swept for dumps, and not to analyse any: nothing is installed there"
    add.add_argument("--sweep", action="store_true", help=text)
    verb_options(add)
    for name, text in (
        ("list", "show the registered hosts"),
        ("check", "ask hosts how they are, all side by side"),
        ("disable", "let no job use a host"),
        ("enable", "let jobs use a host again"),
        ("remove", "forget a host"),
    ):
        action = actions.add_parser(name, help=text)
        if name != "list":
            many = "*" if name == "check" else "+"
            action.add_argument("names", metavar="HOST", nargs=many)
        if name in ("list", "check"):
            action.add_argument("--json", action="store_true", help="print everything as JSON")
        verb_options(action)


def run(options: argparse.Namespace, world: World) -> Output:
    """Do what the action says; ``-s`` registers the live ones of the servers in known_hosts."""
    from cas_admin import hosts

    if options.server:
        return hosts.search_known_hosts(world)
    match options.action:
        case "add":
            return hosts.add_host(options.name, world, is_swept=options.sweep)
        case "list":
            return hosts.list_hosts(world, as_json=options.json)
        case "check":
            return hosts.check_hosts(options.names, world, as_json=options.json)
        case "remove":
            return hosts.remove_hosts(options.names, world)
    return hosts.enable_hosts(options.names, world, is_enabled=options.action == "enable")
