-- Pops the next task of the queue whose turn it is (see turns.lua) and gives its lease to a slot, in one step.
-- What is asked for stands in ARGV from `at` on: owner; slot; request id; random part of the fence; wall time for RQ's
-- fields; worker name; host; a time before which the attempt changes no file there, in ns; from-state; to-state; wishes, one a
-- line: a queue followed, as far as it has them, by the gate of its agent's provider ('-': none), weight:cost (see turns.lua)
-- and its caps (see caps.lua). Among equals the first comes first.
-- Returns: granted, id, fence, now, {field, value, ...}, and where there was a gate: its name, epoch, probe (0, 1),
--          watched (0, 1) | empty, and where only a gate or a rate keeps tasks waiting: now, when it opens |
--          suspended (by `rq suspend`) | unknown_owner | silent (beat first) | wrong_type, key, type. A re-sent request
--          returns the grant it already made, while that lease is held.
-- Ids that are no task of ours, or whose task is not queued, so that somebody put them here from outside, go among the
-- strays, where a reaper looks after them by the table. At most 64 in one call. Queues of paused agents are passed over,
-- and so are those whose gate lets nobody through and whose caps are reached: what is never popped costs no pickup and
-- no attempt.

-- How many wait in the queues that are asked for behind one gate.
local function waiting_at(gate, wishes)
  local count = 0
  for wish, queue in each_wish(wishes) do
    if asked_for(wish).gate == gate and typed(K.RQ_QUEUE .. queue, 'list') then
      count = count + redis.call('LLEN', K.RQ_QUEUE .. queue)
    end
  end
  return count
end

-- What a grant says more of the gate that was passed; of one that is sent again, what its attempt's record says.
local function passed(answer, record)
  if record and record.gate then
    for _, part in ipairs({record.gate, record.gate_epoch, record.probe and 1 or 0, record.watched and 1 or 0}) do
      answer[#answer + 1] = part
    end
  end
  return answer
end

local function lease(now, at)
  local owner, slot, rid, random, wall, worker, host, stamp_ns, from, to, wishes = unpack(ARGV, at, at + 10)
  -- What is looked at anyway says by itself that it is of another type.
  local deadline = redis.pcall('ZSCORE', K.OWNERS, owner)
  if type(deadline) == 'table' then return strange(K.OWNERS) end
  local last = redis.pcall('HGET', K.GRANTS .. owner, slot)
  if type(last) == 'table' then return strange(K.GRANTS .. owner) end
  local wrong = misfit({K.LEASES .. owner, 'hash', K.AGES, 'zset', K.STRAYS, 'hash'})
  if wrong then return wrong end
  -- Where nobody is paused this is all that it costs.
  local agents, paused = redis.pcall('HKEYS', K.PAUSED), {}
  if agents.err then return strange(K.PAUSED) end
  for _, agent in ipairs(agents) do
    paused['work.' .. agent], paused['meta.' .. agent] = true, true
  end
  if not deadline or tonumber(deadline) == 0 then return {'unknown_owner'} end
  if tonumber(deadline) <= now then return {'silent'} end

  if last then
    local asked, id, fence = string.match(last, '^(%S+) (%S+) (%S+)$')
    if asked == rid then
      if redis.call('HGET', K.LEASES .. owner, id) ~= fence then return {'empty'} end
      wrong = misfit({K.TASK .. id, 'hash'})
      if wrong then return wrong end
      -- Where a stranger's key has taken its place since, the gate hears of its probe no more than of a dead prober.
      local again = redis.pcall('HGET', K.ATTEMPTS .. id, string.match(fence, '^%d+'))
      local record = type(again) == 'string' and decoded(again) or nil
      return passed({'granted', id, fence, now, redis.call('HGETALL', K.TASK .. id)}, record)
    end
  end

  if redis.call('EXISTS', K.RQ_SUSPENDED) == 1 then return {'suspended'} end

  open_at_maxmemory()
  local looked, closed, shut, opens = 0, {}, {}, nil
  local queues, said = turns_waiting(wishes, paused)
  local only = not string.find(wishes, '\n', 1, true)
  local tags, clock_at = turns_tagged(queues, said, only)
  local function barred(turn)
    local asked = asked_for(said[turn])
    if closed[asked.gate] then return true end
    if asked.caps == '' then return false end
    local reached, due = caps().caps_reached(asked.caps, now, wishes, shut)
    if due then opens = math.min(due, opens or due) end
    return reached
  end
  for turn in turns_in_order(queues, tags, barred) do
    local queue, gate, under = queues[turn], asked_for(said[turn]).gate, asked_for(said[turn]).caps
    local list, reached = K.RQ_QUEUE .. queue, barred(turn)
    while not reached and looked < 64 do
      -- An error where a stranger's key stands in its place, which is passed over.
      local id = redis.pcall('LINDEX', list, 0)
      if type(id) ~= 'string' then break end
      looked = looked + 1
      local row, damaged = task_row(id)
      if damaged or not row.state or unfit_beside(id) then
        local reason = redis.call('EXISTS', K.TASK .. id) == 0 and 'no task of ours has this id' or 'its rows are damaged'
        redis.call('LPOP', list)
        redis.call('HSET', K.STRAYS, id, cjson.encode({queue = queue, reason = reason, at = now}))
        redis.call('PUBLISH', K.BELL, K.STRAYS)
      elseif row.state ~= from then
        redis.call('LPOP', list)
        redis.call('HSET', K.STRAYS, id, cjson.encode({queue = queue, reason = 'put back from outside', at = now}))
        redis.call('PUBLISH', K.BELL, K.STRAYS)
      else
        local n = whole_number(tonumber(row.attempt) + 1)
        local fence = n .. '-' .. random
        local record = {n = tonumber(n), fence = fence, leased_at = now, worker = worker, host = host,
          stamp_ns = stamp_ns}
        if gate ~= '' then
          local let_in, at_gate, probe, due = gates().gate_admit(gate, now, owner .. ' ' .. id .. ' ' .. fence,
            function() return waiting_at(gate, wishes) end, worker, rid)
          if not let_in then
            closed[gate] = true
            if due then opens = math.min(due, opens or due) end
            break
          end
          record.gate, record.gate_epoch = gate, at_gate.epoch
          record.probe, record.watched = probe or nil, gates().gate_watched(at_gate, now) or nil
        end
        redis.call('LPOP', list)
        redis.call('HSET', K.TASK .. id, 'state', to, 'fence', fence, 'owner', owner, 'slot', slot, 'attempt', n,
          'host', host, 'pickups', whole_number(tonumber(row.pickups or 0) + 1))
        redis.call('ZREM', K.AGES, id)
        redis.call('HSET', K.LEASES .. owner, id, fence)
        if under ~= '' then caps().caps_enter(id, under, now) end
        if not only then turn_charged(queue, said[turn], tags[turn] or 0, clock_at) end
        redis.call('HSET', K.GRANTS .. owner, slot, rid .. ' ' .. id .. ' ' .. fence)
        redis.call('HSET', K.ATTEMPTS .. id, n, cjson.encode(record))
        crumb(id, now, from, 'lease', to, '', record.n, fence, worker, rid)
        enter_view(id, queue, RQ_STATUS[to], fence)
        count_as(id, queue, to)
        job_fields(id, {status = RQ_STATUS[to], worker_name = rq_worker(worker, queue, slot),
          last_heartbeat = wall, started_at = wall, ended_at = ''})
        return passed({'granted', id, fence, now, redis.call('HGETALL', K.TASK .. id)}, record)
      end
    end
  end
  if opens then return {'empty', now, opens} end
  return {'empty'}
end
