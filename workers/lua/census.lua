-- How many tasks are where, in one step, without reading any task but the first of each queue; reads only.
-- ARGV: 1 now_ms or ''.
-- Returns: ok, JSON {now, listed: all tasks there are; lanes{} of {state: n}; queues[] of {queue, length, head: id or '',
--          enqueued_at of the head or ''}; strays; damaged[] of keys that hold another type and count as empty}.
local damaged = {}
local function fit(key, kind)
  local wrong = misfit({key, kind})
  if wrong then damaged[#damaged + 1] = {key, wrong[3]} end
  return not wrong
end

local lanes = {}
for _, lane in ipairs({'work', 'meta'}) do
  local states, readable = {}, fit(K.STATES .. lane, 'zset')
  for state, number in pairs(STATE_NUMBER) do
    states[state] = readable and redis.call('ZCOUNT', K.STATES .. lane, number, number) or 0
  end
  lanes[lane] = states
end

local queues = {}
for _, key in ipairs(fit(K.RQ_QUEUES, 'set') and redis.call('SMEMBERS', K.RQ_QUEUES) or {}) do
  local queue = string.sub(key, #K.RQ_QUEUE + 1)
  local ours = string.sub(queue, 1, 5)
  if (ours == 'work.' or ours == 'meta.') and fit(key, 'list') then
    local head, born = redis.call('LINDEX', key, 0) or '', ''
    if head ~= '' and redis.call('TYPE', K.TASK .. head).ok == 'hash' then
      born = redis.call('HGET', K.TASK .. head, 'enqueued_at') or ''
    end
    queues[#queues + 1] = {queue, redis.call('LLEN', key), head, born}
  end
end

local answer = {now = clock(ARGV[1]), lanes = lanes, queues = queues}
answer.listed = fit(K.TASKS, 'zset') and redis.call('ZCARD', K.TASKS) or 0
answer.strays = fit(K.STRAYS, 'hash') and redis.call('HLEN', K.STRAYS) or 0
answer.damaged = damaged
return {'ok', cjson.encode(answer)}
