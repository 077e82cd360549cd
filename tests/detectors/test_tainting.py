"""Modules that taint the kernel, and whose code is on the stack."""

from __future__ import annotations

from altered import put

from cas.detectors import modules
from cas.detectors.case import Case
from cas.klog.events import events_of
from cas.klog.lines import Log
from cas.model.evidence import Evidence

REPORT = """\
[    8.000000] WARNING: CPU: 0 PID: 9 at drivers/x.c:1 spare_poll+0x1/0x2 [spare]
[    8.000001] Call Trace:
[    8.000002]  spare_work+0x18/0x2c [spare]
[    8.000003]  vfs_read+0x18/0x2c
[    8.000004] ---[ end trace 0000000000000000 ]---
[    9.000000] sysrq: Trigger a crash
"""
SPARE = modules.Suspect("spare", "OE", 0xFFFFFFFFC0000000)


def found(case: Case) -> list[Evidence]:
    case.begin(10)
    return list(modules.detect(case))


def test_whose_code_is_on_the_stack_of_the_shipped_dump(case: Case) -> None:
    first, *others = found(case)
    assert first.sentence == (
        "code of cas_oops (O: out-of-tree module) is on the stack of the task that panicked:"
        " cas_sum_entries and 2 more frames"
    )
    assert first.source.startswith("struct module 0x")
    assert first.details == ("cas_sum_entries", "cas_audit_ledger", "cas_audit_work")
    assert not any("call trace of a report" in each.sentence for each in others[1:])
    assert case.remarks == []


def test_a_task_that_hung_before_in_another_module_is_told(case: Case) -> None:
    (told,) = [each for each in found(case) if "call trace" in each.sentence]
    assert told.sentence == (
        "code of cas_stuck (O: out-of-tree module) is in the call trace of a report of the kernel"
        " log, first in cas_stuck_read"
    )
    assert "INFO: task cat:47 blocked for more than 2 seconds" in told.source


def test_all_modules_that_taint_are_named(case: Case) -> None:
    (told,) = [each for each in found(case) if "loaded modules" in each.sentence]
    assert "cas_oops (O)" in told.sentence
    assert "cas_stuck (O)" in told.sentence
    assert len(told.details) == int(told.sentence.split()[0])


def test_a_list_of_modules_that_leads_back_names_each_once(own_case: Case) -> None:
    newest = own_case.prog["modules"].next
    put(newest.next, newest.value_())
    told = found(own_case)[-1]
    assert told.sentence.startswith("1 loaded module taints the kernel: cas_")
    assert "the list of modules leads back into itself" in own_case.remarks


def test_the_letters_of_the_crash_itself_are_not_explained(case: Case) -> None:
    assert not any(each.sentence.startswith("tainted D") for each in found(case))


def test_a_module_that_is_gone_is_named_where_the_log_has_it(case: Case) -> None:
    (told,) = modules.unexplained(case, (), ())
    assert told.sentence == (
        "tainted O (out-of-tree module loaded) by nf_cas_dummy, which is not loaded any more"
    )


def test_a_report_of_the_log_names_whose_code_it_is_about() -> None:
    log = Log(REPORT)
    (told,) = modules.in_traces(log, events_of(log), (SPARE,))
    assert told.sentence == (
        "code of spare (OE: out-of-tree module, unsigned module) is in the call trace of a report"
        " of the kernel log, first in spare_work"
    )
    assert list(modules.in_traces(log, events_of(log), ())) == []
