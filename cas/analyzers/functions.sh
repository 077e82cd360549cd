# What an analyzer in shell finds: functions that say something of its crash, to cas.
# Each message is fields that end with NUL, so that a value may hold anything else.

cas_info() {
    if [ $# -ne 1 ]; then
        echo "cas_info: it takes a property, such as release or signatures.top_3" >&2
        return 2
    fi
    awk -F '\t' -v name="$1" '$1 == name { print substr($0, length(name) + 2); found = 1 }
        END { exit !found }' "$CAS_WORDS"
}

cas_set() {
    if [ $# -eq 0 ]; then
        echo "cas_set: it takes NAME [VALUE]; without a value, standard input" >&2
        return 2
    fi
    {
        if [ $# -gt 1 ]; then
            printf 'set\0%s\0' "$1"
            shift
            (IFS=' '; printf '%s' "$*")
        else
            printf 'read\0%s\0' "$1"
            tr -d '\000'
        fi
        printf '\0'
    } >"$CAS_PIPE"
}

cas_unset() {
    if [ $# -ne 1 ]; then
        echo "cas_unset: it takes NAME" >&2
        return 2
    fi
    printf 'unset\0%s\0' "$1" >"$CAS_PIPE"
}

cas_ticket() {
    if [ $# -ne 1 ]; then
        echo "cas_ticket: it takes TICKET" >&2
        return 2
    fi
    printf 'ticket\0%s\0' "$1" >"$CAS_PIPE"
}

cas_unticket() {
    if [ $# -gt 1 ]; then
        echo "cas_unticket: it takes [TICKET]" >&2
        return 2
    fi
    printf 'unticket\0%s\0' "${1-}" >"$CAS_PIPE"
}

thoth_info() { cas_info "$@"; }
thoth_set() { cas_set "$@"; }
thoth_unset() { cas_unset "$@"; }
thoth_ticket() { cas_ticket "$@"; }
thoth_unticket() { cas_unticket "$@"; }
