"""What a run tells at once of the dump's kernel and of its crash, each line once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cas.choices import Weight
from cas.model.dump import Dump
from cas.model.evidence import Detection
from cas.model.fault import Fault
from cas.model.finding import Finding
from cas.model.kernel import KernelIdentity, Match
from cas.progress import Progress


class Announcer:
    """Tells whoever waits for a job what was found out, as soon as it is."""

    def __init__(self, progress: Progress) -> None:
        """Nothing is told yet."""
        self._progress = progress
        self._kernel: KernelIdentity | None = None
        self._told = set[str]()

    def retract(self) -> None:
        """What was told was of something else: it is told again."""
        self._told.clear()

    def dump(self, dump: Dump) -> None:
        """Which kernel it is; again only where the whole dump says another than its beginning."""
        kernel = KernelIdentity(dump.arch, dump.osrelease, dump.build_id, None)
        if kernel != self._kernel:
            known = (dump.arch, dump.build_id and f"build-id {dump.build_id}", dump.format)
            release = f"Linux {dump.osrelease or 'of unknown release'}"
            self._progress.say(", ".join((release, *filter(None, known))))
        self._kernel = kernel

    def flaws(self, dump: Dump) -> None:
        """What a reader should know of a dump, and what it lacks."""
        for remark in dump.remarks:
            self._tell_once(remark, self._progress.warn)
        for missing in dump.missing:
            self._tell_once(f"the dump is damaged: {missing.what}", self._progress.warn)

    def match(self, match: Match) -> None:
        """By what the kernel was found, and where."""
        self._say(f"Kernel found by {match.evidence}: {match.kernel.source.name}")

    def verdict(self, finding: Finding) -> None:
        """What happened, and where."""
        for line in finding.undecided:
            self._progress.warn(line)
        if finding.known:
            from cas.report.summary import known_issues  # few crashes are

            for issue in known_issues(finding):
                self._say(f"known issue: {issue}")
        self._say(finding.what)
        if finding.where:
            self._say(", ".join(filter(None, (f"in {finding.where}", finding.who))))
        if finding.choice and finding.data:
            sure = f"of the choice: {finding.choice.level}, of the data: {finding.data.level}"
            self._say(f"sure {sure}")

    def evidence(self, detections: Iterable[Detection]) -> None:
        """What detectors found that explains the crash."""
        from cas.report.evidence import causes  # where it crashed is told before

        for line in causes(tuple(detections)):
            self._say(line)

    def fault(self, fault: Fault | None) -> None:
        """What of a fault explains the crash."""
        for each in fault.evidence if fault else ():
            if each.weight is Weight.CAUSE:
                self._say(f"fault: {each.sentence}")

    def seen_before(self, finding: Finding, *, is_log: bool) -> None:
        """Whether and where the crash happened before."""
        from cas.report.seen_before import sighted  # where it crashed is told before

        for line in sighted(finding, is_log=is_log):
            self._say(f"seen before: {line}")

    def _say(self, line: str) -> None:
        self._tell_once(line, self._progress.say)

    def _tell_once(self, line: str, tell: Callable[[str], None]) -> None:
        """Tell a line that was not told before: a dump may be read twice, by ranges and whole."""
        if line not in self._told:
            self._told.add(line)
            tell(line)
