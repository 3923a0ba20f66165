-- Takes the lease of a dead or silent owner over, so that exactly one reaper settles the attempt. The state stays.
-- ARGV: 1 now_ms or ''; 2 id; 3 fence; 4 old owner; 5 new owner; 6 slot; 7 request id; 8 random part of the new fence;
--       9 '1' if this counts as the death of a worker; 10 reason; 11 who.
-- Returns: taken, new fence, now, {field, value, ...} | alive (it beat meanwhile) | changed, state, fence |
--          unknown_owner (the reaper itself) | missing | wrong_type, key, type.
local now = clock(ARGV[1])
local id, fence, old, new, rid = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local row, wrong = task_row(id, 'fence', 'owner', 'queue', 'rids', 'rids2')
wrong = wrong or misfit({
  K.CRUMBS .. id, 'list', K.OWNERS, 'zset', K.LEASES .. old, 'hash', K.LEASES .. new, 'hash'})
if wrong then return wrong end
if not row.state then return {'missing'} end
if row.fence ~= fence or row.owner ~= old then
  if row.owner == new and done_before(id, rid, row) then
    return {'taken', row.fence, now, redis.call('HGETALL', K.TASK .. id)}
  end
  return {'changed', row.state, row.fence or ''}
end
local mine, theirs = owner_deadline(new), owner_deadline(old)
if not mine or mine <= now then return {'unknown_owner'} end
if theirs and theirs > now then return {'alive'} end

open_at_maxmemory()
local taken = row.attempt .. '-' .. ARGV[8]
redis.call('HSET', K.TASK .. id, 'fence', taken, 'owner', new, 'slot', ARGV[6])
if ARGV[9] == '1' then redis.call('HINCRBY', K.TASK .. id, 'deaths', 1) end
redis.call('HDEL', K.LEASES .. old, id)
redis.call('HSET', K.LEASES .. new, id, taken)
crumb(id, now, row.state, 'reap', row.state, ARGV[10], tonumber(row.attempt), taken, ARGV[11], rid)
leave_view(id, row.queue, 'started', fence)
enter_view(id, row.queue, 'started', taken)
job_fields(id, {worker_name = rq_worker(ARGV[11], row.queue, ARGV[6])})
return {'taken', taken, now, redis.call('HGETALL', K.TASK .. id)}
