"""drgn's table of the memory (``kmem -i``) for kernels without block devices or without swap.

drgn 0.3.0 looks for both in every kernel, and shows no memory at all where one is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from drgn import Program
from drgn.commands._crash import _kmem
from drgn.helpers.linux.block import nr_blockdev_pages
from drgn.helpers.linux.hugetlb import hugetlb_total_pages
from drgn.helpers.linux.mm import PageUsage, totalram_pages, vm_commit_limit
from drgn.helpers.linux.swap import swap_total_usage, total_swapcache_pages

T = TypeVar("T")


def commit_limit_without_swap(prog: Program) -> int:
    """How many pages may be committed; source: vm_commit_limit() in mm/util.c."""
    if kbytes := prog["sysctl_overcommit_kbytes"].value_():
        return int(kbytes) * 1024 // int(prog["PAGE_SIZE"])
    pages = totalram_pages(prog) - hugetlb_total_pages(prog)
    return int(pages * prog["sysctl_overcommit_ratio"].value_() // 100)


def _helper_where(
    symbol: str, helper: Callable[[Program], T], otherwise: Callable[[Program], T]
) -> Callable[[Program], T]:
    """A helper that is asked only of kernels with a symbol."""
    return lambda prog: helper(prog) if symbol in prog else otherwise(prog)


_BLOCK, _SWAP = "block_class", "total_swap_pages"
_MENDED = {
    "nr_blockdev_pages": _helper_where(_BLOCK, nr_blockdev_pages, lambda _: 0),
    "total_swapcache_pages": _helper_where(_SWAP, total_swapcache_pages, lambda _: 0),
    "swap_total_usage": _helper_where(_SWAP, swap_total_usage, lambda _: PageUsage(0, 0)),
    "vm_commit_limit": _helper_where(_SWAP, vm_commit_limit, commit_limit_without_swap),
}
vars(_kmem).update(_MENDED)
