-- Caps: how many attempts of an agent or a provider run at once and begin within a time; put after common.lua.
-- Counted is what is leased. Each cap has an index of those tasks, which holds all of them at the least: a lease puts
-- its task in, in its own step, and whatever ends the lease may take it out. Who is in it and holds no lease any more
-- is found out when the cap seems to be reached, so that nothing is ever counted for good that has ended.
-- A damaged index lets nobody begin, and keeps nobody from ending.

-- Beside the tasks: the index is whole; somebody was turned away. No task can have such an id.
local WHOLE, WANTED = '?whole', '?wanted'
-- Members of indexes that are looked at in one call, and those that are left.
local CAP_LOOKS = 16
local cap_looks = CAP_LOOKS

-- Whether the task is leased. Where nobody can tell it counts.
local function cap_held(id)
  local row = redis.pcall('HMGET', K.TASK .. id, 'owner', 'fence')
  if row.err then return true end
  if not row[1] or not row[2] then return false end
  local fence = redis.pcall('HGET', K.LEASES .. row[1], id)
  return type(fence) == 'table' or fence == row[2]
end

-- Puts whatever is leased under a cap into its index: one that is new, or whose key was lost. `wishes`: of the worker that
-- asks, of whose queues some are under it. False where a stranger's key hides what is leased.
local function cap_find(cap, now, wishes)
  local under = {}
  for wish, queue in each_wish(wishes) do
    if string.find(wish .. ' ', ' ' .. cap .. ' ', 1, true) then under[queue] = true end
  end
  for _, owner in ipairs(redis.call('ZRANGE', K.OWNERS, 0, -1)) do
    local ids = redis.pcall('HKEYS', K.LEASES .. owner)
    if ids.err then return false end
    for _, id in ipairs(ids) do
      local row = redis.pcall('HMGET', K.TASK .. id, 'queue', 'caps')
      if row.err then return false end
      local queue, caps = row[1] or '', row[2] or ''
      if under[queue] or string.find(' ' .. caps, ' ' .. cap .. ' ', 1, true) then
        redis.call('ZADD', K.RUNNING .. cap, now, id)
      end
    end
  end
  redis.call('ZADD', K.RUNNING .. cap, 0, WHOLE)
  return true
end

local function cap_count(cap)
  return redis.call('ZCOUNT', K.RUNNING .. cap, 1, '+inf')
end

-- Whether so many run that no more may. Of who seems to, some are looked after.
local function cap_is_full(cap, most, now, wishes)
  local whole = redis.pcall('ZSCORE', K.RUNNING .. cap, WHOLE)
  if type(whole) == 'table' then return true end
  if not whole and not cap_find(cap, now, wishes) then return true end
  local count = cap_count(cap)
  if count >= most and cap_looks > 0 then
    for _, id in ipairs(redis.call('ZRANDMEMBER', K.RUNNING .. cap, cap_looks)) do
      cap_looks = cap_looks - 1
      if id ~= WHOLE and id ~= WANTED and not cap_held(id) then
        redis.call('ZREM', K.RUNNING .. cap, id)
        count = count - 1
      end
    end
  end
  if count >= most then redis.call('ZADD', K.RUNNING .. cap, 0, WANTED) end
  return count >= most
end

-- Starts that lie ahead were written before the clock was put back: the newest of them was now, the others as long
-- before it as they were.
local function cap_put_back(key, ahead)
  local kept = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
  for _, at in ipairs(kept) do redis.call('RPUSH', key, string.format('%.0f', tonumber(at) - ahead)) end
end

-- Whether so many have begun that no more may, and until when (nil: nobody can tell).
local function cap_is_spent(cap, starts, per, now)
  local key = K.STARTS .. cap
  local newest = redis.pcall('LINDEX', key, -1)
  if type(newest) == 'table' then return true, nil end
  local ahead = (tonumber(newest) or 0) - now
  if ahead > 0 then cap_put_back(key, ahead) end
  local opens = (tonumber(redis.call('LINDEX', key, -starts)) or -per) + per
  return opens > now, opens
end

-- Whether a task under these caps must wait, and until when (nil: until another ends). `shut`: those that were found to
-- be reached in this call, cap -> {until}.
local function caps_reached(caps, now, wishes, shut)
  for cap, most, starts, per in string.gmatch(caps, '(%S+) (%d+) (%d+) (%d+)') do
    most, starts, per = tonumber(most), tonumber(starts), tonumber(per)
    if not shut[cap] and most > 0 and cap_is_full(cap, most, now, wishes) then shut[cap] = {} end
    if not shut[cap] and starts > 0 then
      local spent, opens = cap_is_spent(cap, starts, per, now)
      if spent then shut[cap] = {opens} end
    end
    if shut[cap] then return true, shut[cap][1] end
  end
  return false, nil
end

-- Counts a lease under these caps.
local function caps_enter(id, caps, now)
  local counted = {}
  for cap, most, starts, per in string.gmatch(caps, '(%S+) (%d+) (%d+) (%d+)') do
    if most ~= '0' then
      redis.call('ZADD', K.RUNNING .. cap, now, id)
      counted[#counted + 1] = cap .. ' ' .. most
    end
    if starts ~= '0' then
      redis.call('RPUSH', K.STARTS .. cap, string.format('%.0f', now))
      redis.call('LTRIM', K.STARTS .. cap, -tonumber(starts), -1)
      redis.call('PEXPIRE', K.STARTS .. cap, tonumber(per) + 86400000)
    end
  end
  if #counted > 0 then redis.call('HSET', K.TASK .. id, 'caps', table.concat(counted, ' ')) end
end

-- Counts a lease that was lost and is back; `said`: the row's `caps`.
local function caps_again(id, said, now)
  for cap in string.gmatch(said, '(%S+) %d+') do redis.pcall('ZADD', K.RUNNING .. cap, now, id) end
end

-- Counts a lease no more that has ended in this step; `said`: the row's `caps`.
local function caps_leave(id, said)
  for cap in string.gmatch(said, '(%S+) %d+') do redis.pcall('ZREM', K.RUNNING .. cap, id) end
end

-- Rings for those who were turned away, where there is room by the end of a lease, counted under what is `said`, that this
-- step has not given away again.
local function caps_ring(said)
  for cap, most in string.gmatch(said, '(%S+) (%d+)') do
    local wanted = redis.pcall('ZSCORE', K.RUNNING .. cap, WANTED)
    if type(wanted) == 'string' and cap_count(cap) < tonumber(most) then
      redis.call('ZREM', K.RUNNING .. cap, WANTED)
      redis.call('PUBLISH', K.BELL, cap)
    end
  end
end
