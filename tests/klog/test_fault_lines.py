"""What the kernel prints of the processor at a fault, of every architecture."""

from __future__ import annotations

import pytest

from cas.klog.fault_lines import fault_lines

X86_64 = """\
BUG: kernel NULL pointer dereference, address: 0000000000000018
#PF: supervisor read access in kernel mode
RIP: 0010:cas_sum_entries+0x18/0x38 [cas_oops]
Code: 48 8b 43 18 <48> 8b 50 18 8b 43 10
RSP: 0018:ffffaff9c00efe78 EFLAGS: 00000297
RAX: 0000000000000000 RBX: ffff891d002214c0 RCX: c0000000ffffefff
R08: 0000000000000003 R09: 0000000000001000 R10: ffffaff9c00efd50
Call Trace:
 cas_audit_ledger+0x18/0x2c [cas_oops]
---[ end trace 0000000000000000 ]---
RIP: 0010:cas_sum_entries+0x18/0x38 [cas_oops]
RAX: 1111111111111111 RBX: ffff891d002214c0 RCX: c0000000ffffefff"""
X86_64_OLD = """\
BUG: unable to handle kernel NULL pointer dereference at 0000000000000018
RIP: 0010:[<ffffffff81234567>]  [<ffffffff81234567>] f+0x7/0x40
RSP: 0018:ffff880012345678  EFLAGS: 00010246
RAX: 0000000000000000 RBX: ffff880012340000 RCX: 0000000000000001
Call Trace:
 [<ffffffff81234999>] g+0x9/0x40
Code: 55 <48> 8b 50 18
RIP  [<ffffffff81234567>] f+0x7/0x40"""
I686 = """\
BUG: unable to handle kernel NULL pointer dereference at 0000000c
EIP: f+0x3/0x10
EAX: 00000000 EBX: f3cf6120 ECX: f8fc05a0 EDX: f3e16400
Code: 55 <8b> 40 0c"""
AARCH64 = """\
Unable to handle kernel NULL pointer dereference at virtual address 0000000000000018
pc : cas_sum_entries+0x40/0x54 [cas_oops]
lr : cas_sum_entries+0x4c/0x54 [cas_oops]
sp : ffffffc0080d3d70
x29: ffffffc0080d3d70 x28: 0000000000000000 x27: 0000000000000000
x2 : ffffffe6640d2195 x1 : 0000000000000008 x0 : 0000000000000000
Call trace:
 cas_sum_entries+0x40/0x54 [cas_oops]
Code: f9400e80 b9401281 (f9400c00) """
PPC64 = """\
BUG: Kernel NULL pointer dereference on read at 0x00000018
NIP:  c000000000012344 LR: c000000000012340 CTR: 0000000000000000
GPR00: c000000000012340 c00000000ffffab0 c000000001460000 0000000000000000
GPR04: 0000000000000001 0000000000000002 0000000000000003 0000000000000004
Call Trace:
[c00000000ffffab0] [c000000000012340] f+0x20/0x80
Instruction dump:
38600000 4e800020 <e8630018> 7c0802a6"""
S390X = """\
Unable to handle kernel pointer dereference in virtual kernel address space
Failing address: 0000000000000000 TEID: 0000000000000803
Krnl PSW : 0704c00180000000 00000000001c1234 (f+0x14/0x80)
Krnl GPRS: 0000000000000001 0000000000000002 0000000000000003 0000000000000004
           0000000000000005 0000000000000006 0000000000000007 0000000000000008"""
RISCV64 = """\
Unable to handle kernel NULL pointer dereference at virtual address 0000000000000018
epc : f+0x4/0x20
epc : ffffffff80012344 ra : ffffffff80012340 sp : ffffffd00853fec0
 gp : ffffffff81460000 tp : ffffffe000853000 t0 : 0000000000000000
Code: 4581 b7f1 (6d08) 8082"""
ARM = """\
Unable to handle kernel NULL pointer dereference at virtual address 0000000c
pc : [<c0101234>]    lr : [<c0101230>]    psr: 60000013
sp : c1239ed8  ip : 00000000  fp : c1239eec
r10: 00000000  r9 : c0a00000  r8 : 00000001
Code: e1a00003 (e590300c) """


