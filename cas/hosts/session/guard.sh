# What cas runs on an analysis host: one session of a debugger there, and the end of it.
#
# A session is the directory sessions/NAME: `home`, empty, where its programs run; `programs`, a
# line on each of them; `lock`, held while somebody looks after it. It ends when its beats stop
# coming, when the link breaks, or when this shell is killed; the next session ends what a dead
# one left behind.
#
# $1: what to do; $2: directory for all that is ours; $3: NAME; the rest: see the functions.
# POSIX sh with awk, coreutils, flock; no backslash stands before another, for fish reads this too.
umask 077
LC_ALL=C
export LC_ALL
task=$1 root=$2 name=$3
shift 3
case $root in "~/"*) root=$HOME/${root#"~/"} ;; esac
sessions=$root/sessions
safe_path=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin
box_home=/home/cas

unfit() {
    printf 'unfit %s\n' "$*" | tr '\n' ' '
    echo
    exit 0
}

# Processes of session $2 in directory $1: `all`, all but the shell above each program (`below`),
# the `programs` without their sandboxes, the `first` of them, or the `sum` of their clock ticks and
# their number.
# $4: only what the shell with that pid started
processes() {
    {
        grep -lF "CAS_RUN=$2.${4:+$4.}" /proc/[0-9]*/environ
        cat "$1/programs/"${4:-*} /proc/[0-9]*/stat
    } 2>/dev/null | awk -v which="$3" '
        # depth: below 0 for what stands around a program
        function spread(   pid, more) {
            do {
                more = 0
                for (pid in parent)
                    if (!(pid in depth) && (parent[pid] in depth)) {
                        depth[pid] = depth[parent[pid]] + 1
                        more = 1
                    }
            } while (more)
        }
        $1 == "head" { begun[$2] = $3; layers[$2] = $4; leads[$2] = $5; next }
        # a file that has our mark, as grep names it
        $1 ~ "^/proc/" { split($0, part, "/"); marked[part[3]] = 1; next }
        {
            pid = $1; seen = 1
            sub(/^.*[)] /, "")
            state[pid] = $1; parent[pid] = $2; sid[pid] = $4; start[pid] = $20
            ticks[pid] = $12 + $13 + $14 + $15
        }
        END {
            # no process at all: /proc was not read, and nobody may believe that nothing is left
            if (!seen) exit 1
            for (pid in begun)
                if (!(pid in start)) continue
                else if (start[pid] == begun[pid]) { depth[pid] = -layers[pid]; top[pid] = 1 }
                else leads[pid] = 0
            spread()
            for (pid in parent)
                if (!(pid in depth) && ((pid in marked) || leads[sid[pid]] == 1)) depth[pid] = 0
            spread()
            for (pid in depth) {
                if (state[pid] ~ /^[ZXx]/) continue
                if (which != "all" && (pid in top)) continue
                if (which != "all" && which != "below" && depth[pid] < 0) continue
                used += ticks[pid]; number++
                # orphans of a sandbox stand where its program does, but began later
                if (!depth[pid] && (parent[pid] in depth)) {
                    later = start[pid] - start[first]
                    if (!first || later < 0 || (later == 0 && pid + 0 < first + 0)) first = pid
                }
                if (which != "sum" && which != "first") print pid
            }
            if (which == "first" && first) print first
            if (which == "sum") printf "%.0f %d\n", used, number
        }'
}

