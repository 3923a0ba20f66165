-- Tells followers of an ended task, a bounded number at a time.
-- ARGV: 1 now_ms or ''; 2 id of the ended task; 3 limit; 4 wall time for RQ's fields; 5 who;
--       6 JSON list of followers that the caller has settled; 7 JSON list of those to be looked at after all others.
-- Returns: told | more (call again) | waits (it has not ended, or is gone: its followers wait on) |
--          ended, state, {followers to be expired by the caller} | wrong_type, key, type.
local now = clock(ARGV[1])
local id, limit = ARGV[2], tonumber(ARGV[3])
local list = K.FOLLOWERS .. id
local wrong = misfit({
  K.OWNERS, 'zset', K.TASK .. id, 'hash', list, 'list', K.FOLLOWING, 'zset', K.DUE, 'zset', K.AGES, 'zset'})
if wrong then return wrong end
local state = redis.call('HGET', K.TASK .. id, 'state')

open_at_maxmemory()
for _, follower in ipairs(cjson.decode(ARGV[6])) do redis.call('LREM', list, 0, follower) end
for _, follower in ipairs(cjson.decode(ARGV[7])) do
  if redis.call('LREM', list, 0, follower) > 0 then redis.call('RPUSH', list, follower) end
end
if not state or not TERMINAL[state] then
  redis.call('ZREM', K.FOLLOWING, id)
  return {'waits'}
end
if SUCCESS[state] then
  if not tell_followers(id, state, now, ARGV[4], ARGV[5], limit) then return {'more'} end
elseif redis.call('EXISTS', list) == 1 then
  return {'ended', state, redis.call('LRANGE', list, 0, limit - 1)}
end
redis.call('ZREM', K.FOLLOWING, id)
return {'told'}
