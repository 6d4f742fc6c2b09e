module go-daemon

go 1.19
