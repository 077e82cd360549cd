"""The verbs of ``cas-admin``, a file each; :mod:`cas.commands.verb` says what it has."""
