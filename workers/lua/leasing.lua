-- Pops the next task of the first queue that has one and gives its lease to a slot, in one step.
-- What is asked for stands in ARGV from `at` on: owner; slot; request id; random part of the fence; wall time for RQ's
-- fields; worker name; host; from-state; to-state; queues, in the order to look.
-- Returns: granted, id, fence, now, {field, value, ...} | empty | suspended (by `rq suspend`) | unknown_owner |
--          silent (beat first) | wrong_type, key, type. A re-sent request returns the grant it already made, while that
--          lease is held.
-- Ids that are no task of ours, or whose task is not queued, so that somebody put them here from outside, go among the
-- strays, where a reaper looks after them by the table. At most 64 in one call. Queues of paused agents are passed over.
local function lease(now, at)
  local owner, slot, rid, random, wall, worker, host, from, to = unpack(ARGV, at, at + 8)
  local wrong = misfit({
    {K.OWNERS, 'zset'}, {K.LEASES .. owner, 'hash'}, {K.GRANTS .. owner, 'hash'}, {K.AGES, 'zset'}, {K.STRAYS, 'hash'}})
  if wrong then return wrong end
  -- Where nobody is paused this is all that it costs.
  local fit, kind = typed(K.PAUSED, 'hash')
  if not fit then return {'wrong_type', K.PAUSED, kind} end
  local paused = {}
  for _, agent in ipairs(kind == 'hash' and redis.call('HKEYS', K.PAUSED) or {}) do
    paused['work.' .. agent], paused['meta.' .. agent] = true, true
  end
  local deadline = owner_deadline(owner)
  if not deadline or deadline == 0 then return {'unknown_owner'} end
  if deadline <= now then return {'silent'} end

  local last = redis.call('HGET', K.GRANTS .. owner, slot)
  if last then
    local asked, id, fence = string.match(last, '^(%S+) (%S+) (%S+)$')
    if asked == rid then
      if redis.call('HGET', K.LEASES .. owner, id) ~= fence then return {'empty'} end
      wrong = misfit({{K.TASK .. id, 'hash'}})
      if wrong then return wrong end
      return {'granted', id, fence, now, redis.call('HGETALL', K.TASK .. id)}
    end
  end

  if redis.call('EXISTS', K.RQ_SUSPENDED) == 1 then return {'suspended'} end

  open_at_maxmemory()
  local looked = 0
  for i = at + 9, #ARGV do
    local queue = ARGV[i]
    local list = K.RQ_QUEUE .. queue
    while not paused[queue] and typed(list, 'list') and looked < 64 do
      local id = redis.call('LINDEX', list, 0)
      if not id then break end
      looked = looked + 1
      local kind = redis.call('TYPE', K.TASK .. id).ok
      local state = kind == 'hash' and redis.call('HGET', K.TASK .. id, 'state') or nil
      if not state or unfit(id) then
        local reason = kind == 'none' and 'no task of ours has this id' or 'its rows are damaged'
        redis.call('LPOP', list)
        redis.call('HSET', K.STRAYS, id, cjson.encode({queue = queue, reason = reason, at = now}))
        redis.call('PUBLISH', K.BELL, K.STRAYS)
      elseif state ~= from then
        redis.call('LPOP', list)
        redis.call('HSET', K.STRAYS, id, cjson.encode({queue = queue, reason = 'put back from outside', at = now}))
        redis.call('PUBLISH', K.BELL, K.STRAYS)
      else
        local n = tonumber(redis.call('HGET', K.TASK .. id, 'attempt')) + 1
        local fence = n .. '-' .. random
        redis.call('LPOP', list)
        redis.call('HSET', K.TASK .. id, 'state', to, 'fence', fence, 'owner', owner, 'slot', slot, 'attempt', n,
          'host', host)
        redis.call('HINCRBY', K.TASK .. id, 'pickups', 1)
        redis.call('ZREM', K.AGES, id)
        redis.call('HSET', K.LEASES .. owner, id, fence)
        redis.call('HSET', K.GRANTS .. owner, slot, rid .. ' ' .. id .. ' ' .. fence)
        patch_attempt(id, n, {n = n, fence = fence, leased_at = now, worker = worker, host = host}, now)
        crumb(id, now, from, 'lease', to, '', n, fence, worker, rid)
        enter_view(id, queue, RQ_STATUS[to], fence)
        count_as(id, queue, to)
        job_fields(id, {status = RQ_STATUS[to], worker_name = rq_worker(worker, queue, slot),
          last_heartbeat = wall, started_at = wall, ended_at = ''})
        return {'granted', id, fence, now, redis.call('HGETALL', K.TASK .. id)}
      end
    end
  end
  return {'empty'}
end
