_hls__cache() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="hls__cache"
                ;;
            hls__cache,gc-orphans)
                cmd="hls__cache__subcmd__gc__subcmd__orphans"
                ;;
            hls__cache,help)
                cmd="hls__cache__subcmd__help"
                ;;
            hls__cache,invalidate)
                cmd="hls__cache__subcmd__invalidate"
                ;;
            hls__cache,key)
                cmd="hls__cache__subcmd__key"
                ;;
            hls__cache,stats)
                cmd="hls__cache__subcmd__stats"
                ;;
            hls__cache,sweep)
                cmd="hls__cache__subcmd__sweep"
                ;;
            hls__cache,verify)
                cmd="hls__cache__subcmd__verify"
                ;;
            hls__cache__subcmd__help,gc-orphans)
                cmd="hls__cache__subcmd__help__subcmd__gc__subcmd__orphans"
                ;;
            hls__cache__subcmd__help,help)
                cmd="hls__cache__subcmd__help__subcmd__help"
                ;;
            hls__cache__subcmd__help,invalidate)
                cmd="hls__cache__subcmd__help__subcmd__invalidate"
                ;;
            hls__cache__subcmd__help,key)
                cmd="hls__cache__subcmd__help__subcmd__key"
                ;;
            hls__cache__subcmd__help,stats)
                cmd="hls__cache__subcmd__help__subcmd__stats"
                ;;
            hls__cache__subcmd__help,sweep)
                cmd="hls__cache__subcmd__help__subcmd__sweep"
                ;;
            hls__cache__subcmd__help,verify)
                cmd="hls__cache__subcmd__help__subcmd__verify"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        hls__cache)
            opts="-q -v -h -V --root --json --quiet --verbose --color --help --version stats sweep gc-orphans verify invalidate key help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__gc__subcmd__orphans)
            opts="-n -q -v -h -V --min-age --locks-only --dry-run --wait --library --qualities --tracks --root --json --quiet --verbose --color --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --min-age)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --wait)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --library)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --qualities)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tracks)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help)
            opts="stats sweep gc-orphans verify invalidate key help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__gc__subcmd__orphans)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__invalidate)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__key)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__stats)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__sweep)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__help__subcmd__verify)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__invalidate)
            opts="-n -q -v -h -V --source --stdin --all --force --dry-run --library --qualities --tracks --root --json --quiet --verbose --color --help --version"
            if [[ ${cur} == -* ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --source)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --library)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --qualities)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tracks)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            _hls_cache_keys || COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__key)
            opts="-0 -q -v -h -V --quality --audio --encode --stamp --burn --id --stdin --null --long --dir --root --json --quiet --verbose --color --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --quality)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --audio)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --encode)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --burn)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__stats)
            opts="-q -v -h -V --source --entries --unnamed --sort --max-size --min-free --check --histogram --history --prometheus --textfile --full-scan --library --qualities --tracks --root --json --quiet --verbose --color --help --version"
            if [[ ${cur} == -* ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --source)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --sort)
                    COMPREPLY=($(compgen -W "used size key" -- "${cur}"))
                    return 0
                    ;;
                --max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --min-free)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --textfile)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                --library)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --qualities)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tracks)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            _hls_cache_keys || COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__sweep)
            opts="-n -q -v -h -V --max-size --min-free --older-than --max-entries --low-water --keep-recent --best-effort --min-budget --min-age --keep-source --prefer-unnamed --full-scan --locks-only --dry-run --wait --library --qualities --tracks --root --json --quiet --verbose --color --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --min-free)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --older-than)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-entries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --low-water)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --keep-recent)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --min-budget)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --min-age)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --keep-source)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --wait)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --library)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --qualities)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tracks)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        hls__cache__subcmd__verify)
            opts="-q -v -h -V --segments --deep --subset --fix --locks-only --library --qualities --tracks --root --json --quiet --verbose --color --help --version"
            if [[ ${cur} == -* ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --segments)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --subset)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --library)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --qualities)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tracks)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --root)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            _hls_cache_keys || COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

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

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _hls__cache -o nosort -o bashdefault -o default hls-cache
else
    complete -F _hls__cache -o bashdefault -o default hls-cache
fi
