-- Lets the tasks of an agent wait, or be leased again; attempts that run go on.
-- ARGV: 1 now_ms or ''; 2 verb: pause, resume; 3 agent; 4 who.
-- Returns: done | already (it was so before) | wrong_type, key, type.
local now = clock(ARGV[1])
local agent = ARGV[3]
local wrong = misfit({K.PAUSED, 'hash'})
if wrong then return wrong end
open_at_maxmemory()
local changed
if ARGV[2] == 'pause' then
  changed = redis.call('HSETNX', K.PAUSED, agent, cjson.encode({at = now, who = ARGV[4]}))
else
  changed = redis.call('HDEL', K.PAUSED, agent)
  if changed == 1 then
    for _, lane in ipairs({'work.', 'meta.'}) do redis.call('PUBLISH', K.BELL, lane .. agent) end
  end
end
return {changed == 1 and 'done' or 'already'}
