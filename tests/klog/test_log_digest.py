"""By what another file of one dump is known."""

from __future__ import annotations

from cas.klog.log_digest import log_digest


def test_a_crash_is_known_by_the_stamps_at_the_end_of_its_log() -> None:
    log = "".join(f"[{number:5}.{number * 7:06}] eth{number}: up\n" for number in range(99))
    told = log_digest(log)
    assert told is not None
    assert log_digest(log.replace("\n", " \n").partition("\n")[2]) == told
    assert log_digest(log.replace(".000686]", ".000687]")) not in (told, None)
    assert log_digest(log.replace("[", "<6>[")) == told
    assert log_digest(log.replace("eth98: up", "eth98: down")) not in (told, None)
    assert log_digest("\n".join(log.splitlines()[:19])) is None
    assert log_digest(None) is None
