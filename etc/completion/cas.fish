# fish completion for cas(1) and cas-admin(8).
# fish loads it for `cas` under this name, for `cas-admin` through cas-admin.fish.

# Tickets; of a ticket before a slash its stamps and `latest`.
function __cas_jobs
    set -l conf /etc/cas.conf
    set -q CAS_CONF; and set conf $CAS_CONF
    set -l words (commandline -opc)
    set -l at (contains -i -- --config $words); and set conf $words[(math $at + 1)]
    set -l found
    if test -f "$conf" -a -r "$conf"
        set found (string match -ri '^workdirectory\s*[=:]\s*(.*)$' <$conf)[-1]
        set found (string replace -r '\s+[#;].*$' '' -- "$found" | string trim)
        set found (string replace -r '^~/' "$HOME/" -- "$found")
    end
    if test -n "$found"
        echo -- $found
    else if set -q XDG_DATA_HOME
        echo $XDG_DATA_HOME/cas/cores
    else
        echo $HOME/.local/share/cas/cores
    end
end

function __cas_tickets
    set -l jobs (__cas_jobs)
    string replace -rf '^.*/([A-Za-z0-9][A-Za-z0-9._-]{0,63})/$' '$1' -- $jobs/*/
end

function __cas_specs
    set -l jobs (__cas_jobs)
    set -l ticket (string match -r '^([A-Za-z0-9][A-Za-z0-9._-]{0,63})/' -- (commandline -ct))[2]
    if test -z "$ticket"
        __cas_tickets
    else if test -d "$jobs/$ticket"
        string replace -rf '^.*/([0-9]{4}(\.[0-9]{2}){5})/$' "$ticket/\$1" -- $jobs/$ticket/*/
        echo $ticket/latest
    end
end

