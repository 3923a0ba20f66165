-- Comings and goings of owners.
-- ARGV: 1 now_ms or ''; 2 verb; 3 owner; 4 host id; 5 isolation_ms; 6 JSON object of fields
--   enlist: a supervisor begins to own. bury: its process tree is known to be dead (or it left): its leases may be taken
--   at once. drain: somebody wants it to finish and leave; its next beat says so. condemn: the same for an owner that has been silent past its deadline, decided here and now, so that a
--   beat that comes after it is refused. forget: drops the rows of an owner that is buried or silent and holds nothing any more.
-- Returns: ok | unknown | alive (it is not past its deadline) | kept (it still holds leases) | wrong_type, key, type | other_layout, major, release.
local now = clock(ARGV[1])
local verb, owner, host = ARGV[2], ARGV[3], ARGV[4]
local wrong = misfit({
  K.OWNERS, 'zset', K.OWNER .. owner, 'hash', K.LEASES .. owner, 'hash', K.HOST .. host, 'set'})
-- Only to forget an owner touches its grants: nothing else must wait for them.
if verb == 'forget' then wrong = wrong or misfit({K.GRANTS .. owner, 'hash'}) end
if verb == 'enlist' then wrong = wrong or misfit({K.LAYOUT, 'hash', K.TASKS, 'zset'}) end
if wrong then return wrong end
-- Another layout is taken over only where nothing of it is left.
if verb == 'enlist' and redis.call('ZCARD', K.TASKS) + redis.call('ZCARD', K.OWNERS) > 0 then
  local other = other_layout()
  if other then return other end
end
local deadline = owner_deadline(owner)
-- Whose deadline is lost (the key of the owners was damaged and moved away) is buried all the same while it holds
-- leases: by the owners alone a reaper finds them.
local stranded = verb == 'bury' and not deadline and redis.call('HLEN', K.LEASES .. owner) > 0
if verb ~= 'enlist' and not deadline and not stranded then return {'unknown'} end
if verb == 'condemn' and deadline > now then return {'alive'} end
if verb == 'forget' and redis.call('HLEN', K.LEASES .. owner) > 0 then return {'kept'} end
if verb == 'forget' and deadline > now then return {'kept'} end

-- Its slots are no workers of RQ's any more. Rows that a later owner of the same worker has written stay.
local function drop_rq_rows()
  local row = redis.call('HMGET', K.OWNER .. owner, 'name', 'lane', 'slots', 'agents', 'first_slot')
  local slots, first, gone = tonumber(row[3] or ''), tonumber(row[5] or '0') or 0, {}
  if not row[1] or not row[2] or not slots or slots > 1000 then return end
  for slot = first, first + slots - 1 do
    local key = K.RQ_WORKER .. rq_worker(row[1], row[2], string.format('%d', slot))
    if redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'owner') == owner then
      redis.call('DEL', key)
      gone[#gone + 1] = key
    end
  end
  if #gone == 0 then return end
  if typed(K.RQ_WORKERS, 'set') then redis.call('SREM', K.RQ_WORKERS, unpack(gone)) end
  for agent in string.gmatch(row[4] or '', '%S+') do
    local set = K.RQ_WORKERS_OF .. row[2] .. '.' .. agent
    if typed(set, 'set') then redis.call('SREM', set, unpack(gone)) end
  end
end

open_at_maxmemory()
if verb == 'enlist' then
  local release = cjson.decode(ARGV[6]).release or ''
  if redis.call('HGET', K.LAYOUT, 'major') ~= LAYOUT.major then
    redis.call('HSET', K.LAYOUT, 'major', LAYOUT.major, 'minor', LAYOUT.minor, 'release', release, 'since', now)
  elseif tonumber(redis.call('HGET', K.LAYOUT, 'minor') or '0') < LAYOUT.minor then
    redis.call('HSET', K.LAYOUT, 'minor', LAYOUT.minor)
  end
  redis.call('ZADD', K.OWNERS, now + tonumber(ARGV[5]), owner)
  redis.call('SADD', K.HOST .. host, owner)
  redis.call('HSET', K.OWNER .. owner, 'host_id', host, 'isolation_ms', ARGV[5], 'since', now)
elseif verb == 'bury' or verb == 'condemn' then
  redis.call('ZADD', K.OWNERS, 0, owner)
  redis.call('PUBLISH', K.BELL, owner)
  drop_rq_rows()
elseif verb == 'drain' then
  redis.call('PUBLISH', K.BELL, owner)
end
if verb == 'forget' then
  redis.call('ZREM', K.OWNERS, owner)
  redis.call('DEL', K.OWNER .. owner, K.LEASES .. owner, K.GRANTS .. owner)
  redis.call('SREM', K.HOST .. host, owner)
else
  for field, value in pairs(cjson.decode(ARGV[6])) do redis.call('HSET', K.OWNER .. owner, field, value) end
end
return {'ok'}
