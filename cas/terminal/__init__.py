"""A debugger on a terminal: its own, and the user's, with a relay and a filter in between."""

from cas.terminal.local import LocalTerminal
from cas.terminal.relay import Relay
from cas.terminal.screen import Screen
from cas.terminal.session import Size, Terminal, Window

__all__ = ["LocalTerminal", "Relay", "Screen", "Size", "Terminal", "Window"]
