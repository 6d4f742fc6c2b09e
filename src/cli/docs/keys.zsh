
# Completes KEY with the names in the cache's directory, wherever --root is on the line.
_hls-cache_keys() {
    local word _hls_cache_root=$HLS_CACHE_ROOT
    local -a keys
    # Matches a word that runs no command when it is evaluated.
    local name='\$[A-Za-z_][A-Za-z_0-9]*|\$\{[A-Za-z_][A-Za-z_0-9]*\}'
    local safe="^([^][:space:]\\\\\"'\$\`;&|<>()]|\\\\.|'[^']*'|\"([^\\\\\"\$\`]|\\\\.|${name})*\"|${name})*\$"
    integer i
    for (( i = 2; i <= $#hls_cache_line; i++ )); do
        case $hls_cache_line[i] in
            (--) break ;;
            (--root) word=$hls_cache_line[++i] ;;
            (--root=*) word=${hls_cache_line[i]#--root=} ;;
            (*) continue ;;
        esac
        _hls_cache_root=
        [[ $word =~ $safe ]] && eval "_hls_cache_root=$word" 2>/dev/null
    done
    [[ -n $_hls_cache_root ]] || return
    [[ $_hls_cache_root == /* ]] || _hls_cache_root=./$_hls_cache_root

    keys=(${(f)"$(LC_ALL=C command find "$_hls_cache_root/" -mindepth 1 -maxdepth 1 -type d \
        -regextype posix-extended -regex '.*/[0-9a-f]{16}' -printf '%f\n' 2>/dev/null)"})
    # Offer no key twice.
    keys=(${keys:|hls_cache_line})
    compadd "$@" -a keys
}