# Kill what `processes` names, again and again, until nothing is left of it.
finish() {
    rounds=0
    while [ "$rounds" -lt 50 ]; do
        pids=$(processes "$@") || return 1
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill -s KILL $pids 2>/dev/null
        rounds=$((rounds + 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
    return 1
}

# End session $1. Under its other name nobody can start anything in it any more.
end_session() {
    ended=$sessions/$1.over
    mv "$sessions/$1" "$ended" 2>/dev/null
    finish "$ended" "$1" all || return
    rm -rf "$ended" 2>/dev/null && return
    chmod -R u+rwx "$ended" 2>/dev/null
    rm -rf "$ended" 2>/dev/null
}

# End the sessions that nobody looks after.
sweep() {
    for left in "$sessions"/*; do
        [ -d "$left" ] || continue
        left_name=${left##*/}
        [ ! -e "$left/lock" ] || { flock -n 6 6>>"$left/lock" || continue; } 2>/dev/null
        end_session "${left_name%.over}"
    done
}

# Replace this shell with the words behind the first $1; those are files that they read.
boxed() {
    files=$1
    shift
    number=0 words=$#
    while [ "$number" -lt "$words" ]; do
        word=$1
        shift
        number=$((number + 1))
        if [ "$number" -gt "$files" ]; then
            set -- "$@" "$word"
        else
            case $word in
            /usr/* | /bin/* | /sbin/* | /lib*/*) ;;
            *) set -- "$@" --ro-bind "$word" "$word" ;;
            esac
        fi
        # shellcheck disable=SC2086
        [ "$number" -ne "$files" ] || set -- "$@" --remount-ro / --chdir $box_home -- $inside
    done
    case $box in
    new)
        users='--unshare-user --disable-userns' size='--size 268435456'
        shm='--size 67108864 --tmpfs /dev/shm'
        ;;
    *) users=--unshare-user-try size='' shm='' ;;
    esac
    # shellcheck disable=SC2086
    set -- --proc /proc --remount-ro /proc --dev /dev $shm --remount-ro /dev \
        $size --tmpfs /tmp $size --tmpfs $box_home "$@"
    for place in /bin /sbin /lib /lib32 /lib64 /libx32; do
        [ ! -d $place ] || set -- --ro-bind $place $place "$@"
    done
    # shellcheck disable=SC2086
    set -- "$bwrap" --die-with-parent --unshare-pid --unshare-net --unshare-ipc --unshare-uts \
        --unshare-cgroup-try --cap-drop ALL $users --ro-bind /usr /usr \
        --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache \
        --ro-bind-try /etc/alternatives /etc/alternatives "$@"
    alone $box_home "$@"
}

# Replace this shell with a program whose HOME is $1, and which sees nothing of our environment.
alone() {
    home=$1
    shift
    exec env -i "PATH=$safe_path" "HOME=$home" LANG=C.UTF-8 "TERM=$term" "CAS_RUN=$name.$$." "$@"
}

# The sandbox that works here: new, old (bubblewrap before 0.7), or none with the reason.
probe() {
    why="there is no bwrap" term=dumb inside=
    bwrap=$(command -v bwrap) || return
    for box in new old; do
        why=$( (boxed 1 /usr env true) 2>&1 </dev/null) && { why=; return; }
    done
    box=none why=$(printf %s "$why" | tr '\n\t' '  ')
}

# Take one of $1 slots.
take_slot() {
    slot=1
    while [ "$slot" -le "$1" ]; do
        { true >>"$root/slots/$slot"; } 2>/dev/null || unfit "cannot write $root/slots/$slot"
        exec 8>>"$root/slots/$slot"
        flock -n 8
        case $? in
        0) return ;;
        1) slot=$((slot + 1)) ;;
        *) unfit "flock does not work in $root/slots" ;;
        esac
    done
    echo busy
    exit 0
}

# Make the session's directory; nobody sweeps meanwhile.
make_session() {
    { true >>"$root/sessions.lock"; } 2>/dev/null || unfit "cannot write $root/sessions.lock"
    exec 7>>"$root/sessions.lock"
    flock -w 20 7 || unfit "another session has been tidying $sessions up for too long"
    sweep
    mine=$sessions/$name
    said=$( (mkdir "$mine" "$mine/home" "$mine/programs" && mkfifo "$mine/pulse" &&
        true >"$mine/lock") 2>&1) || {
        rm -rf "$mine"
        unfit "$said"
    }
    exec 9>>"$mine/lock"
    flock -n 9 || unfit "flock does not work in $sessions"
    exec 7>&-
}

# Hold those of the files that are copies of ours, then serve.
hold() {
    [ $# -gt 0 ] || { serve; return; }
    used=$1
    shift
    case $used in "$root/objects/"*) ;; *) hold "$@"; return ;; esac
    [ -r "$used" ] || { end_session "$name"; unfit "the copy $used is not there any more"; }
    {
        flock -s -n 6 && [ -r "$used" ] ||
            { end_session "$name"; unfit "the copy $used is being removed"; }
        hold "$@"
    } 6<"$used"
}

# Answer each beat, and pass it on to the one who waits for it to fail to come.
serve() {
    exec 4<>"$mine/pulse"
    { exec 4>&-; keep_lease; } <"$mine/pulse" &
    keeper=$!
    printf 'ready\t%s\t%s\t%s\n' "$box" "$why" "$mine/home"
    while IFS= read -r line; do
        beat=${line#beat }
        case $beat in '' | *[!0-9]*) break ;; esac
        kill -0 $keeper 2>/dev/null || break
        echo "beat $beat $(processes "$mine" "$name" sum)"
        echo "$beat" >&4
    done
    exec 4>&-
    wait $keeper
    [ ! -e "$mine" ] || end_session "$name"
}

