import pytest

from cas.klog.named_kmods import kmods_in_list, kmods_in_traces

LOG = """[    9.1] BUG: kernel NULL pointer dereference
[    9.2] Modules linked in: nf_cas_dummy(O) nvidia(POE+) xfs [last unloaded: cas_gone(O)]
[    9.3] RIP: 0010:cas_sum+0x18/0x30 [cas_oops]
[    9.4]  xfs_read+0x1/0x9 [xfs 63a5b235aab0b1c8]
[    9.5]  nf-cas+0x1/0x9 [nf_cas_dummy]
"""


def test_the_log_lists_the_loaded_kmods() -> None:
    assert kmods_in_list(LOG) == ("nf_cas_dummy", "nvidia", "xfs")


def test_kmods_in_call_traces_are_named_once() -> None:
    assert kmods_in_traces(LOG + LOG) == ("cas_oops", "xfs", "nf_cas_dummy")
    assert kmods_in_traces(None) == ()


@pytest.mark.parametrize(
    "log", [None, "", "Modules linked in:", "Modules linked in: ../../etc/passwd a;b $(c) (O)"]
)
def test_what_is_no_name_is_not_taken(log: str | None) -> None:
    assert kmods_in_list(log) == ()
