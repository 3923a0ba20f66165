-- What is done to the gates of providers beside leasing and settling.
-- ARGV: 1 now_ms or ''; 2 verb; 3 gate ("provider:key"), or a provider; 4 who; 5 request id; 6.. more:
--       declare: 6 probe_ms, 7 ramp_ms, 8 forgotten_ms: a worker has this key. Makes the gate where nobody knows it, and
--         forgets a few that no worker has named for so long.
--       admit: 6 "owner id fence call": one call of an attempt asks to be let through.
--       tell: 6 JSON of policies.gate.plan: how it ended. Sent again it counts once, and is answered as the first time.
--       open, hold, isolate: 6 reason: by hand.
--       isolate_provider, open_provider: the same for keys of the provider that nobody has heard of yet.
-- Returns: done, JSON of the move or '' | already | unknown (no such gate) |
--          in, epoch, probe (0, 1), watched (0, 1) | wait, state, until or '', reason, now, own (0, 1: the probe is
--          another call of the same attempt) | wrong_type, key, type.
local now = clock(ARGV[1])
local verb, name, who, rid = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local wrong = misfit({K.GATES, 'zset', K.ISOLATED, 'hash'})
if not wrong and not string.find(verb, '_provider', 1, true) then
  wrong = misfit({K.GATE .. name, 'hash', K.GATE_CRUMBS .. name, 'list'})
end
if wrong then return wrong end

local function moved(change)
  return {'done', change and cjson.encode(change) or ''}
end

local function declare(row)
  redis.call('HSET', K.GATE .. name, 'probe_ms', ARGV[6], 'ramp_ms', ARGV[7])
  if not row.state then gate_first(name, row, now, who, rid) end
  redis.call('ZADD', K.GATES, now, name)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', K.GATES, '-inf', now - tonumber(ARGV[8]), 'LIMIT', 0, 10)) do
    redis.call('ZREM', K.GATES, old)
    redis.call('DEL', K.GATE .. old, K.GATE_CRUMBS .. old)
  end
  return moved(nil)
end

local function admit()
  -- A provider that no agent names and no worker declares is known by its calls alone.
  redis.call('ZADD', K.GATES, now, name)
  local let_in, row, probe, due = gate_admit(name, now, ARGV[6], function() return 0 end, who, rid)
  if not let_in then
    local attempt = '^%S+ %S+ %S+'
    local own = row.state == 'probing' and string.match(row.probe, attempt) == string.match(ARGV[6], attempt)
    return {'wait', row.state or '', due or '', row.reason or '', now, own and 1 or 0}
  end
  return {'in', row.epoch, probe and 1 or 0, gate_watched(row, now) and 1 or 0}
end

local function tell(row)
  -- A breadcrumb is not written for each failure, so that who has spoken is remembered beside them.
  if string.find(row.heard or '', rid, 1, true) then return moved(gate_moved_by(name, rid)) end
  local change = gate_told(cjson.decode(ARGV[6]), now, who, rid)
  if row.state then redis.call('HSET', K.GATE .. name, 'heard', string.sub(rid .. ' ' .. (row.heard or ''), 1, 90)) end
  return moved(change)
end

local AFRESH = {['until'] = false, probe = false, probe_until = false, suspect = false, limited = false,
  window = false, watch_until = false, ramp_until = false}

local function by_hand(row)
  if not row.state then return {'unknown'} end
  if gate_moved_by(name, rid) then return {'already'} end
  local event, to = 'hold_by_hand', 'held'
  if verb == 'isolate' then event, to = 'isolate', 'isolated' end
  if verb == 'open' then
    event, to = 'open', 'open'
    -- What was refused must be seen to be mended, by one.
    if row.state == 'held' and row.suspect then event, to = 'try', 'probing' end
  end
  if row.state == to then return {'already'} end
  local change = gate_move(name, row, now, event, to, ARGV[6], who, rid, AFRESH)
  gate_ring(name)
  return moved(change)
end

open_at_maxmemory()
if verb == 'isolate_provider' then
  local added = redis.call('HSETNX', K.ISOLATED, name, cjson.encode({at = now, who = who, reason = ARGV[6]}))
  return added == 1 and moved(nil) or {'already'}
elseif verb == 'open_provider' then
  return redis.call('HDEL', K.ISOLATED, name) == 1 and moved(nil) or {'already'}
end
local row = gate_row(name)
if verb == 'declare' then return declare(row) end
if verb == 'admit' then return admit() end
if verb == 'tell' then return tell(row) end
return by_hand(row)
