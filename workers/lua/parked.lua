-- Takes ids out of the registries in which RQ keeps jobs until later: those never reach a queue of ours by themselves.
-- ARGV: 1 now_ms or ''; 2 how many ids to look at in each registry; 3.. queues.
-- Returns: ok, {ids among the strays now} | wrong_type, key, type of ours. A registry of a wrong type counts as empty.
-- Of RQ's deferred only rows scored in seconds are looked at, as RQ scores them: ours are scored in milliseconds or
-- +inf, so that any number of ours costs nothing here. Nothing of ours is ever scheduled.
local now = clock(ARGV[1])
local wrong = misfit({K.OWNERS, 'zset', K.STRAYS, 'hash'})
if wrong then return wrong end
open_at_maxmemory()

-- Whether it is a deferred task of ours that one of RQ's tools has scored anew: it gets its own score again.
local function scored_anew(id, status, registry)
  if status ~= 'deferred' or not typed(K.TASK .. id, 'hash') then return false end
  local row = redis.call('HMGET', K.TASK .. id, 'state', 'not_before')
  if RQ_STATUS[row[1] or ''] ~= 'deferred' then return false end
  redis.call('ZADD', registry, 'XX', tonumber(row[2] or '') or '+inf', id)
  return true
end

local taken = {}
for i = 3, #ARGV do
  for status, highest in pairs({deferred = '99999999999', scheduled = '+inf'}) do
    local registry = RQ_PARKED[status] .. ARGV[i]
    local found = {}
    if typed(registry, 'zset') then
      found = redis.call('ZRANGEBYSCORE', registry, '-inf', highest, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
    end
    for j = 1, #found, 2 do
      local id = found[j]
      if not scored_anew(id, status, registry) then
        local stray = {queue = ARGV[i], reason = 'RQ keeps it as ' .. status, parked = status, at = now}
        local score = tonumber(found[j + 1])
        if status == 'scheduled' and score and score >= 0 and score < 1e11 then
          stray.due = string.format('%.0f', score * 1000)
        end
        redis.call('HSET', K.STRAYS, id, cjson.encode(stray))
        redis.call('ZREM', registry, id)
        taken[#taken + 1] = id
      end
    end
  end
end
return {'ok', taken}