keep_lease() {
    # dash tells stderr that a child was killed, and where the link broke nobody reads that
    trap '' HUP INT TERM PIPE
    while timeout -s KILL "$lease" sh -c 'read -r beat' || { ended=$?; false; }; do :; done
    # more than 123: it was not the end, the beat did not come in time
    [ "$ended" -le 123 ] || kill -s KILL $$ 2>/dev/null
    end_session "$name"
}

# Keep a session: $1 slots, $2 seconds between beats at most, $3 the wanted sandbox, then the
# files that it uses.
keep() {
    for tool in awk chmod env flock grep head mkfifo timeout tr; do
        command -v $tool >/dev/null 2>&1 || unfit "there is no $tool"
    done
    said=$(mkdir -p "$root/slots" "$sessions" 2>&1) || unfit "$said"
    slots=$1 lease=$2 box=none why="switched off in the configuration"
    [ "$3" = none ] || probe
    case $3$box in bwrapnone) unfit "the sandbox cannot be used: $why" ;; esac
    shift 3
    take_slot "$slots"
    make_session
    hold "$@"
}

# A limit $1 of ulimit, as wanted or as strict as it is already.
limit() {
    if ulimit -S "$1" "$2" 2>/dev/null; then
        ulimit -H "$1" "${3:-$2}"
    else
        ulimit -S "$1" "$(ulimit -H "$1")"
    fi
}

# Note this shell as the one above a program: when it began, layers of sandbox, session leader.
note() {
    read -r line </proc/$$/stat
    # shellcheck disable=SC2086
    set -- $1 ${line##*) }
    leader=0
    [ "$5" != $$ ] || leader=1
    echo "head $$ ${21} $1 $leader" 2>/dev/null >"$mine/programs/$$"
}

# Start a program: $1 sandbox, $2 TERM, $3 KiB of memory, $4 seconds of processor, $5 KiB of a
# file, $6 processes in a sandbox, $7 how many of the words behind that are files that it reads;
# the others are its own. Says the pids of this shell and of the first process below.
start() {
    mine=$sessions/$name home=$sessions/$name/home
    cd "$home" 2>/dev/null || unfit "the session is over"
    box=$1 term=$2 kib=$3 cpu=$4 blocks=$(($5 * 2)) most=$6
    shift 6
    layers=1
    [ "$box" = none ] || layers=3
    note $layers || unfit "cannot write into $mine"
    trap : INT QUIT
    exec 5>&2 2>/dev/null
    (
        exec 2>&5 5>&-
        launch "$@"
    )
}

launch() {
    # who ends the session has seen our note, or we see that it is over
    [ -d "$home" ] || exit 1
    read -r pid rest </proc/self/stat
    inside=
    [ "$box" = none ] || surroundings
    for each in "-c 0" "-n 1024" "-v $kib" "-f $blocks" "-t $cpu $((cpu + 5))"; do
        # shellcheck disable=SC2086
        limit $each 2>/dev/null || unfit "cannot set the limit: ulimit $each"
    done
    echo "started $$ $pid"
    [ "$box" = none ] || boxed "$@"
    shift $(($1 + 1))
    alone "$home" "$@"
}

# What stands before a program in its sandbox: interrupts, which the sandbox itself must outlive,
# reach it; and it has only so many processes.
surroundings() {
    bwrap=$(command -v bwrap) || unfit "there is no bwrap any more"
    trap '' INT QUIT
    inside=env
    env --default-signal=INT,QUIT true 2>/dev/null && inside="env --default-signal=INT,QUIT"
    # before Linux 5.14 the limit would count all processes of the user (21d1c5e386bc)
    read -r release </proc/sys/kernel/osrelease
    case $release in [0-4].* | 5.[0-9].* | 5.1[0-3].*) return ;; esac
    command -v prlimit >/dev/null 2>&1 && inside="$inside prlimit --nproc=$most:$most"
}

# Send signal $1 to the programs that the shell with pid $2 started.
tell() {
    pids=$(processes "$sessions/$name" "$name" programs "$2")
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null
}

# What can be seen of those programs: at most 32 of them, and 16 KiB of a file.
show() {
    for pid in $(processes "$sessions/$name" "$name" programs "$1" | head -n 32); do
        for file in stat status wchan syscall stack limits io; do
            echo
            echo "--- /proc/$pid/$file"
            { head -c 16384 "/proc/$pid/$file" || echo "cannot be read"; } 2>/dev/null
        done
    done
}

case $task in
keep) keep "$@" ;;
start) start "$@" ;;
tell) tell "$@" ;;
end) finish "$sessions/$name" "$name" below "$1" || finish "$sessions/$name" "$name" all "$1" ;;
pid) processes "$sessions/$name" "$name" first "$1" ;;
show) show "$@" ;;
esac
