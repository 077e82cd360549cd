import random
import struct

import pytest
import rpm_writer as rw

from cas.catalogue.packages.rpm_header import BadHeader, Tags, Texts

NAMES = 1117


def tags(*written: rw.Tag) -> Tags:
    content = rw.header(written, 63)
    entries, store = struct.unpack_from(">II", content, 8)
    return Tags(content[16:], 16 * entries, store)


def test_any_text_is_found_in_any_order() -> None:
    chance = random.Random(1)  # noqa: S311
    for _ in range(300):
        sizes = chance.choices([0, 1, 5, 40, 700], k=chance.randint(1, 300))
        written = [bytes(chance.choices(b"abc", k=size)) for size in sizes]
        packed = b"xx" + b"".join(text + b"\0" for text in written) + b"what follows"
        texts = Texts(packed, 2, len(packed) - len(b"what follows"), len(written))
        assert list(texts) == written
        places = chance.choices(range(len(written)), k=10)
        assert [texts[place] for place in places] == [written[place] for place in places]
        expected = [(place, text) for place, text in enumerate(written) if b"ab" in text]
        assert list(texts.containing(b"ab", limit=1000)) == expected


def test_a_text_beyond_the_last_is_not_found() -> None:
    texts = tags(rw.texts(NAMES, ["a", "b"]), rw.texts(NAMES + 1, ["c"])).texts(NAMES)
    with pytest.raises(BadHeader, match="inconsistent"):
        _ = texts[2]


def test_a_count_that_reaches_into_the_next_tag_is_refused() -> None:
    number, kind, _, content = rw.texts(NAMES, ["a", "b"])
    texts = tags((number, kind, 4, content), rw.texts(NAMES + 1, ["c", "d"])).texts(NAMES)
    assert [texts[0], texts[1]] == [b"a", b"b"]
    with pytest.raises(BadHeader, match="inconsistent"):
        _ = texts[3]


def test_a_number_of_another_kind_is_none() -> None:
    found = tags(rw.numbers(1, [5, 6]), rw.text(2, "5"))
    assert [found.integer(1, 1), found.integer(1, 2), found.integer(2), found.integer(3)] == [
        *(6, None, None, None)
    ]
