
# Completes KEY with the names in the cache's directory, wherever --root is on the line. Uses cur of its caller.
# Fails if there is no key to offer.
_hls_cache_keys() {
    local i word line="${COMP_LINE}" words=() wanted=(-name "${cur}*") _hls_cache_root="${HLS_CACHE_ROOT-}"
    # In --root=DIR, bash completes DIR as a word of its own.
    word="${line:0:COMP_POINT}"
    [[ ${word%"${cur}"} == *[[:blank:]] ]] || return 1
    # No file is a KEY.
    compopt +o default +o bashdefault 2>/dev/null
    compopt +o nosort 2>/dev/null
    [[ ${cur} == *[!0123456789abcdef]* ]] && return 1

    # Undo what bash splits at = and at colons.
    for word in "${COMP_WORDS[@]}"; do
        if [[ ${#words[@]} -gt 0 && ${line} != [[:blank:]]* ]]; then
            words[${#words[@]} - 1]+="${word}"
        else
            words+=("${word}")
            line="${line#"${line%%[![:blank:]]*}"}"
        fi
        line="${line#"${word}"}"
    done

    # Matches a word that runs no command when it is evaluated.
    local name='\$[A-Za-z_][A-Za-z_0-9]*|\$\{[A-Za-z_][A-Za-z_0-9]*\}'
    local safe="^([^[:space:]\\\\\"'\$\`;&|<>()]|\\\\.|'[^']*'|\"([^\\\\\"\$\`]|\\\\.|${name})*\"|${name})*\$"
    for ((i = 1; i < ${#words[@]}; i++)); do
        case "${words[i]}" in
            --) break ;;
            --root) word="${words[++i]-}" ;;
            --root=*) word="${words[i]#--root=}" ;;
            *)
                # Offer no key twice.
                [[ ${words[i]} =~ ^[0-9a-f]{16}$ && ${words[i]} != "${cur}" ]] &&
                    wanted+=(! -name "${words[i]}")
                continue
                ;;
        esac
        _hls_cache_root=""
        [[ ${word} =~ ${safe} ]] && eval "_hls_cache_root=${word}"
    done
    [[ -n ${_hls_cache_root} ]] || return 1
    [[ ${_hls_cache_root} == /* ]] || _hls_cache_root="./${_hls_cache_root}"

    local IFS=$'\n'
    # shellcheck disable=SC2207 # Keys have no special characters, and bash 3 has no mapfile.
    COMPREPLY=($(LC_ALL=C command find "${_hls_cache_root}/" -mindepth 1 -maxdepth 1 -type d \
        -regextype posix-extended -regex '.*/[0-9a-f]{16}' "${wanted[@]}" -printf '%f\n' 2>/dev/null))
    [[ ${#COMPREPLY[@]} -gt 0 ]]
}
