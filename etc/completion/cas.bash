# bash completion for cas(1) and cas-admin(8); it needs nothing but bash 4.
# bash-completion loads it for `cas` under this name, for `cas-admin` through cas-admin.bash.

_cas_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

# Where jobs are kept: the last workDirectory of the configuration, else the default.
_cas_jobs() {
    local conf=${CAS_CONF:-/etc/cas.conf} found= line i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == --config ]] && conf=${COMP_WORDS[i+1]}
    done
    if [[ -f $conf && -r $conf ]]; then
        while IFS= read -r line || [[ -n $line ]]; do
            [[ ${line,,} =~ ^workdirectory[[:space:]]*[=:] ]] && found=${line#*[=:]}
        done < "$conf"
    fi
    found=${found%%[[:space:]][#;]*}
    found=${found#"${found%%[![:space:]]*}"}
    found=${found%"${found##*[![:space:]]}"}
    [[ $found == '~/'* ]] && found=$HOME/${found#'~/'}
    printf '%s' "${found:-${XDG_DATA_HOME:-$HOME/.local/share}/cas/cores}"
}

# Tickets that begin so, and, where jobs are meant, TICKET/STAMP and TICKET/latest.
_cas_tickets() {
    local LC_ALL=C jobs path name
    local ticket='^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' stamp='^[0-9]{4}(\.[0-9]{2}){5}$'
    jobs=$(_cas_jobs)
    if [[ $1 != */* ]]; then
        for path in "$jobs/$1"*/; do
            name=${path%/}
            name=${name##*/}
            [[ $name =~ $ticket && -d $path ]] && COMPREPLY+=("$name")
        done
    elif [[ $2 == jobs && ${1%%/*} =~ $ticket ]]; then
        for path in "$jobs/$1"*/; do
            name=${path%/}
            name=${name##*/}
            [[ $name =~ $stamp && -d $path ]] && COMPREPLY+=("${1%%/*}/$name")
        done
        [[ latest == "${1#*/}"* && -d $jobs/${1%%/*} ]] && COMPREPLY+=("${1%%/*}/latest")
    fi
}

# The first of the words given that stands on the command line before the cursor.
_cas_verb() {
    local verb word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        for verb; do
            if [[ $word == "$verb" ]]; then
                printf '%s' "$verb"
                return
            fi
        done
    done
}

_cas() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words
    COMPREPLY=()
    case $previous in
        -f | --file | --config | -x | --script | --kernel | -o | --output | --words | --key | --mapping | --log) _cas_files "$current"; return ;;
        -c | --command | --host | --jobs | --timeout) return ;;
        --fetch) mapfile -t COMPREPLY < <(compgen -W 'all answer' -- "$current"); return ;;
        --engine) mapfile -t COMPREPLY < <(compgen -W 'auto crash drgn' -- "$current"); return ;;
        -i | --identifier)
            if [[ -n $(_cas_verb debug) ]]; then  # it is crash's
                _cas_files "$current"
            else
                _cas_tickets "$current"
            fi
            return
            ;;
        -e | --email | --member) return ;;
        --command-timeout | --start-timeout | --watchdog | --stop-interval) return ;;
        --respawn-interval | --fetch-timeout | --smtp-timeout | --host-keepalive) return ;;
    esac
    case $(_cas_verb identify debug signature object ls info report set unset ticket unticket hold unhold export upload move analyze analyzer analyzers glide jobs show similar groups) in
        identify) words='--member --json --config --debug -h --help' ;;
        object) words='--json --config --debug -h --help' ;;
        jobs) words='--json --config --debug -h --help' ;;
        show) words='--config --debug -h --help' ;;
        groups)
            if [[ $previous == --by ]]; then
                mapfile -t COMPREPLY < <(compgen -W 'signature host model reason' -- "$current")
                return
            fi
            words='--by --json --config --debug -h --help'
            ;;
        signature) words='--log --json --config --debug -h --help' ;;
        upload) words='--mapping --config --debug -h --help' ;;
        similar | ls | info | report) words='--json --config --debug -h --help' ;;
        export) words='-o --output --redact --words --key --with-dump --config --debug -h --help' ;;
        analyze) words='--jobs --timeout --config --debug -h --help' ;;
        analyzer) words='--remove --config --debug -h --help' ;;
        analyzers) words='--json --config --debug -h --help' ;;
        move)
            if [[ $previous == --to ]]; then
                mapfile -t COMPREPLY < <(compgen -W 'local s3:// gs:// az://' -- "$current")
                return
            fi
            words='--to --due -n --dry-run --config --debug -h --help'
            ;;
        set | unset | ticket | unticket | hold | unhold) words='--config --debug -h --help' ;;
        glide)
            [[ $previous != --tasks ]] || words='panic cpus blocked all'
            [[ $previous != --depth ]] || words='0 1 2 3 4 5 6'
            if [[ -n $words ]]; then
                mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
                return
            fi
            words='--tasks --depth --kernel --force --json --config --debug -h --help'
            ;;
        debug)
            words='--engine -c --command -x --script --kernel --force --host --config --debug -h
                --help'
            ;;
    esac
    if [[ -n $words ]]; then
        if [[ $current != -* ]]; then
            _cas_files "$current"
            [[ -n $(_cas_verb identify object upload) ]] || _cas_tickets "$current" jobs
            return
        fi
    else
        words='-i --identifier -f --file --member --take -e --email -m --modules --engine --fetch -q --quiet
            --command-timeout
            --start-timeout --watchdog --stop-interval --respawn-interval --fetch-timeout
            --smtp-timeout --host-keepalive --config --debug --version -h --help'
        [[ $current == -* ]] || words='identify debug signature object ls info report set unset ticket unticket hold unhold export upload move analyze analyzer analyzers glide jobs show similar groups'
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

_cas_admin() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words
    COMPREPLY=()
    case $previous in
        --config) _cas_files "$current"; return ;;
        -d | --days | --older | --larger | --at-least) return ;;
    esac
    case $(_cas_verb build purge resume index reprocess check status kernels known cache host sweep skiplist) in
        host) _cas_admin_host "$current"; return ;;
        cache) _cas_admin_cache "$current"; return ;;
        purge)
            [[ $current == -* ]] || { _cas_files "$current"; _cas_tickets "$current" jobs; return; }
            words='-d --days -y --yes -n --dry-run --unfinished --older --larger --keep-exemplar
                --pressure --delete -v --verbose --json --config --debug -h --help'
            ;;
        check) words='--quick --json --config --debug -h --help' ;;
        build) words='--watch --config --debug -h --help' ;;
        resume | index) words='--config --debug -h --help' ;;
        reprocess)
            [[ $current == -* ]] || { _cas_files "$current"; _cas_tickets "$current" jobs; return; }
            words='-n --dry-run --config --debug -h --help'
            ;;
        known)
            [[ $previous != --test ]] || { _cas_files "$current"; return; }
            words='--test --json --config --debug -h --help'
            ;;
        status | kernels) words='--json --config --debug -h --help' ;;
        skiplist) words='--at-least --json --config --debug -h --help' ;;
        sweep) words='--fetch -n --dry-run --json --config --debug -h --help' ;;
        *)
            words='-b --build --watch -p --purge -s --server -d --days -y --yes -n --dry-run
                --unfinished --config --debug --version -h --help'
            [[ $current == -* ]] \
                || words='build purge resume index reprocess check status kernels known cache host sweep skiplist'
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

_cas_admin_cache() {
    local words='--config --debug -h --help'
    case $(_cas_verb list clean verify) in
        list) words="--json $words" ;;
        verify) words="--json --repair $words" ;;
        clean) words="-n --dry-run $words" ;;
        *) [[ $1 == -* ]] || words='list clean verify' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$1")
}

_cas_admin_host() {
    local words='--config --debug -h --help'
    case $(_cas_verb add list check disable enable remove) in
        list | check) words="--json $words" ;;
        add) words="--sweep $words" ;;
        disable | enable | remove) ;;
        *) [[ $1 == -* ]] || words='add list check disable enable remove' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$1")
}

complete -F _cas cas
complete -F _cas_admin cas-admin
