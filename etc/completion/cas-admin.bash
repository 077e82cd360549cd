# bash completion for cas-admin(8): one file has it for both programs.
. "${BASH_SOURCE[0]%/*}/cas.bash"