set -l bare 'not __fish_seen_subcommand_from glide identify debug signature object ls info report set unset ticket unticket hold unhold export upload move analyze analyzer analyzers jobs show similar groups'
set -l debug '__fish_seen_subcommand_from debug'
complete -c cas -f
complete -c cas -n $bare -a identify -d 'tell what a dump says about itself'
complete -c cas -n $bare -s i -l identifier -x -a '(__cas_tickets)' -d 'the ticket of the dump'
complete -c cas -n $bare -s f -l file -r -F -d 'the dump, packed or not, or its URL'
complete -c cas -n $bare -l member -x -d 'the dump to take from an archive'
complete -c cas -n $bare -l take -d 'move a plain dump into the job'
complete -c cas -n $bare -s e -l email -x -d 'mail the results to this address'
complete -c cas -n $bare -s m -l modules -d 'extract the debuginfo of loaded modules'
complete -c cas -n $bare -l engine -x -a 'auto crash drgn' -d 'what runs the snippets'
complete -c cas -n $bare -l fetch -x -a 'all answer' -d 'how much of a dump on a server'
complete -c cas -n $bare -s q -l quiet -d 'say nothing but what stopped the job'
complete -c cas -n $bare -l command-timeout -x -d 'seconds for one debugger command'
complete -c cas -n $bare -l start-timeout -x -d 'seconds for a debugger to open the dump'
complete -c cas -n $bare -l watchdog -x -d 'seconds for a program to be silent and idle'
complete -c cas -n $bare -l stop-interval -x -d 'seconds for a program to end when asked to'
complete -c cas -n $bare -l respawn-interval -x -d 'seconds between two starts of a program'
complete -c cas -n $bare -l fetch-timeout -x -d 'seconds for a server to send something'
complete -c cas -n $bare -l smtp-timeout -x -d 'seconds for a mail server to take all mails of a run'
complete -c cas -n $bare -l host-keepalive -x -d 'seconds for an analysis host to give a sign of life'
complete -c cas -l config -r -F -d 'read this configuration file'
complete -c cas -l debug -d 'show tracebacks of errors'
complete -c cas -n $bare -l version -d 'print the versions'
complete -c cas -s h -l help -d 'print a summary of the options'
complete -c cas -n $bare -a signature -d 'tell what the crash of a job is called'
complete -c cas -n $bare -a object -d "tell the id of a dump's crash"
complete -c cas -n $bare -a ls -d 'list crashes of the archive'
complete -c cas -n $bare -a info -d 'print what is known of crashes, as JSON'
complete -c cas -n $bare -a report -d 'count crashes, or the values of a property'
complete -c cas -n $bare -a set -d 'set a property of crashes'
complete -c cas -n $bare -a unset -d 'take away a property that was set'
complete -c cas -n $bare -a ticket -d 'give crashes a ticket, which keeps them'
complete -c cas -n $bare -a unticket -d 'take a ticket from crashes'
complete -c cas -n $bare -a hold -d 'keep crashes from every purge, with a reason'
complete -c cas -n $bare -a unhold -d 'let crashes be purged again that were held'
complete -c cas -n '__fish_seen_subcommand_from upload' -l mapping -r -F -d 'which of their fields is which of a note'
complete -c cas -n '__fish_seen_subcommand_from signature' -l log -r -F -d 'of this kernel log'
complete -c cas -n $bare -a export -d 'write reports of crashes for somebody else'
complete -c cas -n '__fish_seen_subcommand_from export' -s o -l output -r -F -d 'where to'
complete -c cas -n '__fish_seen_subcommand_from export' -l redact -d 'replace names, addresses and numbers'
complete -c cas -n '__fish_seen_subcommand_from export' -l words -r -F -d 'replace the words of this file, too'
complete -c cas -n '__fish_seen_subcommand_from export' -l key -r -F -d 'write here what was replaced by what'
complete -c cas -n '__fish_seen_subcommand_from export' -l with-dump -d 'export the dump, too'
complete -c cas -n $bare -a upload -d 'put dumps into the archive'
complete -c cas -n $bare -a move -d 'move dumps of the archive to a store, and back'
complete -c cas -n '__fish_seen_subcommand_from move' -l to -x -a 'local s3:// gs:// az://' -d 'a store, or this machine'
complete -c cas -n '__fish_seen_subcommand_from move' -l due -d 'what nobody has used for tierAfter of cas.conf'
complete -c cas -n '__fish_seen_subcommand_from move' -s n -l dry-run -d 'move nothing'
complete -c cas -n $bare -a analyze -d 'run an analyzer on crashes'
complete -c cas -n $bare -a analyzer -d 'add, replace or remove an analyzer'
complete -c cas -n $bare -a analyzers -d 'list the analyzers'
complete -c cas -n $bare -a jobs -d 'list jobs, unfinished ones first'
complete -c cas -n $bare -a show -d 'show the report of the newest job, or of an upload'
complete -c cas -n $bare -a similar -d 'list crashes with the same signature'
complete -c cas -n $bare -a groups -d 'group crashes, and tell what is unusual'
complete -c cas -n '__fish_seen_subcommand_from groups' -l by -x -a 'signature host model reason' -d 'what they have in common'
complete -c cas -n '__fish_seen_subcommand_from analyze' -l jobs -x -d 'so many crashes at a time'
complete -c cas -n '__fish_seen_subcommand_from analyze' -l timeout -x -d 'seconds for one crash'
complete -c cas -n '__fish_seen_subcommand_from analyzer' -l remove -d 'remove it'
complete -c cas -n '__fish_seen_subcommand_from analyzers' -l json -d 'print everything, as JSON'
complete -c cas -n '__fish_seen_subcommand_from glide identify signature object ls info report set unset ticket unticket hold unhold export upload move analyze show similar groups' -F
complete -c cas -n '__fish_seen_subcommand_from glide debug signature ls info report set unset ticket unticket hold unhold export move analyze show similar groups' -a '(__cas_specs)'
complete -c cas -n '__fish_seen_subcommand_from identify' -l member -x -d 'the dump to take from an archive'
complete -c cas -n '__fish_seen_subcommand_from glide identify signature object ls info report jobs similar groups' -l json -d 'print everything, as JSON'
complete -c cas -n $bare -a debug -d 'open a debugger on a dump'
complete -c cas -n $bare -a glide -d 'print every stack with its variables'
complete -c cas -n '__fish_seen_subcommand_from glide' -l tasks -x -a 'panic cpus blocked all' -d 'which tasks'
complete -c cas -n '__fish_seen_subcommand_from glide' -l kernel -r -F -d 'use this vmlinux'
complete -c cas -n '__fish_seen_subcommand_from glide' -l force -d 'use it even if it is the wrong one'
complete -c cas -n '__fish_seen_subcommand_from glide' -l depth -x -a '0 1 2 3 4 5 6' -d 'pointers to follow'
complete -c cas -n $debug -F
complete -c cas -n $debug -l engine -x -a 'auto crash drgn' -d 'which debugger'
complete -c cas -n $debug -s c -l command -x -d 'run a command and exit'
complete -c cas -n $debug -s x -l script -r -F -d 'run the commands of a file and exit'
complete -c cas -n $debug -l kernel -r -F -d 'use this vmlinux'
complete -c cas -n $debug -l force -d 'use it even if it is the wrong one'
complete -c cas -n $debug -l host -x -d 'run crash on this analysis host'

