-- Shows the slots of a live owner as workers of RQ's: what `rq info`, rq-dashboard and RQ's commands find them by.
-- ARGV: 1 now_ms or ''; 2 owner; 3 seconds until the rows expire by themselves; 4 JSON object of the fields that all
--       slots share; 5 JSON object name -> object of its own fields; 6.. queues.
-- Returns: ok | unknown (buried or forgotten: it is no worker any more) | wrong_type, key, type of ours.
-- All of it is a view: a key of another type is passed over, and a key's expiry only tidies up.
local owner = ARGV[2]
local wrong = misfit({K.OWNERS, 'zset'})
if wrong then return wrong end
local deadline = owner_deadline(owner)
if not deadline or deadline == 0 then return {'unknown'} end
open_at_maxmemory()
local suspended = redis.call('EXISTS', K.RQ_SUSPENDED) == 1
local shared, members = {'owner', owner}, {}
for field, value in pairs(cjson.decode(ARGV[4])) do
  shared[#shared + 1] = field
  shared[#shared + 1] = value
end
for name, fields in pairs(cjson.decode(ARGV[5])) do
  local key = K.RQ_WORKER .. name
  if typed(key, 'hash') then
    if suspended and fields.state == 'idle' then fields.state = 'suspended' end
    if not fields.task then redis.call('HDEL', key, 'task') end
    local own = {}
    for field, value in pairs(fields) do
      own[#own + 1] = field
      own[#own + 1] = value
    end
    redis.call('HSET', key, unpack(shared))
    redis.call('HSET', key, unpack(own))
    redis.call('EXPIRE', key, ARGV[3])
    members[#members + 1] = key
  end
end
if #members == 0 then return {'ok'} end
if typed(K.RQ_WORKERS, 'set') then redis.call('SADD', K.RQ_WORKERS, unpack(members)) end
for i = 6, #ARGV do
  local set = K.RQ_WORKERS_OF .. ARGV[i]
  if typed(set, 'set') and redis.call('SISMEMBER', set, members[1]) == 0 then
    redis.call('SADD', set, unpack(members))
  end
end
return {'ok'}
