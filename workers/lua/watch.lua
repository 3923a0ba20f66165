-- What wants attention now; reads only.
-- ARGV: 1 now_ms or ''; 2 host id; 3 limit.
-- Returns: ok, now, {owner past its deadline, its deadline ('0' = known dead), ...}, {owners on this host},
--          {ids due}, {ids past their age}, {ids of strays}, {ended tasks whose followers are not all told},
--          {an incident of which somebody is to be told} | wrong_type, key, type of the owners, since who cannot see
--          who is alive has no contact. Any other key of a wrong type counts as empty here.
local now = clock(ARGV[1])
local wrong = misfit({K.OWNERS, 'zset'})
if wrong then return wrong end
local limit = tonumber(ARGV[3])
local function until_now(key, ...)
  if not typed(key, 'zset') then return {} end
  return redis.call('ZRANGEBYSCORE', key, '-inf', now, ...)
end
local neighbours = typed(K.HOST .. ARGV[2], 'set') and redis.call('SMEMBERS', K.HOST .. ARGV[2]) or {}
-- Many are looked at a few at a time, others each time.
local strays = {}
local astray = typed(K.STRAYS, 'hash') and redis.call('HLEN', K.STRAYS) or 0
if astray > limit then
  strays = redis.call('HRANDFIELD', K.STRAYS, limit)
elseif astray > 0 then
  strays = redis.call('HKEYS', K.STRAYS)
end
return {
  'ok', now,
  until_now(K.OWNERS, 'WITHSCORES', 'LIMIT', 0, limit),
  neighbours,
  until_now(K.DUE, 'LIMIT', 0, limit),
  until_now(K.AGES, 'LIMIT', 0, limit),
  strays,
  until_now(K.FOLLOWING, 'LIMIT', 0, limit),
  until_now(K.ALERTS, 'LIMIT', 0, 1)}
