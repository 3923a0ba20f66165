-- Takes a task whose row nobody can read out of everybody's way: out of its lease, and off the times at which it would
-- be looked at again. The row stays as it is, for people.
-- ARGV: 1 now_ms or ''; 2 id; 3 owner of its lease ('' = none); 4 queue; 5 reason.
-- Returns: ok | wrong_type, key, type.
local id, owner = ARGV[2], ARGV[3]
local wrong = misfit({
  K.OWNERS, 'zset', K.STRAYS, 'hash', K.LEASES .. owner, 'hash', K.DUE, 'zset', K.AGES, 'zset'})
if wrong then return wrong end
local fence = redis.call('HGET', K.LEASES .. owner, id)
open_at_maxmemory()
redis.call('HSET', K.STRAYS, id, cjson.encode({queue = ARGV[4], reason = ARGV[5], at = clock(ARGV[1])}))
redis.call('HDEL', K.LEASES .. owner, id)
redis.call('ZREM', K.DUE, id)
redis.call('ZREM', K.AGES, id)
if fence then leave_view(id, ARGV[4], 'started', fence) end
return {'ok'}
