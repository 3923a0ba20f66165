-- Puts a stray back into its queue if its rows are whole again.
-- ARGV: 1 now_ms or ''; 2 id; 3 the state in which a task stands in its queue.
-- Returns: restored | kept | wrong_type, key, type.
local id = ARGV[2]
local wrong = misfit({{K.OWNERS, 'zset'}, {K.STRAYS, 'hash'}}) or unfit(id)
if wrong then return wrong end
local row = redis.call('HMGET', K.TASK .. id, 'state', 'queue')
if not row[1] or redis.call('HEXISTS', K.STRAYS, id) == 0 then return {'kept'} end
if not typed(K.RQ_QUEUE .. row[2], 'list') then return {'kept'} end
open_at_maxmemory()
redis.call('HDEL', K.STRAYS, id)
if row[1] == ARGV[3] and not redis.call('LPOS', K.RQ_QUEUE .. row[2], id) then enter_view(id, row[2], 'queued', '') end
return {'restored'}
