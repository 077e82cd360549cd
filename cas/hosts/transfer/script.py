"""What runs on a host to take a copy in, and to tell and remove what it has: POSIX shell.

It wants coreutils or busybox, flock of util-linux, and /proc. Every answer is a line of a word and
plain values; :mod:`cas.hosts.transfer.sending` reads them.
"""

BLOCK_BYTES = 64 << 10
"""A copy is continued at a multiple of it, and zeros of that length become a hole."""

_ROOM = """
umask 077
export LC_ALL=C TZ=UTC0
case $1 in
'~/'*) room=$HOME/${1#'~/'} ;;
*) room=$1 ;;
esac
"""

PLACE = (
    _ROOM
    + f"block={BLOCK_BYTES}"
    + r"""
digest=$2 size=$3 codecs=$4 patience=$5
exec 4>&1
for program in flock sha256sum stat dd du sed; do
    command -v "$program" > /dev/null || { printf 'lacks %s\n' "$program"; exit 1; }
done
shelf=$room/objects/${digest%"${digest#??}"}
mkdir -p "$shelf" && cd "$shelf" || exit 1
printf 'in %s\n' "$room/objects"

# how we know an object again; after a reboot its pages may be lost, whatever its times say
note() {
    printf '%s %s\n' "$(stat -c '%s %i %y %z' "$digest")" "$(cat /proc/sys/kernel/random/boot_id)"
}

# tell how far a process is with a file, and end it when that does not change
follow() {
    before='' still=0
    while at=$(sed -n 's/^pos:[[:blank:]]*//p' "/proc/$1/fdinfo/$2") && [ "$at" ]; do
        printf '%s %s\n' "$3" "$at"
        [ "$at" = "$before" ] && still=$((still + 1)) || still=0
        [ "$still" -lt "$patience" ] || kill -9 "$1"
        before=$at
        touch -c "$digest.part"
        sleep 1 > /dev/null 4>&- 8<&-
    done
} 2> /dev/null

# openssl is several times as fast where both are there
case $(openssl dgst -sha256 -r < /dev/null 2> /dev/null) in
e3b0c44298fc1c149afbf4c8*) summer='openssl dgst -sha256 -r' ;;
*) summer=sha256sum ;;
esac

# the digest of a file, and what the program adds
sum() {
    $summer < "$1" 9>&- &
    work=$!
    follow "$work" 0 check >&4 9>&- &
    guard=$!
    wait "$work"
    kill "$guard" 2> /dev/null
}

# whether the object is what its name says; locked, so that nobody cleans it away meanwhile
whole() (
    flock -s 8
    [ "$digest" -ef /proc/self/fd/8 ] || exit 1
    if [ "$(cat "$digest.note" 2> /dev/null)" != "$(note)" ]; then
        found=$(sum "$digest")
        if [ "${found%% *}" != "$digest" ]; then
            printf 'bad %s\n' "${found%% *}"
            rm -f "$digest" "$digest.note"
            exit 1
        fi
        note > "$digest.note"
    fi
    touch -c "$digest.note"
) 8< "$digest"

if [ -f "$digest" ] && whole; then
    printf 'have\n'
    exit
fi
while :; do
    exec 9>> "$digest.part"
    until flock -n 9; do
        now=$(stat -c '%s %Y' "$digest.part" 2> /dev/null) && printf 'wait %s\n' "$now"
        sleep 1
    done
    [ "$digest.part" -ef /proc/self/fd/9 ] && break
done
if [ -f "$digest" ] && whole; then
    rm -f "$digest.part"
    printf 'have\n'
    exit
fi

at=$(stat -c %s "$digest.part")
[ "$at" -le "$size" ] || at=0
at=$((at / block))
dd if=/dev/null of="$digest.part" bs="$block" seek="$at" 2> /dev/null || exit 1
for codec in $codecs; do
    command -v "$codec" > /dev/null && break
done
sparse=''
dd if=/dev/null of=/dev/null conv=sparse 2> /dev/null && sparse=,sparse
used=$(du -sk "$room/objects") free=$(stat -f -c '%a %S' .)
printf 'send %s %s %s %s %s\n' \
    "$((at * block))" "${used%%[!0-9]*}" "$free" "$codec" "${sparse:-,full}"

exec 3<&0
set -- ibs="$block" obs="$block" seek="$at" conv="notrunc$sparse" of="$digest.part"
# in the background, or `wait` would wait for the unpacker too, which may wait for us for ever
case $codec in
zstd) { zstd -dcq <&3 4>&- 9>&- 2> /dev/null & } | dd "$@" & ;;
gzip) { gzip -dc <&3 4>&- 9>&- 2> /dev/null & } | dd "$@" & ;;
*) dd "$@" <&3 & ;;
esac
work=$!
exec 3<&-
follow "$work" 1 at 9>&- &
guard=$!
wait "$work"
status=$?
kill "$guard" 2> /dev/null
now=$(stat -c %s "$digest.part")
if [ "$now" != "$size" ]; then
    printf 'short %s %s %s\n' "$now" "$status" "$(stat -f -c '%a %S' .)"
    exit 1
fi
found=$(sum "$digest.part")
if [ "${found%% *}" != "$digest" ]; then
    rm -f "$digest.part"
    printf 'wrong %s\n' "${found%% *}"
    exit 1
fi
chmod 400 "$digest.part" && mv -f "$digest.part" "$digest" || exit 1
note > "$digest.note"
flock -u 9
printf 'done\n'
"""
)
"""``$1`` directory, ``$2`` SHA-256, ``$3`` size, ``$4`` programs that may unpack what is sent, the
best first, ``$5`` seconds after which a process that does not get on is ended."""

_AGE = r"""
age() {
    used=$(stat -c %Y "$1.note" 2> /dev/null || stat -c %Y "$1") && printf '%s' "$((now - used))"
} 2> /dev/null
"""

LIST = (
    _ROOM
    + _AGE
    + r"""
young_s=$2
cd "$room/objects" 2> /dev/null || exit 0
printf 'free %s\n' "$(stat -f -c '%a %S' .)"
now=$(date +%s)
for path in ??/*; do
    case $path in *.note) continue ;; esac
    age=$(age "$path") && kept=$(stat -c '%b %B' "$path" 2> /dev/null) || continue
    # a young one is not touched: a session may be about to lock it
    [ "$age" -ge "$young_s" ] && flock -n "$path" true && state=idle || state=busy
    printf '%s %s %s %s\n' "$path" "$age" "$kept" "$state"
done
"""
)
"""``$1`` directory, ``$2`` seconds for which what was used counts as busy."""

REMOVE = (
    _ROOM
    + _AGE
    + r"""
young_s=$2
cd "$room/objects" || exit 1
shift 2
now=$(date +%s)
for path; do
    (
        flock -n 8 && age=$(age "$path") && [ "$age" -ge "$young_s" ] || exit
        rm -f "$path" "$path.note" && printf '%s\n' "$path"
    ) 8< "$path"
done
"""
)
"""``$1`` directory, ``$2`` as above, then paths below objects/."""
