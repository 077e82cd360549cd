"""Evidence for the verdict, read out of a dump with drgn: one module for each detector.

Runs in drgn's own process only (:mod:`cas.engines.drgn.child.detect`), since a damaged dump can
kill it. A module of this package that has a function ``detect`` is a detector; the others are what
detectors share. docs/detectors.md says how to add one.
"""
