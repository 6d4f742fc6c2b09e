#!/usr/bin/env bash
# Links hls-cache statically where there is a static C library. Not `rustflags` in config.toml: these
# reach clap's proc macro too, which cannot be built so. Not sh: dash drops CARGO_BIN_EXE_hls-cache,
# which the tests are compiled with, for the hyphen in its name.
# Not with --target: the C library of another machine is not this compiler's to find.
if [[ " $* " == *" --crate-name hls_cache "* && " $* " != *" --target "* ]] &&
    [[ -f $(cc -print-file-name=libc.a 2>/dev/null) ]]; then
    set -- "$@" -C target-feature=+crt-static
fi
exec "$@"
