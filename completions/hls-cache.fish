# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hls_cache_global_optspecs
    string join \n root= json q/quiet v/verbose color= h/help V/version
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

complete -c hls-cache -n "__fish_hls_cache_needs_command" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_needs_command" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_needs_command" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "stats" -d 'Show the entries, sizes, use and hit rate of the cache'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "sweep" -d 'Evict least recently used entries down to the limits'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "gc-orphans" -d 'Remove leftovers of encodes that died'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "verify" -d 'Check entries for missing or damaged segments'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "invalidate" -d 'Remove entries regardless of their age'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "key" -d 'Print the cache keys of sources, one per line'
complete -c hls-cache -n "__fish_hls_cache_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l source -d 'Show all about the source PATH' -r -F
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l sort -d 'List the entries by this [default: used]' -r -f -a "used\t''
size\t''
key\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l max-size -d 'Compare with SIZE [env: HLS_CACHE_MAX_SIZE]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l min-free -d 'Compare the disk with this limit too' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l textfile -d 'Write metrics to FILE atomically' -r -F
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l library -d 'Name entries by the media files in DIR, AS to the daemon (repeatable) [env: HLS_CACHE_LIBRARY]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l qualities -d 'Qualities to try for each file [env: HLS_CACHE_QUALITIES]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l tracks -d 'Audio tracks to try [default: -1..15] [env: HLS_CACHE_TRACKS]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l entries -d 'List the entries, and say which are in use'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l unnamed -d 'List only entries without a name in the media library'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l check -d 'Exit with 3 if these limits are not met'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l histogram -d 'Draw histograms of last uses and entry sizes'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l history -d 'Show days, regret, and what other sizes would do'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l prometheus -d 'Print metrics for Prometheus instead of the report'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l full-scan -d 'Measure every entry, not only what has changed since a sweep did'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l max-size -d 'Evict until all entries are at most SIZE (500M)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l min-free -d 'Evict until SIZE or N% of the disk is free (10%)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l older-than -d 'Evict what was not used for DUR (10m, 24h, 7d)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l max-entries -d 'Evict until at most N entries remain' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l low-water -d 'When over --max-size, evict down to PCT% of it' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l keep-recent -d 'Keep entries that were used within DUR' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l min-budget -d 'Set the least --max-size (against typos), and what --min-free leaves' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l min-age -d 'Keep partial entries written to, and any read, within DUR [default: 10m]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l keep-source -d 'Never evict entries of PATH or of files below it (repeatable)' -r -F
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l wait -d 'Wait up to DUR for another maintainer to finish' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l library -d 'Name entries by the media files in DIR, AS to the daemon (repeatable) [env: HLS_CACHE_LIBRARY]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l qualities -d 'Qualities to try for each file [env: HLS_CACHE_QUALITIES]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l tracks -d 'Audio tracks to try [default: -1..15] [env: HLS_CACHE_TRACKS]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l best-effort -d 'Evict what can go even if entries in use alone exceed --max-size'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l prefer-unnamed -d 'Evict entries first that no library file names, unused for 7d'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l full-scan -d 'Measure every entry, not only what has changed since a sweep did'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l locks-only -d 'Do not protect by open files or recent reads'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s n -l dry-run -d 'Show what would be removed, and remove nothing'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand sweep" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l min-age -d 'Remove what nobody wrote to for DUR [default: 10m]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l wait -d 'Wait up to DUR for another maintainer to finish' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l library -d 'Name entries by the media files in DIR, AS to the daemon (repeatable) [env: HLS_CACHE_LIBRARY]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l qualities -d 'Qualities to try for each file [env: HLS_CACHE_QUALITIES]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l tracks -d 'Audio tracks to try [default: -1..15] [env: HLS_CACHE_TRACKS]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l locks-only -d 'Do not protect by open files or recent reads'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s n -l dry-run -d 'Show what would be removed, and remove nothing'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand gc-orphans" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l segments -d 'Expect N segments (one KEY only)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l subset -d 'Verify only part I of N; today/N: another part every day' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l library -d 'Name entries by the media files in DIR, AS to the daemon (repeatable) [env: HLS_CACHE_LIBRARY]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l qualities -d 'Qualities to try for each file [env: HLS_CACHE_QUALITIES]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l tracks -d 'Audio tracks to try [default: -1..15] [env: HLS_CACHE_TRACKS]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l deep -d 'Also check boxes, timeline and subtitles, not the media data'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l fix -d 'Remove damaged entries that are not in use'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l locks-only -d 'With --fix, do not protect by open files or recent reads'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l source -d 'Remove all of the source PATH, or of files below it (repeatable)' -r -F
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l library -d 'Name entries by the media files in DIR, AS to the daemon (repeatable) [env: HLS_CACHE_LIBRARY]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l qualities -d 'Qualities to try for each file [env: HLS_CACHE_QUALITIES]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l tracks -d 'Audio tracks to try [default: -1..15] [env: HLS_CACHE_TRACKS]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l stdin -d 'Read keys from standard input, one per line'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l all -d 'Remove all entries that are not in use'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l force -d 'Remove pinned entries too (with --all, not those being encoded)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s n -l dry-run -d 'Show what would be removed, and remove nothing'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l quality -d 'Take quality Q, verbatim (repeatable)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l audio -d 'Take audio track N; -1 is the default track (repeatable)' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l encode -d 'Compute five-part keys, with encoder settings TEXT' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l burn -d 'Take burnt-in subtitle N; -1 is none (repeatable) [default: -1]' -r
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l root -d 'Use the cache in directory DIR [env: HLS_CACHE_ROOT]' -r -f -a "(__fish_complete_directories)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l color -d 'Colour the output: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l stamp -d 'Compute five-part keys, with the cache\'s .encode-stamp'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l id -d 'Take SOURCE as an id, used verbatim, not as a path'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l stdin -d 'Read sources from standard input, one per line'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s 0 -l null -d 'End records with NUL, not newline, in input and output'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l long -d 'Print KEY TAB QUALITY TAB AUDIO TAB [BURN TAB] SOURCE'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l dir -d 'Print the path of the entry instead of its key'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -l json -d 'Print one JSON object (key: one per line)'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s q -l quiet -d 'Print only warnings and errors'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s v -l verbose -d 'Also list entries that are kept, with the reason'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s h -l help -d 'Print help'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand key" -s V -l version -d 'Print version'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "stats" -d 'Show the entries, sizes, use and hit rate of the cache'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "sweep" -d 'Evict least recently used entries down to the limits'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "gc-orphans" -d 'Remove leftovers of encodes that died'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "verify" -d 'Check entries for missing or damaged segments'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "invalidate" -d 'Remove entries regardless of their age'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "key" -d 'Print the cache keys of sources, one per line'
complete -c hls-cache -n "__fish_hls_cache_using_subcommand help; and not __fish_seen_subcommand_from stats sweep gc-orphans verify invalidate key help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

