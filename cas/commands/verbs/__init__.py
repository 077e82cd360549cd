"""The verbs of ``cas``, a file each; :mod:`cas.commands.verb` says what it has."""
