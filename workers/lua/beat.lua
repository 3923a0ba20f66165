-- Renews every lease of an owner: moves the time at which it counts as silent.
-- ARGV: 1 now_ms or ''; 2 owner; 3 isolation_ms; 4 JSON [[id, fence, evidence as JSON text], ...]: what attempts that it
--       holds have told of their progress since the last beat, kept in their records; '' for nothing.
-- Returns: ok, now, {id, fence, '1' if its cancel was asked else '', ...}, who wants it to drain or '' | unknown (buried or forgotten: step back) |
--          wrong_type, key, type.
local now = clock(ARGV[1])
local owner = ARGV[2]
local wrong = misfit({K.OWNERS, 'zset', K.LEASES .. owner, 'hash'})
if wrong then return wrong end
local deadline = owner_deadline(owner)
if not deadline or deadline == 0 then return {'unknown'} end
open_at_maxmemory()
redis.call('ZADD', K.OWNERS, 'XX', now + tonumber(ARGV[3]), owner)
local held, answer = redis.call('HGETALL', K.LEASES .. owner), {}
for i = 1, #held, 2 do
  local cancel = ''
  if redis.call('TYPE', K.TASK .. held[i]).ok == 'hash' then
    cancel = redis.call('HGET', K.TASK .. held[i], 'cancel') or ''
  end
  answer[#answer + 1] = held[i]
  answer[#answer + 1] = held[i + 1]
  answer[#answer + 1] = cancel
end
if ARGV[4] ~= '' then
  for _, told in ipairs(cjson.decode(ARGV[4])) do
    local id, fence = told[1], told[2]
    if redis.call('HGET', K.LEASES .. owner, id) == fence and typed(K.ATTEMPTS .. id, 'hash') then
      -- A record that nobody can read must not keep the leases from being renewed.
      pcall(patch_attempt, id, string.match(fence, '^%d+'), {progress = told[3], progress_at = now})
    end
  end
end
-- Its row is not needed to renew leases: one that somebody broke is passed over.
local drain = redis.pcall('HGET', K.OWNER .. owner, 'drain')
return {'ok', now, answer, type(drain) == 'string' and drain or ''}
