-- The gates of providers, for every script that lets something through one or tells it of an end; put after common.lua.
-- A gate is a hash whose times are data; a damaged one lets nobody through and keeps nobody from ending.
-- GATE holds numbers for a gate that no worker has declared yet.

local GATE_FIELDS = {'state', 'epoch', 'until', 'probe', 'probe_until', 'watch_until', 'limited', 'proven', 'suspect',
  'ramp_until', 'ramp_next', 'ramp_of', 'probe_ms', 'ramp_ms', 'window', 'heard', 'reason'}

-- The gate as it stands; nil where its key holds something else. A gate nobody knows has no state.
local function gate_row(name)
  local values = redis.pcall('HMGET', K.GATE .. name, unpack(GATE_FIELDS))
  if values.err then return nil end
  local row = {}
  for i, field in ipairs(GATE_FIELDS) do row[field] = values[i] or nil end
  row.epoch = tonumber(row.epoch) or 0
  return row
end

local function gate_number(row, field)
  return tonumber(row[field]) or 0
end

-- Moves a gate: a new epoch, so that what was let through before it speaks of another time; and a breadcrumb.
-- `fields`: more of the hash, false for those that go. A reader of breadcrumbs is no reason to stop: their key may be a
-- stranger's.
local function gate_move(name, row, now, event, to, reason, who, rid, fields)
  local from = row.state
  row.epoch = row.epoch + 1
  row.state, row.reason = to, reason or ''
  redis.call('HSET', K.GATE .. name, 'state', to, 'epoch', row.epoch, 'reason', row.reason, 'since', now)
  for field, value in pairs(fields or {}) do
    if value then redis.call('HSET', K.GATE .. name, field, value) else redis.call('HDEL', K.GATE .. name, field) end
    row[field] = value or nil
  end
  redis.pcall('RPUSH', K.GATE_CRUMBS .. name, cjson.encode({
    now, from or cjson.null, event, to, row.reason, row.epoch, who or '', rid or ''}))
  redis.pcall('LTRIM', K.GATE_CRUMBS .. name, -GATE.crumbs, -1)
  return {name = name, from = from, event = event, to = to, reason = row.reason, epoch = row.epoch}
end

local function gate_ring(name)
  redis.call('PUBLISH', K.BELL, name)
end

-- A key that nobody has heard of is tried by one before it is trusted; of an isolated provider, not even that.
local function gate_first(name, row, now, who, rid)
  local provider = string.match(name, '^[^:]*')
  if redis.pcall('HEXISTS', K.ISOLATED, provider) == 1 then
    gate_move(name, row, now, 'isolate', 'isolated', 'its provider is isolated', who, rid)
  else
    gate_move(name, row, now, 'first', 'probing', 'no answer to this key has been seen yet', who, rid)
  end
  redis.pcall('ZADD', K.GATES, now, name)
end

-- Whether the gate wants to hear of a success: it is not plainly open.
local function gate_watched(row, now)
  return row.limited ~= nil or row.proven == nil or now < gate_number(row, 'watch_until')
end

-- Whether the probe is under way: its attempt holds its lease, and its time is not over.
local function probe_lives(row, now)
  if not row.probe or gate_number(row, 'probe_until') <= now then return false end
  local owner, id, fence = string.match(row.probe, '^(%S+) (%S+) (%S+)')
  return owner ~= nil and redis.pcall('HGET', K.LEASES .. owner, id) == fence
end

