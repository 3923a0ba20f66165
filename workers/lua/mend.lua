-- Puts right what is only shown or listed of a task, by what its own row says; the task itself stays as it is.
-- ARGV: 1 now_ms or ''; 2 plan: JSON {id, rid, state, fence ('' = none), who, reason, drop[] (fields that its state must not
--       carry), job{} (RQ job fields of its state), result{} (its row of RQ's results; empty = none), fix_result (bool),
--       waits (bool: its state is one of waiting), isolation_ms}; 3.. field, value pairs of a whole RQ job hash, for
--       one that is gone.
-- Returns: done | already | changed | missing | wrong_type, key, type.
local now = clock(ARGV[1])
local plan = cjson.decode(ARGV[2])
local id = plan.id
local row, wrong = task_row(id, 'fence', 'queue', 'enqueued_at', 'not_before', 'ended_at', 'after_open', 'owner', 'caps',
  'rids', 'rids2')
wrong = wrong or unfit_beside(id) or misfit({
  K.TASKS, 'zset', K.DUE, 'zset', K.AGES, 'zset', K.OWNERS, 'zset', K.FOLLOWING, 'zset'})
if wrong then return wrong end
local state, fence, queue, owner = row.state, row.fence or '', row.queue, row.owner
if not state then return {'missing'} end
if done_before(id, plan.rid, row) then return {'already'} end
if state ~= plan.state or fence ~= plan.fence then return {'changed'} end
local awaits = state == FOLLOWER.waits and row.after_open and decoded(row.after_open) or {}
wrong = owner and misfit({K.LEASES .. owner, 'hash'})
for _, other in ipairs(awaits) do
  wrong = wrong or misfit({K.TASK .. other, 'hash', K.FOLLOWERS .. other, 'list'})
end
if wrong then return wrong end

open_at_maxmemory()
crumb(id, now, state, 'mend', state, plan.reason, tonumber(row.attempt), fence, plan.who, plan.rid)
for _, field in ipairs(plan.drop) do redis.call('HDEL', K.TASK .. id, field) end

-- Lists of ours.
redis.call('ZADD', K.TASKS, row.enqueued_at, id)
if plan.waits then redis.call('ZADD', K.AGES, row.expires_at, id) else redis.call('ZREM', K.AGES, id) end
local due = state == FOLLOWER.waits and #awaits == 0 and tonumber(row.not_before or '') or nil
if due then redis.call('ZADD', K.DUE, due, id) else redis.call('ZREM', K.DUE, id) end
count_as(id, queue, state)
for ended in pairs(TERMINAL) do redis.pcall('ZREM', K.ENDED .. ended, id) end
if TERMINAL[state] and row.ended_at then redis.pcall('ZADD', K.ENDED .. state, row.ended_at, id) end

-- Who is to tell it of the end of what goes before it.
for _, other in ipairs(awaits) do
  if not redis.call('LPOS', K.FOLLOWERS .. other, id) then redis.call('RPUSH', K.FOLLOWERS .. other, id) end
  local there = redis.call('HGET', K.TASK .. other, 'state')
  if there and TERMINAL[there] then redis.call('ZADD', K.FOLLOWING, now, other) end
end

-- Its lease, so that its owner, or a reaper once that is silent, settles it.
if owner and fence ~= '' and RQ_STATUS[state] == 'started' then
  redis.call('HSET', K.LEASES .. owner, id, fence)
  caps_again(id, row.caps or '', now)
  if not owner_deadline(owner) then redis.call('ZADD', K.OWNERS, now + plan.isolation_ms, owner) end
end

-- RQ's view. One that stands rightly in its queue keeps its place.
local status = RQ_STATUS[state]
local places = typed(K.RQ_QUEUE .. queue, 'list') and #redis.call('LPOS', K.RQ_QUEUE .. queue, id, 'COUNT', 0) or 0
local stands = status == 'queued' and places == 1
if places > 0 and not stands then redis.call('LREM', K.RQ_QUEUE .. queue, 0, id) end
for name, registry in pairs(RQ_REGISTRY) do
  if typed(registry .. queue, 'zset') then
    redis.call('ZREM', registry .. queue, id)
    if name == 'started' then
      for _, member in ipairs(redis.call('ZRANGE', registry .. queue, 0, -1)) do
        if string.sub(member, 1, #id + 1) == id .. ':' then redis.call('ZREM', registry .. queue, member) end
      end
    end
  end
end
if not stands then enter_view(id, queue, status, fence, due) end
if redis.call('TYPE', K.RQ_JOB .. id).ok == 'none' then
  for i = 3, #ARGV, 2 do redis.call('HSET', K.RQ_JOB .. id, ARGV[i], ARGV[i + 1]) end
end
job_fields(id, plan.job)
if plan.fix_result and typed(K.RQ_RESULTS .. id, 'stream') then
  redis.call('DEL', K.RQ_RESULTS .. id)
  rq_result(id, plan.result)
end
return {'done'}
