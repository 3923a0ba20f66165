-- One event of a task; a slot that is free by it gets its next task in the same step.
-- ARGV: 1 now_ms or ''; 2 plan as JSON; 3.. what the slot asks for (see leasing.lua), or nothing.
-- Returns what settling.lua says; to `done` and `already` a third part is added, if something was asked for: what
-- leasing.lua says. Whatever that is, the event is written.
local now = clock(ARGV[1])
local answer = settle(now, cjson.decode(ARGV[2]))
if ARGV[3] and (answer[1] == 'done' or answer[1] == 'already') then answer[3] = lease(now, 3) end
return answer
