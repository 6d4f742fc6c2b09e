# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hls_cache_global_optspecs
    string join \n root= json q/quiet v/verbose h/help V/version
end

function __fish_hls_cache_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hls_cache_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hls_cache_using_subcommand
    set -l cmd (__fish_hls_cache_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hls-cache -n "__fish_hls_cache_needs_command" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_needs_command" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "key" -d 'Print the cache key of sources, one a line'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "verify" -d 'Tell whole entries from damaged ones'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "sweep" -d 'Evict least recently used entries down to the limits'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "stats" -d 'Show what is in the cache'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "gc-orphans" -d 'Remove what dead encodes left behind'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "invalidate" -d 'Remove entries whatever their age'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l quality -d 'Quality, taken as it is; repeat for several' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l audio -d 'Audio track, -1 for the default one; repeat for several' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l stdin -d 'Read sources from standard input, one a line'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s 0 -l null -d 'End records with NUL instead of newline, in and out'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l long -d 'Print KEY TAB QUALITY TAB AUDIO TAB SOURCE'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l dir -d 'Print the path of the entry instead of its key'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l segments -d 'How many segments the one KEY must have' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l subset -d 'Verify only part I of N; with today/N another part every day' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l deep -d 'Also read box headers, the timeline and subtitles; never the media data'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l fix -d 'Remove what is damaged and not in use'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l locks-only -d 'With --fix, protect by locks alone, not by open files and recent reads'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l max-size -d 'Evict until all entries are at most this large together (500M, 2TB)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l min-free -d 'Evict until this much of the disk is free (50G, 10%)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l older-than -d 'Evict what was not used for this long (90s, 10m, 24h, 7d)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l max-entries -d 'Evict until there are at most this many entries' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l low-water -d 'Once over --max-size, evict down to this share of it, 1 to 100' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l keep-recent -d 'Keep what was used more recently than this' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l min-budget -d 'Safety floor for --max-size, against typos; --min-free leaves this much' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l min-age -d 'Take partial entries written more recently than this for being written [default: 10m]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l wait -d 'Wait this long for another maintainer instead of giving up at once' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l best-effort -d 'Evict what can go even if what is in use exceeds --max-size alone'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l locks-only -d 'Protect by locks and writes alone, not by open files and recent reads'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s n -l dry-run -d 'Say what would be done and do nothing'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l sort -d 'Order of the list: longest unused first, largest first, or by key' -r -f -a "used\t''
size\t''
key\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l max-size -d 'Compare with this budget [env: HLS_CACHE_MAX_SIZE]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l textfile -d 'Replace FILE by metrics for a textfile collector; prints nothing unless asked' -r -F
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l entries -d 'List the entries, and what keeps each'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l histogram -d 'Draw size by time since the last use, and entries by size'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l prometheus -d 'Print metrics for Prometheus instead'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l min-age -d 'Take partial entries for abandoned when nothing was written for this long [default: 10m]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l wait -d 'Wait this long for another maintainer instead of giving up at once' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l locks-only -d 'Protect by locks and writes alone, not by open files and recent reads'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s n -l dry-run -d 'Say what would be done and do nothing'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l root -d 'The cache\'s directory [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l stdin -d 'Read keys from standard input, one a line'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l all -d 'Remove every entry that is not being written'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l force -d 'Remove even what is in use (with --all, not what is being written)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s n -l dry-run -d 'Say what would be done and do nothing'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l json -d 'Print one JSON object (key: one a line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s q -l quiet -d 'Print nothing but warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s v -l verbose -d 'Also say of every entry that stays why'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "key" -d 'Print the cache key of sources, one a line'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "verify" -d 'Tell whole entries from damaged ones'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "sweep" -d 'Evict least recently used entries down to the limits'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "stats" -d 'Show what is in the cache'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "gc-orphans" -d 'Remove what dead encodes left behind'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "invalidate" -d 'Remove entries whatever their age'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from key verify sweep stats gc-orphans invalidate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
