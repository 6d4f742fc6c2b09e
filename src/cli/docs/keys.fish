
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
