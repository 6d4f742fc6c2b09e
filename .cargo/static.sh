#!/usr/bin/env bash
# Links hls-cache statically where there is a static C library. Not `rustflags` in config.toml: these
# reach clap's proc macro too, which cannot be built so. Not sh: dash drops CARGO_BIN_EXE_hls-cache,
# which the tests are compiled with, for the hyphen in its name.
if [[ " $* " == *" --crate-name hls_cache "* && -f $(cc -print-file-name=libc.a 2>/dev/null) ]]; then
    set -- "$@" -C target-feature=+crt-static
fi
exec "$@"
