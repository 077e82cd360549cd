"""Lists, trees and arrays of the kernel, by what they contain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from drgn import Object, TypeKind, container_of
from drgn.helpers.linux.xarray import xa_for_each

from cas.engines.drgn.child.glide.drawing import ELEMENTS, Told

MOST = 10_000
"""Elements that are counted; a damaged list has no end."""


class Inside(NamedTuple):
    """What a container has in it."""

    kind: str
    """Of an element, such as ``struct inode``."""
    link: str
    """The member that links it; empty: the array has the elements themselves."""


CONTAINERS: Mapping[tuple[str, str], Inside] = {
    ("task_struct", "children"): Inside("struct task_struct", "sibling"),
    ("task_struct", "ptraced"): Inside("struct task_struct", "ptrace_entry"),
    ("signal_struct", "thread_head"): Inside("struct task_struct", "thread_node"),
    ("super_block", "s_inodes"): Inside("struct inode", "i_sb_list"),
    ("super_block", "s_mounts"): Inside("struct mount", "mnt_instance"),
    ("file_system_type", "fs_supers"): Inside("struct super_block", "s_instances"),
    ("mount", "mnt_mounts"): Inside("struct mount", "mnt_child"),
    ("mnt_namespace", "list"): Inside("struct mount", "mnt_list"),
    ("dentry", "d_subdirs"): Inside("struct dentry", "d_child"),
    ("inode", "i_dentry"): Inside("struct dentry", "d_u.d_alias"),
    ("address_space", "i_pages"): Inside("struct page", ""),
    ("address_space", "i_mmap"): Inside("struct vm_area_struct", "shared.rb"),
    ("mm_struct", "mm_rb"): Inside("struct vm_area_struct", "vm_rb"),
    ("anon_vma", "rb_root"): Inside("struct anon_vma_chain", "rb"),
    ("wait_queue_head", "head"): Inside("struct wait_queue_entry", "entry"),
    ("swait_queue_head", "task_list"): Inside("struct swait_queue", "task_list"),
    ("mutex", "wait_list"): Inside("struct mutex_waiter", "list"),
    ("rw_semaphore", "wait_list"): Inside("struct rwsem_waiter", "list"),
    ("semaphore", "wait_list"): Inside("struct semaphore_waiter", "list"),
    ("cfs_rq", "tasks_timeline"): Inside("struct sched_entity", "run_node"),
    ("cfs_rq", "leaf_cfs_rq_list"): Inside("struct cfs_rq", "leaf_cfs_rq_list"),
    ("rq", "cfs_tasks"): Inside("struct task_struct", "se.group_node"),
    ("timerqueue_head", "rb_root"): Inside("struct timerqueue_node", "node"),
    ("workqueue_struct", "pwqs"): Inside("struct pool_workqueue", "pwqs_node"),
    ("worker_pool", "worklist"): Inside("struct work_struct", "entry"),
    ("worker_pool", "idle_list"): Inside("struct worker", "entry"),
    ("worker_pool", "workers"): Inside("struct worker", "node"),
    ("worker", "scheduled"): Inside("struct work_struct", "entry"),
    ("pool_workqueue", "inactive_works"): Inside("struct work_struct", "entry"),
    ("net", "dev_base_head"): Inside("struct net_device", "dev_list"),
    ("net_device", "napi_list"): Inside("struct napi_struct", "dev_list"),
    ("module", "source_list"): Inside("struct module_use", "source_list"),
    ("module", "target_list"): Inside("struct module_use", "target_list"),
    ("kset", "list"): Inside("struct kobject", "entry"),
    ("request_queue", "requeue_list"): Inside("struct request", "queuelist"),
    ("blk_mq_hw_ctx", "dispatch"): Inside("struct request", "queuelist"),
    ("bus_type", "drivers"): Inside("struct device_driver", "bus"),
    ("eventpoll", "rbr"): Inside("struct epitem", "rbn"),
    ("eventpoll", "rdllist"): Inside("struct epitem", "rdllink"),
    ("signal_pending", "list"): Inside("struct sigqueue", "list"),
    ("sigpending", "list"): Inside("struct sigqueue", "list"),
    ("pid_namespace", "idr"): Inside("struct pid", ""),
    ("idr", "idr_rt"): Inside("void", ""),
    ("cgroup_subsys_state", "children"): Inside("struct cgroup_subsys_state", "sibling"),
}
"""What is in a member, by its structure; as in Linux 6.1, where not all kernels have it alike."""


def told_of_list(found: Object, inside: Inside | None) -> Told | None:
    """A ``struct list_head``; one that is not known to be a head may be an element as well."""
    first = found.next
    if not first.value_() or found.address_ is None:
        return None
    if first.value_() == found.address_:
        return Told("empty", is_all=True)
    others = _linked(found.address_of_(), lambda each: each.next)
    if inside is None:
        return Told(_counted(sum(1 for _ in others), "linked with it"), is_all=True)
    return _told_of(others, inside, "on the list")


def told_of_hlist(found: Object, inside: Inside | None) -> Told | None:
    """A ``struct hlist_head`` or ``struct llist_head``."""
    first = found.first
    if not first.value_():
        return Told("", is_all=True)
    chain = _chain(first)
    return _told_of(chain, inside, "on the list")


def told_of_tree(found: Object, inside: Inside | None) -> Told | None:
    """A ``struct rb_root`` or ``struct rb_root_cached``."""
    root = found.rb_node if _has(found, "rb_node") else found.rb_root.rb_node
    if not root.value_():
        return Told("", is_all=True)
    return _told_of(_in_order(root), inside, "in the tree")


def told_of_xarray(found: Object, inside: Inside | None) -> Told | None:
    """A ``struct xarray``."""
    if not found.xa_head.value_():
        return Told("", is_all=True)
    entries: list[tuple[str, Object]] = []
    number = 0
    for index, entry in xa_for_each(found.address_of_()):
        number += 1
        if len(entries) < ELEMENTS:
            is_pointer = inside is not None and not entry.value_() & 3
            one = _cast(entry, inside) if inside and is_pointer else entry
            entries.append((f"[{index:#x}]", one))
        if number >= MOST:
            break
    return Told(_counted(number, "in the array"), tuple(entries), True, number - len(entries))


TELLERS: Mapping[str, Callable[[Object, Inside | None], Told | None]] = {
    "list_head": told_of_list,
    "hlist_head": told_of_hlist,
    "llist_head": told_of_hlist,
    "rb_root": told_of_tree,
    "rb_root_cached": told_of_tree,
    "xarray": told_of_xarray,
}


def _cast(entry: Object, inside: Inside) -> Object:
    kind = entry.prog_.type(f"{inside.kind} *")
    return Object(entry.prog_, kind, entry.value_())


def _told_of(nodes: Iterable[Object], inside: Inside | None, where: str) -> Told:
    elements: list[tuple[str, Object]] = []
    number = 0
    for node in nodes:
        if inside is not None and inside.link and len(elements) < ELEMENTS:
            elements.append((f"[{number}]", _element(node, inside)))
        number += 1
    left_out = number - len(elements) if elements else 0
    return Told(_counted(number, where), tuple(elements), True, left_out)


def _element(node: Object, inside: Inside) -> Object:
    return container_of(node, node.prog_.type(inside.kind), inside.link)


def _counted(number: int, where: str) -> str:
    return f"{number:,}{' or more' if number >= MOST else ''} {where}"


def _linked(head: Object, following: Callable[[Object], Object]) -> Iterator[Object]:
    """What is on a ring besides its head; one that leads back into itself elsewhere ends."""
    seen = {head.value_()}
    each = following(head)
    while each.value_() and each.value_() not in seen and len(seen) <= MOST:
        seen.add(each.value_())
        yield each
        each = following(each)


def _chain(first: Object) -> Iterator[Object]:
    seen: set[int] = set()
    each = first
    while each.value_() and each.value_() not in seen and len(seen) < MOST:
        seen.add(each.value_())
        yield each
        each = each.next


def _in_order(root: Object) -> Iterator[Object]:
    """The nodes of a tree; each once, whatever they point to."""
    seen: set[int] = set()
    above: list[Object] = []
    node = root
    while (node.value_() or above) and len(seen) < MOST:
        if node.value_() and node.value_() not in seen:
            seen.add(node.value_())
            above.append(node)
            node = node.rb_left
            continue
        if not above:
            return
        node = above.pop()
        yield node
        node = node.rb_right


def _has(found: Object, member: str) -> bool:
    kind = found.type_
    while kind.kind == TypeKind.TYPEDEF:
        kind = kind.type
    return bool(kind.has_member(member))
