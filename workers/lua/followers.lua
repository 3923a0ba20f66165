-- Who waits for other tasks, and is told when they end; put after common.lua.

-- Which of these tasks have yet to end; or nil and an answer about one that is not there, or that ended without success.
local function awaited(ids)
  local open = {}
  for _, other in ipairs(ids) do
    local wrong = misfit({K.TASK .. other, 'hash', K.FOLLOWERS .. other, 'list'})
    if wrong then return nil, wrong end
    local state = redis.call('HGET', K.TASK .. other, 'state')
    if not state then return nil, {'unknown', other, ''} end
    if TERMINAL[state] and not SUCCESS[state] then return nil, {'ended', other, state} end
    if not SUCCESS[state] then open[#open + 1] = other end
  end
  return open
end

local function wait_for(id, open)
  redis.call('HSET', K.TASK .. id, 'after_open', cjson.encode(open))
  for _, other in ipairs(open) do redis.call('RPUSH', K.FOLLOWERS .. other, id) end
end

-- Tells one follower that `id` ended in success; false where its rows or its queue are damaged. The last it waited for
-- releases it. Whoever calls has seen that the due are a zset.
local function tell(follower, id, state, now, wall, who)
  if unfit(follower) then return false end
  local row = redis.call('HMGET', K.TASK .. follower, 'state', 'after_open', 'queue', 'not_before', 'attempt')
  if row[1] ~= FOLLOWER.waits or not row[2] then return true end
  local left, named = {}, false
  for _, other in ipairs(decoded(row[2]) or {}) do
    if other == id then named = true else left[#left + 1] = other end
  end
  if not named then return true end
  if no_room_in(row[3]) then return false end
  local reason, due = 'task ' .. id .. ' is ' .. state, tonumber(row[4])
  if #left == 0 then
    redis.call('HDEL', K.TASK .. follower, 'after_open')
  else
    redis.call('HSET', K.TASK .. follower, 'after_open', cjson.encode(left))
  end
  if #left > 0 or (due and due > now) then
    crumb(follower, now, row[1], 'met', FOLLOWER.waits, reason, tonumber(row[5]), '', who)
    if #left == 0 then
      redis.call('ZADD', K.DUE, due, follower)
      enter_view(follower, row[3], RQ_STATUS[FOLLOWER.waits], '', due)
    end
    return true
  end
  redis.call('HDEL', K.TASK .. follower, 'not_before')
  redis.call('HSET', K.TASK .. follower, 'state', FOLLOWER.released)
  count_as(follower, row[3], FOLLOWER.released)
  crumb(follower, now, row[1], 'release', FOLLOWER.released, reason, tonumber(row[5]), '', who)
  leave_view(follower, row[3], RQ_STATUS[row[1]], '')
  enter_view(follower, row[3], RQ_STATUS[FOLLOWER.released], '')
  job_fields(follower, {status = RQ_STATUS[FOLLOWER.released], enqueued_at = wall})
  return true
end

-- Tells the followers of a task that ended in success, at most `limit` of them; true once there are no more. Those
-- whose rows are damaged go to the end of the list.
local function tell_followers(id, state, now, wall, who, limit)
  local list = K.FOLLOWERS .. id
  for _ = 1, math.min(limit, redis.call('LLEN', list)) do
    local follower = redis.call('LPOP', list)
    if not tell(follower, id, state, now, wall, who) then redis.call('RPUSH', list, follower) end
  end
  return redis.call('EXISTS', list) == 0
end
