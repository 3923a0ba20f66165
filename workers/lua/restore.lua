-- Puts a stray where it belongs if its rows are whole again: back into its queue, or into RQ's view of its state.
-- ARGV: 1 now_ms or ''; 2 id; 3 the state in which a task stands in its queue; 4 the state for which 5 was made ('' =
--       none: RQ's view of it stands as it should); 5 JSON object of RQ job hash fields.
-- Returns: restored | kept | wrong_type, key, type.
local id = ARGV[2]
local wrong = misfit({K.OWNERS, 'zset', K.STRAYS, 'hash'}) or unfit(id)
if wrong then return wrong end
local row = redis.call('HMGET', K.TASK .. id, 'state', 'queue', 'fence', 'not_before')
if not row[1] or redis.call('HEXISTS', K.STRAYS, id) == 0 then return {'kept'} end
if not typed(K.RQ_QUEUE .. row[2], 'list') then return {'kept'} end
open_at_maxmemory()
redis.call('HDEL', K.STRAYS, id)
if row[1] == ARGV[3] then
  if not redis.call('LPOS', K.RQ_QUEUE .. row[2], id) then enter_view(id, row[2], 'queued', '') end
elseif row[1] == ARGV[4] then
  enter_view(id, row[2], RQ_STATUS[row[1]], row[3] or '', tonumber(row[4] or ''))
end
if row[1] == ARGV[4] then job_fields(id, cjson.decode(ARGV[5])) end
return {'restored'}
