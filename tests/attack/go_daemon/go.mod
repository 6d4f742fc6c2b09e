module go-race-daemon

go 1.19

require go-daemon v0.0.0

replace go-daemon => ../../../examples/go-daemon
