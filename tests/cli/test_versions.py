"""--version: what a report of a defect names, wherever the program still starts."""

from __future__ import annotations

import platform

from cas import __version__

from installed import Site


def test_version_names_the_debuggers_also_where_nothing_is_as_it_should_be(site: Site) -> None:
    site.settings = {"colour": "green"}
    site.environment["PATH"] = str(site.directory)
    for program in ("cas", "cas-admin"):
        done = site.run(program, "--version")
        assert done.returncode == 0, done.stderr
        first, drgn, crash, machine = done.stdout.splitlines()
        assert first == f"{program} {__version__}"
        assert drgn.startswith("drgn 0.3.")
        assert crash == "crash: there is no program crash"
        assert machine.startswith(f"Python {platform.python_version()}, Linux ")
        assert "colour" in done.stderr