# Prints the names of the entries in the cache's directory. --root counts if it stands before the cursor: fish
# shows a completion no more of the line.
function __fish_hls_cache_keys
    set -l root $HLS_CACHE_ROOT
    set -l words (commandline -opc)
    set -l wanted
    for key in (string match -r '^[0-9a-f]{16}$' -- $words)
        # Offer no key twice.
        set -a wanted ! -name $key
    end
    while set -q words[2]
        set -e words[1]
        switch "$words[1]"
            case --
                break
            case --root
                set root $words[2]
            case '--root=*'
                set root (string replace -- --root= '' $words[1])
            case '*'
                continue
        end
        # fish has removed the quotes and expanded nothing.
        if string match -qr '^~(/|$)' -- $root
            set root $HOME(string sub -s 2 -- $root)
        else if set -l parts (string match -r '^\$(\w+)(.*)' -- $root)
            set -l name $parts[2]
            set root $$name$parts[3]
        end
    end
    test -n "$root"
    or return
    string match -q '/*' -- $root
    or set root ./$root

    LC_ALL=C command find $root/ -mindepth 1 -maxdepth 1 -type d \
        -regextype posix-extended -regex '.*/[0-9a-f]{16}' $wanted -printf '%f\n' 2>/dev/null
end
complete -c hls-cache -n "__fish_hls_cache_using_subcommand stats" -f -a "(__fish_hls_cache_keys)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand verify" -f -a "(__fish_hls_cache_keys)"
complete -c hls-cache -n "__fish_hls_cache_using_subcommand invalidate" -f -a "(__fish_hls_cache_keys)"
