# fish completion for cas-admin(8): one file has it for both programs.
source (status dirname)/cas.fish
