-- One lease. ARGV: 1 now_ms or ''; 2.. what is asked for. Returns what leasing.lua says.
return lease(clock(ARGV[1]), 2)
