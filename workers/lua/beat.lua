-- Renews every lease of an owner: moves the time at which it counts as silent.
-- ARGV: 1 now_ms or ''; 2 owner; 3 isolation_ms.
-- Returns: ok, now, {id, fence, '1' if its cancel was asked else '', ...} | unknown (buried or forgotten: step back) |
--          wrong_type, key, type.
local now = clock(ARGV[1])
local owner = ARGV[2]
local wrong = misfit({{K.OWNERS, 'zset'}, {K.LEASES .. owner, 'hash'}})
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
return {'ok', now, answer}
