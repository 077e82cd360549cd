"""Modules form no circle, not even by imports that a function makes when it is called."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp


def test_no_module_is_imported_by_what_it_imports() -> None:
    graph = grimp.build_graph(
        "cas", "cas_admin", exclude_type_checking_imports=True, cache_dir=None
    )
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imported) > 100
    TopologicalSorter(imported).prepare()  # else a CycleError, with the circle
