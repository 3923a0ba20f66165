-- Takes ids out of the registries in which RQ keeps jobs until later: those never reach a queue of ours by themselves.
-- ARGV: 1 now_ms or ''; 2 how many ids to look at in each registry; 3 request id; 4.. queues.
-- Returns: ok, {ids among the strays now} | wrong_type, key, type of ours. A registry of a wrong type counts as empty.
-- Of RQ's deferred only rows scored in seconds are looked at, as RQ scores them: ours are scored in milliseconds or
-- +inf, so that any number of ours costs nothing here. Nothing of ours is ever scheduled.
local now = clock(ARGV[1])
local wrong = misfit({{K.OWNERS, 'zset'}, {K.STRAYS, 'hash'}})
if wrong then return wrong end
open_at_maxmemory()

-- A task that one of RQ's tools put here: its view is put right, and its breadcrumbs say so.
local function put_right(id, status, registry)
  local row = redis.call('HMGET', K.TASK .. id, 'state', 'attempt', 'fence', 'not_before')
  local due = tonumber(row[4] or '')
  if RQ_STATUS[row[1]] == 'deferred' and status == 'deferred' then
    redis.call('ZADD', registry, 'XX', due or '+inf', id)
    return
  end
  redis.call('ZREM', registry, id)
  if unfit(id) or not RQ_STATUS[row[1]] then return end
  if redis.call('LLEN', K.CRUMBS .. id) < 1000 then
    crumb(id, now, row[1], 'refused:defer', row[1], 'found in RQ\'s registry of ' .. status .. ' jobs, put there from outside',
      tonumber(row[2]), row[3] or '', 'rq', ARGV[3])
  end
  job_fields(id, {status = RQ_STATUS[row[1]]})
end

local taken = {}
for i = 4, #ARGV do
  for status, highest in pairs({deferred = '99999999999', scheduled = '+inf'}) do
    local registry = RQ_PARKED[status] .. ARGV[i]
    local found = {}
    if typed(registry, 'zset') then
      found = redis.call('ZRANGEBYSCORE', registry, '-inf', highest, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
    end
    for j = 1, #found, 2 do
      local id = found[j]
      local kind = redis.call('TYPE', K.TASK .. id).ok
      if kind == 'hash' then
        put_right(id, status, registry)
      else
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
