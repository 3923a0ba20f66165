-- What is done about incidents by others than a settlement.
-- ARGV: 1 now_ms or ''; 2 verb; then, by verb:
--   report: 3 plan (JSON, see report_incident), 4 id of the task      -> done, id | already, id | strange (a key is in the way)
--   claim: 3 token, 4 ms for which it is held, 5 limit, 6 ms that it must have been due, 7 how often one is tried,
--          8 '1': also those whose first notification still gathers   -> claimed, now, {id, {field, value, ...}, ...}
--   told: 3 token, 4 id, 5 names of sinks that have it, 6 what went wrong or '', 7 ms after which it is given once more to
--         8 the names of those that failed, or ''  -> done | late (another one tells it)
--   ack, close: 3 id, 4 who                                           -> done | already | refused, state | unknown
-- Or wrong_type, key, type. A report of a task that is among the last 8 of its incident counts once.
local now = clock(ARGV[1])
local verb = ARGV[2]
local wrong = incidents_misfit()
if wrong then return wrong end
open_at_maxmemory()

-- What follows once somebody was told, or given up: the next escalation, or none. `again`: ms after which the same
-- notification goes once more to `pending`, those that it did not reach; that is none of the escalations.
local function settle_alert(id, row, delivered, problem, again, pending)
  local told = (tonumber(row.notified) or 0) + (row.pending and 0 or 1)
  local key = K.INCIDENT .. id
  redis.call('HSET', key, 'notified', told, 'notified_at', now, 'delivered', delivered, 'problem', problem)
  redis.call('HDEL', key, 'claimed', 'claims')
  if again and row.state == 'open' then
    redis.call('HSET', key, 'pending', pending, 'tries', (tonumber(row.tries) or 0) + 1)
    redis.call('ZADD', K.ALERTS, now + again, id)
    return
  end
  redis.call('HDEL', key, 'pending', 'tries')
  local schedule = row.schedule and decoded(row.schedule) or {}
  local wait = tonumber(schedule[told])
  if row.state == 'open' and wait then
    redis.call('ZADD', K.ALERTS, now + wait, id)
  else
    redis.call('ZREM', K.ALERTS, id)
    if row.state == 'open' then redis.call('HSET', key, 'parked', '1') end
  end
end

local function report()
  local said = cjson.decode(ARGV[3])
  local id = redis.call('HGET', K.CAUSES, said.cause)
  local row = id and incident_row(id, 'requests')
  local requests = row and row.requests and decoded(row.requests) or {}
  for _, each in ipairs(requests) do
    if each == ARGV[4] then return {'already', id} end
  end
  local reported = report_incident(said, now, ARGV[4], nil)
  if not reported then return {'strange'} end
  if reported ~= id then requests = {} end
  requests[#requests + 1] = ARGV[4]
  if #requests > 8 then table.remove(requests, 1) end
  redis.call('HSET', K.INCIDENT .. reported, 'requests', cjson.encode(requests))
  return {'done', reported}
end

local function claim()
  local token, held, limit, tries = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])
  local until_ms = ARGV[8] == '1' and '+inf' or now - tonumber(ARGV[6])
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.ALERTS, '-inf', until_ms, 'LIMIT', 0, 100)) do
    local row = incident_row(id, 'state', 'claimed', 'claims', 'notified', 'schedule', 'delivered', 'pending')
    local due = tonumber(redis.call('ZSCORE', K.ALERTS, id)) <= now
    local claims = row and tonumber(row.claims) or 0
    if not row or row.state ~= 'open' then
      redis.call('ZREM', K.ALERTS, id)
    elseif due and claims >= tries then
      settle_alert(id, row, row.delivered or '', 'who told it did not come back, ' .. claims .. ' times')
    elseif #found < 2 * limit and (due or not (row.notified or row.claimed)) then
      redis.call('HSET', K.INCIDENT .. id, 'claimed', token, 'claims', claims + 1)
      redis.call('ZADD', K.ALERTS, now + held, id)
      found[#found + 1] = id
      found[#found + 1] = redis.call('HGETALL', K.INCIDENT .. id)
    end
  end
  return {'claimed', now, found}
end

local function told()
  local row = incident_row(ARGV[4], 'state', 'claimed', 'notified', 'schedule', 'pending', 'tries')
  if not row or row.claimed ~= ARGV[3] then return {'late'} end
  settle_alert(ARGV[4], row, ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8])
  return {'done'}
end

local function act(state)
  local id = ARGV[3]
  local row = incident_row(id, 'state')
  if not row or not row.state then return {'unknown'} end
  if row.state == state then return {'already'} end
  if row.state == 'closed' then return {'refused', row.state} end
  redis.call('HSET', K.INCIDENT .. id, 'state', state, state .. '_at', now, state .. '_by', ARGV[4])
  redis.call('HDEL', K.INCIDENT .. id, 'claimed', 'claims')
  redis.call('ZREM', K.ALERTS, id)
  -- One that never opened is kept by its last failure like any other from now on.
  if redis.call('ZREM', K.SEEN, id) == 1 then redis.call('ZADD', K.INCIDENTS, now, id) end
  return {'done'}
end

if verb == 'report' then return report() end
if verb == 'claim' then return claim() end
if verb == 'told' then return told() end
if verb == 'ack' then return act('acked') end
return act('closed')
