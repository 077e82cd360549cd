"""A child process that reads packages: a path in a line of JSON comes in, a line of facts goes out.

It holds no database, and may take only so much memory: what it reads is hostile.
"""

from __future__ import annotations

import json
import resource
import sys

from cas.catalogue.building import reading


def main() -> None:
    """Read until there is nothing more to read.

    The first argument is how many bytes of memory may be written to.
    """
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for line in sys.stdin:
        sys.stdout.write(reading.read_facts(json.loads(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
