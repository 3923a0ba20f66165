-- Takes an id off a list where it does not belong, if that is still so.
-- ARGV: 1 now_ms or ''; 2 key; 3 member; 4 task id; 5 field of the task's row that says where it belongs; 6 the value
--       with which it would belong here; 7 who; 8 request id.
-- Returns: done | kept | wrong_type, key, type.
local now = clock(ARGV[1])
local key, member, id = ARGV[2], ARGV[3], ARGV[4]
local row, wrong = task_row(id, 'fence', ARGV[5])
wrong = wrong or misfit({K.CRUMBS .. id, 'list'})
if wrong then return wrong end
if row[ARGV[5]] == ARGV[6] then return {'kept'} end
-- A job of plain RQ's is not ours to forget.
if not row.state and redis.call('EXISTS', K.RQ_JOB .. id) == 1 then return {'kept'} end
open_at_maxmemory()
local kind, gone = redis.call('TYPE', key).ok, 0
if kind == 'list' then
  gone = redis.call('LREM', key, 0, member)
elseif kind == 'zset' then
  gone = redis.call('ZREM', key, member)
elseif kind == 'hash' then
  gone = redis.call('HDEL', key, member)
end
if gone > 0 and row.state then
  crumb(id, now, row.state, 'mend', row.state, 'taken off ' .. key .. ', where it does not belong', tonumber(row.attempt),
    row.fence or '', ARGV[7], ARGV[8])
end
return {gone > 0 and 'done' or 'kept'}