-- Lets somebody through, or not. `holder`: "owner id fence", of a call with a fourth word; `waiting`: a function that
-- tells how many wait at this gate. Returns whether, the gate as it stands, whether as its probe, and until when to wait
-- (nil: until the bell).
local function gate_admit(name, now, holder, waiting, who, rid)
  local row = gate_row(name)
  if not row then return false, {epoch = 0}, false, nil end
  if not row.state then gate_first(name, row, now, who, rid) end
  if (row.state == 'cooling' or row.state == 'tripped') and now < gate_number(row, 'until') then
    return false, row, false, gate_number(row, 'until')
  end
  if row.state == 'cooling' and row.proven then
    local ramp = now + (tonumber(row.ramp_ms) or GATE.ramp_ms)
    gate_move(name, row, now, 'release', 'open', 'the wait is over', who, rid,
      {['until'] = false, ramp_until = ramp, ramp_of = 1, ramp_next = now})
  end
  if row.state == 'open' then
    local ramp_ms = tonumber(row.ramp_ms) or GATE.ramp_ms
    -- A rest that is longer than a ramp was written before the server's clock went back.
    local rest = gate_number(row, 'ramp_until') - now
    if rest <= 0 or rest > math.max(ramp_ms, GATE.hark_ms) then return true, row, false, nil end
    if now < gate_number(row, 'ramp_next') then return false, row, false, gate_number(row, 'ramp_next') end
    row.ramp_of = math.max(gate_number(row, 'ramp_of'), waiting(), 1)
    local pause = math.min(1000, math.ceil(ramp_ms / row.ramp_of))
    redis.call('HSET', K.GATE .. name, 'ramp_of', row.ramp_of, 'ramp_next', now + pause)
    return true, row, false, nil
  end
  if row.state ~= 'probing' and row.state ~= 'tripped' and row.state ~= 'cooling' then return false, row, false, nil end
  if row.state == 'probing' and probe_lives(row, now) then
    if row.probe == holder then return true, row, true, nil end
    -- A call of the attempt that was let through as the probe: it is the probe, once.
    if row.probe .. ' ' ~= string.sub(holder, 1, #row.probe + 1) then
      return false, row, false, gate_number(row, 'probe_until')
    end
  end
  gate_move(name, row, now, 'probe', 'probing', row.suspect and row.reason or 'one may try', who, rid,
    {probe = holder, probe_until = now + (tonumber(row.probe_ms) or GATE.probe_ms), ['until'] = false})
  return true, row, true, nil
end

-- The move that a request has caused which is sent again; nil where it caused none.
local function gate_moved_by(name, rid)
  local rows = redis.pcall('LRANGE', K.GATE_CRUMBS .. name, -12, -1)
  for _, raw in ipairs(rows.err and {} or rows) do
    local row = decoded(raw)
    if row and row[8] == rid and row[3] ~= 'probe' then
      return {name = name, from = row[2], event = row[3], to = row[4], reason = row[5], epoch = row[6]}
    end
  end
  return nil
end

-- Adds one watched call to the window; returns how many there are in it, and how many of them failed.
local function gate_count(name, row, now, told, failed)
  local piece = math.floor(now / told.piece)
  local kept, calls, failures = {}, 1, failed and 1 or 0
  local mine = {piece, 1, failures}
  for when, count, bad in string.gmatch(row.window or '', '(%d+):(%d+):(%d+)') do
    when, count, bad = tonumber(when), tonumber(count), tonumber(bad)
    if when > piece - told.pieces and when <= piece then
      calls, failures = calls + count, failures + bad
      if when == piece then
        mine = {piece, count + 1, bad + (failed and 1 or 0)}
      else
        kept[#kept + 1] = when .. ':' .. count .. ':' .. bad
      end
    end
  end
  kept[#kept + 1] = string.format('%d:%d:%d', mine[1], mine[2], mine[3])
  redis.call('HSET', K.GATE .. name, 'window', table.concat(kept, ' '))
  return calls, failures
end

local function gate_cool(name, row, now, told, who, rid)
  local number = gate_number(row, 'limited') + 1
  local wait = told.wait or told.own[math.min(number, #told.own)]
  local due = math.max(now + wait, (row.state == 'cooling' or row.state == 'tripped') and gate_number(row, 'until') or 0)
  if row.state == 'cooling' and due <= gate_number(row, 'until') then return nil end
  return gate_move(name, row, now, 'cool', 'cooling', told.reason, who, rid, {['until'] = due, probe = false,
    limited = row.state == 'cooling' and row.limited or number, window = false, watch_until = false})
end

local function gate_failed(name, row, now, told, who, rid)
  if row.state == 'open' then
    local calls, failures = gate_count(name, row, now, told, true)
    if calls < told.min_calls or failures * 100 < told.rate * calls then
      redis.call('HSET', K.GATE .. name, 'watch_until', now + told.piece * told.pieces)
      -- Nothing but failures: those in flight are heard first, before more is sent after them.
      if failures > 1 and failures == calls and now >= gate_number(row, 'ramp_until') then
        redis.call('HSET', K.GATE .. name, 'ramp_until', now + GATE.hark_ms, 'ramp_next', now + GATE.hark_ms)
      end
      return nil
    end
  end
  local wait = math.max(told.cooldown, told.wait or 0)
  return gate_move(name, row, now, 'trip', 'tripped', told.reason, who, rid,
    {['until'] = now + wait, probe = false, suspect = false, window = false, watch_until = false})
end

local function gate_answered(name, row, now, told, who, rid)
  if row.state == 'probing' then
    local change = gate_move(name, row, now, 'recover', 'open', 'an answer came', who, rid, {proven = 1, probe = false,
      probe_until = false, suspect = false, limited = false, ramp_until = false, window = false, watch_until = false})
    gate_ring(name)
    return change
  end
  if row.limited then redis.call('HDEL', K.GATE .. name, 'limited') end
  if not row.proven then redis.call('HSET', K.GATE .. name, 'proven', 1) end
  if now < gate_number(row, 'watch_until') then gate_count(name, row, now, told, false) end
  return nil
end

-- The key is refused, or out of credit: one more is to confirm it.
local function gate_refused(name, row, now, told, who, rid)
  if row.state == 'probing' and row.suspect then
    return gate_move(name, row, now, 'hold', 'held', told.reason, who, rid, {probe = false})
  end
  local change = gate_move(name, row, now, 'suspect', 'probing', told.reason, who, rid,
    {probe = false, suspect = told.kind, window = false, watch_until = false})
  gate_ring(name)
  return change
end

-- Tells a gate of an end. `told` is what policies.gate.plan puts together. Who was let through in another epoch speaks
-- of another time and is not heard, but for a wait that somebody named. Returns how the gate moved; nil if it did not.
local function gate_told(told, now, who, rid)
  local name, row = told.name, gate_row(told.name)
  if not row or not row.state or row.state == 'held' or row.state == 'isolated' then return nil end
  if told.kind == 'limited' and told.wait then return gate_cool(name, row, now, told, who, rid) end
  if told.epoch ~= row.epoch or row.state == 'cooling' or row.state == 'tripped' then return nil end
  if told.kind == 'limited' then return gate_cool(name, row, now, told, who, rid) end
  if told.kind == 'failed' then return gate_failed(name, row, now, told, who, rid) end
  if told.kind == 'answered' then return gate_answered(name, row, now, told, who, rid) end
  if told.kind == 'refused' or told.kind == 'spent' then return gate_refused(name, row, now, told, who, rid) end
  if row.state == 'probing' and row.probe then
    -- The probe has nothing to say: the next one may try.
    redis.call('HDEL', K.GATE .. name, 'probe', 'probe_until')
    gate_ring(name)
  end
  return nil
end
