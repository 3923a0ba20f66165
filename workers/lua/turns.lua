-- Whose turn it is among the queues that have tasks: slots are shared by weight; put after common.lua, caps.lua.
-- Start-time fair queueing. Each queue has a tag, the slot time that it was given by its weight, in microseconds; the
-- lowest is next, and is charged what an attempt of it takes. The clock of a lane is the tag that was served last: who
-- was empty, paused, capped or behind a shut gate meanwhile begins there and has saved nothing up.
-- K.TURNS holds the tag of each queue, "tag - count" where nobody has seen an attempt of it end: so many are charged as
-- UNSEEN until one has, and then by what it took, which stands under the queue's name after a '='.

-- A field that is longer than the others: a hash of short ones alone is a list to Redis, up to 512 of them, and to find
-- 300 in it takes longer than a millisecond.
local NOTE = 'microseconds of slots that each queue was given by its weight; see turns.lua'
-- What an attempt is charged whose agent nobody has seen end: while others wait, one in so long.
local UNSEEN = 60000000

-- What is asked for, but the queue: its gate ('' = none); weight and microseconds of a slot that an attempt takes (0: not
-- seen); its caps. Looked at again and again in one call, but read once.
local asked_before = {}
local function asked_for(said)
  if not asked_before[said] then
    local gate, weight, cost, caps = string.match(said, '^%S+ ?(%S*) ?(%d*):?(%d*) ?(.*)$')
    weight = tonumber(weight) or 1
    asked_before[said] = {
      gate = gate == '-' and '' or gate, weight = weight > 0 and weight or 1, cost = tonumber(cost) or 0, caps = caps}
  end
  return asked_before[said]
end

-- The queues of the wishes that hold something, and the wishes for them: by few looks at many at a time, since most hold
-- nothing. Those of `paused` agents are left out.
local function turns_waiting(wishes, paused)
  local lists, all, queues, said, count = {}, {}, {}, {}, 0
  local any_paused = next(paused) ~= nil
  for wish, queue in each_wish(wishes) do
    if not (any_paused and paused[queue]) then
      count = count + 1
      lists[count], all[count] = K.RQ_QUEUE .. queue, wish
    end
  end
  -- What one half holds the other does not: of those that are `there` only the first half is asked for.
  local function look(low, high, there)
    if there == 0 then return end
    if there == high - low + 1 then
      for i = low, high do
        queues[#queues + 1] = string.sub(lists[i], #K.RQ_QUEUE + 1)
        said[#said + 1] = all[i]
      end
      return
    end
    local middle = math.floor((low + high) / 2)
    local before = redis.call('EXISTS', unpack(lists, low, middle))
    look(low, middle, before)
    look(middle + 1, high, there - before)
  end
  for low = 1, count, 1000 do
    local high = math.min(low + 999, count)
    look(low, high, redis.call('EXISTS', unpack(lists, low, high)))
  end
  return queues, said
end

-- The tag of one whose row is no plain number; and that many are charged from which on.
local function turn_unseen(row, said)
  local base, count = string.match(row or '', '^(%d+) %- (%d+)$')
  if not base then return 0, 0, 0 end
  local asked = asked_for(said)
  local cost = asked.cost > 0 and asked.cost or UNSEEN
  return tonumber(base) + tonumber(count) * cost / asked.weight, tonumber(base), tonumber(count)
end

-- The tags of queues in order, and their lane's clock. Where the rows are a stranger's key all are equal, and go as they
-- were asked for; and nobody need know the tag of an `only` one.
local function turns_tagged(queues, said, only)
  local tags, clock_at = {}, 0
  if only or #queues == 0 then return tags, clock_at end
  for low = 1, #queues, 1000 do
    local lane = string.match(queues[1], '^[^.]*')
    local rows = redis.pcall('HMGET', K.TURNS, lane, unpack(queues, low, math.min(low + 999, #queues)))
    if rows.err then return {}, 0 end
    clock_at = tonumber(rows[1] or '') or 0
    for i = 2, #rows do
      local tag = tonumber(rows[i] or '') or turn_unseen(rows[i], said[low + i - 2])
      tags[low + i - 2] = tag > clock_at and tag or clock_at
    end
  end
  return tags, clock_at
end

-- Gives the places of the queues one by one, whose turn it is first. Mostly the first can be served, and nobody need be
-- sorted; then only those are who are not `barred` anyway.
local function turns_in_order(queues, tags, barred)
  local given, sorted, order = 0, nil, nil
  return function()
    given = given + 1
    if given == 1 then
      order = #queues > 0 and 1 or nil
      for i = 2, #queues do
        if (tags[i] or 0) < (tags[order] or 0) then order = i end
      end
      return order
    end
    if not sorted then
      sorted = {}
      for i = 1, #queues do
        if i ~= order and not barred(i) then sorted[#sorted + 1] = i end
      end
      table.sort(sorted, function(one, other)
        local mine, its = tags[one] or 0, tags[other] or 0
        if mine ~= its then return mine < its end
        return one < other
      end)
    end
    return sorted[given - 1]
  end
end

-- Charges a lease to whose turn it was.
local function turn_charged(queue, said, tag, clock_at)
  local asked = asked_for(said)
  local weight, cost = asked.weight, asked.cost
  local fields = {string.match(queue, '^[^.]*'), whole_number(tag), queue}
  if cost > 0 then
    fields[5], fields[6] = '=' .. queue, whole_number(cost)
  else
    local known = redis.pcall('HMGET', K.TURNS, '=' .. queue, queue)
    if known.err then return end
    cost = tonumber(known[1] or '') or 0
    if cost == 0 then
      local _, base, count = turn_unseen(known[2], said)
      if count == 0 or tag <= clock_at then base, count = tag, 0 end
      fields[4] = string.format('%.0f - %d', base, count + 1)
    end
  end
  fields[4] = fields[4] or whole_number(tag + cost / weight)
  if clock_at == 0 then
    fields[#fields + 1] = 'note'
    fields[#fields + 1] = NOTE
  end
  redis.pcall('HSET', K.TURNS, unpack(fields))
end
