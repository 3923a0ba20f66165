-- Incidents, for the scripts that count or tell them; put after common.lua. All numbers are data that policies made:
-- here they are only compared and added. Four keys hold what there is, one hash each incident:
--   K.CAUSES cause -> id of its newest incident; K.SEEN and K.INCIDENTS id -> ms of its last failure, by whether it has
--   opened; K.ALERTS id -> ms at which somebody is to be told (while who tells holds it: when that ends).
-- A stranger's key in the place of one of them keeps no task from moving: nothing is counted then.
local INCIDENTS_MOST, SEEN_MOST, SAMPLES_MOST = 500, 500, 10

local function incidents_misfit()
  return misfit({K.CAUSES, 'hash', K.SEEN, 'zset', K.INCIDENTS, 'zset', K.ALERTS, 'zset'})
end

-- The named fields of an incident; nil where there is none, or a stranger's key.
local function incident_row(id, ...)
  local key = K.INCIDENT .. id
  if redis.call('TYPE', key).ok ~= 'hash' then return nil end
  local values, row = redis.call('HMGET', key, ...), {}
  for i, name in ipairs({...}) do row[name] = values[i] or nil end
  return row
end

local function forget_incident(id)
  local row = incident_row(id, 'cause')
  if row then
    if row.cause and redis.call('HGET', K.CAUSES, row.cause) == id then redis.call('HDEL', K.CAUSES, row.cause) end
    redis.call('DEL', K.INCIDENT .. id)
  end
  for _, key in ipairs({K.SEEN, K.INCIDENTS, K.ALERTS}) do redis.call('ZREM', key, id) end
end

-- Those of which nothing was heard since `before` go, and whatever is too many, the longest silent first; a few at a
-- time, since each failure brings one at most.
local function make_room(key, most, before)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', '(' .. before, 'LIMIT', 0, 4)) do forget_incident(id) end
  local over = redis.call('ZCARD', key) - most
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', key, 0, math.min(over, 4) - 1)) do forget_incident(id) end
  end
end

-- The incident of a cause that goes on; nil where a new one begins. An old one that is still open ends here.
local function going_on(said, now)
  local id = redis.call('HGET', K.CAUSES, said.cause)
  local row = id and incident_row(id, 'state', 'count', 'tasks', 'opened_at', 'notified', 'claimed', 'last_at', 'samples')
  if not row then return nil end
  if row.state ~= 'closed' and now - (tonumber(row.last_at) or 0) <= said.window_ms then return id, row end
  if row.state == 'seen' then
    forget_incident(id)
  elseif row.state ~= 'closed' then
    redis.call('HSET', K.INCIDENT .. id, 'state', 'closed', 'closed_at', now, 'closed_by', 'window_s')
    redis.call('ZREM', K.ALERTS, id)
  end
  return nil
end

local function begin_incident(said, now, task)
  make_room(K.SEEN, SEEN_MOST - 1, now - said.window_ms)
  local key = K.INCIDENT .. said.id
  redis.call('HSET', key, 'state', 'seen', 'cause', said.cause, 'class', said.kind, 'provider', said.provider,
    'agent', said.agent, 'fingerprint', said.fingerprint, 'first_at', now, 'first_task', task)
  redis.call('HSET', K.CAUSES, said.cause, said.id)
  return said.id, {state = 'seen'}
end

local function open_incident(id, said, now)
  make_room(K.INCIDENTS, INCIDENTS_MOST - 1, now - said.keep_ms)
  redis.call('ZREM', K.SEEN, id)
  redis.call('HSET', K.INCIDENT .. id, 'state', 'open', 'opened_at', now)
end

-- The incident of the attempt before this one of a task; nil where it had none.
local function incident_before(task, attempt)
  local n = tonumber(attempt) or 0
  local raw = n > 1 and redis.call('HGET', K.ATTEMPTS .. task, string.format('%d', n - 1))
  local record = raw and decoded(raw)
  return record and record.incident
end

-- Counts one failure and gives the id of its incident; nil where a stranger's key is in the way. `said`: as
-- policies/incident.py `report` makes it, with `id` for an incident that begins. `task` ('' = none): whose failure;
-- `prior`: the incident of its attempt before, so that a task counts once.
local function report_incident(said, now, task, prior)
  if incidents_misfit() then return nil end
  local id, row = going_on(said, now)
  if not id then
    -- The id is new; a key that is there under it is a stranger's.
    if redis.call('EXISTS', K.INCIDENT .. said.id) == 1 then return nil end
    id, row = begin_incident(said, now, task)
  end
  local key = K.INCIDENT .. id
  local count = (tonumber(row.count) or 0) + 1
  local tasks = tonumber(row.tasks) or 0
  if task ~= '' and prior ~= id then
    tasks = tasks + 1
    local samples = row.samples and decoded(row.samples) or {}
    if #samples < SAMPLES_MOST then
      samples[#samples + 1] = task
      redis.call('HSET', key, 'samples', cjson.encode(samples))
    end
  end
  redis.call('HSET', key, 'count', count, 'tasks', tasks, 'last_at', now, 'last_task', task,
    'severity', said.severity, 'reason', said.reason)
  if row.state == 'seen' and count >= said.opens_at then
    open_incident(id, said, now)
    row.state, row.opened_at = 'open', now
  end
  redis.call('ZADD', row.state == 'seen' and K.SEEN or K.INCIDENTS, now, id)
  -- Until the first notification each failure puts it off a little, so that it says how many; never past gather_ms.
  if row.state == 'open' and said.tells and not row.notified and not row.claimed then
    local latest = (tonumber(row.opened_at) or now) + said.gather_ms
    redis.call('ZADD', K.ALERTS, math.min(latest, now + said.quiet_ms), id)
    -- Of the failure that tells: what opened it may have been only worth a listing.
    redis.call('HSET', key, 'schedule', cjson.encode(said.schedule))
  end
  return id
end
