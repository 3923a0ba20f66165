-- Writes down what becomes of an effect on the world: before it is tried, and once it is known.
-- ARGV: 1 now_ms or ''; 2 verb; 3 task id; 4 fence of the attempt ('' = a human's: then only while nobody holds the task);
--       5 key; 6 rid of the intent; 7 intend: rid of the open intent that it replaces, or ''; 8 record: the outcome as JSON;
--       9 record: who says so; 10 most keys of a task.
--   intend     go (this very intent stands, sent again or not) | done, outcome | open, rid, at, fence | full
--   record     ok | other (another intent stands, or none)
--   withdraw   ok | other: it is known not to be done, and may be intended anew
-- Each also: missing | lost (the task is somebody else's; nothing was written) | wrong_type, key, type.
local now = clock(ARGV[1])
local verb, id, fence, key, rid = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local effects, member = K.EFFECTS .. id, id .. ' ' .. key
local wrong = misfit({K.TASK .. id, 'hash', effects, 'hash', K.UNCONFIRMED, 'zset', K.OWNERS, 'zset'})
if wrong then return wrong end
local row = redis.call('HMGET', K.TASK .. id, 'state', 'fence')
if not row[1] then return {'missing'} end
if (row[2] or '') ~= fence then return {'lost'} end
local raw = redis.call('HGET', effects, key)
local entry = raw and decoded(raw)
if raw and not (entry and entry.rid and entry.at) then return {'wrong_type', effects, 'hash with a row that is none'} end
local mine = entry and (entry.rid == rid or fence == '')

if verb == 'intend' then
  if entry and entry.done_at then return {'done', entry.outcome} end
  if mine then return {'go'} end
  if entry and entry.rid ~= ARGV[7] then return {'open', entry.rid, entry.at, entry.fence} end
  if not entry and redis.call('HLEN', effects) >= tonumber(ARGV[10]) then return {'full'} end
  open_at_maxmemory()
  redis.call('HSET', effects, key, cjson.encode({at = now, fence = fence, rid = rid}))
  redis.call('ZADD', K.UNCONFIRMED, now, member)
  return {'go'}
end

if verb == 'record' then
  if mine and entry.done_at and fence ~= '' then return {'ok'} end
  if not mine or entry.done_at then return {'other'} end
  open_at_maxmemory()
  entry.done_at, entry.outcome, entry.who = now, ARGV[8], ARGV[9]
  redis.call('HSET', effects, key, cjson.encode(entry))
  redis.call('ZREM', K.UNCONFIRMED, member)
  return {'ok'}
end

-- What an attempt withdraws is its own open intent; a human may also know that what was done is not there any more.
if not entry and fence ~= '' then return {'ok'} end
if not mine or (entry.done_at and fence ~= '') then return {'other'} end
open_at_maxmemory()
redis.call('HDEL', effects, key)
redis.call('ZREM', K.UNCONFIRMED, member)
return {'ok'}
