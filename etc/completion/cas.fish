# fish completion for cas(1) and cas-admin(8).
# fish loads it for `cas` under this name, for `cas-admin` by a link named cas-admin.fish.

set -l bare 'not __fish_seen_subcommand_from identify'
complete -c cas -f
complete -c cas -n $bare -a identify -d 'tell what a dump says about itself'
complete -c cas -n $bare -s i -l identifier -x -d 'the ticket of the dump'
complete -c cas -n $bare -s f -l file -r -F -d 'the dump, packed or not'
complete -c cas -n $bare -s e -l email -x -d 'mail the results to this address'
complete -c cas -n $bare -s m -l modules -d 'extract the debuginfo of loaded modules'
complete -c cas -n $bare -l engine -x -a 'auto crash drgn' -d 'what runs the snippets'
complete -c cas -l config -r -F -d 'read this configuration file'
complete -c cas -l debug -d 'show tracebacks of errors'
complete -c cas -n $bare -l version -d 'print the version'
complete -c cas -s h -l help -d 'print a summary of the options'
complete -c cas -n '__fish_seen_subcommand_from identify' -F
complete -c cas -n '__fish_seen_subcommand_from identify' -l json -d 'print everything, as JSON'

set -l bare 'not __fish_seen_subcommand_from build purge resume index'
set -l purge 'not __fish_seen_subcommand_from build resume index'
complete -c cas-admin -f
complete -c cas-admin -n $bare -a build -d 'catalogue the kernel-debuginfo packages'
complete -c cas-admin -n $bare -a purge -d 'remove old jobs'
complete -c cas-admin -n $bare -a resume -d 'go on with unfinished jobs'
complete -c cas-admin -n $bare -a index -d 'enter the jobs into the database again'
complete -c cas-admin -n $bare -s b -l build -d 'catalogue the kernel-debuginfo packages'
complete -c cas-admin -n $bare -s p -l purge -d 'remove old jobs'
complete -c cas-admin -n $purge -s d -l days -x -d 'remove jobs older than this'
complete -c cas-admin -n $purge -s y -l yes -d 'do not ask'
complete -c cas-admin -n $purge -s n -l dry-run -d 'only list what would go'
complete -c cas-admin -l config -r -F -d 'read this configuration file'
complete -c cas-admin -l debug -d 'show tracebacks of errors'
complete -c cas-admin -n $bare -l version -d 'print the version'
complete -c cas-admin -s h -l help -d 'print a summary of the options'
