-- One event of a task; a slot that is free by it gets its next task in the same step.
-- ARGV: 1 now_ms or ''; 2 plan as JSON; 3.. what the slot asks for (see leasing.lua), or nothing.
-- Returns what settling.lua says; to `done` and `already` two parts are added: what leasing.lua says, if something was
-- asked for (nil if not), and the JSON of how the provider's gate moved, if it did. Whatever those are, the event is
-- written.
local now = clock(ARGV[1])
local plan = cjson.decode(ARGV[2])
local answer, freed = settle(now, plan)
if answer[1] ~= 'done' and answer[1] ~= 'already' then return answer end
local change = nil
if plan.gate and answer[1] == 'done' then change = gates().gate_told(plan.gate, now, plan.who, plan.rid) end
if plan.gate and answer[1] == 'already' then change = gates().gate_moved_by(plan.gate.name, plan.rid) end
if ARGV[3] then answer[3] = leasing().lease(now, 3) end
if freed then caps().caps_ring(freed) end
if change then
  answer[3] = answer[3] or false
  answer[4] = cjson.encode(change)
end
return answer