set -l bare 'not __fish_seen_subcommand_from build purge resume index reprocess check status kernels known cache host sweep skiplist'
set -l build 'not __fish_seen_subcommand_from purge resume index reprocess check status kernels known cache host sweep skiplist'
set -l purge 'not __fish_seen_subcommand_from build resume index reprocess check status kernels known cache host sweep skiplist'
set -l cache '__fish_seen_subcommand_from cache'
set -l cache_action "$cache; and not __fish_seen_subcommand_from list clean verify"
set -l host '__fish_seen_subcommand_from host'
set -l action "$host; and not __fish_seen_subcommand_from add list check disable enable remove"
complete -c cas-admin -f
complete -c cas-admin -n $bare -a build -d 'catalogue the kernel-debuginfo packages'
complete -c cas-admin -n $bare -a purge -d 'remove old jobs'
set -l rules '__fish_seen_subcommand_from purge'
complete -c cas-admin -n $rules -a '(__cas_specs)'
complete -c cas-admin -n $rules -l older -x -d 'dumps of the archive that are so old'
complete -c cas-admin -n $rules -l larger -x -d 'dumps of the archive that are larger'
complete -c cas-admin -n $rules -l keep-exemplar -d 'but the best dump of every signature'
complete -c cas-admin -n $rules -l pressure -d 'where archiveHighWater is passed, by the rules of cas.conf'
complete -c cas-admin -n $rules -l delete -d 'remove them, and do not only list them'
complete -c cas-admin -n $rules -s v -l verbose -d 'name each crash that stays, and why'
complete -c cas-admin -n $rules -l json -d 'print everything as JSON'
complete -c cas-admin -n $bare -a resume -d 'go on with unfinished jobs'
complete -c cas-admin -n $bare -a index -d 'enter the jobs into the database again'
complete -c cas-admin -n $bare -a reprocess -d 'judge kept jobs by the rules of this release'
complete -c cas-admin -n '__fish_seen_subcommand_from reprocess' -F
complete -c cas-admin -n '__fish_seen_subcommand_from reprocess' -a '(__cas_specs)'
complete -c cas-admin -n '__fish_seen_subcommand_from reprocess' -s n -l dry-run -d 'only list what would change'
complete -c cas-admin -n $bare -a check -d 'verify that everything agrees'
complete -c cas-admin -n "not $host; and __fish_seen_subcommand_from check" -l quick -d 'compare sizes, not contents'
complete -c cas-admin -n "not $host; and __fish_seen_subcommand_from check" -l json -d 'print the flaws as JSON'
complete -c cas-admin -n $bare -a status -d 'show what is catalogued, kept, waiting and wrong'
complete -c cas-admin -n $bare -a kernels -d 'list the kernels in the catalogue'
complete -c cas-admin -n '__fish_seen_subcommand_from status kernels known' -l json -d 'print everything as JSON'
complete -c cas-admin -n $bare -a known -d 'list the known issues, and what is wrong with them'
complete -c cas-admin -n '__fish_seen_subcommand_from known' -l test -r -F -d 'which past jobs a file would match'
complete -c cas-admin -n $bare -a cache -d 'look after the extracted kernels'
complete -c cas-admin -n $cache_action -a list -d 'show the extracted kernels'
complete -c cas-admin -n $cache_action -a clean -d 'remove what is beyond the limits'
complete -c cas-admin -n $cache_action -a verify -d 'compare the digest of every file'
complete -c cas-admin -n "$cache; and __fish_seen_subcommand_from list verify" -l json -d 'print everything as JSON'
complete -c cas-admin -n "$cache; and __fish_seen_subcommand_from verify" -l repair -d 'remove what is wrong and not in use'
complete -c cas-admin -n "$cache; and __fish_seen_subcommand_from clean" -s n -l dry-run -d 'only list what would go'
complete -c cas-admin -n $bare -a host -d 'register, check and remove hosts'
complete -c cas-admin -n $action -a add -d 'register a host'
complete -c cas-admin -n "$host; and __fish_seen_subcommand_from add" -l sweep -d 'to be swept for dumps'
complete -c cas-admin -n $action -a list -d 'show the registered hosts'
complete -c cas-admin -n $action -a check -d 'ask hosts how they are'
complete -c cas-admin -n $action -a disable -d 'let no job use a host'
complete -c cas-admin -n $action -a enable -d 'let jobs use a host again'
complete -c cas-admin -n $action -a remove -d 'forget a host'
complete -c cas-admin -n "$host; and __fish_seen_subcommand_from list check" -l json -d 'print everything as JSON'
complete -c cas-admin -n $bare -a skiplist -d 'list crashes that need no further dump'
complete -c cas-admin -n '__fish_seen_subcommand_from skiplist' -l at-least -x -d 'that so many crashes have'
complete -c cas-admin -n '__fish_seen_subcommand_from skiplist' -l json -d 'print everything as JSON'
complete -c cas-admin -n $bare -a sweep -d 'look for dumps on hosts'
complete -c cas-admin -n '__fish_seen_subcommand_from sweep' -l fetch -d 'fetch what the archive lacks'
complete -c cas-admin -n '__fish_seen_subcommand_from sweep' -s n -l dry-run -d 'only list what is missing'
complete -c cas-admin -n '__fish_seen_subcommand_from sweep' -l json -d 'print everything as JSON'
complete -c cas-admin -n $bare -s s -l server -d 'register the analysis hosts of known_hosts'
complete -c cas-admin -n $bare -s b -l build -d 'catalogue the kernel-debuginfo packages'
complete -c cas-admin -n $build -l watch -d 'with build: go on, and build again after so many seconds'
complete -c cas-admin -n $bare -s p -l purge -d 'remove old jobs'
complete -c cas-admin -n $purge -s d -l days -x -d 'remove jobs older than this'
complete -c cas-admin -n $purge -s y -l yes -d 'do not ask'
complete -c cas-admin -n $purge -s n -l dry-run -d 'only list what would go'
complete -c cas-admin -n $purge -l unfinished -d 'also jobs that wait, were stopped, or have unsent mail'
complete -c cas-admin -l config -r -F -d 'read this configuration file'
complete -c cas-admin -l debug -d 'show tracebacks of errors'
complete -c cas-admin -n $bare -l version -d 'print the versions'
complete -c cas-admin -s h -l help -d 'print a summary of the options'