@pytest.mark.parametrize(
    ("log", "told", "register", "code"),
    [
        (X86_64, ("x86_64", 0x18), ("rbx", 0xFFFF891D002214C0), ("488b4318488b50188b4310", 4)),
        (X86_64, ("x86_64", 0x18), ("r8", 3), ("488b4318488b50188b4310", 4)),
        (X86_64, ("x86_64", 0x18), ("rsp", 0xFFFFAFF9C00EFE78), ("488b4318488b50188b4310", 4)),
        (X86_64_OLD, ("x86_64", 0x18), ("rip", 0xFFFFFFFF81234567), ("55488b5018", 1)),
        (I686, ("i686", 0xC), ("ebx", 0xF3CF6120), ("558b400c", 1)),
        (AARCH64, ("aarch64", 0x18), ("x29", 0xFFFFFFC0080D3D70), ("800e40f9811240b9000c40f9", 8)),
        (AARCH64, ("aarch64", 0x18), ("x1", 8), ("800e40f9811240b9000c40f9", 8)),
        (PPC64, ("ppc64", 0x18), ("r5", 2), ("386000004e800020e86300187c0802a6", 8)),
        (S390X, ("s390x", 0), ("r7", 8), None),
        (RISCV64, ("riscv64", 0x18), ("sp", 0xFFFFFFD00853FEC0), ("8145f1b7086d8280", 4)),
        (ARM, ("armv7l", 0xC), ("r11", 0xC1239EEC), ("0300a0e10c3090e5", 4)),
    ],
)
def test_registers_code_and_address_are_read(
    log: str, told: tuple[str, int], register: tuple[str, int], code: tuple[str, int] | None
) -> None:
    lines = fault_lines(log.splitlines())
    assert (lines.arch, lines.address) == told
    assert lines.registers[register[0]] == register[1]
    shown = lines.opcodes
    assert (shown and (shown.code.hex(), shown.mark)) == code


def test_of_registers_that_are_printed_again_the_first_count() -> None:
    assert fault_lines(X86_64.splitlines()).registers["rax"] == 0


def test_registers_of_user_space_are_not_the_kernels() -> None:
    log = """\
kernel BUG at mm/slub.c:1!
RIP: 0033:0x47b6fd
Code: 00 <48> 8b
RSP: 002b:00007fffe6be83f8 EFLAGS: 00000246 ORIG_RAX: 0000000000000000
RAX: ffffffffffffffda RBX: 0000000000000003 RCX: 000000000047b6fd"""
    lines = fault_lines(log.splitlines())
    assert (lines.registers, lines.opcodes) == ({}, None)


def test_of_two_processors_that_print_at_once_nothing_is_believed() -> None:
    log = """\
BUG: unable to handle kernel paging request at ffff888216edd110
RIP: 0010:f+0x10e/0x3e0
Code: 55 <48> 8b 50 18
general protection fault: 0000 [#1] PREEMPT SMP
RAX: 0000000000000000 RBX: ffffc90002ae47b0 RCX: ffff8881d7e7f650"""
    lines = fault_lines(log.splitlines())
    assert (lines.registers, lines.opcodes) == ({}, None)


def test_the_page_alone_is_no_address() -> None:
    assert fault_lines(S390X.splitlines()).is_page


def test_the_address_of_a_kasan_report_is_none_that_faulted() -> None:
    log = ["BUG: KASAN: use-after-free in f+0x1/0x2 at addr ffff8801d5a5d1e8"]
    assert fault_lines(log).address is None


def test_the_limits_of_the_stack_are_read() -> None:
    log = [
        "BUG: stack guard page was hit at 000000001 (stack is 00000000a5a5a000..00000000a5a5ffff)"
    ]
    assert fault_lines(log).stack == (0xA5A5A000, 0xA5A5FFFF)
