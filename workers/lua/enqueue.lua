-- Creates a task, its RQ job and its place in one step.
-- ARGV: 1 now_ms or ''; 2 plan: JSON {id, rid, queue, state, event, who, reason, set{}, max_age_ms, not_before_ms|null,
--       key|null (idempotency key's Redis key), digest, unique_ms,
--       adopt (bool: the RQ job is there already, and its id among the strays), result{} (a row of RQ's result stream),
--       waits (bool: the state is one of waiting), after|null (ids of the tasks that it waits for)}; 3.. field, value pairs of RQ's job hash (bytes).
-- Returns: missing (nothing to adopt) | unknown, id | ended, id, state (of one to wait for, ended without success) |
--          met, id (all to wait for have ended in success: nothing to wait for) | created, id | same, id (this id or this key with these inputs exists) | conflict, id | wrong_type, key, type.
-- At maxmemory it is refused by Redis before anything is written: its first write may grow.
local now = clock(ARGV[1])
local plan = cjson.decode(ARGV[2])
local id, queue = plan.id, plan.queue
local wrong = misfit({
  K.TASK .. id, 'hash', K.CRUMBS .. id, 'list', K.ATTEMPTS .. id, 'hash', K.RQ_JOB .. id, 'hash',
  K.RQ_QUEUE .. queue, 'list', K.RQ_QUEUES, 'set', K.RQ_DEFERRED .. queue, 'zset', K.TASKS, 'zset',
  K.AGES, 'zset', K.DUE, 'zset', plan.key, 'hash', K.LAYOUT, 'hash'})
wrong = wrong or (plan.adopt and misfit({K.STRAYS, 'hash'}))
wrong = wrong or other_layout()
if wrong then return wrong end
if redis.call('EXISTS', K.TASK .. id) == 1 then return {'same', id} end
local there = redis.call('EXISTS', K.RQ_JOB .. id) == 1
if plan.adopt and not there then return {'missing', id} end
if plan.key ~= '' then
  local held = redis.call('HMGET', plan.key, 'id', 'digest', 'until')
  if held[1] and tonumber(held[3]) > now then
    if held[2] == plan.digest then return {'same', held[1]} end
    return {'conflict', held[1]}
  end
end
if there and not plan.adopt then return {'conflict', id} end
local open, refused = nil, nil
if plan.after then
  open, refused = followers().awaited(plan.after)
  if refused then return refused end
  if #open == 0 then return {'met', id} end
end

local expires = now + plan.max_age_ms
plan.set.state, plan.set.queue = plan.state, queue
plan.set.enqueued_at, plan.set.expires_at = whole_number(now), whole_number(expires)
write_fields(K.TASK .. id, plan.set)
if #ARGV > 2 then redis.call('HSET', K.RQ_JOB .. id, unpack(ARGV, 3)) end
redis.call('ZADD', K.TASKS, plan.set.enqueued_at, id)
count_as(id, queue, plan.state)
end_as(id, nil, plan.state, now)
if plan.waits then
  redis.call('ZADD', K.AGES, plan.set.expires_at, id)
else
  redis.call('HSET', K.TASK .. id, 'ended_at', plan.set.enqueued_at)
end
if plan.adopt then
  redis.call('PERSIST', K.RQ_JOB .. id)
  redis.call('HDEL', K.STRAYS, id)
  -- The jobs it depends on must not put it into its queue once they end: that would be somebody's wish to replay it.
  for _, parent in ipairs(decoded(redis.call('HGET', K.RQ_JOB .. id, 'dependency_ids') or '') or {}) do
    local dependents = K.RQ_JOB .. tostring(parent) .. ':dependents'
    if typed(dependents, 'set') then redis.call('SREM', dependents, id) end
  end
end
if plan.not_before_ms then
  redis.call('HSET', K.TASK .. id, 'not_before', plan.not_before_ms)
  if not open then redis.call('ZADD', K.DUE, plan.not_before_ms, id) end
end
if plan.key ~= '' then
  redis.call('HSET', K.TASK .. id, 'key', plan.key)
  redis.call('HSET', plan.key, 'id', id, 'digest', plan.digest, 'until', now + plan.unique_ms)
  -- Only tidiness: whether the key still holds is `until`, compared above.
  redis.call('PEXPIRE', plan.key, plan.unique_ms + 86400000)
end
crumb(id, now, nil, plan.event, plan.state, plan.reason, 0, '', plan.who, plan.rid)
if open then followers().wait_for(id, open) end
enter_view(id, queue, RQ_STATUS[plan.state], '', not open and plan.not_before_ms or nil)
-- RQ's people look there for queues, for one whose first task waits as well.
if RQ_STATUS[plan.state] ~= 'queued' then redis.call('SADD', K.RQ_QUEUES, K.RQ_QUEUE .. queue) end
rq_result(id, plan.result)
return {'created', id}
